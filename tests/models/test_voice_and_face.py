"""The encoders of the embedded model: true length equals padded length, shapes and statistics done by hand."""

import math

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor

from affectllm.media.faces import FaceDetector, crop_faces, suppress
from affectllm.models.families.affect.face import FaceExpressionEncoder, pool_same
from affectllm.models.families.affect.voice import VoiceEncoder, chunk_statistics, log_mel, prosody

RATE_HZ = 16000


def tone(hertz: float, seconds: float, loudness: float = 0.3) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    # Harmonics make it a voice-like sound whose period is the pitch.
    wave = sum(np.sin(2 * np.pi * hertz * k * time_s) / k for k in (1, 2, 3, 4))
    return (loudness * wave / 2).astype(np.float32)


def test_the_mel_at_true_length_equals_whispers() -> None:
    wave = tone(220, 2.0) + np.random.default_rng(0).normal(0, 0.01, 2 * RATE_HZ).astype(np.float32)
    ours = log_mel(wave)
    theirs = WhisperFeatureExtractor()(wave, sampling_rate=RATE_HZ, return_tensors="pt")["input_features"][0]
    assert ours.shape == (80, 200)
    # Whisper mirrors at the very beginning just as we do; at the end it sees 30 s of padding, we see one window.
    torch.testing.assert_close(ours[:, :198], theirs[:, :198], atol=2e-3, rtol=0)


def test_padded_rows_give_the_states_they_give_alone() -> None:
    torch.manual_seed(0)
    encoder = VoiceEncoder(WhisperConfig(d_model=16, encoder_attention_heads=2, encoder_ffn_dim=32), layers=2).eval()
    long, short = torch.randn(80, 120), torch.randn(80, 50)
    batch = torch.stack([long, torch.nn.functional.pad(short, (0, 70))])
    mask = torch.stack([torch.ones(120), (torch.arange(120) < 50).float()])
    with torch.no_grad():
        together, kept = encoder(batch, mask)
        alone, _ = encoder(short[None], torch.ones(1, 50))
    assert int(kept[1].sum()) == 25
    torch.testing.assert_close(together[1, :25], alone[0], atol=1e-5, rtol=1e-4)


def test_chunk_statistics_by_hand() -> None:
    states = torch.tensor([[[1.0], [3.0], [5.0], [5.0], [99.0]]])
    found = chunk_statistics(states, torch.tensor([[1, 1, 1, 1, 0]]), chunks=2)
    assert found.tolist() == [[[2.0, 1.0], [5.0, 0.0]]]


def test_fewer_states_than_chunks_repeat() -> None:
    found = chunk_statistics(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1, 1]]), chunks=8)
    assert found.shape == (1, 8, 2)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("hertz", [110.0, 220.0])
def test_prosody_finds_the_pitch(hertz: float) -> None:
    statistics = prosody(tone(hertz, 1.0))
    assert statistics[3] == pytest.approx(math.log2(hertz), abs=0.05)
    assert statistics[7] > 0.9
    assert statistics[8] == pytest.approx(1.0)


def test_louder_is_louder() -> None:
    assert prosody(tone(200, 1.0, 0.6))[0] - prosody(tone(200, 1.0, 0.3))[0] == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("samples", [0, 1, 100, 5000])
def test_silence_and_short_sounds_are_finite(samples: int) -> None:
    assert np.isfinite(prosody(np.zeros(samples, np.float32))).all()
    assert torch.isfinite(log_mel(np.zeros(samples, np.float32))).all()


def test_same_pooling_pads_below_and_right_first() -> None:
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert pool_same(picture).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]


def test_a_face_becomes_a_map_of_2048() -> None:
    encoder = FaceExpressionEncoder().eval()
    assert encoder(torch.zeros(3, 1, 64, 64)).shape == (3, 2048)
    assert encoder.logits(torch.zeros(3, 1, 64, 64)).shape == (3, 7)


def test_overlapping_boxes_are_suppressed() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    assert suppress(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5).tolist() == [1, 2]


def test_without_a_face_the_centre_stands_for_it() -> None:
    frames = np.zeros((4, 40, 60, 3), np.uint8)
    frames[:, :, 10:50] = 200  # the centred square
    for detector in (None, FaceDetector()):
        crops = crop_faces(frames, detector)
        assert crops.pixels_THW.shape == (4, 64, 64)
        if not crops.detected.any():
            assert (crops.pixels_THW == 200).all()
