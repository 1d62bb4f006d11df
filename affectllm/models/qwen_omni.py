"""Qwen2.5-Omni's Thinker as a backbone: native video and audio, media as the processor makes them.

One difference from the stock call beside those of `qwen.py`: mel features at the clip's true length instead of
padded to 300 s, equal on every valid frame.
"""

import numpy as np
import torch
from torch import Tensor

from affectllm.models.backbone import Media
from affectllm.models.qwen import QwenBackbone

HOP, WINDOW = 160, 400  # samples of Whisper's mel spectrogram at 16 kHz


class QwenOmniBackbone(QwenBackbone):
    modalities = ("video", "audio")
    seconds_key = "video_second_per_grid"

    @property
    def placeholders(self) -> dict[str, int]:
        return {"video": self.processor.video_token_id, "audio": self.processor.audio_token_id}

    @property
    def media_token_ids(self) -> list[int]:
        p = self.processor
        # Begin and end marks too: M-RoPE counts them to find the media of a row.
        marks = [p.vision_bos_token, p.vision_eos_token, p.audio_bos_token, p.audio_eos_token]
        return [p.image_token_id, p.video_token_id, p.audio_token_id, *self.tokenizer.convert_tokens_to_ids(marks)]

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        return super().preprocess(media) | ({} if media.wave is None else self.audio(media.wave))

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
        if "feature_attention_mask" in media:
            sound = self.processor.audio_token
            prompt = prompt.replace(sound, sound * self.audio_tokens(media["feature_attention_mask"].shape[-1]))
        return super().expand(prompt, media)

    def audio_tokens(self, frames: int) -> int:
        return audio_tokens(frames)


def audio_tokens(frames: int) -> int:
    """Tokens of so many mel frames: a convolution of stride 2, then pooling by 2.

    >>> audio_tokens(100)
    25
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
