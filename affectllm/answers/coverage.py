"""How much of the labels in a file our vocabulary maps."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affectllm.answers.lists import split_labels
from affectllm.errors import AffectError
from affectllm.vocabulary import lexicon

COLUMNS = ("openset", "labels")


def coverage(file: Path) -> dict[str, Any]:
    """Tokens and types of a file's labels, and how many the vocabulary maps; unmapped ones, most frequent first."""
    counts = Counter(label for cell in read_cells(file) for label in split_labels(cell))
    if not counts:
        raise AffectError(
            f"No labels in {file}. Give a csv with an 'openset' column, jsonl with 'labels', or plain lines."
        )
    mapped = {label for label in counts if lexicon.base(label)}
    return {
        "tokens": counts.total(),
        "mapped_tokens": sum(counts[label] for label in mapped),
        "types": len(counts),
        "mapped_types": len(mapped),
        "unmapped": [label for label, _ in counts.most_common() if label not in mapped],
    }


def read_cells(file: Path) -> Iterator[str]:
    """Each cell of labels, as text."""
    if not file.is_file():
        raise AffectError(f"No file {file}. Give a csv, a jsonl or a text file of labels.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AffectError(f"{file} is not UTF-8 text (byte {error.start}). Convert it first.") from error
    if file.suffix == ".csv":
        return read_csv(file, text)
    return read_jsonl(file, text) if file.suffix in (".jsonl", ".json") else iter(text.splitlines())


def read_csv(file: Path, text: str) -> Iterator[str]:
    table = csv.DictReader(text.splitlines(keepends=True))
    column = next((name for name in COLUMNS if name in (table.fieldnames or ())), None)
    if column is None:
        raise AffectError(f"{file} has no column {' or '.join(COLUMNS)}; it has: {', '.join(table.fieldnames or ())}.")
    return (row[column] or "" for row in table)


def read_jsonl(file: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield ";".join(labels_of(file, number, line))


def labels_of(file: Path, number: int, line: str) -> list[str]:
    """'labels' of a row, or of its 'target' where the row is a conversation."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise AffectError(f"{file}:{number} is not a JSON object ({error.msg}).") from error
    target = row.get("target") if isinstance(row, dict) and "labels" not in row else row
    labels = target.get("labels") if isinstance(target, dict) else None
    if not isinstance(labels, list | str):
        raise AffectError(f"{file}:{number} has no 'labels': a list of words or one text.")
    return [labels] if isinstance(labels, str) else [str(label) for label in labels]
