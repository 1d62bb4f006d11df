"""Qwen2.5-Omni's Thinker as a backbone: native video and audio, media as the processor makes them.

One difference from the stock call in addition to those of `qwen.py`: mel features at the clip's true length instead of
padded to 300 s, equal on every valid frame.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from affectllm.media.audio import RATE_HZ
from affectllm.models.base.backbone import Look, Media
from affectllm.models.base.family import Family
from affectllm.models.families.qwen import QwenBackbone, place_tokens

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

HOP, WINDOW = 160, 400  # samples of Whisper's mel spectrogram at 16 kHz


FAMILY = Family(
    name="Qwen2.5-Omni Thinker",
    types=("qwen2_5_omni_thinker", "qwen2_5_omni"),
    model="transformers:Qwen2_5OmniThinkerForConditionalGeneration",
    backbone="QwenOmniBackbone",
    modalities=("video", "audio"),
    example="Qwen/Qwen2.5-Omni-7B",
    # Before, the encoders were not part of the model's body, and no fused head of TRL could run it.
    since="5.21",
)


class QwenOmniBackbone(QwenBackbone):
    modalities = FAMILY.modalities
    vllm_names = {
        "model.language_model.": "thinker.model.",
        "model.visual.": "thinker.visual.",
        "model.audio_tower.": "thinker.audio_tower.",
        "lm_head.": "thinker.lm_head.",
    }
    seconds_key = "video_second_per_grid"

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        model.model.register_forward_pre_hook(place_tokens, with_kwargs=True)

    @property
    def placeholders(self) -> dict[str, int]:
        # The ids come from the tokens: the processor has none until transformers 5.22.
        video, audio = self.tokenizer.convert_tokens_to_ids([self.processor.video_token, self.processor.audio_token])
        return {"video": video, "audio": audio}

    @property
    def media_token_ids(self) -> list[int]:
        p = self.processor
        # Begin and end marks are included: M-RoPE counts them to find the media of a row.
        marks = [p.vision_bos_token, p.vision_eos_token, p.audio_bos_token, p.audio_eos_token]
        return self.tokenizer.convert_tokens_to_ids([p.image_token, p.video_token, p.audio_token, *marks])

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        return super().preprocess(media) | ({} if media.wave is None else self.audio(media.wave))

    def audio(self, wave: np.ndarray) -> dict[str, Tensor]:
        """Mel features (1, mels, frames) and their mask (1, frames), at true length."""
        features = true_length_mel(self.processor.feature_extractor, wave).to(self.dtype)
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

    def media_tokens(self, used: Sequence[str], look: Callable[[], Look]) -> int:
        frames = int(look().sound_s * RATE_HZ) // HOP if "audio" in used else 0
        return super().media_tokens(used, look) + (self.audio_tokens(frames) if frames else 0)

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        # A convolution of stride 2 comes before the audio layers.
        sound = {"audio": media["input_features"].shape[-1] // 2} if "input_features" in media else {}
        return super().encoder_rows(media) | sound

    def towers(self) -> list[nn.Module]:
        return [*super().towers(), self.core.model.audio_tower]

    def encode(self, media: dict[str, Tensor]) -> dict[str, Tensor]:
        """`video_tokens` and `audio_tokens` (tokens, width) in the place of patches and mel features."""
        encoded = super().encode(media)
        if "input_features" not in encoded or not self.frozen_encoders():
            return encoded
        device = self.core.model.audio_tower.device
        features, mask = (media[name].to(device) for name in ("input_features", "feature_attention_mask"))
        rest = {name: tensor for name, tensor in encoded.items() if name != "input_features"}
        with torch.no_grad():
            audio = self.core.model.get_audio_features(features, mask, return_dict=True).last_hidden_state
        return {**rest, "audio_tokens": audio}


def true_length_mel(extractor: "WhisperFeatureExtractor", wave: np.ndarray) -> Tensor:
    """Mel features (1, mels, frames) of a 16 kHz wave, equal on every frame to those of the call that pads to 300 s.

    Qwen3-Omni's stock call pads only to the longest clip of a batch: the last frame of the longest sees its sound
    mirrored, and an incomplete frame is dropped, which in one clip of eight gives one audio token less than here. Here
    no clip's features depend on its neighbours.
    """
    # One window of silence after the clip replaces the padding that the stock call would add, so that the
    # last frames are equal to its; the frames of that silence are cut off again.
    padded = np.concatenate([wave, np.zeros(WINDOW, np.float32)])
    mel = extractor(padded, sampling_rate=RATE_HZ, padding="longest", return_tensors="pt")["input_features"]
    return mel[..., : -(-len(wave) // HOP)]


def audio_tokens(frames: int) -> int:
    """Number of tokens for a number of mel frames: a convolution of stride 2, then pooling by 2.

    >>> audio_tokens(100)
    25
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
