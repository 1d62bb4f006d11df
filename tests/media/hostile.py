"""Files that break readers, and what must come of each: frames by number, seconds of sound, words of the error."""

import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from tests.media.make import clip, picture, tone

FIVE = [5, 15, 25, 35, 45]
"""What five frames of the plain clip of 50 frames carry."""


class Case(NamedTuple):
    build: Callable[[Path], Path]
    frames: list[int] | str | None
    """Numbers of five frames, words of the error, or None for no video."""
    seconds: float | str | None
    """Length of the sound within 0.15 s, words of the error, or None for no audio."""


def plain(path: Path) -> Path:
    return clip(path, sound=tone(2))


def raw(content: bytes, name: str = "clip.mp4") -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def named(name: str | bytes) -> Callable[[Path], Path]:
    """A sound clip under a strange name."""

    def build(folder: Path) -> Path:
        target = folder / os.fsdecode(name)
        return plain(folder / "plain.mp4").rename(target)

    return build


def drawn(name: str, **how: object) -> Callable[[Path], Path]:
    return lambda folder: clip(folder / name, **how)  # type: ignore[arg-type]


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "clip.mp4")
    return folder / "clip.mp4"


def link(target: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / "clip.mp4").symlink_to(target)
        return folder / "clip.mp4"

    return build


def sub_folder(folder: Path) -> Path:
    (folder / "clip.mp4").mkdir()
    return folder / "clip.mp4"


def frame_folder(folder: Path) -> Path:
    """Frames 0..49, numbered without leading zeros."""
    path = sub_folder(folder)
    for i in range(50):
        Image.fromarray(picture(i)).save(path / f"frame{i}.png")
    return path


def odd_folder(folder: Path) -> Path:
    path = frame_folder(folder)
    Image.fromarray(picture(25, 96, 48)).save(path / "frame25.png")
    return path


def still(name: str, width: int = 64, height: int = 48) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        Image.fromarray(picture(7, width, height)).save(folder / "image.png")
        return (folder / "image.png").rename(folder / name)

    return build


def png_bomb(folder: Path) -> Path:
    """A PNG whose header announces 60000 x 60000 pixels."""
    path = still("bomb.png")(folder)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)
    return path


def crops(array: np.ndarray) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        np.save(folder / "face.npy", array, allow_pickle=True)
        return folder / "face.npy"

    return build


def short_npy(folder: Path) -> Path:
    path = crops(np.zeros((50, 8, 8, 3), np.uint8))(folder)
    os.truncate(path, 500)
    return path


def truncated(name: str, share: float, **how: object) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = clip(folder / name, frames=50, sound=tone(2), **how)  # type: ignore[arg-type]
        os.truncate(path, int(path.stat().st_size * share))
        return path

    return build


def bitten(share: float) -> Callable[[Path], Path]:
    """A clip with 200 random bytes somewhere in its pictures."""

    def build(folder: Path) -> Path:
        path = clip(folder / "bitten.mp4", sound=tone(2), muxer={"movflags": "faststart"})
        content = bytearray(path.read_bytes())
        at = int(len(content) * share)
        content[at : at + 200] = np.random.default_rng(0).bytes(200)
        path.write_bytes(content)
        return path

    return build


