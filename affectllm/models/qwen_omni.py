"""Qwen2.5-Omni's Thinker as a backbone: native video and audio, media as the processor makes them.

Differences from the stock processor call, each with its reason:
- one clip a call, since the processor knows one frame rate a call and clips differ in length;
- mel features at the clip's true length instead of padded to 300 s, equal on every valid frame.
"""

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

from affectllm.models.backbone import Backbone, Media

HOP, WINDOW = 160, 400  # samples of Whisper's mel spectrogram at 16 kHz


class QwenOmniBackbone(Backbone):
    lora_targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"

    @property
    def media_token_ids(self) -> list[int]:
        p = self.processor
        # Begin and end marks too: M-RoPE counts them to find the media of a row.
        marks = [p.vision_bos_token, p.vision_eos_token, p.audio_bos_token, p.audio_eos_token]
        return [p.image_token_id, p.video_token_id, p.audio_token_id, *self.tokenizer.convert_tokens_to_ids(marks)]

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        if media.frames_THWC is not None and media.times_s is not None:
            made |= self.video(media.frames_THWC, media.times_s)
        if media.wave is not None:
            made |= self.audio(media.wave)
        return made

    def video(self, frames_THWC: np.ndarray, times_s: np.ndarray) -> dict[str, Tensor]:
        """Patches (patches, values), their grid (1, 3), and seconds per grid step (1,) from the frames' own times."""
        processor = self.processor.video_processor
        frames = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)
        size = self.processor.videos_kwargs["size"]
        made = processor([frames], do_sample_frames=False, size=size, return_tensors="pt")
        step_s = float(np.diff(times_s).mean()) if len(times_s) > 1 else 1.0
        return {
            "pixel_values_videos": made["pixel_values_videos"].to(self.core.dtype),
            "video_grid_thw": made["video_grid_thw"],
            "video_second_per_grid": torch.tensor([processor.temporal_patch_size * step_s]),
        }

    def audio(self, wave: np.ndarray) -> dict[str, Tensor]:
        """Mel features (1, mels, frames) and their mask (1, frames), at true length."""
        # One window of silence behind the clip stands for the padding that the stock call would add, so that the
        # last frames are equal to its; the frames of that silence are cut off again.
        padded = np.concatenate([wave, np.zeros(WINDOW, np.float32)])
        mel = self.processor.feature_extractor(padded, sampling_rate=16000, padding="longest", return_tensors="pt")
        frames = -(-len(wave) // HOP)
        features = mel["input_features"][..., :frames].to(self.core.dtype)
        return {
            "input_features": features,
            "feature_attention_mask": torch.ones(1, features.shape[-1], dtype=torch.long),
        }

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        p = self.processor
        if "video_grid_thw" in media:
            count = int(media["video_grid_thw"].prod()) // p.video_processor.merge_size**2
            prompt = prompt.replace(p.video_token, p.video_token * count)
        if "feature_attention_mask" in media:
            prompt = prompt.replace(
                p.audio_token, p.audio_token * audio_tokens(media["feature_attention_mask"].shape[-1])
            )
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    @property
    def fingerprint(self) -> str:
        options = [p.to_dict() for p in (self.processor.video_processor, self.processor.feature_extractor)]
        options += [self.processor.videos_kwargs, self.num_frames, str(self.core.dtype)]
        return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]


def audio_tokens(frames: int) -> int:
    """Tokens of so many mel frames: a convolution of stride 2, then pooling by 2.

    >>> audio_tokens(100)
    25
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
