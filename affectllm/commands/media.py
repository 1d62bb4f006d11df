"""Look at a clip the way training does.

affectllm media probe FILE [--json] [--verify] [--hash]
affectllm media frames FILE --n 8 --out DIR
affectllm media audio FILE --out WAV
affectllm media subtitle FILE [--model openai/whisper-small] [--json]
affectllm media faces FILE [--fps 5] [--out DIR] [--json]
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import tyro

from affectllm import jsonl
from affectllm.commands.verbs import Verb
from affectllm.errors import AffectError
from affectllm.jsonl import make_folder
from affectllm.media import Frames, Guard, probe, read_audio, read_frames
from affectllm.media.audio import RATE_HZ

if TYPE_CHECKING:
    from affectllm.media.tracks import Track


@dataclass(frozen=True)
class Look:
    file: tyro.conf.Positional[Path]
    """File to read: a clip, an image, a folder of frames or an .npy of face crops."""
    json: bool = False
    """Print one JSON object instead of lines of text."""
    verify: bool = False
    """Decode the whole file, and count its frames and unusable samples."""
    hash: bool = False
    """Also print the SHA-256 of the content."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Draw:
    file: tyro.conf.Positional[Path]
    """File to read: a clip, an image, a folder of frames or an .npy of face crops."""
    out: Path
    """Folder for the pictures, named by number and moment."""
    n: int | None = None
    """Number of frames, each at the centre of one of as many equal segments. It is 8 unless --fps is given."""
    fps: float | None = None
    """Number of frames per second. Give it or --n, not both."""
    start_s: float | None = None
    """Beginning of the span, in seconds of the clip."""
    end_s: float | None = None
    """End of the span, in seconds of the clip."""
    longest_side: int | None = None
    """Scale frames down until neither side has more pixels than this."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Hear:
    file: tyro.conf.Positional[Path]
    """Clip with audio to read."""
    out: Path
    """WAV file to write: mono, 32-bit float."""
    rate_hz: int = RATE_HZ
    """Number of samples per second."""
    start_s: float | None = None
    """Beginning of the span, in seconds of the clip."""
    end_s: float | None = None
    """End of the span, in seconds of the clip."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Listen:
    file: tyro.conf.Positional[Path]
    """Clip with audio to read."""
    model: str = "nano"
    """Speech model: nano (English), or a folder or hub name of a Whisper."""
    language: str | None = None
    """Language of what is said, for multilingual models. Without it, they guess."""
    json: bool = False
    """Print one JSON object instead of the text."""
    timeout_s: float = 10.0
    """Seconds after which the decoder is stopped."""


@dataclass(frozen=True)
class Follow:
    file: tyro.conf.Positional[Path]
    """Clip to search for faces."""
    fps: float = 5.0
    """Number of frames per second that are searched for faces."""
    start_s: float | None = None
    """Beginning of the span, in seconds of the clip."""
    end_s: float | None = None
    """End of the span, in seconds of the clip."""
    out: Path | None = None
    """Folder for the face crops, named by face, number and moment."""
    json: bool = False
    """Print one JSON object instead of a line per face."""
    timeout_s: float = 30.0
    """Seconds after which the decoder is stopped."""


def show_probe(look: Look) -> None:
    """What a clip holds: its streams, their lengths and rates, and what is wrong with it.

    affectllm media probe clip.mp4 --json
    """
    with Guard(look.timeout_s) as guard:
        found = guard(probe, look.file, verify=look.verify, digest=look.hash)
    if look.json:
        print(jsonl.dumps(found))
        return
    for name, value in msgspec.to_builtins(found).items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                print(f"{name:<12} {json.dumps(item) if isinstance(item, dict) else item}")


def save_frames(draw: Draw) -> None:
    """The frames that a model would be given, as pictures.

    affectllm media frames clip.mp4 --n 8 --out frames/
    """
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
    """The sound that a model would be given, as a WAV file.

    affectllm media audio clip.mp4 --out clip.wav
    """
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


