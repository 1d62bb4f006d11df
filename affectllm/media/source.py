"""Opens files by their content, never by their name."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectllm.media.announced import refuse_cut_index
from affectllm.media.limits import Deadline, Limits, check_size, unreadable

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

Kind = Literal["container", "image", "crops", "folder"]

# Demuxers that only unpack the bytes they are given. Playlists (hls, dash, concat) would open other files or hosts.
DEMUXERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,wav,w64,aiff,au,caf,mp3,aac,flac,amr,amrnb,amrwb,ac3,eac3,"
    "h263,h264,hevc,m4v,ivf,obu,gif,mjpeg,dv,mxf,nut,rm,tta,wv,ape"
)
IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")
NUMPY = b"\x93NUMPY"
READ_BYTES = 1 << 18


class Tap:
    """A file for the demuxer: unnamed, so that extension and odd characters do not matter, and with a deadline."""

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self.file = path.open("rb", buffering=0)
        self.deadline = deadline

    def read(self, size: int) -> bytes:
        self.deadline.check()
        return self.file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def look(path: Path, limits: Limits) -> Kind:
    """What a path holds, according to its first bytes.

    Raises Unreadable for what is no media at all: missing, empty, a pipe, text, a web page, a Git LFS pointer.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return "folder"
        if not stat.S_ISREG(status.st_mode):
            raise unreadable(
                path, "it is no regular file but a pipe, socket or device", "Copy the clip to a file first"
            )
        with path.open("rb") as file:
            head = file.read(1024)
    except (OSError, ValueError) as error:
        # For a name that Python refuses, each version has another message.
        said = "embedded null byte" if "\0" in str(path) else getattr(error, "strerror", None) or str(error)
        raise unreadable(path, f"the system says '{said}'", "Check the path and your permissions") from error
    check_size(path, status.st_size, limits)
    refuse_text(path, head)
    if head.startswith(NUMPY):
        return "crops"
    if head.startswith(IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    return "container"


def refuse_text(path: Path, head: bytes) -> None:
    """Raise Unreadable when the first bytes are those of a text, naming the usual ways it came there."""
    if not head:
        raise unreadable(path, "it is empty (0 bytes)", "Copy or download it again")
    if head.startswith(b"version https://git-lfs"):
        raise unreadable(path, "it is a Git LFS pointer, not the file itself", "Run 'git lfs pull' in its repository")
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise unreadable(
            path, "it is a web page, not media", "Download it again; the server sent an error or a login page"
        )
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head) and is_utf8(head):
        raise unreadable(
            path, f"it is text, not media (it begins {head[:40].decode('utf-8', 'ignore')!r})", "Give a media file"
        )


def is_utf8(head: bytes) -> bool:
    """True for UTF-8 text whose last letter may be cut in two."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 0 and error.end == len(head) and len(head) - error.start < 4
    return True


@contextmanager
def open_media(path: Path, deadline: Deadline) -> Iterator["InputContainer"]:
    """The demuxer over a file. An error of the demuxer or of a decoder inside becomes one Unreadable."""
    import av

    remedy = "Play it to check, then fetch or re-encode it"
    refuse_cut_index(path)
    tap = None
    try:
        tap = Tap(path, deadline)
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
        # A title in another encoding must not stop a file. PyAV 19 reads it in any case, and no longer has the option.
        lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
        with av.open(tap, "r", container_options=options, buffer_size=READ_BYTES, **lenient) as media:
            if not (media.streams.video or media.streams.audio):
                raise unreadable(path, "it holds neither video nor audio", remedy)
            yield media
    except (av.FFmpegError, OSError, MemoryError) as error:
        raise unreadable(path, f"the decoder says '{say(error)}'", remedy) from error
    finally:
        if tap is not None:
            with suppress(OSError):
                tap.file.close()


def say(error: BaseException) -> str:
    """The text of a library's error without its bookkeeping."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def video_stream(media: "InputContainer") -> "VideoStream | None":
    """The picture track that players would show: never cover art, else the default one, else the largest."""
    from av.stream import Disposition

    streams = [stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        return None
    return max(
        streams,
        key=lambda s: (s.codec_context is not None, bool(s.disposition & Disposition.default), area(s), -s.index),
    )


def area(stream: "VideoStream") -> int:
    return 0 if stream.codec_context is None else stream.codec_context.width * stream.codec_context.height


def audio_stream(media: "InputContainer") -> "AudioStream | None":
    """The sound track that players would play: one that can be decoded, then the default one, then the first."""
    from av.stream import Disposition

    streams = list(media.streams.audio)
    if not streams:
        return None
    return max(
        streams, key=lambda s: (s.codec_context is not None, bool(s.disposition & Disposition.default), -s.index)
    )
