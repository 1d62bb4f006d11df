"""The process behind `guard.Guard`: takes calls from a pipe, answers with a result or an exception."""

import os
import pickle
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path


def main(descriptor: int, memory_bytes: int) -> None:
    import affectllm.media.audio
    import affectllm.media.decode
    import affectllm.media.probe  # noqa: F401

    pipe = Connection(descriptor)
    limit_memory(memory_bytes)
    pipe.send("ready")
    while True:
        try:
            function, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*args, **kwargs))
        except Exception as error:
            answer = (False, portable(error))
        pipe.send(answer)
        del answer


def limit_memory(more_bytes: int) -> None:
    """Allow this much address space beyond what the interpreter and its libraries have taken."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if os.path.exists("/proc/self/statm") else 0
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + more_bytes, hard))


def portable(error: Exception) -> Exception:
    """The error itself where it can be sent, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
