"""Many clips drawn at once, in several processes that end with the command."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from affectllm.errors import AffectError
from affectllm.synthetic.script import ClipPlan


class Job(NamedTuple):
    """A clip to draw, and how."""

    path: Path
    plan: ClipPlan
    seed: int
    size: int
    """Side of the square picture in pixels."""
    fps: int


def drawn(jobs: list[Job], workers: int) -> Iterator[None]:
    """Yield one item for each clip when it is finished."""
    if workers == 1:
        yield from map(draw, jobs)
        return
    # The processes are fresh: a fork would inherit the threads of numpy and PyAV.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_with_parent) as pool:
        try:
            yield from pool.map(draw, jobs, chunksize=4)
        except BrokenProcessPool as error:
            raise AffectError(
                "A drawing process was killed, perhaps because memory ran out. "
                "Run the same command again: it continues where it stopped. Use fewer --workers if it fails again."
            ) from error


def leave_with_parent() -> None:
    """End this worker when the command is killed; otherwise it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None, "called in a worker only"

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def draw(job: Job) -> None:
    from affectllm.synthetic.clips import write_clip

    write_clip(*job)


def versions() -> dict[str, str]:
    """The versions of the packages that draw, speak and encode: other versions may give other bytes."""
    return {name: version(name) for name in ("av", "espeakng-loader", "numpy", "pillow", "scipy")}
