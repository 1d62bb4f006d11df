"""Sound is mono, in time with the pictures, and never made up."""

import wave
from pathlib import Path

import numpy as np
import pytest

from affectllm.media import Limits, Unreadable, probe, read_audio
from affectllm.media.audio import resample
from tests.media.hostile import poisoned, wav
from tests.media.make import clip, tone


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16000) -> Path:
    """int16 WAV of (samples,) or (samples, channels) in -1..1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_wav_at_its_own_rate_comes_back_exactly(tmp_path: Path) -> None:
    sound = tone(1)
    found = read_audio(write_wav(tmp_path / "a.wav", sound))
    assert found is not None
    np.testing.assert_array_equal(found, (sound * 32767).astype(np.int16) / np.float32(32768))


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(1), -tone(1) / 2
    found = read_audio(write_wav(tmp_path / "a.wav", np.stack([left, right], 1)))
    np.testing.assert_allclose(found, (left + right) / 2, atol=1e-4)


def test_surround_keeps_its_level_and_speech_leads(tmp_path: Path) -> None:
    """FFmpeg's coefficients for 5.1 (front 0.707, centre 1, back 0.5, no bass), scaled so that they sum to 1."""
    channels = np.zeros((16000, 6))
    channels[:, 2] = tone(1)
    found = read_audio(write_wav(tmp_path / "centre.wav", channels))
    np.testing.assert_allclose(found, tone(1) / (2 * np.sqrt(0.5) + 1 + 2 * 0.5), atol=1e-3)
    found = read_audio(write_wav(tmp_path / "all.wav", np.repeat(tone(1)[:, None], 6, 1)))
    np.testing.assert_allclose(found, tone(1), atol=1e-3)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_length_and_moments(tmp_path: Path, rate_hz: int) -> None:
    found = read_audio(write_wav(tmp_path / "a.wav", tone(1, rate_hz), rate_hz))
    assert found is not None
    assert len(found) == 16000
    # Away from the ends, where the filter reaches beyond the sound, it is the same tone at the new rate.
    np.testing.assert_allclose(found[200:-200], tone(1)[200:-200], atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "from_hz", "to_hz", "length"), [(0, 48000, 16000, 0), (3, 48000, 16000, 1), (1, 192000, 8000, 0)]
)
def test_resampling_next_to_nothing(samples: int, from_hz: int, to_hz: int, length: int) -> None:
    assert resample(np.ones(samples, np.float32), from_hz, to_hz).shape == (length,)


def test_a_late_track_begins_with_silence(tmp_path: Path) -> None:
    found = read_audio(clip(tmp_path / "c.mkv", sound=tone(1), sound_codec="pcm_s16le", sound_delay_s=0.75))
    assert found is not None
    assert not found[:12000].any()
    np.testing.assert_allclose(found[12000:28000], tone(1), atol=1e-4)


def test_lost_sound_leaves_silence(tmp_path: Path) -> None:
    """Two MPEG-TS pieces with 1 s between them: what is heard after the gap stays where it belongs."""
    first = clip(tmp_path / "a.ts", frames=25, sound=tone(1), sound_codec="libmp3lame")
    second = clip(tmp_path / "b.ts", frames=25, sound=tone(1), sound_codec="libmp3lame", start_s=2)
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
    found = read_audio(tmp_path / "c.ts")
    assert found is not None
    assert len(found) / 16000 == pytest.approx(3.05, abs=0.1)
    heard_s = np.flatnonzero(np.abs(found) > 0.1) / 16000
    assert np.diff(heard_s).max() == pytest.approx(1, abs=0.1)


def test_spans_are_cut_to_the_sample(tmp_path: Path) -> None:
    whole = read_audio(path := clip(tmp_path / "c.mp4", sound=tone(2) * np.linspace(0, 1, 32000, dtype=np.float32)))
    part = read_audio(path, start_s=0.5, end_s=1.25)
    assert whole is not None
    np.testing.assert_array_equal(part, whole[8000:20000])


def test_span_behind_the_sound_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1))
    with pytest.raises(Unreadable, match=r"its audio ends at 1\.00 s, and 3\.00 s was asked for"):
        read_audio(path, start_s=3, end_s=4)


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"start_s": -1}, {"start_s": 2, "end_s": 2}])
def test_impossible_requests_are_mistakes_of_the_caller(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="audio needs"):
        read_audio(write_wav(tmp_path / "a.wav", tone(1)), **wrong)


def test_missing_sound_is_none_and_silence_is_silence(tmp_path: Path) -> None:
    assert read_audio(clip(tmp_path / "mute.mp4")) is None
    silence = read_audio(write_wav(tmp_path / "silent.wav", np.zeros(16000)))
    assert silence is not None
    assert len(silence) == 16000
    assert not silence.any()


def test_nan_and_infinity_become_zero_and_are_counted(tmp_path: Path) -> None:
    path = wav(poisoned(), kind=3, bits=32)(tmp_path)
    found = read_audio(path)
    wanted = tone(2)
    wanted[1000:1010] = wanted[2000] = wanted[3000] = 0
    np.testing.assert_array_equal(found, wanted)
    told = probe(path, verify=True)
    assert told.audio is not None
    assert told.audio.bad_samples == 12
    assert told.defects == ["12 audio samples are NaN or infinite and are read as 0."]


def test_limits_count_samples_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="the result would take"):
        read_audio(write_wav(tmp_path / "a.wav", tone(2)), limits=Limits(decoded_bytes=100_000))
