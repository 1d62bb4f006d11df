"""What a file's own table of contents announces; FFmpeg silently takes what is there."""

from pathlib import Path
from typing import BinaryIO

from affectllm.media.limits import unreadable

# More boxes than this at the top level are not a table of contents but chance.
MOST_BOXES = 100_000
# Sizes that a recorder writes when it does not know the length yet.
UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)


def refuse_cut_index(path: Path) -> None:
    """Raise Unreadable for an MP4 whose index, the `moov` box, is missing or ends after the file (ISO 14496-12, 4.2).

    FFmpeg reads the tracks that are left in half an index: a clip would silently lose its audio.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return
        start = 0
        for _ in range(MOST_BOXES):
            file.seek(start)
            head = file.read(16)
            if len(head) < 8:
                raise unreadable(path, "its index (the moov box) is missing", "Fetch or record it again")
            size = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            if head[4:8] == b"moov":
                if start + size > end:
                    raise unreadable(path, "its index (the moov box) is cut off", "Fetch or record it again")
                return
            # 0 means 'until the end of the file'; less than a header is damage, which FFmpeg will report or not.
            if 0 < size < 8:
                return
            start = start + size if size else end


def announced_wav_bytes(path: Path) -> tuple[int, int] | None:
    """Bytes of samples that a WAV's header announces, and bytes that follow it. None if it announces none."""
    with path.open("rb") as file:
        if (head := file.read(12))[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        for _ in range(MOST_BOXES):
            if len(head := file.read(8)) < 8:
                return None
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                return None if size in UNKNOWN_SIZES else (size, path.stat().st_size - file.tell())
            # Chunks begin at even positions.
            file.seek(size + size % 2, 1)
    return None


def is_cut_matroska(path: Path) -> bool:
    """True for a Matroska or WebM file that is shorter than its one segment (RFC 8794, 5 and RFC 9559, 5.1)."""
    with path.open("rb") as file:
        for element in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
            if file.read(4) != element:
                return False
            size = read_vint(file.read(1), file)
            if element == b"\x18\x53\x80\x67":
                return size is not None and file.tell() + size > path.stat().st_size
            file.seek(size or 0, 1)
    return False


def read_vint(first: bytes, file: BinaryIO) -> int | None:
    """A variable-size integer of EBML: leading zero bits of the first byte count further bytes; all ones is unknown."""
    length = 8 - first[0].bit_length() if first else 8
    value = int.from_bytes(bytes([first[0] & (0x7F >> length)]) + file.read(length), "big") if length < 8 else 0
    return None if value == (1 << 7 * (length + 1)) - 1 else value
