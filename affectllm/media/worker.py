"""The process behind `guard.Guard`: takes calls from a pipe, answers with a result or an exception."""

import pickle
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# Imported before the limit is set, so that it counts what files need and not what libraries do.
import av  # noqa: F401
import numpy as np  # noqa: F401

import affectllm.media  # noqa: F401


def main(descriptor: int, memory_bytes: int) -> None:
    pipe = Connection(descriptor)
    limit_memory(memory_bytes)
    pipe.send_bytes(b"ready")
    while True:
        try:
            question = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(answer(question))


def answer(question: bytes) -> bytes:
    """The pickled result of a pickled call, or its exception; one that cannot be pickled is told in words."""
    try:
        function, args, kwargs = pickle.loads(question)
        return pickle.dumps((True, function(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps((False, portable(error)))


def portable(error: Exception) -> Any:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def limit_memory(more_bytes: int) -> None:
    """Allow this much private memory beyond what the interpreter and its libraries have taken (Linux only)."""
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        return
    taken = int(sizes.read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + more_bytes, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
