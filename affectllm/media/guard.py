"""A second process that reads files: a file that makes a decoder hang, crash or swell costs one error only."""

import os
import pickle
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
# Starting Python and its imports does not depend on the file and has its own, generous time limit.
START_S = 60.0
REMEDY = "Re-encode it, or leave it out"


class Guard:
    """Calls functions in a worker process with a time-out and a memory limit for each call.

        with Guard() as guard:
            frames = guard(read_frames, path, n=8)

    The function's first argument is the file, which errors name; it must be a function of an importable module. What
    it raises is raised here. A call that runs out of time or memory, or crashes, raises Unreadable, and the next call
    gets a new worker. A Guard serves one call at a time; carried into another process (a DataLoader's) it starts a
    worker of its own there. The memory limit counts what the call adds and holds on Linux only.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self.timeout_s, self.memory_bytes = timeout_s, memory_bytes
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._owner = os.getpid()

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        path = Path(str(args[0]))
        with self._lock:
            try:
                ok, result = self._ask(pickle.dumps((function, args, kwargs)))
            except TimeoutError as error:
                self._stop()
                raise unreadable(path, f"reading took longer than {self.timeout_s:g} s", REMEDY) from error
            except (EOFError, ConnectionError) as error:
                assert self._worker is not None
                status = self._worker.wait()
                self._stop()
                raise unreadable(path, f"its decoder crashed (exit status {status})", REMEDY) from error
        if ok:
            return result
        if isinstance(result, MemoryError):
            seen = f"reading it takes more than {self.memory_bytes / MIB:.0f} MiB of memory"
            raise unreadable(path, seen, "Scale it down, or leave it out") from result
        raise result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._stop()

    def __del__(self) -> None:
        self._stop()

    def __getstate__(self) -> dict[str, Any]:
        return {"timeout_s": self.timeout_s, "memory_bytes": self.memory_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _ask(self, question: bytes) -> tuple[bool, Any]:
        """Send a call and wait for its answer: (True, result) or (False, exception)."""
        pipe = self._start()
        pipe.send_bytes(question)
        if not pipe.poll(self.timeout_s):
            raise TimeoutError
        arrays = [bytearray(size) for size in pickle.loads(pipe.recv_bytes())]
        told = pipe.recv_bytes()
        for array in arrays:
            pipe.recv_bytes_into(array)
        return pickle.loads(told, buffers=arrays)

    def _start(self) -> Connection:
        """The pipe to a living worker of this process."""
        if self._owner != os.getpid():
            # Forked: worker and pipe belong to the parent.
            self._worker = self._pipe = None
            self._owner = os.getpid()
        if self._pipe is not None and self._worker is not None and self._worker.poll() is None:
            return self._pipe
        self._stop()
        self._pipe, far_end = Pipe()
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        words = [sys.executable, "-m", "affectllm.media.worker", str(far_end.fileno()), str(self.memory_bytes)]
        self._worker = subprocess.Popen(words, pass_fds=[far_end.fileno()], env=environment, stdin=subprocess.DEVNULL)
        far_end.close()
        if not self._pipe.poll(START_S):
            self._stop()
            raise RuntimeError(f"the reading process did not start within {START_S:g} s")
        self._pipe.recv_bytes()
        return self._pipe

    def _stop(self) -> None:
        """End the worker, if this process has one."""
        if self._worker is not None and self._owner == os.getpid():
            self._worker.kill()
            self._worker.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._worker = self._pipe = None
