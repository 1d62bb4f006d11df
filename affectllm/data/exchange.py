"""Conversations in the forms of other trainers, and back.

    affectllm data export data/meld --to parquet --out export/meld              TRL, Hugging Face datasets: with a card
    affectllm data export data/meld --to ms-swift --out export/meld
    affectllm data export data/meld --to llama-factory --out export/meld        with its dataset_info.json
    affectllm data import export/meld/train.jsonl --from ms-swift --out data/again

Media become `<video>`, `<audio>` and `<image>` in the text and paths beside it. Every row carries the whole
conversation in the column `affectllm` as well, so that an import gives back what was exported; of rows that others
wrote it takes the messages, the media, and the labels that the evaluator's parser reads from the answer.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tyro

from affectllm import answers, building, hub, jsonl, options
from affectllm.building import Row, Spool
from affectllm.errors import AffectError
from affectllm.records import Clip, Conversation, Message, Meta, Part, Rejected, Target, problem_of

Form = Literal["parquet", "ms-swift", "llama-factory"]
COLUMN = "affectllm"
LISTS = {"video": "videos", "audio": "audios", "image": "images"}
"""Tag of a medium in the text -> column of its paths."""
TAG = re.compile(r"<(video|audio|image)>")
BATCH = 1000
"""Rows of a Parquet file held in memory."""


@dataclass(frozen=True, kw_only=True)
class Export:
    folder: tyro.conf.Positional[Path]
    """Folder that affectllm build wrote."""
    to: Form
    """parquet (TRL, Hugging Face datasets), ms-swift or llama-factory."""
    out: Path
    """Folder for one file a split, and rejected.jsonl."""
    media: Path | None = None
    """Root of the clips, put before every path; without it paths stay relative."""
    push: str | None = None
    """Repository on the Hugging Face hub, as name/dataset, to which the Parquet files and their card are sent; private
    where it is new."""


@dataclass(frozen=True, kw_only=True)
class Import:
    file: tyro.conf.Positional[Path]
    """A .jsonl, .json or .parquet file with messages."""
    source: Annotated[Form, tyro.conf.arg(name="from")]
    """Form of the file."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    split: str = "train"
    """Split of rows that name none."""
    language: str | None = None
    """ISO 639-1 code of rows that name none."""
    licence: str = "not stated"
    """Licence of rows that name none."""


def run(words: list[str]) -> int:
    """`affectllm data export ...` and `affectllm data import ...`."""
    if words[0] == "export":
        export(options.parse(Export, words[1:]))
    else:
        take_in(options.parse(Import, words[1:]))
    return 0


def export(asked: Export) -> None:
    """One file a split, whole or not at all."""
    if asked.push and asked.to != "parquet":
        raise AffectError("--push sends Parquet files: export with --to parquet.")
    rows = jsonl.read(asked.folder / "conversations.jsonl", Conversation)
    counts: Counter[str] = Counter()
    lost = Spool(asked.out / "rejected.jsonl")
    with lost:
        kept = keep(rows, asked, lost, counts)
        files = write_parquet(kept, asked.out) if asked.to == "parquet" else write_lines(kept, asked.out)
    lost.publish()
    if asked.to == "llama-factory":
        jsonl.write_json(asked.out / "dataset_info.json", {path.stem: factory_entry(path.name) for path in files})
    if asked.to == "parquet":
        manifest = asked.folder / "manifest.json"
        told = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
        jsonl.write_text(asked.out / "README.md", dataset_card(asked.folder.name, files, counts, told))
    shown = ", ".join(f"{split} {n}" for split, n in counts.items())
    print(f"{shown or 'nothing'} -> {asked.out}, {lost.lines} rejected")
    if asked.push:
        print(f"Sent to {hub.send(asked.out, asked.push, 'dataset', leave_out=[lost.path.name])}")