def no_moov(folder: Path) -> Path:
    path = plain(folder / "clip.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    return path


def moov_only(folder: Path) -> Path:
    path = clip(folder / "clip.mp4", sound=tone(2), muxer={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") - 4])
    return path


def cover(name: str, codec: str) -> Callable[[Path], Path]:
    """A song with a picture on its sleeve."""

    def build(folder: Path) -> Path:
        from tests.media.make import add_sound, mux_sound

        with av.open(str(folder / name), "w") as out:
            voice = add_sound(out, tone(2), codec, 16000)
            sleeve = out.add_stream("mjpeg", rate=1)
            sleeve.width, sleeve.height, sleeve.pix_fmt = 64, 48, "yuvj420p"  # type: ignore[union-attr]
            sleeve.disposition = av.stream.Disposition.attached_pic.value
            frame = av.VideoFrame.from_ndarray(picture(3), format="rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            packets = sleeve.encode(frame) + sleeve.encode(None)  # type: ignore[union-attr]
            out.mux(packets)
            mux_sound(out, voice, tone(2), 16000, 0)
        return folder / name

    return build


def wav(
    samples: bytes, announced: int | None = None, kind: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16
) -> Callable[[Path], Path]:
    """A WAV written by hand: `announced` is the size its header claims."""
    size = len(samples) if announced is None else announced
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    head = b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return raw(head + b"data" + struct.pack("<I", size) + samples, "sound.wav")


def poisoned() -> bytes:
    """2 s of float samples with NaN and both infinities in them."""
    samples = tone(2)
    samples[1000:1010], samples[2000], samples[3000] = np.nan, np.inf, -np.inf
    return samples.astype("<f4").tobytes()


def size_change(folder: Path) -> Path:
    """Two MPEG-TS clips of different sizes, one behind the other: frames at 0 to 0.96 s and at 1.12 to 2.08 s."""
    first = clip(folder / "a.ts", frames=25)
    second = clip(folder / "b.ts", frames=25, size=(128, 96), start_s=1.2)
    (folder / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    return folder / "both.ts"


PCM = (tone(2) * 32767).astype("<i2").tobytes()
VP9 = {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}
WHOLE = {"frames": FIVE, "seconds": 2.05}

CASES: dict[str, Case] = {
    "plain": Case(lambda folder: plain(folder / "clip.mp4"), FIVE, 2.05),
    "zero bytes": Case(raw(b""), "empty", "empty"),
    "one byte": Case(raw(b"\0"), "decoder says", "decoder says"),
    "only zeros": Case(raw(bytes(100_000)), "decoder says", "decoder says"),
    "random bytes": Case(raw(np.random.default_rng(1).bytes(50_000)), "decoder says", "decoder says"),
    "ftyp then random": Case(
        raw(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + np.random.default_rng(2).bytes(9_000)), "moov", "moov"
    ),
    "missing": Case(lambda folder: folder / "nothing.mp4", "No such file", "No such file"),
    "name with a zero byte": Case(lambda folder: folder / "a\0b.mp4", "null byte", "null byte"),
    "name too long": Case(lambda folder: folder / ("x" * 300), "too long", "too long"),
    "directory": Case(sub_folder, "folder without images", None),
    "fifo": Case(fifo, "pipe", "pipe"),
    "device": Case(lambda folder: Path("/dev/zero"), "device", "device"),
    "symlink loop": Case(link("clip.mp4"), "symbolic links", "symbolic links"),
    "dangling symlink": Case(link("gone.mp4"), "No such file", "No such file"),
    "html": Case(raw(b"\n<!DOCTYPE html><html><body>Sign in</body></html>"), "web page", "web page"),
    "lfs pointer": Case(raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "lfs", "lfs"),
    "subtitles": Case(raw("1\n00:00:00,000 --> 00:00:01,000\nHé\n".encode()), "text", "text"),
    "playlist": Case(raw(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "text", "text"),
    "concat list": Case(raw(b"ffconcat version 1.0\nfile '/etc/passwd'\n"), "text", "text"),
    "pickle": Case(raw(b"\x80\x04\x95\x0c\0\0\0\0\0\0\0\x8c\x08builtins."), "decoder says", "decoder says"),
    "zip": Case(raw(b"PK\x03\x04" + bytes(200)), "decoder says", "decoder says"),
    "no moov": Case(no_moov, "moov", "moov"),
    "moov only": Case(moov_only, "announces", "announces"),
    "mp4 named wav": Case(named("clip.wav"), FIVE, 2.05),
    "mp4 named png": Case(named("clip%03d.png"), FIVE, 2.05),
    "wav named mp4": Case(lambda folder: wav(PCM)(folder).rename(folder / "clip.mp4"), None, 2.0),
    "png named mp4": Case(still("clip.mp4"), [7], None),
    "audio only": Case(drawn("clip.mp4", frames=0, sound=tone(2)), None, 2.05),
    "video only": Case(drawn("clip.mp4"), FIVE, None),
    "one frame": Case(drawn("clip.mp4", frames=1), [0] * 5, None),
    "cover in mp3": Case(cover("song.mp3", "libmp3lame"), None, 2.0),
    "cover in m4a": Case(cover("song.mp4", "aac"), None, 2.05),
    # Frames at 0, 0.04, 0.08, 0.12, 0.16, 0.8 ... 0.92 and 2.0 s; five moments at 0.2, 0.61, 1.02, 1.43, 1.84 s.
    "variable rate": Case(drawn("v.mp4", frames=10, pts=[0, 1, 2, 3, 4, 20, 21, 22, 23, 50]), [4, 4, 8, 8, 8], None),
    "1000 fps": Case(drawn("clip.mp4", fps=1000), FIVE, None),
    "a frame in 1024 s": Case(
        drawn("clip.mkv", frames=3, pts=[0, 1024, 2048], time_base=Fraction(1)), [0, 0, 1, 1, 1], None
    ),
    "ten bits": Case(
        drawn("c.mp4", codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": "log-level=none"}), FIVE, None
    ),
    "alpha": Case(drawn("clip.mov", codec="qtrle", pix_fmt="argb"), FIVE, None),
    "alpha prores": Case(drawn("clip.mov", codec="prores_ks", pix_fmt="yuva444p10le"), FIVE, None),
    "grey": Case(drawn("clip.mkv", codec="ffv1", pix_fmt="gray"), FIVE, None),
    "odd size": Case(drawn("clip.mkv", codec="ffv1", pix_fmt="yuv444p", size=(67, 35)), FIVE, None),
    "tiny": Case(drawn("clip.mkv", codec="ffv1", pix_fmt="yuv444p", size=(8, 2)), FIVE, None),
    "palette gif": Case(drawn("clip.gif", codec="gif", pix_fmt="rgb8"), FIVE, None),
    "avi": Case(drawn("clip.mkv", codec="mpeg4", sound=tone(2), sound_codec="libmp3lame"), FIVE, 2.0),
    "mpeg-ts": Case(drawn("clip.ts", sound=tone(2)), FIVE, 2.1),
    "flv": Case(drawn("clip.flv", codec="libx264", sound=tone(2)), FIVE, 2.1),
    "fragmented": Case(drawn("c.mp4", sound=tone(2), muxer={"movflags": "frag_keyframe+empty_moov"}), FIVE, 2.1),
    "live webm": Case(drawn("clip.webm", muxer={"live": "1"}, **VP9), FIVE, None),
    "raw h264": Case(drawn("clip.h264"), "timestamps", None),
    "size change": Case(size_change, [5, 15, 24, 9, 19], None),
    "starts at an hour": Case(drawn("clip.mkv", sound=tone(2), start_s=3600), FIVE, 2.05),
    "ts starts at an hour": Case(drawn("clip.ts", sound=tone(2), start_s=3600), FIVE, 2.1),
    "sound starts late": Case(drawn("clip.mp4", sound=tone(1.5), sound_delay_s=0.5), FIVE, 2.05),
    "ten hours": Case(
        drawn("c.mp4", frames=3600, codec="mpeg4", size=(32, 32), pts=range(0, 36000, 10), time_base=Fraction(1)),
        "35990 s",
        None,
    ),
    "8-bit 8 kHz": Case(wav(bytes([128, 140] * 8000), rate=8000, bits=8), None, 2.0),
    "7.1": Case(drawn("c.wav", frames=0, sound=np.stack([tone(2)] * 8), sound_codec="pcm_f32le"), None, 2.0),
    "three channels": Case(wav(PCM * 3, channels=3), None, 2.0),
    "24 bits 96 kHz": Case(
        drawn("c.wav", frames=0, sound=tone(2, 96000), sound_rate=96000, sound_codec="pcm_s24le"), None, 2.0
    ),
    "nan samples": Case(wav(poisoned(), kind=3, bits=32), None, 2.0),
    "wav of 0xffffffff": Case(wav(PCM, 0xFFFFFFFF), None, 2.0),
    "wav of size 0": Case(wav(PCM, 0), None, 2.0),
    "wav without samples": Case(wav(b""), None, "no"),
    "wav cut off": Case(wav(PCM[:20000], len(PCM)), None, "cut off"),
    "wav of 0 Hz": Case(wav(PCM, rate=0), "decoder says", "decoder says"),
    "frame folder": Case(frame_folder, FIVE, None),
    "frames of two sizes": Case(odd_folder, "frame 25", None),
    "png bomb": Case(png_bomb, "Image size", None),
    "half a png": Case(
        lambda folder: (
            still("i.png", 200, 200)(folder).parent / "half.png"
            if (folder / "half.png").write_bytes(still("i.png", 200, 200)(folder).read_bytes()[:80])
            else folder
        ),
        "image decoder says",
        None,
    ),
    "face crops": Case(crops(np.stack([picture(i) for i in range(50)])), FIVE, None),
    "float crops": Case(crops(np.zeros((2, 8, 8, 3), np.float32)), "not uint8", None),
    "pickled crops": Case(crops(np.array([{"a": 1}], dtype=object)), "no plain .npy", None),
    "half an npy": Case(short_npy, "no plain .npy", None),
}
NAMES = {
    "unicode": "grüße 情感.mp4",
    "decomposed": "gru\u0308ße.mp4",
    "right to left": "\u202eفرح.mp4",
    "emoji": "😀👍🏽.mp4",
    "leading dash": "-i.mp4",
    "shell": "$(touch x);`y`&'\".mp4",
    "newline": "a\nb\x1b[31m.mp4",
    "colon": "http:clip.mp4",
    "pipe": "pipe:0",
    "no utf-8": b"\xff\xfe.mp4",
    "240 letters": "x" * 236 + ".mp4",
    "no extension": "clip",
    "dot": ".mp4",
}
CASES |= {f"name: {what}": Case(named(name), FIVE, 2.05) for what, name in NAMES.items()}
# Cut files must give the right frames or an error, see test_cut_files.
CUTS: dict[str, Callable[[Path], Path]] = {
    **{f"faststart {i}/21": truncated("c.mp4", i / 21, muxer={"movflags": "faststart"}) for i in range(1, 21)},
    **{f"mp4 {i}/11": truncated("c.mp4", i / 11) for i in range(1, 11)},
    **{f"mkv {i}/11": truncated("c.mkv", i / 11) for i in range(1, 11)},
    **{f"fragmented {i}/6": truncated("c.mp4", i / 6, muxer={"movflags": "frag_keyframe"}) for i in range(1, 6)},
    **{f"avi {i}/6": truncated("c.avi", i / 6, codec="mpeg4", sound_codec="libmp3lame") for i in range(1, 6)},
    **{f"bitten at {i}/9": bitten(i / 9) for i in range(1, 9)},
}
