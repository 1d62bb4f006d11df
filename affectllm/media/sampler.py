"""From wanted moments to pictures: which packets are decoded, which frames are kept, how they are converted."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affectllm.media.limits import Deadline, Limits, check_picture, unreadable
from affectllm.media.request import Frames, fit
from affectllm.media.source import open_media, say, video_stream
from affectllm.media.timeline import TIE_S, Timeline

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Frame threads hold frames in flight: two keep memory low and leave the other cores to other workers.
DECODER_THREADS = 2
# Containers with an index of keyframes. In others a seek is a guess, and decoding begins at the start.
SEEKABLE = ("mov", "matroska")
# A seek costs about as much as decoding this many frames.
JUMP_FRAMES = 24
# A damaged stretch may be bridged by a frame this far from the one that should be shown.
STALE_S = 0.5


class Sampler:
    """Decodes one video stream just as far as the wanted moments need."""

    def __init__(
        self, path: Path, media: "InputContainer", timeline: Timeline, limits: Limits, deadline: Deadline
    ) -> None:
        from av.video.reformatter import VideoReformatter

        assert timeline.video is not None
        self.path, self.media, self.timeline, self.limits, self.deadline = path, media, timeline, limits, deadline
        self.track = timeline.video
        self.shown_s = timeline.shown_s(self.track)
        self.complaint = "it gives no picture"
        self.reformatter = VideoReformatter()
        # Timestamps of the packets whose pictures are wanted; None when all are.
        self.needed: set[int] | None = None

    def read(self, wanted_s: np.ndarray, longest_side: int | None) -> Frames:
        """The frames shown at the wanted moments, which are sorted; a frame wanted twice is decoded once."""
        self.needed = {int(self.track.shown[self.expected(moment_s)[0]]) for moment_s in wanted_s}
        frames: np.ndarray | None = None
        drawn, picture = None, np.empty(0)
        for i, frame in self.chosen(wanted_s):
            if frame is not drawn:
                drawn, picture = frame, self.draw(frame, longest_side, None if frames is None else frames.shape[1:3])
            if frames is None:
                frames = np.empty((len(wanted_s), *picture.shape), np.uint8)
            frames[i] = picture
        assert frames is not None
        return Frames(frames, wanted_s)

    def chosen(self, wanted_s: np.ndarray) -> Iterator[tuple[int, "VideoFrame"]]:
        """Each wanted moment's number and frame."""
        for key, numbers in self.runs(wanted_s):
            last: tuple[float, VideoFrame] | None = None
            waiting = list(numbers)
            for shown_s, frame in self.decode(key):
                while waiting and wanted_s[waiting[0]] < shown_s - TIE_S:
                    yield self.checked(waiting.pop(0), wanted_s, last or (shown_s, frame))
                if not waiting:
                    break
                last = (shown_s, frame)
            for i in waiting:
                if last is None:
                    raise unreadable(
                        self.path, f"its video cannot be decoded ({self.complaint})", "Re-encode it, or leave it out"
                    )
                yield self.checked(i, wanted_s, last)

    def checked(self, i: int, wanted_s: np.ndarray, found: tuple[float, "VideoFrame"]) -> tuple[int, "VideoFrame"]:
        """Raise Unreadable when damage left only a frame far from the one that should be shown."""
        shown_s, frame = found
        if abs(self.expected(wanted_s[i])[1] - shown_s) > STALE_S:
            seen = f"the picture at {wanted_s[i]:.2f} s cannot be decoded ({self.complaint})"
            raise unreadable(self.path, seen, "Fetch it again, or leave it out")
        return i, frame

    def expected(self, moment_s: float) -> tuple[int, float]:
        """Number and moment of the packet whose picture is shown then."""
        i = max(0, int(np.searchsorted(self.shown_s, moment_s + TIE_S, side="right")) - 1)
        return i, float(self.shown_s[i])

    def runs(self, wanted_s: np.ndarray) -> list[tuple[int | None, list[int]]]:
        """Moments grouped so that decoding straight on within a group is cheaper than a seek, and where to begin.

        That is the timestamp of a keyframe. None means the start of the file.
        """
        keys = self.track.keys if self.media.format.name.startswith(SEEKABLE) else self.track.keys[:0]
        runs: list[tuple[int | None, list[int]]] = []
        reached = 0
        for i, moment_s in enumerate(wanted_s):
            place, _ = self.expected(moment_s)
            before = int(np.searchsorted(keys, self.track.shown[place], side="right")) - 1
            key = None if before < 0 else int(keys[before])
            skipped = 0 if key is None else int(np.searchsorted(self.track.shown, key)) - reached
            if not runs or skipped > JUMP_FRAMES:
                runs.append((key, []))
            runs[-1][1].append(i)
            reached = place
        return runs

    def decode(self, key: int | None) -> Iterator[tuple[float, "VideoFrame"]]:
        """Frames and their moments, from a keyframe (its timestamp) or from the start of the file on."""
        if key is not None:
            stream = video_stream(self.media)
            assert stream is not None
            self.media.seek(key, stream=stream)
            frames = self.frames(self.media, stream)
            first = next(frames, None)
            if first is not None and first[0] <= key * self.track.tick_s - self.timeline.origin_s + TIE_S:
                yield first
                yield from frames
                return
        # This is also reached when the seek went past the keyframe: the index is wrong, so it is not used.
        with open_media(self.path, self.deadline) as media:
            stream = video_stream(media)
            assert stream is not None
            yield from self.frames(media, stream)

    def frames(self, media: "InputContainer", stream: "VideoStream") -> Iterator[tuple[float, "VideoFrame"]]:
        """All decodable frames from here on. A packet that cannot be decoded is skipped, and its error is kept."""
        import av

        context = stream.codec_context
        if not context.is_open:
            context.thread_count = DECODER_THREADS
            context.thread_type = "AUTO"
        packets = media.demux(stream)
        ended = False
        while not ended:
            self.deadline.check()
            found: list[VideoFrame] = []
            try:
                packet = next(packets, None)
                ended = packet is None or packet.size == 0
                if self.needed is not None and context.name == "h264" and packet is not None:
                    # Pictures that no other one refers to (nal_ref_idc 0) need no decoding unless they are wanted.
                    context.skip_frame = "DEFAULT" if moment_of(packet) in self.needed else "NONREF"
                found = context.decode(None if ended else packet)
            except (av.FFmpegError, OSError) as error:
                self.complaint = f"the decoder says '{say(error)}'"
            for frame in found:
                moment = moment_of(frame)
                if moment is not None:
                    yield float(moment * self.track.tick_s) - self.timeline.origin_s, frame

    def draw(self, frame: "VideoFrame", longest_side: int | None, shape_HW: tuple[int, ...] | None) -> np.ndarray:
        """uint8 (height, width, 3), upright; `shape_HW` is that of earlier frames, should the size change."""
        check_picture(self.path, frame.width, frame.height, self.limits)
        turns = quarter_turns(frame)
        if shape_HW is None:
            width, height = fit(frame.width, frame.height, longest_side)
        else:
            width, height = shape_HW if turns % 2 else shape_HW[::-1]
        method = "AREA" if longest_side else "BICUBIC"
        drawn = self.reformatter.reformat(frame, format="rgb24", width=width, height=height, interpolation=method)
        return np.rot90(drawn.to_ndarray(), turns)


def moment_of(carrier: "Packet | VideoFrame") -> int | None:
    """When a packet or frame is shown, in its time base; AVI and others give it as decoding time only."""
    return carrier.pts if carrier.pts is not None else carrier.dts


def quarter_turns(frame: "VideoFrame") -> int:
    """How often the picture is turned by 90 degrees counterclockwise. Odd angles, as in broken files, count as 0."""
    return frame.rotation // 90 % 4 if frame.rotation % 90 == 0 and abs(frame.rotation) <= 360 else 0