def show_subtitle(listen: Listen) -> None:
    """What is said in a clip, as a Whisper model hears it.

    affectllm media subtitle clip.mp4 --model openai/whisper-small --json
    """
    from affectllm.models.speech import transcribe

    with Guard(listen.timeout_s) as guard:
        samples = guard(read_audio, listen.file)
    if samples is None:
        raise AffectError(f"{listen.file} has no audio. Give a clip with sound.")
    found = transcribe(samples, listen.model, listen.language)
    if listen.json:
        print(json.dumps({"subtitle": found.text, "automatic": True, "model": found.model}, ensure_ascii=False))
    else:
        print(found.text or "(nothing was said)")


def show_faces(follow: Follow) -> None:
    """The faces in a clip, each followed through it, and whose mouth moves with the sound.

    affectllm media faces clip.mp4 --fps 5 --out faces/
    """
    from affectllm.media.faces import FaceDetector
    from affectllm.media.tracks import speaking, track_faces
    from affectllm.models import nano

    check_span(follow.start_s, follow.end_s)
    detector = FaceDetector.load(nano.require() / "face_detector.safetensors")
    with Guard(follow.timeout_s) as guard:
        found = guard(read_frames, follow.file, fps=follow.fps, start_s=follow.start_s, end_s=follow.end_s)
        samples = guard(read_audio, follow.file, start_s=follow.start_s, end_s=follow.end_s)
    if found is None:
        raise AffectError(f"{follow.file} has no video. Give a clip with pictures.")
    tracks = track_faces(found.frames_THWC, detector)
    since_s = found.times_s - (follow.start_s or 0.0)
    voices = speaking(tracks, found.frames_THWC, since_s, samples) if samples is not None else [None] * len(tracks)
    rows = [describe(track, found.times_s, voice) for track, voice in zip(tracks, voices, strict=True)]
    if follow.out:
        save_crops(tracks, found, follow.out)
    if follow.json:
        print(json.dumps({"frames": len(found.times_s), "faces": rows}))
        return
    print(f"{len(rows)} faces in {len(found.times_s)} frames")
    for row in rows:
        voice = "" if row["speaking"] is None else f", mouth and sound {row['speaking']:+.2f}"
        print(f"face {row['id']}: {row['first_s']:.2f}-{row['last_s']:.2f} s, {len(row['boxes'])} frames{voice}")


def describe(track: "Track", times_s: np.ndarray, voice: float | None) -> dict[str, Any]:
    """One face: when it is seen, and where at each moment."""
    seen = np.flatnonzero(track.seen)
    boxes = [
        {
            "s": round(float(times_s[t]), 3),
            "box": [round(float(x), 1) for x in track.boxes[t]],
            "score": round(float(track.scores[t]), 3),
        }
        for t in seen
    ]
    return {"id": track.id, "first_s": boxes[0]["s"], "last_s": boxes[-1]["s"], "speaking": voice, "boxes": boxes}


def save_crops(tracks: "list[Track]", found: Frames, out: Path) -> None:
    from PIL import Image

    from affectllm.media.faces import square_around

    make_folder(out)
    for track in tracks:
        for i, t in enumerate(np.flatnonzero(track.seen)):
            picture = Image.fromarray(found.frames_THWC[t]).crop(square_around(track.boxes[t]))
            picture.save(out / f"face{track.id}_{i:04d}_{found.times_s[t]:09.3f}s.png")


def check_span(start_s: float | None, end_s: float | None) -> None:
    if (start_s or 0) < 0 or (end_s is not None and end_s <= (start_s or 0)):
        raise AffectError(f"A span needs 0 <= --start-s < --end-s, got {start_s} and {end_s}.")


VERBS = {
    "probe": Verb(Look, show_probe),
    "frames": Verb(Draw, save_frames),
    "audio": Verb(Hear, save_audio),
    "subtitle": Verb(Listen, show_subtitle),
    "faces": Verb(Follow, show_faces),
}
