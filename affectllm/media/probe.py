"""What a file holds according to its packets. The header is only compared with them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from affectllm.files import file_hash
from affectllm.media import stills
from affectllm.media.audio import RATE_HZ, decode_sound
from affectllm.media.limits import LIMITS, Deadline, Limits, Unreadable, show, unreadable
from affectllm.media.sampler import Sampler, quarter_turns
from affectllm.media.source import Kind, audio_stream, look, open_media, video_stream
from affectllm.media.timeline import Timeline, check_whole, scan
from affectllm.records import Record, nothing

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.stream import Stream
    from av.video.stream import VideoStream

# Outside of these, a frame rate is a placeholder (0, 1/1024, 1000, 90000 were seen), not a rate.
SANE_FPS = (0.5, 300.0)
# A track that starts this much after the other gets a note; the delays of encoders are shorter.
LATE_S = 0.2


class Video(Record, kw_only=True):
    """The picture track that `read_frames` reads."""

    codec: str | None
    width: int
    """Width and height as shown, after rotation."""
    height: int
    rotation: int
    """Quarter turns already taken into account, in degrees counterclockwise."""
    fps: float | None
    """Frame rate by the timestamps. None for a single frame or a rate that no camera has."""
    variable_rate: bool
    frames: int
    """Number of packets that are shown."""
    frames_decoded: int | None = None
    """Number of frames that could be decoded, counted on demand."""
    pixel_format: str | None
    start_s: float
    duration_s: float


class Audio(Record, kw_only=True):
    """The sound track that `read_audio` reads."""

    codec: str | None
    rate_hz: int
    channels: int
    layout: str | None
    start_s: float
    duration_s: float
    bad_samples: int | None = None
    """Number of NaN and infinite samples (at 16 kHz mono), which are read as 0; counted on demand."""


class StreamInfo(Record):
    """Any stream, used or not."""

    index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment", "cover", "unknown"]
    codec: str | None


class Probe(Record):
    """One clip. `video` and `audio` are None when the file has none: cover art is not video."""

    path: str
    bytes: int
    container: str
    """FFmpeg's name of the format, or image | crops | folder."""
    duration_s: float
    """Length until the last frame or sample ends. 0 for a still image."""
    start_s: float
    """Time on the file's own clock at the clip's start, from which all other times count."""
    video: Video | None
    audio: Audio | None
    streams: list[StreamInfo] = msgspec.field(default_factory=nothing)
    defects: list[str] = msgspec.field(default_factory=nothing)
    """What is odd and how it is read. Empty for a file without defects."""
    sha256: str | None = None


def probe(path: Path | str, verify: bool = False, digest: bool = False, limits: Limits = LIMITS) -> Probe:
    """What the file holds. `verify` also decodes and counts everything. `digest` adds the hash of its content.

    Raises Unreadable, which names the file, what was seen and what to do.
    """
    path = Path(path)
    kind = look(path, limits)
    found = probe_container(path, limits) if kind == "container" else probe_stills(path, kind, limits)
    if verify and kind == "container":
        found = verified(path, found, limits)
    return msgspec.structs.replace(found, sha256=content_hash(path)) if digest else found


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of a folder's files."""
    if path.is_dir():
        total = hashlib.sha256()
        for file in sorted(path.iterdir()):
            total.update(f"{file.name}\\0{content_hash(file)}\\n".encode(errors="surrogateescape"))
        return total.hexdigest()
    try:
        return file_hash(path)
    except OSError as error:
        raise unreadable(path, f"the system says '{error.strerror}'", "Check the path and your permissions") from error


def probe_container(path: Path, limits: Limits) -> Probe:
    deadline = Deadline(path, limits.timeout_s)
    with open_media(path, deadline) as media:
        streams = [describe_stream(stream) for stream in media.streams]
        picture, sound = video_stream(media), audio_stream(media)
        timeline = scan(path, media, limits)
        first = (
            first_frame(Sampler(path, media, timeline, limits, deadline))
            if picture and picture.codec_context and timeline.video
            else None
        )
        return Probe(
            path=show(path),
            bytes=path.stat().st_size,
            container=media.format.name,
            duration_s=round(timeline.duration_s, 6),
            start_s=round(timeline.origin_s, 6),
            video=describe_video(picture, timeline, first) if picture and timeline.video else None,
            audio=describe_audio(sound, timeline) if sound and timeline.audio else None,
            streams=streams,
            defects=list(list_defects(path, timeline, picture, sound, first)),
        )


def first_frame(sampler: Sampler) -> "VideoFrame | None":
    """The first frame that can be decoded: only frames know how they are turned."""
    keys = sampler.track.keys
    return next((frame for _, frame in sampler.decode(int(keys[0]) if len(keys) else None)), None)


def describe_stream(stream: "Stream") -> StreamInfo:
    from av.stream import Disposition

    cover = stream.type == "video" and stream.disposition & Disposition.attached_pic
    context = stream.codec_context
    return StreamInfo(
        index=stream.index, kind="cover" if cover else stream.type or "unknown", codec=context.name if context else None
    )


