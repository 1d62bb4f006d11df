"""No file may hang or crash a run, or give wrong frames: right content or one precise error, within 10 s and 1 GiB."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from affectllm import jsonl
from affectllm.media import Guard, Unreadable, probe, read_audio, read_frames
from tests.media.hostile import CASES, CUTS, FIVE, Case
from tests.media.make import clip, numbers

FORM = re.compile(r"Cannot read .+: .+\. [A-Z].+\.", re.DOTALL)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """A worker with the limits that the promise is made for."""
    with Guard(timeout_s=10, memory_bytes=1 << 30) as guard:
        yield guard


def frames_or_words(guard: Guard, path: Path) -> list[int] | str | None:
    try:
        found = guard(read_frames, path, n=5)
    except Unreadable as error:
        return words_of(error)
    return None if found is None else numbers(found.frames_THWC)


def seconds_or_words(guard: Guard, path: Path) -> float | str | None:
    try:
        samples = guard(read_audio, path)
    except Unreadable as error:
        return words_of(error)
    if samples is None:
        return None
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    return len(samples) / 16000


def words_of(error: Unreadable) -> str:
    """The message, checked to be one line that can be printed anywhere and has its three parts."""
    words = str(error)
    assert "\n" not in words
    words.encode()
    assert FORM.fullmatch(words), words
    assert "took longer" not in words
    assert "crashed" not in words
    return words


def check(found: object, wanted: object) -> None:
    if isinstance(wanted, str):
        assert isinstance(found, str), found
        assert wanted in found
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=0.15)
    else:
        assert found == wanted


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_hostile_files(case: Case, tmp_path: Path, guard: Guard) -> None:
    path = case.build(tmp_path)
    check(frames_or_words(guard, path), case.frames)
    check(seconds_or_words(guard, path), case.seconds)
    try:
        found = guard(probe, path)
    except Unreadable as error:
        words_of(error)
        assert isinstance(case.frames, str) or isinstance(case.seconds, str)
    else:
        jsonl.dumps(found)
        assert (found.video is None) == (case.frames is None)


@pytest.mark.parametrize("build", CUTS.values(), ids=CUTS.keys())
def test_cut_files(build: Callable[[Path], Path], tmp_path: Path, guard: Guard) -> None:
    path = build(tmp_path)
    found = frames_or_words(guard, path)
    heard = seconds_or_words(guard, path)
    assert found is not None
    assert heard is not None
    if isinstance(found, list) and not close(found, FIVE):
        # Where the container states no length, a cut clip is a shorter clip.
        video = guard(probe, path).video
        assert video is not None
        assert video.duration_s < 2
        assert close(found, [int((i + 0.5) / 5 * video.duration_s * 25) for i in range(5)])
    if isinstance(heard, float) and heard < 1.5:
        assert guard(probe, path).duration_s < 2


def close(found: list[int], wanted: list[int]) -> bool:
    """Frames may be bridged by one half a second older, but never by a later one."""
    return all(0 <= w - f <= 13 for f, w in zip(found, wanted, strict=True))


def test_8k_frames_fit_into_the_memory(tmp_path: Path, guard: Guard) -> None:
    path = clip(tmp_path / "c.mkv", frames=1, codec="mjpeg", pix_fmt="yuvj420p", size=(8192, 4320))
    found = guard(read_frames, path, n=1)
    assert found is not None
    assert found.frames_THWC.shape == (1, 4320, 8192, 3)
    assert numbers(found.frames_THWC) == [0]
    small = guard(read_frames, path, n=8, longest_side=256)
    assert small is not None
    assert small.frames_THWC.shape == (8, 135, 256, 3)