def keep(
    rows: Iterable[Conversation], asked: Export, lost: Spool, counts: Counter[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split and row of every conversation that another trainer can take; the others are rejected with the reason."""
    for number, row in enumerate(rows, 1):
        if problem := problem_with(row):
            source = asked.folder / "conversations.jsonl"
            lost.add(building.reject(Row(number, {}), source, row.id, problem))
            continue
        counts[row.split] += 1
        yield row.split, shared_row(row, asked.media)


def problem_with(row: Conversation) -> str:
    """What other trainers have no place for, or nothing."""
    if row.messages[-1].role != "assistant":
        return "no answer to learn from"
    if row.media.start_s is not None or row.media.end_s is not None:
        return "only some seconds of the clip are meant: cut the clip first"
    parts = [part for message in row.messages for part in parts_of(message)]
    if any(TAG.search(part.text or "") for part in parts):
        return "the text holds a media tag"
    absent = [part.type for part in parts if part.type != "text" and path_of(row.media, part.type) is None]
    return f"the question shows {absent[0]}, of which the clip names no file" if absent else ""


def parts_of(message: Message) -> list[Part]:
    return [Part(type="text", text=message.content)] if isinstance(message.content, str) else message.content


def shared_row(row: Conversation, root: Path | None) -> dict[str, Any]:
    """The row as ms-swift and LLaMA-Factory read it: tags in the text, one path a tag."""
    media: dict[str, list[str]] = {column: [] for column in LISTS.values()}
    messages = []
    for message in row.messages:
        text = ""
        for part in parts_of(message):
            if part.type == "text":
                text += part.text or ""
            else:
                text += f"<{part.type}>"
                media[LISTS[part.type]].append(str((root or Path()) / (path_of(row.media, part.type) or "")))
        messages.append({"role": message.role, "content": text})
    return {
        "id": row.id,
        "messages": messages,
        **media,
        "solution": messages[-1]["content"],
        COLUMN: jsonl.dumps(row),
    }


def path_of(clip: Clip, kind: str) -> str | None:
    """The file of a medium; sound without a file of its own is the video's."""
    return {"video": clip.video, "audio": clip.audio or clip.video, "image": clip.image}[kind]


def write_lines(rows: Iterable[tuple[str, dict[str, Any]]], out: Path) -> list[Path]:
    """One .jsonl a split, in constant memory."""
    spools: dict[str, Spool] = {}
    with ExitStack() as opened:
        for split, row in rows:
            if split not in spools:
                spools[split] = opened.enter_context(Spool(out / f"{split}.jsonl"))
            spools[split].add(row)
    for spool in spools.values():
        spool.publish()
    return [spool.path for spool in spools.values()]


def write_parquet(rows: Iterable[tuple[str, dict[str, Any]]], out: Path) -> list[Path]:
    """One .parquet a split under data/, `BATCH` rows in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = pa.list_(pa.string())
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    columns = {"id": pa.string(), "messages": pa.list_(message), **dict.fromkeys(LISTS.values(), paths)}
    schema = pa.schema({**columns, "solution": pa.string(), COLUMN: pa.string()})
    jsonl.make_folder(out / "data")
    waiting: dict[str, list[dict[str, Any]]] = {}
    partial = {}
    with ExitStack() as opened:
        writers: dict[str, Any] = {}
        for split, row in rows:
            if split not in writers:
                waiting[split], partial[split] = [], out / "data" / f".{split}.parquet.partial"
                writers[split] = opened.enter_context(pq.ParquetWriter(partial[split], schema))
            waiting[split].append(row)
            if len(waiting[split]) == BATCH:
                writers[split].write_table(pa.Table.from_pylist(waiting[split], schema))
                waiting[split] = []
        for split, rest in waiting.items():
            writers[split].write_table(pa.Table.from_pylist(rest, schema))
    return [path.replace(out / "data" / f"{split}.parquet") for split, path in partial.items()]


def factory_entry(name: str) -> dict[str, Any]:
    """How LLaMA-Factory's dataset_info.json describes a file of messages with media."""
    return {
        "file_name": name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", **{column: column for column in LISTS.values()}},
        "tags": {
            "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }  # fmt: skip


def dataset_card(name: str, files: list[Path], counts: Counter[str], manifest: dict[str, Any]) -> str:
    """README.md of a data set on the Hugging Face hub: its header, what is in it, and what it was made from."""
    import yaml

    header = {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": path.stem, "path": f"data/{path.name}"} for path in files],
            }
        ],
        "license": "other",
        "license_name": manifest.get("licence", "not stated"),
        "tags": ["emotion", "affectllm"],
    }
    sources = "".join(f"- `{file}`, sha256 `{digest}`\n" for file, digest in manifest.get("sources", {}).items())
    rows = "".join(f"| {split} | {n} |\n" for split, n in counts.items())
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n# {name}\n\n"
        f"Conversations about emotions, built by affectllm {manifest.get('affectllm', '')}. The media are not part of "
        f"this data set; paths are relative to their own root.\n\n"
        f"| split | rows |\n|---|---|\n{rows}\n"
        "Columns: `messages` with `<video>`, `<audio>` and `<image>` where a medium is shown, its path in `videos`, "
        "`audios` or `images`; `solution` is the last answer; `affectllm` is the whole record as JSON.\n\n"
        f"Licence of the annotations: {manifest.get('licence', 'not stated')}.\n\n"
        f"Sources:\n\n{sources or '- not stated'}\n"
    )


def take_in(asked: Import) -> None:
    if not asked.file.is_file():
        raise AffectError(f"No file {asked.file}. Give a .jsonl, .json or .parquet file with messages.")
    manifest = building.write(
        asked.out,
        (conversation_of(Row(number, row), asked) for number, row in enumerate(read_rows(asked.file), 1)),
        sources=[asked.file],
        options=asdict(asked),
        licence=asked.licence,
    )
    print("\n".join(building.summary(manifest, asked.out)))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .parquet file, of JSON lines, or of one JSON list."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            yield from batch.to_pylist()
    elif path.suffix == ".json":
        rows = building.read_json(path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AffectError(f"{path} must hold a list of objects with messages.")
        yield from rows
    else:
        yield from jsonl.read_dicts(path)


def conversation_of(row: Row, asked: Import) -> Conversation | Rejected:
    """The row as a conversation: the one it was exported from, or what can be read of it."""
    name = str(row.values.get("id") or f"{asked.file.stem}_{row.number}")
    try:
        if row.values.get(COLUMN):
            return msgspec.json.decode(row.values[COLUMN], type=Conversation)
        return read_foreign(name, row.values, asked)
    except msgspec.DecodeError as error:
        return building.reject(row, asked.file, name, problem_of(error))
    except ValueError as error:
        return building.reject(row, asked.file, name, str(error))


def read_foreign(name: str, row: dict[str, Any], asked: Import) -> Conversation:
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
        dataset=asked.file.stem,
        split=str(row.get("split") or asked.split),
        media=Clip(video=video, audio=None if audio == video else audio, image=image),
        language=asked.language,
        target=Target(
            labels=read.labels if labelled else [],
            description=(read.reasoning if labelled else str(answer)) or None,
        ),
        meta=Meta(licence=asked.licence, hash=building.row_hash(row)),
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
