"""One progress bar with the time left, for every long step; plain lines where there is no terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
LINE_EVERY_S = 15.0


def progress(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """The items one by one, with a bar on a terminal and a line now and then in a log file."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=title, total=total, console=Console(stderr=True))
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY_S or done == total:
            left_s = (now - start) / done * (total - done)
            print(f"{title}: {done}/{total}, {left_s:.0f} s left", file=sys.stderr, flush=True)
            last = now
