"""Any image tower and any speech encoder of transformers, in place of the embedded model's own.

Images: CLIP (its projected embedding, as in AffectGPT), SigLIP, DINOv2 (their pooled output). Speech: HuBERT, WavLM
(the mean of the last layers, four in AffectGPT). The first layers of Whisper are in voice.py.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, CLIPVisionModelWithProjection, PreTrainedConfig

IMAGE_TOWERS = ("clip_vision_model", "siglip_vision_model", "dinov2")
SPEECH_ENCODERS = ("whisper", "hubert", "wavlm")
# Number of samples below which their convolutions give no state at all.
SHORTEST = 400


class ImageEncoder(nn.Module):
    """Frames (N, 3, S, S), normalised as the tower wants them -> one vector each (N, width)."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        clip = config.model_type == "clip_vision_model"
        self.tower: Any = CLIPVisionModelWithProjection(config) if clip else AutoModel.from_config(config)

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.tower(pixels.to(self.tower.dtype))
        return found.image_embeds if hasattr(found, "image_embeds") else found.pooler_output


def image_width(config: PreTrainedConfig) -> int:
    return config.projection_dim if config.model_type == "clip_vision_model" else config.hidden_size


class SpeechEncoder(nn.Module):
    """Waves (N, samples) with their mask -> states (N, frames, width) with theirs; the mean of the last `layers`."""

    def __init__(self, config: PreTrainedConfig, layers: int) -> None:
        super().__init__()
        self.tower: Any = AutoModel.from_config(config)
        self.layers = layers

    def forward(self, waves: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        # Clip by clip at true length: some of these encoders normalise over time, padding included.
        states = []
        for wave, kept in zip(waves, mask, strict=True):
            sound = wave[: int(kept.sum())][None].to(self.tower.dtype)
            found = self.tower(sound, output_hidden_states=True).hidden_states[-self.layers :]
            states.append(torch.stack(found).mean(0)[0])
        padded = nn.utils.rnn.pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(row) for row in states], device=padded.device)
        return padded, (torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]).long()


def normalised(wave: Tensor) -> Tensor:
    """Zero mean and unit variance, as Wav2Vec2's feature extractor does; silence stays silence."""
    return (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + 1e-7)
