"""Reading a folder of conversations: one split of it, the root of its clips, one shard of its rows."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation

T = TypeVar("T")
CONVERSATIONS = "conversations.jsonl"


def read_folder(folder: Path) -> list[Conversation]:
    """All conversations of a folder that a builder wrote."""
    return list(jsonl.read(folder / CONVERSATIONS, Conversation))


def read_split(data: Path, split: str) -> list[Conversation]:
    """The conversations of one split. For an empty split, an error names the splits that exist."""
    conversations = list(jsonl.read(data, Conversation))
    chosen = [conversation for conversation in conversations if conversation.split == split]
    if not chosen:
        found = sorted({conversation.split for conversation in conversations})
        raise AffectError(f"{data} has no conversation of split '{split}'. Splits there: {', '.join(found) or 'none'}.")
    return chosen


def media_root(data: Path, media: Path | None) -> Path:
    """The folder that the paths of clips start from: the one that the user names, else that of the data file."""
    return data.parent if media is None else media


def with_absolute_paths(row: Conversation, root: Path) -> Conversation:
    """The conversation with its clip's paths under `root`, so that rows of several roots can be mixed."""
    paths = {
        name: str(root / value) for name in ("video", "audio", "image", "face") if (value := getattr(row.media, name))
    }
    return msgspec.structs.replace(row, media=msgspec.structs.replace(row.media, **paths))


def take_shard(rows: Sequence[T], shard: str) -> Sequence[T]:
    """Part i of n of the rows: i, i+n, i+2n, ...

    >>> take_shard("abcde", "2/2")
    'bd'
    """
    part, parts = read_shard(shard)
    return rows[part - 1 :: parts]


def in_shard(number: int, shard: str) -> bool:
    """Whether the row of this 1-based number belongs to the shard."""
    part, parts = read_shard(shard)
    return (number - 1) % parts == part - 1


@cache
def read_shard(shard: str) -> tuple[int, int]:
    """Part and number of parts of `i/n`."""
    part, _, parts = shard.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise AffectError(f"--shard {shard!r} must be i/n with 1 <= i <= n, for example 1/4.")
    return int(part), int(parts)
