"""Conversations in the forms of other trainers: Parquet for TRL and Hugging Face datasets, ms-swift, LLaMA-Factory.

Media become `<video>`, `<audio>` and `<image>` in the text, and paths in columns of their own. Every row also carries
the whole conversation in the column `affectllm`, so that an import gives back what was exported.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from affectllm import jsonl
from affectllm.data.builder import reject
from affectllm.data.reading import CONVERSATIONS
from affectllm.data.spool import Spool
from affectllm.data.tables import Row
from affectllm.records import Clip, Conversation, Message, Part

Form = Literal["parquet", "ms-swift", "llama-factory"]
COLUMN = "affectllm"
"""Column of every row with the whole conversation as JSON."""
REJECTED = "rejected.jsonl"
LISTS = {"video": "videos", "audio": "audios", "image": "images"}
"""Tag of a medium in the text -> column of its paths."""
TAG = re.compile(r"<(video|audio|image)>")
BATCH = 1000
"""Number of rows of a Parquet file that are held in memory."""


class Exported(NamedTuple):
    """What an export wrote."""

    counts: dict[str, int]
    """Rows by split."""
    rejected: int


def export(folder: Path, to: Form, out: Path, media: Path | None = None) -> Exported:
    """Write a folder's conversations, one file per split, whole or not at all; `media` is put before every path."""
    counts: Counter[str] = Counter()
    lost = Spool(out / REJECTED)
    with lost:
        kept = keep(folder / CONVERSATIONS, media, lost, counts)
        files = write_parquet(kept, out) if to == "parquet" else write_lines(kept, out)
    lost.publish()
    if to == "llama-factory":
        jsonl.write_json(out / "dataset_info.json", {path.stem: factory_entry(path.name) for path in files})
    if to == "parquet":
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        jsonl.write_text(out / "README.md", hub_page(folder.name, files, counts, manifest))
    return Exported(dict(counts), lost.lines)


def keep(source: Path, media: Path | None, lost: Spool, counts: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split and row of every conversation that another trainer can take; the others are rejected with the reason."""
    for number, row in enumerate(jsonl.read(source, Conversation), 1):
        if problem := problem_with(row):
            lost.add(reject(Row(number, {}), source, row.id, problem))
            continue
        counts[row.split] += 1
        yield row.split, shared_row(row, media)


def problem_with(row: Conversation) -> str:
    """Why other trainers cannot take this row, or nothing."""
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
    """The row as ms-swift and LLaMA-Factory read it: tags in the text, and one path per tag."""
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
    """The file of a medium. Audio without a file of its own is in the video."""
    return {"video": clip.video, "audio": clip.audio or clip.video, "image": clip.image}[kind]


def write_lines(rows: Iterable[tuple[str, dict[str, Any]]], out: Path) -> list[Path]:
    """One .jsonl per split, in constant memory."""
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
    """One .parquet per split under data/, with `BATCH` rows in memory."""
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


def hub_page(name: str, files: list[Path], counts: Counter[str], manifest: dict[str, Any]) -> str:
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
