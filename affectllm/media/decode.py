"""Frames of a clip at given moments.

Times are seconds from the start of the clip: the first moment of whichever track begins first. A frame is shown from
its own timestamp until the next one's, so a variable frame rate, an edit list or a wrong rate in the header changes
nothing.
"""

from pathlib import Path

from affectllm.media import stills
from affectllm.media.limits import LIMITS, Deadline, Limits, check_picture, unreadable
from affectllm.media.request import Frames, Request, check_request, fit, moments
from affectllm.media.sampler import Sampler
from affectllm.media.source import look, open_media, video_stream
from affectllm.media.timeline import check_whole, scan


def read_frames(
    path: Path | str,
    n: int | None = None,
    fps: float | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    longest_side: int | None = None,
    limits: Limits = LIMITS,
) -> Frames | None:
    """The frames shown at the centres of `n` equal segments of the span. None if the file has no video.

    `fps` sets the number of segments per second instead. Without `n` and `fps`, every frame of the span is read.
    `longest_side` scales frames down until neither side is longer. A still image is one frame whatever `n` is; a
    folder of images and an .npy of crops (frames, height, width, 3) play at 25 frames a second. A damaged stretch is
    bridged by the last good frame for half a second at most.

    Raises Unreadable, which names the file, what was seen and what to do.

    >>> read_frames("ten_seconds.mp4", n=2).times_s
    array([2.5, 7.5])
    """
    path, request = Path(path), Request(n, fps, start_s, end_s, longest_side)
    check_request(request)
    deadline = Deadline(path, limits.timeout_s)
    kind = look(path, limits)
    if kind != "container":
        return stills.read(path, kind, request, limits)
    with open_media(path, deadline) as media:
        stream = video_stream(media)
        if stream is None:
            return None
        if stream.codec_context is None:
            raise unreadable(path, "its video codec is unknown", "Re-encode it, e.g. as H.264")
        check_picture(path, stream.codec_context.width, stream.codec_context.height, limits)
        timeline = scan(path, media, limits)
        if timeline.video is None:
            raise unreadable(path, "it announces video but holds no frame", "Fetch or record it again")
        check_whole(path, timeline, timeline.video, end_s)
        width, height = fit(stream.codec_context.width, stream.codec_context.height, longest_side)
        shown_s, clip_end_s = timeline.shown_s(timeline.video), timeline.end_s(timeline.video)
        wanted_s = moments(path, request, shown_s, clip_end_s, 3 * width * height, limits)
        return Sampler(path, media, timeline, limits, deadline).read(wanted_s, longest_side)
