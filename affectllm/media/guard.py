"""A second process that reads files, so that one that hangs, crashes or swells a decoder costs one error and nothing else."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from affectllm.media.limits import MIB, unreadable

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S = 10.0
MEMORY_BYTES = 1024 * MIB
# Starting Python and its imports is not the file's fault and has its own, generous time.
START_S = 60.0


class Guard:
    """Calls functions of affectllm in a worker process with a time-out and a memory limit for each call.

        with Guard() as guard:
            frames = guard(read_frames, path, n=8)

    The first argument of the function is the file, which errors name. What the function raises is raised here. A call that runs
    out of time or memory, or crashes, raises Unreadable; the next call gets a new worker. One worker serves one call at a time;
    a Guard that crosses a fork (as in a DataLoader) starts a worker of its own.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self.timeout_s, self.memory_bytes = timeout_s, memory_bytes
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._owner = 0

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        path = Path(str(args[0]))
        with self._lock:
            pipe = self._start()
            pipe.send((function, args, kwargs))
            try:
                if not pipe.poll(self.timeout_s):
                    self._stop()
                    raise unreadable(path, f"reading took longer than {self.timeout_s:g} s and was stopped", "Re-encode it, or leave it out")
                ok, result = pipe.recv()
            except (EOFError, ConnectionResetError) as error:
                raise unreadable(path, self._autopsy(), "Re-encode it, or leave it out") from error
        if ok:
            return result
        if isinstance(result, MemoryError):
            raise unreadable(path, self._too_much(), "Re-encode it smaller, or leave it out") from result
        raise result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._stop()

    def __getstate__(self) -> dict[str, Any]:
        return {"timeout_s": self.timeout_s, "memory_bytes": self.memory_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _start(self) -> Connection:
        """The pipe to a living worker of this process."""
        if self._pipe is not None and self._worker is not None and self._owner == os.getpid() and self._worker.poll() is None:
            return self._pipe
        self._owner = os.getpid()
        self._pipe, far_end = Pipe()
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        # More BLAS threads than one would each take address space, which is what the memory limit counts.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "affectllm.media.worker", str(far_end.fileno()), str(self.memory_bytes)]
        self._worker = subprocess.Popen(words, pass_fds=[far_end.fileno()], env=environment, stdin=subprocess.DEVNULL)
        far_end.close()
        if not self._pipe.poll(START_S):
            self._stop()
            raise TimeoutError(f"the reading process did not start within {START_S:g} s")
        self._pipe.recv()
        return self._pipe

    def _stop(self) -> int:
        """End the worker and take down its exit status; a worker of the process this one was forked from is left alone."""
        status = 0
        if self._worker is not None and self._owner == os.getpid():
            self._worker.kill()
            status = self._worker.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._worker = self._pipe = None
        return status

    def _autopsy(self) -> str:
        """What to say about a worker that is gone."""
        assert self._worker is not None
        status = self._worker.wait()
        self._stop()
        return f"its decoder crashed (exit status {status})"

    def _too_much(self) -> str:
        return f"reading it takes more than {self.memory_bytes / MIB:.0f} MiB of memory"
