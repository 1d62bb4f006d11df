"""Look at a clip the way training does.

affectllm media probe FILE [--json] [--verify] [--hash]
affectllm media frames FILE --n 8 --out DIR
affectllm media audio FILE --out WAV
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from affectllm.errors import AffectError
from affectllm.jsonl import make_folder
from affectllm.media import Guard, probe, read_audio, read_frames
from affectllm.options import parse


@dataclass(frozen=True)
class Look:
    file: tyro.conf.Positional[Path]
    """A clip, an image, a folder of frames or an .npy of face crops."""
    json: bool = False
    """Print one JSON object instead of lines."""
    verify: bool = False
    """Decode everything: count frames and unusable samples."""
    hash: bool = False
    """Add the SHA-256 of the content."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Draw:
    file: tyro.conf.Positional[Path]
    """A clip, an image, a folder of frames or an .npy of face crops."""
    out: Path
    """Folder for the pictures, named by number and moment."""
    n: int | None = None
    """Frames at the centres of so many equal segments; 8 unless --fps is given."""
    fps: float | None = None
    """Frames a second instead."""
    start_s: float | None = None
    """Beginning of the span, in seconds of the clip."""
    end_s: float | None = None
    """End of the span, in seconds of the clip."""
    longest_side: int | None = None
    """Scale frames down to this many pixels."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Hear:
    file: tyro.conf.Positional[Path]
    """A clip with sound."""
    out: Path
    """WAV file to write: mono, 32-bit float."""
    rate_hz: int = 16000
    """Samples a second."""
    start_s: float | None = None
    """Beginning of the span, in seconds of the clip."""
    end_s: float | None = None
    """End of the span, in seconds of the clip."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


def run(words: list[str]) -> int:
    verbs: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
        "probe": (Look, show_probe),
        "frames": (Draw, save_frames),
        "audio": (Hear, save_audio),
    }
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] not in verbs:
        raise AffectError(f"No '{words[0]}' under 'affectllm media'. Known: {', '.join(verbs)}.")
    options, verb = verbs[words[0]]
    verb(parse(options, words[1:]))
    return 0


def show_probe(look: Look) -> None:
    with Guard(look.timeout_s) as guard:
        found = guard(probe, look.file, verify=look.verify, digest=look.hash)
    if look.json:
        print(found.model_dump_json())
        return
    for name, value in found.model_dump(exclude_none=True).items():
        if isinstance(value, list):
            for item in value:
                print(f"{name:<12} {item if isinstance(item, str) else json.dumps(item)}")
        else:
            print(f"{name:<12} {json.dumps(value) if isinstance(value, dict) else value}")


def save_frames(draw: Draw) -> None:
    from PIL import Image

    check_span(draw.start_s, draw.end_s)
    if (
        (draw.n is not None and draw.n < 1)
        or (draw.fps is not None and draw.fps <= 0)
        or (draw.n is not None and draw.fps is not None)
    ):
        raise AffectError("Give --n 1 or more, or --fps above 0, not both.")
    n = 8 if draw.n is None and draw.fps is None else draw.n
    with Guard(draw.timeout_s) as guard:
        found = guard(read_frames, draw.file, n, draw.fps, draw.start_s, draw.end_s, draw.longest_side)
    if found is None:
        raise AffectError(f"{draw.file} has no video. Give a clip with pictures.")
    make_folder(draw.out)
    for i, (picture, moment_s) in enumerate(zip(found.frames_THWC, found.times_s, strict=True)):
        Image.fromarray(picture).save(draw.out / f"{i:04d}_{moment_s:09.3f}s.png")
    print(f"{len(found.times_s)} frames in {draw.out}")


def save_audio(hear: Hear) -> None:
    from scipy.io import wavfile

    check_span(hear.start_s, hear.end_s)
    if hear.rate_hz < 1:
        raise AffectError(f"--rate-hz must be at least 1, it is {hear.rate_hz}.")
    with Guard(hear.timeout_s) as guard:
        samples = guard(read_audio, hear.file, hear.rate_hz, hear.start_s, hear.end_s)
    if samples is None:
        raise AffectError(f"{hear.file} has no audio. Give a clip with sound.")
    make_folder(hear.out.parent)
    try:
        wavfile.write(hear.out, hear.rate_hz, samples)
    except OSError as error:
        raise AffectError(f"Cannot write {hear.out}: {error.strerror}. Choose another file.") from error
    print(f"{len(samples) / hear.rate_hz:.2f} s in {hear.out}")


def check_span(start_s: float | None, end_s: float | None) -> None:
    if (start_s or 0) < 0 or (end_s is not None and end_s <= (start_s or 0)):
        raise AffectError(f"A span needs 0 <= --start-s < --end-s, got {start_s} and {end_s}.")
