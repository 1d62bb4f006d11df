"""Whatever happens in the worker, the caller gets an answer or one error, and the next call works."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from affectllm.errors import AffectError
from affectllm.media import Guard, Unreadable, read_audio, read_frames
from tests.media.make import clip, numbers, tone


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(timeout_s=2, memory_bytes=300 << 20) as guard:
        yield guard


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("guard") / "c.mp4", sound=tone(2))


def works(guard: Guard, path: Path) -> bool:
    found = guard(read_frames, path, n=5)
    return found is not None and numbers(found.frames_THWC) == [5, 15, 25, 35, 45]


def test_results_are_the_same_as_without(guard: Guard, path: Path) -> None:
    inside, outside = guard(read_frames, path, n=3), read_frames(path, n=3)
    assert inside is not None
    assert outside is not None
    np.testing.assert_array_equal(inside.frames_THWC, outside.frames_THWC)
    np.testing.assert_array_equal(inside.times_s, outside.times_s)
    # The caller may write into what it gets.
    inside.frames_THWC[:] = 0
    np.testing.assert_array_equal(guard(read_audio, path), read_audio(path))


def test_errors_come_through_as_they_are(guard: Guard, path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        guard(read_frames, Path("nothing.mp4"), n=1)
    with pytest.raises(ValueError, match="n >= 1"):
        guard(read_frames, path, n=0)
    assert issubclass(Unreadable, AffectError)


def test_a_hang_is_ended(guard: Guard, path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(Unreadable, match=r"Cannot read 60: reading took longer than 2 s\."):
        guard(time.sleep, 60)
    assert time.monotonic() - begun < 30, "half of what the call would sleep"
    assert works(guard, path)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_told(guard: Guard, path: Path, number: int) -> None:
    with pytest.raises(Unreadable, match=rf"crashed \(exit status -{int(number)}\)"):
        guard(signal.raise_signal, number)
    assert works(guard, path)


def test_memory_is_bounded(guard: Guard, path: Path) -> None:
    with pytest.raises(Unreadable, match="more than 300 MiB of memory"):
        guard(bytearray, 1 << 30)
    assert works(guard, path)
    # A clip that asks for too much is told in the same words.
    large = clip(path.parent / "large.mkv", frames=2, codec="mjpeg", pix_fmt="yuvj420p", size=(4096, 4096))
    with pytest.raises(Unreadable, match=r"memory|allocate"):
        guard(read_frames, large, n=8)
    assert works(guard, path)


def test_results_that_cannot_be_sent_are_an_error(guard: Guard) -> None:
    with pytest.raises((RuntimeError, TypeError), match="pickle"):
        guard(memoryview, b"x")


def test_a_guard_survives_a_fork(guard: Guard, path: Path) -> None:
    assert works(guard, path)
    child = os.fork()
    if child == 0:
        os._exit(0 if works(guard, path) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert works(guard, path)


def test_a_guard_can_be_sent_to_a_process(guard: Guard, path: Path) -> None:
    with pickle.loads(pickle.dumps(guard)) as copy:
        assert (copy.timeout_s, copy.memory_bytes) == (2, 300 << 20)
        assert works(copy, path)


def test_threads_take_turns(guard: Guard, path: Path) -> None:
    fine: list[bool] = []
    threads = [threading.Thread(target=lambda: fine.append(works(guard, path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fine == [True] * 4
