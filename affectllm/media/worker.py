"""The process that `guard.Guard` starts: it takes calls from a pipe and answers with a result or an exception."""

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
        except (EOFError, ConnectionError):
            # The process that asked has ended, or was killed.
            return
        for piece in answer(question):
            pipe.send_bytes(piece)


def answer(question: bytes) -> list[bytes | memoryview]:
    """The result of a pickled call, or its exception: the sizes of the arrays in it, the pickle, the arrays.

    Arrays are sent apart from the pickle: a copy of large frames would not fit into the memory limit.
    """
    arrays: list[memoryview] = []
    try:
        function, args, kwargs = pickle.loads(question)
        result = function(*args, **kwargs)
        told = pickle.dumps((True, result), protocol=5, buffer_callback=lambda array: arrays.append(array.raw()))
    except Exception as error:
        arrays.clear()
        told = pickle.dumps((False, portable(error)))
    return [pickle.dumps([array.nbytes for array in arrays]), told, *arrays]


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
