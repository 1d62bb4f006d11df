"""Qwen2.5-Omni's Thinker as a backbone: native video and audio, media as the processor makes them.

One difference from the stock call beside those of `qwen.py`: mel features at the clip's true length instead of
padded to 300 s, equal on every valid frame.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from affectllm.models.backbone import Media
from affectllm.models.qwen import QwenBackbone

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

HOP, WINDOW = 160, 400  # samples of Whisper's mel spectrogram at 16 kHz


class QwenOmniBackbone(QwenBackbone):
    modalities = ("video", "audio")
    seconds_key = "video_second_per_grid"

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        model.model.register_forward_pre_hook(place_tokens, with_kwargs=True)

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
        features = true_length_mel(self.processor.feature_extractor, wave).to(self.core.dtype)
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

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        # A convolution of stride 2 stands before the audio layers.
        sound = {"audio": media["input_features"].shape[-1] // 2} if "input_features" in media else {}
        return super().encoder_rows(media) | sound

    def encode(self, media: dict[str, Tensor]) -> dict[str, Tensor]:
        """`video_tokens`, `audio_tokens` (tokens, width) for `place_tokens`; trained encoders stay in the forward."""
        body = self.core.model
        if any(p.requires_grad for tower in (body.visual, body.audio_tower) for p in tower.parameters()):
            return media
        inputs = {name: tensor.to(self.core.device) for name, tensor in media.items()}
        encoded = {}
        with torch.no_grad():
            if "pixel_values_videos" in inputs:
                video = body.get_video_features(
                    inputs["pixel_values_videos"], inputs["video_grid_thw"], return_dict=True
                )
                encoded["video_tokens"] = torch.cat(video.pooler_output)
            if "input_features" in inputs:
                audio = body.get_audio_features(
                    inputs["input_features"], inputs["feature_attention_mask"], return_dict=True
                )
                encoded["audio_tokens"] = audio.last_hidden_state
        return encoded


def place_tokens(body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook of the body: encoded media go to their placeholders, as the body itself would put them."""
    names = {"video_tokens": body.config.video_token_id, "audio_tokens": body.config.audio_token_id}
    given = {token: kwargs.pop(name) for name, token in names.items() if kwargs.get(name) is not None}
    if given:
        ids = kwargs["input_ids"]
        embeds = body.get_input_embeddings()(ids)
        for token, values in given.items():
            embeds = embeds.masked_scatter((ids == token)[..., None], values.to(embeds.device, embeds.dtype))
        kwargs["inputs_embeds"] = embeds
    return args, kwargs


def true_length_mel(extractor: "WhisperFeatureExtractor", wave: np.ndarray) -> Tensor:
    """Mel features (1, mels, frames) of a 16 kHz wave, equal on every frame to those of the call that pads to 300 s."""
    # One window of silence behind the clip stands for the padding that the stock call would add, so that the
    # last frames are equal to its; the frames of that silence are cut off again.
    padded = np.concatenate([wave, np.zeros(WINDOW, np.float32)])
    mel = extractor(padded, sampling_rate=16000, padding="longest", return_tensors="pt")["input_features"]
    return mel[..., : -(-len(wave) // HOP)]


def audio_tokens(frames: int) -> int:
    """Tokens of so many mel frames: a convolution of stride 2, then pooling by 2.

    >>> audio_tokens(100)
    25
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
