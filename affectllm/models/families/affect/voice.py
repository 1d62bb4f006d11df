"""The voice encoder of the embedded model: the first layers of Whisper at the clip's true length, and prosody.

Whisper pads every clip to 30 s. A 3 s clip that is read at its own length costs a tenth and gives similar states.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from affectllm.media.audio import RATE_HZ

WINDOW, HOP, MELS = 400, 160, 80
PITCH_LOW_HZ, PITCH_HIGH_HZ = 60, 400
SHORTEST = 3200
"""Samples (0.2 s): shorter audio is filled up with silence, since no statistic of it means anything."""


class VoiceEncoder(nn.Module):
    """Mel spectrograms (B, 80, T) -> states (B, T // 2, width) with their mask; parameters are named as Whisper's."""

    def __init__(self, config: WhisperConfig, layers: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        config._attn_implementation = "sdpa"
        self.layers = nn.ModuleList([WhisperEncoderLayer(config) for _ in range(layers)])

    def forward(self, mel: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`mask` (B, T) is 1 on valid frames. Padded rows give the same states as alone."""
        # The padded tail is zeroed before each convolution, as its own padding would be.
        x = F.gelu(self.conv1(mel * mask[:, None])) * mask[:, None]
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        kept = mask[:, ::2]
        positions = self.embed_positions.weight[: x.shape[1]]
        if x.shape[1] > len(positions):
            raise ValueError(f"{x.shape[1] * 0.02:.0f} s of sound; the encoder reads {len(positions) * 0.02:.0f} s.")
        x = x + positions
        attention = torch.where(kept[:, None, None] > 0, 0.0, torch.finfo(x.dtype).min).to(x.dtype)
        for layer in self.layers:
            found = layer(x, attention)
            x = found[0] if isinstance(found, tuple) else found
        return x, kept


def chunk_statistics(states: Tensor, mask: Tensor, chunks: int = 8) -> Tensor:
    """Mean and deviation of the states in equal slices of each clip's valid time: (B, chunks, 2 x width)."""
    rows = []
    for row, kept in zip(states, mask, strict=True):
        valid = row[: int(kept.sum())]
        edges = torch.linspace(0, len(valid), chunks + 1).round().long().tolist()
        # A slice of a very short clip may be empty. It then repeats the frame at its position.
        starts = [min(edge, len(valid) - 1) for edge in edges[:-1]]
        slices = [valid[start : max(end, start + 1)] for start, end in zip(starts, edges[1:], strict=True)]
        rows.append(torch.stack([torch.cat([part.mean(0), part.std(0, correction=0)]) for part in slices]))
    return torch.stack(rows)


@cache
def mel_filters() -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1, num_mel_filters=MELS, min_frequency=0.0, max_frequency=RATE_HZ / 2,
        sampling_rate=RATE_HZ, norm="slaney", mel_scale="slaney",
    )  # fmt: skip
    return torch.tensor(filters.T, dtype=torch.float32)


def log_mel(wave: np.ndarray) -> Tensor:
    """Whisper's log-mel spectrogram (80, T) of a 16 kHz wave at its true length, T even, one frame per 10 ms."""
    x = torch.from_numpy(at_least(wave, SHORTEST))
    spectrum = torch.stft(F.pad(x, (0, WINDOW)), WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)
    frames = len(x) // HOP // 2 * 2
    power = spectrum[:, :frames].abs() ** 2
    logarithm = torch.clamp(mel_filters() @ power, min=1e-10).log10()
    return (torch.maximum(logarithm, logarithm.max() - 8.0) + 4.0) / 4.0


def prosody(wave: np.ndarray) -> np.ndarray:
    """Ten statistics, float32, of how something is said.

    Mean, deviation and peak of log energy; mean, deviation, highest and lowest log2 pitch in Hz over voiced frames;
    voiced share; seconds; mean change of log energy from frame to frame. Pitch is the strongest autocorrelation
    between 60 and 400 Hz in frames of 40 ms; without voiced frames the four pitch values are 0.
    """
    x = torch.from_numpy(at_least(wave, SHORTEST))
    frames = x.unfold(0, 640, HOP)
    energy = frames.square().mean(1).sqrt()
    loudness = torch.log(energy + 1e-4)
    spectrum = torch.fft.rfft(frames * torch.hann_window(640), 2048)
    correlation = torch.fft.irfft(spectrum.abs() ** 2)
    correlation = correlation / correlation[:, :1].clamp(min=1e-8)
    lags = slice(RATE_HZ // PITCH_HIGH_HZ, RATE_HZ // PITCH_LOW_HZ + 1)
    strength, lag = correlation[:, lags].max(1)
    voiced = (strength > 0.45) & (energy > 0.02)
    pitch = torch.log2(RATE_HZ / (lag[voiced] + lags.start).float()) if int(voiced.sum()) > 4 else torch.zeros(2)
    statistics = [
        loudness.mean(), loudness.std(), loudness.max(),
        pitch.mean(), pitch.std(), pitch.max(), pitch.min(),
        voiced.float().mean(), torch.tensor(len(wave) / RATE_HZ), loudness.diff().abs().mean(),
    ]  # fmt: skip
    return torch.stack(statistics).float().numpy()


def at_least(wave: np.ndarray, samples: int) -> np.ndarray:
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    return np.pad(wave, (0, samples - len(wave))) if len(wave) < samples else wave
