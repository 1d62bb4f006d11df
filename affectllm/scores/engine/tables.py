"""Reads files of predictions and labels from many programs as one row per clip.

*-openset.npz   AffectGPT: arrays `filenames` and `fileitems` (open sets, or one sentiment word each)
*.npz           AffectGPT: `name2reason`, free text per clip
label.npz:test_corpus   MERBench: one corpus of an archive, `{id: {emo, val}}`
*.csv           column `name` and one of `openset`, `reason`, `discrete`, `sentiment`, `valence`
*.jsonl         `{id, labels}` or `{id, text}`, our answers.jsonl, our conversations.jsonl
"""

import csv
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from affectllm.errors import AffectError

# MERBench writes emotions as numbers; the order is in its preprocessing scripts, the data set in the folder's name.
CLASSES = {"meld": ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")}
UNUSED = -10
SIGN = {"positive": 1.0, "negative": -1.0, "neutral": 0.0}
COLUMNS = ("openset", "reason", "discrete", "sentiment", "valence")


class Row(NamedTuple):
    """What a file says about one clip; fields it does not hold are None."""

    labels: list[str] | None = None
    listed: str | None = None
    """An open set as it was written: "['happy', 'sad']"."""
    text: str | None = None
    """Free text that `answers.parse` has to read."""
    value: float | None = None
    """Sentiment or valence."""
    error: str | None = None
    """The reason why there is no answer."""
    cells: Mapping[str, Any] = {}
    """All cells of the row, and those of a conversation's target: fields that only some metrics need."""


Table = dict[str, Row]


def read_table(spec: str, classes: Sequence[str] = (), split: str | None = None, fields: Collection[str] = ()) -> Table:
    """Rows by clip id from a file, or from one corpus of it: 'label.npz:test_corpus'.

    `classes` names the emotions that an archive holds as numbers; `split` leaves out rows that name another split;
    `fields` are those that metrics read: a row with one of them needs neither labels nor text.
    Raises AffectError naming file, clip and cause.
    """
    name, _, corpus = spec.partition(".npz:")
    path = Path(f"{name}.npz" if corpus else spec)
    if not path.is_file():
        raise AffectError(f"No file {path}. Give predictions or labels as .npz, .csv or .jsonl.")
    if path.suffix == ".npz":
        return collect(read_archive(path, corpus, classes), path)
    if path.suffix == ".csv":
        return collect(read_csv(path), path)
    if path.suffix == ".jsonl":
        from affectllm import jsonl

        rows = (row for row in jsonl.read_dicts(path) if split is None or row.get("split", split) == split)
        return collect(((str(row.get("id", "")), with_cells(row, path, fields)) for row in rows), path)
    raise AffectError(f"{path} is of no known kind. Give predictions or labels as .npz, .csv or .jsonl.")


def collect(rows: Iterable[tuple[str, Row]], path: Path) -> Table:
    table: Table = {}
    for name, row in rows:
        if not name:
            raise AffectError(f"{path}: row {len(table) + 1} has no id.")
        if name in table:
            raise AffectError(f"{path}: id '{name}' occurs twice. Keep one row per clip.")
        if row.value is not None and math.isnan(row.value):
            raise AffectError(f"{path}: the value of '{name}' is nan. Take the row out or correct it.")
        table[name] = row
    if not table:
        raise AffectError(f"{path} holds no rows.")
    return table


def read_archive(path: Path, corpus: str, classes: Sequence[str]) -> Iterator[tuple[str, Row]]:
    from affectllm.npz import read_npz

    arrays = read_npz(path)
    if not corpus and {"filenames", "fileitems"} <= set(arrays):
        names, items = arrays["filenames"], arrays["fileitems"]
        if len(names) != len(items):
            raise AffectError(f"{path} holds {len(names)} filenames and {len(items)} fileitems.")
        return ((str(name), Row(listed=str(item))) for name, item in zip(names, items, strict=True))
    corpus = corpus or ("name2reason" if "name2reason" in arrays else "")
    if not isinstance(arrays.get(corpus), dict):
        raise AffectError(f"{path} holds {', '.join(arrays)}. Name the corpus to use: {path.name}:{next(iter(arrays))}")
    classes = classes or CLASSES.get(path.resolve().parent.name.partition("-")[0], ())
    return ((str(name), archived(item, str(name), path, classes)) for name, item in arrays[corpus].items())


def archived(item: Any, name: str, path: Path, classes: Sequence[str]) -> Row:
    """A reason, or the labels of MERBench. A `val` of -10 means none."""
    if isinstance(item, str):
        return Row(text=item)
    if not isinstance(item, dict) or not {"emo", "val"} <= set(item):
        raise AffectError(f"{path}: '{name}' holds {item!r}, text or {{emo, val}} was expected.")
    value = None if item["val"] == UNUSED else float(item["val"])
    emotion = item["emo"]
    if isinstance(emotion, str):
        return Row(labels=[emotion], value=value)
    if value is not None and not classes:
        # The sentiment sets carry an emotion number without meaning.
        return Row(value=value)
    if not 0 <= int(emotion) < len(classes):
        raise AffectError(f"{path}: '{name}' has emotion number {emotion}. Name the emotions in order with --classes.")
    return Row(labels=[classes[int(emotion)]], value=value)


def read_csv(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        header = list(reader.fieldnames or [])
        column = next((name for name in COLUMNS if name in header), "")
        if "name" not in header or not column:
            raise AffectError(f"{path} needs the column name and one of {', '.join(COLUMNS)}; it has {header}.")
        for cells in reader:
            row = row_of({column: cells[column] or ""}, path)
            yield (cells["name"] or "").strip(), row._replace(cells=cells)


def with_cells(cells: dict[str, Any], path: Path, fields: Collection[str]) -> Row:
    """The row in a JSON object, with all its cells; those of a conversation include its target's."""
    target = cells.get("target", {})
    found = cells | target
    if cells.get("task") == "choice":
        found |= {"choice": target.get("basic"), "options": len(target.get("options") or {})}
    row = row_of(cells, path, fields)
    return row._replace(cells={name: value for name, value in found.items() if name != "messages"})


def row_of(cells: dict[str, Any], path: Path, fields: Collection[str] = ()) -> Row:
    """The row in a csv line or a JSON object: the target of a conversation, the text of an answer."""
    if "target" in cells:
        target = cells["target"]
        labels = target.get("labels") or ([target["basic"]] if target.get("basic") else [])
        return Row(labels=labels, value=valence_of(target, path))
    if "labels" in cells:
        return Row(labels=[str(label) for label in cells["labels"]])
    if "text" in cells or "reason" in cells:
        return Row(text=str(cells.get("text", cells.get("reason"))), error=cells.get("error"))
    if "openset" in cells:
        return Row(listed=cells["openset"])
    if "discrete" in cells:
        return Row(labels=[str(cells["discrete"])])
    if "valence" in cells or "sentiment" in cells:
        return Row(value=valence_of(cells, path))
    if not set(fields).isdisjoint(cells):
        return Row()
    raise AffectError(f"{path}: a row holds {', '.join(cells)}; labels, text or {', '.join(COLUMNS)} was expected.")


def valence_of(cells: dict[str, Any], path: Path) -> float | None:
    if cells.get("valence") not in (None, ""):
        try:
            return float(cells["valence"])
        except ValueError as error:
            raise AffectError(f"{path}: valence {cells['valence']!r} is not a number.") from error
    return sign_of(cells["sentiment"]) if cells.get("sentiment") else None


def sign_of(word: str) -> float:
    """+1, -1 or 0 for a sentiment word; any other word ('mixed', 'anxious') is 0, as in AffectGPT's code."""
    return SIGN.get(word.strip().lower(), 0.0)


def match(said: Mapping[str, Any], gold: Mapping[str, Any], only_predicted: bool) -> tuple[list[str], int]:
    """The clips to score, in gold order, and how many gold clips have no prediction.

    Raises AffectError naming those clips unless `only_predicted`. Predictions without gold are left out, as officially.
    """
    missing = [name for name in gold if name not in said]
    if missing and not only_predicted:
        shown = ", ".join(missing[:3])
        raise AffectError(
            f"{len(missing)} of {len(gold)} gold clips have no prediction, e.g. {shown}. "
            "Predict them too, or score the rest with --only-predicted."
        )
    if len(missing) == len(gold):
        other = next(iter(said), "none")
        raise AffectError(f"No gold clip has a prediction: gold ids look like '{missing[0]}', predicted '{other}'.")
    return [name for name in gold if name in said], len(missing)
