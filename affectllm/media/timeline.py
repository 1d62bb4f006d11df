"""When each frame is shown and each sample is heard, according to the packets and never to the header."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from affectllm.media.announced import announced_wav_bytes, is_cut_matroska
from affectllm.media.limits import Limits, check_length, unreadable
from affectllm.media.source import audio_stream, say, video_stream

if TYPE_CHECKING:
    from pathlib import Path

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Containers whose header states a length known when it was written; elsewhere it is an estimate from the bit rate.
STATES_LENGTH = ("mov", "avi", "w64", "flac", "aiff", "asf", "caf")
# A clip may lack this much of the stated length (seconds, or share of it) before it counts as cut off.
MISSING_S = 0.5
MISSING_SHARE = 0.1
# Moments closer than this count as the same, so that a tie does not depend on the rounding of a sum.
TIE_S = 1e-6


class Track(NamedTuple):
    """One stream as it plays. Its moments are seconds on its own clock, until `Timeline.origin_s` is subtracted."""

    shown: np.ndarray
    """int64, sorted: timestamps of the packets that are shown or heard, in the stream's time base."""
    keys: np.ndarray
    """int64, sorted: those at which decoding can begin."""
    tick_s: float
    """Seconds of one unit of the time base."""
    start_s: float
    end_s: float
    stated_s: float | None
    """The end that the header states, if it states one."""


class Timeline(NamedTuple):
    video: Track | None
    audio: Track | None
    origin_s: float
    """Time on the streams' clocks when the clip begins: files cut out of a recording start at, say, 3600 s."""
    damage: str | None
    """Why reading the packets ended early, in the demuxer's words."""

    def shown_s(self, track: Track) -> np.ndarray:
        """float64: the moments at which the track's packets are shown, from the start of the clip."""
        return track.shown * track.tick_s - self.origin_s

    def start_s(self, track: Track) -> float:
        return track.start_s - self.origin_s

    def end_s(self, track: Track) -> float:
        return track.end_s - self.origin_s

    @property
    def duration_s(self) -> float:
        return max(self.end_s(track) for track in (self.video, self.audio) if track is not None)


def scan(path: "Path", media: "InputContainer", limits: Limits) -> Timeline:
    """Read all packets of the picture and the sound without decoding them; leaves the demuxer at the end.

    Raises Unreadable if there is no packet, or if there are more packets or a longer clip than the limits allow.
    """
    import av

    streams = [stream for stream in (video_stream(media), audio_stream(media)) if stream is not None]
    if not streams:
        raise unreadable(path, "it holds only cover art", "Give a clip with video or audio")
    packets: dict[int, list[tuple[int, int, bool]]] = {stream.index: [] for stream in streams}
    damage, untimed = None, False
    try:
        for count, packet in enumerate(media.demux(streams)):
            moment = packet.pts if packet.pts is not None else packet.dts
            if moment is not None and not packet.is_discard:
                packets[packet.stream_index].append((moment, packet.duration or 0, packet.is_keyframe))
            untimed |= moment is None and packet.size > 0
            if count > limits.packets:
                raise unreadable(path, f"it has more than {limits.packets} packets", "Cut it into clips")
    except av.FFmpegError as error:
        damage = say(error)
    tracks = {
        stream.type: track(path, media, stream, packets[stream.index]) for stream in streams if packets[stream.index]
    }
    if untimed and len(tracks) < len(streams):
        seen = "its packets carry no timestamps, as in a raw stream"
        raise unreadable(path, seen, "Put it into a container, e.g. with: ffmpeg -i FILE -c copy FILE.mp4")
    if not tracks:
        raise unreadable(
            path, f"it announces {streams[0].type} but holds none{because(damage)}", "Fetch or record it again"
        )
    timeline = Timeline(
        tracks.get("video"), tracks.get("audio"), min(found.start_s for found in tracks.values()), damage
    )
    check_length(path, timeline.duration_s, limits)
    return timeline


def track(
    path: "Path", media: "InputContainer", stream: "VideoStream | AudioStream", packets: list[tuple[int, int, bool]]
) -> Track:
    """The track of a stream, from its packets (timestamp, duration, can decoding begin here)."""
    moments, durations, keys = map(np.array, zip(*packets, strict=True))
    order = np.argsort(moments, kind="stable")
    tick_s = float(stream.time_base or 1)
    last = int(order[-1])
    # Live recordings leave durations out: the last frame is then shown as long as frames are on average.
    length = int(durations[last]) or round(np.ptp(moments) / max(len(moments) - 1, 1))
    start = moments.min() if stream.type == "video" or stream.start_time is None else stream.start_time
    end_s = float(moments[last] + length) * tick_s
    return Track(
        moments[order],
        np.sort(moments[keys]),
        tick_s,
        float(start) * tick_s,
        end_s,
        stated_end(path, media, stream, end_s),
    )


def stated_end(
    path: "Path", media: "InputContainer", stream: "VideoStream | AudioStream", end_s: float
) -> float | None:
    """The end of a stream on its own clock as the header states it."""
    if media.format.name == "wav":
        announced = announced_wav_bytes(path)
        return end_s * announced[0] / announced[1] if announced and announced[1] else None
    if media.format.name.startswith("matroska"):
        # The header states the end of the longest stream, used here or not: it counts only where bytes are missing.
        return ((media.start_time or 0) + media.duration) / 1e6 if media.duration and is_cut_matroska(path) else None
    if not media.format.name.startswith(STATES_LENGTH):
        return None
    if stream.duration is not None and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    return None


def check_whole(path: "Path", timeline: Timeline, track: Track, end_s: float | None) -> None:
    """Raise Unreadable when the file was cut off before the end asked for (seconds; None: the whole clip)."""
    if track.stated_s is None:
        return
    stated_s = track.stated_s - timeline.origin_s
    wanted_s = stated_s if end_s is None else min(end_s, stated_s)
    found_s = timeline.end_s(track)
    if wanted_s - found_s > max(MISSING_S, MISSING_SHARE * wanted_s):
        seen = (
            f"it was cut off: {found_s:.2f} s are there of the {stated_s:.2f} s it announces{because(timeline.damage)}"
        )
        raise unreadable(path, seen, "Fetch or record it again")


def because(damage: str | None) -> str:
    return f" (the demuxer says '{damage}')" if damage else ""
