"""From a plan to a real mp4 file: drawn frames, spoken sentence, h264 and aac."""

import os
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np

from affectllm.errors import AffectError
from affectllm.synthetic.faces import EXPRESSIONS, Expression, Identity, draw_face, draw_identity
from affectllm.synthetic.script import VARIANTS, VOICES, ClipPlan
from affectllm.synthetic.voices import PROSODIES, RATE_HZ, Speaker, draw_speaker, speak

PARTIAL = ".partial-"
"""Begins the name of a clip that is being written."""
ONSET_S = 0.8
"""The face moves from near rest to the full expression within this time."""


def person_of(seed: int, split: str, identity: int) -> tuple[Identity, Speaker]:
    """Looks and voice of one person of a split."""
    rng = Random(f"{seed}/{split}/person {identity}")
    return draw_identity(rng), draw_speaker(rng, VOICES[split], VARIANTS[split])


def render(plan: ClipPlan, seed: int, size: int, fps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, size, size, 3) uint8 and the wave (samples,) float32 at 16 kHz of a plan."""
    rng = Random(plan.seed)
    person, speaker = person_of(seed, plan.split, plan.identity)
    rest = EXPRESSIONS["neutral"]
    full = rest.towards(EXPRESSIONS[plan.face], plan.intensity)
    full = Expression(*(value + rng.gauss(0, 0.06) for value in astuple(full)))
    prosody = PROSODIES["neutral"].towards(PROSODIES[plan.voice], plan.intensity)
    wave = speak(plan.sentence, speaker, prosody, rng)
    light, noise = np.float32(rng.uniform(0.75, 1.15)), np.random.default_rng(rng.getrandbits(32))
    grain = 4 * noise.standard_normal((2 * size, 2 * size, 3), np.float32)
    loudness = envelope(wave, fps)
    frames = []
    for i, level in enumerate(loudness):
        face = draw_face(person, rest.towards(full, min(1.0, 0.35 + i / (fps * ONSET_S))), i / fps, level, size)
        frames.append((face * light + cut(grain, size, noise)).clip(0, 255).astype(np.uint8))
    return np.stack(frames), wave


def cut(grain: np.ndarray, size: int, noise: np.random.Generator) -> np.ndarray:
    """A square of camera noise from a random place: fresh noise would take as long as all the drawing."""
    top, left = noise.integers(0, grain.shape[0] - size + 1, 2)
    return grain[top : top + size, left : left + size]


def envelope(wave: np.ndarray, fps: int) -> np.ndarray:
    """Loudness of each video frame's stretch of sound, the loudest being 1."""
    step = RATE_HZ // fps
    levels = np.abs(wave[: len(wave) // step * step]).reshape(-1, step).mean(1)
    return levels / (np.max(levels) + 1e-6)


def write_clip(path: Path, plan: ClipPlan, seed: int, size: int, fps: int) -> None:
    """Write the clip in one step: a kill leaves no half file under its name."""
    frames, wave = render(plan, seed, size, fps)
    partial = path.with_name(f"{PARTIAL}{path.stem}.{os.getpid()}.mp4")
    try:
        encode(partial, frames, wave, fps)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AffectError(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


def encode(path: Path, frames_THWC: np.ndarray, wave: np.ndarray, fps: int) -> None:
    """An mp4 of h264 and aac, from uint8 frames and a float wave at 16 kHz."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=fps)
        picture.height, picture.width = frames_THWC.shape[1:3]
        picture.pix_fmt = "yuv420p"
        picture.options = {"crf": "23", "preset": "veryfast"}
        # One thread: clips are made side by side, and the file does not depend on the machine's cores.
        picture.thread_count = 1
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono", options={"aac_coder": "fast"})
        for frame in frames_THWC:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(picture.encode())
        samples = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        container.mux(sound.encode(samples))
        container.mux(sound.encode())


def is_whole(path: Path) -> bool:
    """Whether the file is a finished clip: an mp4 gets its index, without which it does not open, at the very end."""
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video and container.streams.audio)
    except (FileNotFoundError, av.error.InvalidDataError):
        return False
