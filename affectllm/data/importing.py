"""Conversations from files that other trainers read: messages with media tags, and paths in columns.

A row that was exported by us gives back its conversation. From a row that others wrote, an import takes the messages,
the media, and the labels that the evaluator's parser reads from the answer.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from affectllm import answers, jsonl
from affectllm.data.builder import reject, row_hash
from affectllm.data.exporting import BATCH, COLUMN, LISTS, TAG, parts_of
from affectllm.data.tables import Row, read_json
from affectllm.errors import AffectError
from affectllm.records import Clip, Conversation, Message, Meta, Part, Rejected, Target, problem_of


class Unnamed(NamedTuple):
    """Values for rows that do not have them."""

    split: str = "train"
    language: str | None = None
    licence: str = "not stated"


def conversations(file: Path, unnamed: Unnamed) -> Iterator[Conversation | Rejected]:
    """A conversation for each row of the file, or why there is none."""
    for number, values in enumerate(read_rows(file), 1):
        yield conversation_of(Row(number, values), file, unnamed)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .parquet file, of JSON lines, or of one JSON list."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            yield from batch.to_pylist()
    elif path.suffix == ".json":
        rows = read_json(path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AffectError(f"{path} must hold a list of objects with messages.")
        yield from rows
    else:
        yield from jsonl.read_dicts(path)


def conversation_of(row: Row, file: Path, unnamed: Unnamed) -> Conversation | Rejected:
    """The row as a conversation: the one it was exported from, or what can be read of it."""
    name = str(row.values.get("id") or f"{file.stem}_{row.number}")
    try:
        if row.values.get(COLUMN):
            return msgspec.json.decode(row.values[COLUMN], type=Conversation)
        return read_foreign(name, row.values, file.stem, unnamed)
    except msgspec.DecodeError as error:
        return reject(row, file, name, problem_of(error))
    except ValueError as error:
        return reject(row, file, name, str(error))


def read_foreign(name: str, row: dict[str, Any], dataset: str, unnamed: Unnamed) -> Conversation:
    """A row that others wrote. Raises ValueError where tags and paths do not agree.

    A file that no tag names is shown before the first question, as ms-swift does.
    """
    turns = row.get("messages") or row.get("conversations") or []
    roles = {"human": "user", "gpt": "assistant"}
    media = {kind: list(row.get(column) or []) for kind, column in LISTS.items()}
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict):
            raise ValueError(f"a message is {turn!r}, no object")
        role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        content = text if isinstance(text, list) else parts_in(str(text or ""), role)
        messages.append(msgspec.convert({"role": roles.get(str(role), role), "content": content}, Message))
    if any(not isinstance(path, str) for paths in media.values() for path in paths):
        raise ValueError("a medium is not given by its path")
    if not messages:
        raise ValueError("no messages")
    tags: Counter[str] = Counter(part.type for message in messages for part in parts_of(message))
    if untagged := [msgspec.convert({"type": kind}, Part) for kind, paths in media.items() if paths and not tags[kind]]:
        first = next((i for i, message in enumerate(messages) if message.role == "user"), 0)
        shown = [*untagged, *parts_of(messages[first])]
        messages[first] = msgspec.structs.replace(messages[first], content=shown)
        tags.update(part.type for part in untagged)
    for kind, paths in media.items():
        if tags[kind] != len(paths):
            raise ValueError(f"{tags[kind]} <{kind}> tags, {len(paths)} paths in '{LISTS[kind]}'")
        if len(set(paths)) > 1:
            raise ValueError(f"{len(set(paths))} files of {kind}: a conversation is about one clip")
    video, audio, image = (media[kind][0] if media[kind] else None for kind in LISTS)
    answer = messages[-1].content if messages[-1].role == "assistant" else ""
    read = answers.parse(answer if isinstance(answer, str) else "")
    labelled = read.status == "ok" and bool(read.labels)
    return Conversation(
        id=name,
        dataset=dataset,
        split=str(row.get("split") or unnamed.split),
        media=Clip(video=video, audio=None if audio == video else audio, image=image),
        language=unnamed.language,
        target=Target(
            labels=read.labels if labelled else [],
            description=(read.reasoning if labelled else str(answer)) or None,
        ),
        meta=Meta(licence=unnamed.licence, hash=row_hash(row)),
        messages=messages,
        task="labels" if labelled else "describe",
    )


def parts_in(text: str, role: str | None) -> str | list[dict[str, str]]:
    """A message's text with its media tags as parts; an answer stays text."""
    if role in ("assistant", "gpt", "system"):
        return text
    # Texts and kinds of media in turn.
    pieces = TAG.split(text)
    parts = [
        {"type": piece} if place % 2 else {"type": "text", "text": piece.strip()} for place, piece in enumerate(pieces)
    ]
    return [part for part in parts if part["type"] != "text" or part["text"]]
