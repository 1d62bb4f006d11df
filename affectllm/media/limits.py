"""How much of a file is trusted and unpacked, and the error that says that a file cannot be used."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from affectllm.errors import AffectError

MIB = 1 << 20


class Unreadable(AffectError):  # noqa: N818
    """The error for a file without usable frames or audio: it names the file, what was seen and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one file may cost. A clip beyond a limit is refused with an error and never silently cut."""

    file_bytes: int = 8 * 1024 * MIB
    """Size of the file on disk."""
    duration_s: float = 4 * 3600
    """Length of the clip by its own timestamps."""
    pixels: int = 8192 * 4320
    """Width times height of one frame."""
    packets: int = 2_000_000
    """Number of compressed packets, which limits frames if timestamps are wrong."""
    decoded_bytes: int = 768 * MIB
    """Frames (RGB, 3 bytes a pixel) or samples (4 bytes each) that one call hands back."""
    timeout_s: float = 60
    """Seconds that one call may read and decode; a decoder that never comes back needs `guard.Guard`."""


LIMITS = Limits()


class Deadline:
    """A moment after which reading stops."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise Unreadable when the time is up."""
        if time.monotonic() > self.end:
            raise unreadable(
                self.path, f"reading took longer than {self.seconds:g} s", "Re-encode it, or raise the time-out"
            )


def unreadable(path: Path, seen: str, remedy: str) -> Unreadable:
    """The error in the form that all refusals have: the file, what was seen, what to do."""
    return Unreadable(f"Cannot read {show(path)}: {seen}. {remedy}.")


def show(path: Path) -> str:
    """A path that fits on one printed line, whatever bytes its name holds.

    >>> show(Path("a\\nb.mp4"))
    'a\\\\nb.mp4'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def check_size(path: Path, bytes_found: int, limits: Limits) -> None:
    if bytes_found > limits.file_bytes:
        seen = f"it has {bytes_found / MIB:.0f} MiB, more than the limit of {limits.file_bytes / MIB:.0f} MiB"
        raise unreadable(path, seen, "Cut it into clips")


def check_picture(path: Path, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        seen = f"its frames have {width}x{height} pixels, more than the limit of {limits.pixels}"
        raise unreadable(path, seen, "Scale it down")


def check_length(path: Path, seconds: float, limits: Limits) -> None:
    if seconds > limits.duration_s:
        seen = f"it lasts {seconds:.0f} s, longer than the limit of {limits.duration_s:.0f} s"
        raise unreadable(path, seen, "Cut it into clips")


def check_result(path: Path, bytes_asked: float, limits: Limits) -> None:
    if bytes_asked > limits.decoded_bytes:
        asked, limit = bytes_asked / MIB, limits.decoded_bytes / MIB
        seen = f"the result would take {asked:.0f} MiB, more than the limit of {limit:.0f} MiB"
        raise unreadable(path, seen, "Ask for fewer frames, smaller ones (longest_side) or a shorter span")
