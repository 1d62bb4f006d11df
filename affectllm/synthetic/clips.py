"""From a plan to a real mp4 file: drawn frames, spoken sentence, h264 and flac.

One seed gives the same frames and samples everywhere: what is computed is exact (exact.py, whole numbers), and both
encoders are set to the paths on which nothing depends on the CPU.
"""

import os
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np

from affectllm.errors import AffectError
from affectllm.synthetic.exact import bell, noise
from affectllm.synthetic.faces import EXPRESSIONS, Expression, Identity, draw_face, draw_identity
from affectllm.synthetic.script import VARIANTS, VOICES, ClipPlan
from affectllm.synthetic.voices import FULL_SCALE, PROSODIES, RATE_HZ, Speaker, draw_speaker, speak

PARTIAL = ".partial-"
"""Prefix of the name of a clip that is being written."""
ONSET_S = 0.8
"""The face moves from near rest to the full expression within this time."""
H264 = {"preset": "ultrafast", "qp": "26", "x264-params": "asm=0"}
"""Options of x264 that do not depend on the CPU. With AVX-512 the macroblock tree of slower presets gives other bytes
from run to run; without it and at a fixed quantiser `veryfast` still gives other bytes with SSE2 than with SSSE3.
This preset gives the same bytes with all instruction sets, and `asm=0` makes every CPU run the same C code as well."""


def person_of(seed: int, split: str, identity: int) -> tuple[Identity, Speaker]:
    """Looks and voice of one person of a split."""
    rng = Random(f"{seed}/{split}/person {identity}")
    return draw_identity(rng), draw_speaker(rng, VOICES[split], VARIANTS[split])


def render(plan: ClipPlan, seed: int, size: int, fps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, size, size, 3) uint8 and the wave (samples,) float32 at 16 kHz of a plan, on every machine alike."""
    rng = Random(plan.seed)
    person, speaker = person_of(seed, plan.split, plan.identity)
    rest = EXPRESSIONS["neutral"]
    full = rest.towards(EXPRESSIONS[plan.face], plan.intensity)
    full = Expression(*(value + 0.06 * bell(rng) for value in astuple(full)))
    prosody = PROSODIES["neutral"].towards(PROSODIES[plan.voice], plan.intensity)
    wave = speak(plan.sentence, speaker, prosody, rng)
    light = np.float32(rng.uniform(0.75, 1.15))
    grain = 4 * noise(rng.getrandbits(32), 12 * size**2).reshape(2 * size, 2 * size, 3)
    loudness = envelope(wave, fps)
    frames = []
    for i, level in enumerate(loudness):
        face = draw_face(person, rest.towards(full, min(1.0, 0.35 + i / (fps * ONSET_S))), i / fps, level, size)
        frames.append((face * light + cut(grain, size, rng)).clip(0, 255).astype(np.uint8))
    return np.stack(frames), wave


def cut(grain: np.ndarray, size: int, rng: Random) -> np.ndarray:
    """A square of camera noise from a random place: fresh noise would take as long as all the drawing."""
    top, left = (rng.randrange(grain.shape[0] - size + 1) for _ in range(2))
    return grain[top : top + size, left : left + size]


def envelope(wave: np.ndarray, fps: int) -> np.ndarray:
    """Loudness of each video frame's stretch of sound, the loudest being 1."""
    step = RATE_HZ // fps
    # 16-bit samples add up exactly in float64, in whatever order a CPU adds them.
    levels = np.abs(wave[: len(wave) // step * step]).reshape(-1, step).mean(1, dtype=np.float64)
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
    """An mp4 of h264 and flac, from uint8 frames and a float wave of 16-bit samples at 16 kHz.

    The bytes depend on the versions of the encoders, not on the machine. FLAC gives back every sample; AAC would be
    computed in floats, by the encoder and again by each decoder.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        picture = container.add_stream("libx264", rate=fps)
        picture.height, picture.width = frames_THWC.shape[1:3]
        picture.pix_fmt = "yuv420p"
        picture.options = dict(H264)
        # One thread: clips are made side by side, and the file does not depend on the machine's cores.
        picture.thread_count = 1
        # Linear prediction is off, since its coefficients are floats.
        sound = container.add_stream("flac", rate=RATE_HZ, layout="mono", options={"lpc_type": "fixed"})
        for frame in frames_THWC:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(planes(frame), format="yuv420p")))
        container.mux(picture.encode())
        samples = av.AudioFrame.from_ndarray((wave * FULL_SCALE).astype(np.int16)[None], format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        container.mux(sound.encode(samples))
        container.mux(sound.encode())


def planes(frame_HWC: np.ndarray) -> np.ndarray:
    """The frame as YUV 4:2:0 (BT.601, narrow range), its planes one under the other: (height * 3 / 2, width) uint8.

    In whole numbers, since FFmpeg's own conversion rounds in one way without SIMD and in another with it.
    """
    rgb = np.ascontiguousarray(frame_HWC.transpose(2, 0, 1), np.int32)
    red, green, blue = rgb
    luma = (66 * red + 129 * green + 25 * blue + 128 >> 8) + 16
    # Colour has half the resolution: sums of two by two pixels.
    rows = rgb[:, ::2] + rgb[:, 1::2]
    red, green, blue = rows[:, :, ::2] + rows[:, :, 1::2]
    blueness = (112 * blue - 38 * red - 74 * green + 512 >> 10) + 128
    redness = (112 * red - 94 * green - 18 * blue + 512 >> 10) + 128
    pixels = np.concatenate([luma.ravel(), blueness.ravel(), redness.ravel()])
    return pixels.astype(np.uint8).reshape(-1, frame_HWC.shape[1])


def is_whole(path: Path) -> bool:
    """Whether the file is a finished clip: an mp4 gets its index, without which it does not open, at the very end."""
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video and container.streams.audio)
    except (FileNotFoundError, av.error.InvalidDataError, av.error.EOFError):
        return False