def describe_video(stream: "VideoStream", timeline: Timeline, first: "VideoFrame | None") -> Video:
    assert timeline.video is not None
    context, track = stream.codec_context, timeline.video
    width, height = (first.width, first.height) if first else (context.width, context.height) if context else (0, 0)
    turns = quarter_turns(first) if first else 0
    gaps = np.diff(np.unique(track.shown)) * track.tick_s
    fps = 1 / float(gaps.mean()) if len(gaps) else 0.0
    return Video(
        codec=context.name if context else None,
        width=height if turns % 2 else width,
        height=width if turns % 2 else height,
        rotation=90 * turns,
        fps=round(fps, 3) if SANE_FPS[0] <= fps <= SANE_FPS[1] else None,
        variable_rate=bool(len(gaps) and np.ptp(gaps) > max(0.1 * gaps.mean(), 2 * track.tick_s)),
        frames=len(track.shown),
        pixel_format=first.format.name if first else None,
        start_s=round(timeline.start_s(track), 6),
        duration_s=round(timeline.end_s(track) - timeline.start_s(track), 6),
    )


def describe_audio(stream: "AudioStream", timeline: Timeline) -> Audio:
    assert timeline.audio is not None
    context, track = stream.codec_context, timeline.audio
    return Audio(
        codec=context.name if context else None,
        rate_hz=context.sample_rate if context else 0,
        channels=context.channels if context else 0,
        layout=context.layout.name if context else None,
        start_s=round(timeline.start_s(track), 6),
        duration_s=round(timeline.end_s(track) - timeline.start_s(track), 6),
    )


def list_defects(
    path: Path,
    timeline: Timeline,
    picture: "VideoStream | None",
    sound: "AudioStream | None",
    first: "VideoFrame | None",
) -> Iterator[str]:
    """Sentences on what a reader should know about the file."""
    for name, stream, track in (("video", picture, timeline.video), ("audio", sound, timeline.audio)):
        if stream is None:
            continue
        if stream.codec_context is None:
            yield f"The {name} codec is unknown: its {name} cannot be read."
        if track is None:
            yield f"The header announces {name}, but the file holds none."
            continue
        try:
            check_whole(path, timeline, track, None)
        except Unreadable as error:
            yield f"The {name} is incomplete: {error}"
        if timeline.start_s(track) > LATE_S:
            yield f"The {name} starts {timeline.start_s(track):.2f} s late."
    if timeline.damage:
        yield f"Reading ended early: the demuxer says '{timeline.damage}'."
    if picture is not None and timeline.video is not None and picture.codec_context is not None:
        if first is None:
            yield "No picture can be decoded."
        fps = float(picture.average_rate or 0)
        if not SANE_FPS[0] <= fps <= SANE_FPS[1]:
            yield f"The header's frame rate of {fps:g} is not used; timestamps are."


def verified(path: Path, found: Probe, limits: Limits) -> Probe:
    """The probe with frames and unusable samples counted by decoding everything."""
    video, audio, defects = found.video, found.audio, list(found.defects)
    if video is not None and video.codec is not None:
        deadline = Deadline(path, limits.timeout_s)
        with open_media(path, deadline) as media:
            sampler = Sampler(path, media, scan(path, media, limits), limits, deadline)
            count = sum(1 for _ in sampler.decode(None))
        if count < video.frames:
            defects.append(f"{video.frames - count} of {video.frames} frames cannot be decoded.")
        video = msgspec.structs.replace(video, frames_decoded=count)
    if audio is not None and audio.codec is not None:
        sound = decode_sound(path, RATE_HZ, None, limits)
        assert sound is not None
        if sound.cleaned:
            defects.append(f"{sound.cleaned} audio samples are NaN or infinite and are read as 0.")
        audio = msgspec.structs.replace(audio, bad_samples=sound.cleaned)
    return msgspec.structs.replace(found, video=video, audio=audio, defects=defects)


def probe_stills(path: Path, kind: Kind, limits: Limits) -> Probe:
    """An image, a folder of frames or an .npy of crops, seen as video without sound."""
    count, height, width = stills.measure(path, kind, limits)
    duration_s = 0.0 if kind == "image" else count / stills.FRAME_RATE
    files = [file for file in path.iterdir() if file.is_file()] if kind == "folder" else [path]
    video = Video(
        codec=None,
        width=width,
        height=height,
        rotation=0,
        fps=None if kind == "image" else stills.FRAME_RATE,
        variable_rate=False,
        frames=count,
        pixel_format="rgb24",
        start_s=0.0,
        duration_s=duration_s,
    )
    size = sum(file.stat().st_size for file in files)
    return Probe(
        path=show(path), bytes=size, container=kind, duration_s=duration_s, start_s=0.0, video=video, audio=None
    )
