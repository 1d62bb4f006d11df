"""Files of other people's test suites, and promises that need time to test."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from affectllm.media import Guard, Limits, Unreadable, probe, read_audio, read_frames
from tests.media.hostile import CASES
from tests.media.make import clip, numbers, tone
from tests.media.test_hostile import frames_or_words, seconds_or_words

# Frames, seconds of sound, or words of the error, as found by hand with ffprobe.
KNOWN: dict[str, tuple[int | str | None, float | str | None]] = {
    "bbb_176x144_128kbps_15fps_h263.3gp": (15, None),
    "sample.avi": (96, 4.08),
    "sample.mkv": (30, 1.07),
    "sample_audio_only.mp4": (None, 1.045),
    "sample_av1.mp4": (30, 1.088),
    "sample_fragmented.mp4": (30, 1.068),
    "sample_malformed_free_box.mp4": ("decoder says", "decoder says"),
    "sample_mdat_too_long.mp4": (30, 1.09),
    "sample_missing_stsd.mp4": (30, "audio codec is unknown"),
    "sample_opus.mp4": (None, 1.0035),
    "sample_portrait.mp4": (30, 1.088),
    "sample_video_only.mp4": (30, None),
    "testvid_1022ms.mp4": (30, 1.022),
}


@pytest.mark.parametrize("name", KNOWN)
def test_adversarial_files(shared_data: Path, name: str) -> None:
    path = shared_data / "adversarial_androidx" / name
    if not path.exists():
        pytest.skip(f"no {name} beside the clone")
    frames, seconds = KNOWN[name]
    with Guard(timeout_s=10, memory_bytes=1 << 30) as guard:
        found, heard = frames_or_words(guard, path), seconds_or_words(guard, path)
        if isinstance(frames, int):
            assert isinstance(found, list)
            video = guard(probe, path, verify=True).video
            assert video is not None
            assert (video.frames, video.frames_decoded) == (frames, frames)
        else:
            assert found is None if frames is None else frames in str(found)
        if isinstance(seconds, float):
            assert heard == pytest.approx(seconds, abs=0.03)
        else:
            assert heard is None if seconds is None else seconds in str(heard)


@pytest.mark.parametrize("name", ["chaplin.mp4", "single_face.mp4"])
def test_real_clips_equal_decord_frame_by_frame(shared_data: Path, name: str) -> None:
    decord = pytest.importorskip("decord")
    path = shared_data / "clips_av" / name
    if not path.exists():
        pytest.skip(f"no {name} beside the clone")
    reader, ours = decord.VideoReader(str(path), num_threads=1), read_frames(path, n=24)
    assert ours is not None
    starts_s = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    places = np.searchsorted(starts_s, ours.times_s + 1e-6, side="right") - 1
    np.testing.assert_array_equal(ours.frames_THWC, reader.get_batch(places).asnumpy())


def read_all(path: Path) -> None:
    for read in (lambda: read_frames(path, n=5), lambda: read_audio(path), lambda: probe(path, verify=True)):
        try:
            read()
        except Unreadable:
            continue


def held() -> tuple[int, int]:
    """Resident memory in KiB, and open files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024, len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_leaks_over_1000_repeats(tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is counted in /proc")
    names = ("plain", "no moov", "nan samples", "mpeg-ts", "random bytes", "cover in mp3", "wav cut off", "ten bits")
    paths = []
    for name in names:
        (folder := tmp_path / name).mkdir()
        paths.append(CASES[name].build(folder))
    for i in range(1000):
        if i == 100:
            memory_kib, files = held()
        read_all(paths[i % len(paths)])
    assert held()[1] == files
    assert held()[0] - memory_kib < 20 * 1024


@pytest.mark.slow
def test_ten_hours_can_be_read_when_asked_for(tmp_path: Path) -> None:
    path = CASES["ten hours"].build(tmp_path)
    found = read_frames(path, n=5, limits=Limits(duration_s=12 * 3600))
    assert found is not None
    assert numbers(found.frames_THWC) == [int((i + 0.5) * 3599 / 5 + 0.0) % 256 for i in range(5)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_of_1080p_take_less_than_600_mib(tmp_path: Path) -> None:
    """The worker's limit is the measure: it counts what reading adds."""
    path = clip(tmp_path / "long.mp4", frames=6000, fps=10, size=(1920, 1080), gop=100, sound=tone(600))
    with Guard(timeout_s=120, memory_bytes=600 << 20) as guard:
        found = guard(read_frames, path, n=16)
        assert found is not None
        assert numbers(found.frames_THWC) == [int((i + 0.5) / 16 * 6000) % 256 for i in range(16)]
        samples = guard(read_audio, path)
        assert samples is not None
        assert len(samples) / 16000 == pytest.approx(600, abs=0.2)
