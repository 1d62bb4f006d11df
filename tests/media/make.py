"""Clips drawn for tests: every frame carries its number as eight black or white bars, so content can be checked."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48
BITS = 8


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 (height, width, 3): the number in binary, one bar a bit, lowest bit left; the top quarter is grey."""
    bars = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
    image = np.repeat(np.repeat(bars, -(-width // BITS))[None, :width, None], 3, 2)
    image = np.repeat(image, height, 0)
    image[: height // 4] = 128
    return image


def number(image: np.ndarray) -> int:
    """The number that a drawn frame carries."""
    height, width = image.shape[:2]
    row = image[height * 5 // 8].mean(1)
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * width / BITS)] > 128)


def numbers(frames_THWC: np.ndarray) -> list[int]:
    return [number(image) for image in frames_THWC]


def tone(seconds: float, rate_hz: int = 16000, hz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    """float32 (samples,)"""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def clip(
    path: Path,
    frames: int = 50,
    fps: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    sound: np.ndarray | None = None,
    sound_codec: str = "aac",
    sound_rate: int = 16000,
    sound_delay_s: float = 0.0,
    start_s: float = 0.0,
    rotation: int = 0,
    format: str | None = None,
    muxer: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    gop: int = 12,
) -> Path:
    """A clip whose frame i carries i % 256, shown at `pts[i]` time_base units (i / fps seconds when not given).

    `sound` is float32 (samples,) or (channels, samples).
    """
    with av.open(str(path), "w", format=format, options=muxer or {}) as out:
        base = time_base or Fraction(1, fps)
        stream: Any = out.add_stream(codec, rate=fps) if frames else None
        if stream is not None:
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.codec_context.time_base = base
            stream.codec_context.gop_size = gop
            stream.codec_context.thread_count = 1
            if codec == "libx264":
                options = {"preset": "ultrafast", "bf": "2", "x264-params": "log-level=none", **(options or {})}
            stream.codec_context.options = options or {}
            if rotation:
                if not hasattr(stream.codec_context, "set_display_rotation"):
                    pytest.skip(f"PyAV {av.__version__} reads rotated clips and cannot make one")
                stream.set_display_rotation(rotation)
        voice: Any = add_sound(out, sound, sound_codec, sound_rate) if sound is not None else None
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i % 256, *size), format="rgb24")
            frame.pts = (i if pts is None else pts[i]) + round(start_s / base)
            frame.time_base = base
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode(None))
        if voice is not None and sound is not None:
            mux_sound(out, voice, sound, sound_rate, sound_delay_s + start_s)
    return path


def add_sound(out: Any, sound: np.ndarray, codec: str, rate_hz: int) -> Any:
    stream = out.add_stream(codec, rate=rate_hz)
    stream.layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[1 if sound.ndim == 1 else len(sound)]
    return stream


def mux_sound(out: Any, stream: Any, sound: np.ndarray, rate_hz: int, delay_s: float) -> None:
    sound = np.atleast_2d(sound)
    packed = np.ascontiguousarray(sound.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=stream.layout.name)
    frame.sample_rate = rate_hz
    frame.time_base = Fraction(1, rate_hz)
    frame.pts = round(delay_s * rate_hz)
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format.name, stream.layout.name, rate_hz, frame_size=size)
    for given in (frame, None):
        for piece in resampler.resample(given):
            out.mux(stream.encode(piece))
    out.mux(stream.encode(None))
