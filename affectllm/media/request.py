"""Which frames are asked for, and at which moments of a clip they are."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from affectllm.media.limits import Limits, check_result, unreadable
from affectllm.media.timeline import TIE_S


class Frames(NamedTuple):
    frames_THWC: np.ndarray
    """uint8 RGB, upright."""
    times_s: np.ndarray
    """float64 (T,): the moments asked for."""


class Request(NamedTuple):
    """Which frames of a clip are wanted; see `read_frames`."""

    n: int | None
    fps: float | None
    start_s: float | None
    end_s: float | None
    longest_side: int | None


def check_request(request: Request) -> None:
    """Raise ValueError for what no clip could answer: these are mistakes of the calling code."""
    n, fps, start_s, end_s, longest_side = request
    if (n is not None and n < 1) or (fps is not None and not 0 < fps < np.inf) or (n is not None and fps is not None):
        raise ValueError(f"frames are asked for by n >= 1 or by fps > 0, not by n={n}, fps={fps}")
    if not (start_s or 0) >= 0 or (end_s is not None and not end_s > (start_s or 0)):
        raise ValueError(f"a span needs 0 <= start_s < end_s, got start_s={start_s}, end_s={end_s}")
    if longest_side is not None and longest_side < 1:
        raise ValueError(f"longest_side must be at least 1 pixel, got {longest_side}")


def moments(
    path: Path, request: Request, shown_s: np.ndarray, clip_end_s: float, frame_bytes: float, limits: Limits
) -> np.ndarray:
    """float64 (T,): the moments at which the frames of a clip with frames at `shown_s` are taken."""
    start_s = float(shown_s[0]) if request.start_s is None else request.start_s
    end_s = clip_end_s if request.end_s is None else min(request.end_s, clip_end_s)
    if start_s >= end_s:
        raise unreadable(
            path,
            f"its video ends at {clip_end_s:.2f} s, and {start_s:.2f} s was asked for",
            "Correct the span of this clip",
        )
    if request.n is None and request.fps is None:
        inside = (shown_s >= start_s - TIE_S) & (shown_s < end_s)
        check_result(path, inside.sum() * frame_bytes, limits)
        return np.unique(shown_s[inside])
    count = request.n or max(1, round((end_s - start_s) * (request.fps or 0)))
    check_result(path, count * frame_bytes, limits)
    return start_s + (np.arange(count) + 0.5) * (end_s - start_s) / count


def fit(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """(width, height) scaled down, never up, to a longest side, keeping the shape."""
    scale = min(1.0, (longest_side or max(width, height)) / max(width, height, 1))
    return max(1, round(width * scale)), max(1, round(height * scale))
