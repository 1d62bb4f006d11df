"""Reading the data of a stage."""

from pathlib import Path

import msgspec

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation


def read_split(data: Path, split: str) -> list[Conversation]:
    """The conversations of one split; an empty one is an error that names the splits there are."""
    conversations = list(jsonl.read(data, Conversation))
    chosen = [conversation for conversation in conversations if conversation.split == split]
    if not chosen:
        found = sorted({conversation.split for conversation in conversations})
        raise AffectError(f"{data} has no conversation of split '{split}'. Splits there: {', '.join(found) or 'none'}.")
    return chosen


def media_root(data: Path, media: Path | None) -> Path:
    return data.parent if media is None else media


def under(root: Path, row: Conversation) -> Conversation:
    """The conversation with its clip's paths made absolute, so that rows of several roots can be mixed."""
    paths = {
        name: str(root / value) for name in ("video", "audio", "image", "face") if (value := getattr(row.media, name))
    }
    return msgspec.structs.replace(row, media=msgspec.structs.replace(row.media, **paths))
