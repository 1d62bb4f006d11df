"""Data-set cards: what a table-shaped data set looks like, as data, so that one builder reads them all.

A card names the task, columns, label form, licence and published sizes of a data set. Cards with `builder` describe a
set that has a script of its own; they are there for the list.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from pydantic import ValidationError, model_validator

from affectllm.answers.lists import split_labels
from affectllm.errors import AffectError
from affectllm.records import Record, Task


class Labels(Record):
    """How a row says its labels.

    word    one column with one label                        `joy`
    list    one column with several, in any spelling         `['joy', 'fear']`, `joy;fear`
    ids     one column with numbers, named by `names`        `2,14`
    flags   a column per label, 1 where it holds             `0,1,0`
    levels  a column per label with its strength or votes    `0,3,1`, kept from `at_least` on, strongest first
    """

    form: Literal["word", "list", "ids", "flags", "levels"]
    column: str | None = None
    columns: list[str] = []
    names: dict[str, str] = {}
    """Cell value, number or column -> label; without it the text itself, in lower case, is the label."""
    at_least: float = 1
    none: str | None = None
    """What no label at all means; without it such a row is rejected."""

    @model_validator(mode="after")
    def has_its_columns(self) -> "Labels":
        if not (self.columns if self.form in ("flags", "levels") else self.column):
            raise ValueError(f"form {self.form} needs {'columns' if self.form in ('flags', 'levels') else 'column'}")
        return self


class Scale(Record):
    """A column with a number between `low` and `high`, brought to -1..1."""

    column: str
    low: float
    high: float


class Card(Record):
    title: str
    task: Task
    language: str
    """ISO 639-1 code, or `mul` for several: then give --language."""
    licence: str
    url: str
    citation: str
    status: Literal["verified", "documented"]
    """verified: built from the data set's real files; documented: written from its documentation only."""
    rows: dict[str, int] = {}
    """Published number of rows by split."""
    builder: str | None = None
    files: dict[str, str] = {}
    """File name -> split."""
    delimiter: str = ","
    quoted: bool = True
    """Whether quotation marks may wrap a field; false where they are signs like any other."""
    header: list[str] = []
    """Column names of a file that has no header line."""
    id: str = "{split}_{row}"
    """Pattern of column names, `split`, and `row`, the 1-based row number."""
    text: str | None = None
    """Column of what is said or written."""
    clip: str | None = None
    """Pattern of the media file's path under --media."""
    split: str | None = None
    """Column that names the split."""
    labels: Labels | None = None
    sentiment: str | None = None
    """Column with positive, negative or neutral."""
    valence: Scale | None = None

    def needs(self) -> list[str]:
        """The columns that must be there."""
        patterns = [self.id, self.clip or ""]
        named = [name for p in patterns for name in re.findall(r"{([^}]+)}", p) if name not in ("split", "row")]
        labels = [self.labels.column, *self.labels.columns] if self.labels else []
        others = [self.text, self.split, self.sentiment, self.valence.column if self.valence else None]
        return [name for name in dict.fromkeys([*others, *labels, *named]) if name]


class Found(NamedTuple):
    """Labels of a row, or why there are none."""

    labels: list[str]
    problem: str = ""


def read_labels(spec: Labels, values: Mapping[str, str]) -> Found:
    """The labels of a row, strongest first where there are levels.

    >>> read_labels(Labels(form="levels", columns=["joy", "fear"]), {"joy": "1", "fear": "3"}).labels
    ['fear', 'joy']
    """
    raw = by_level(spec, values) if spec.columns else cells(spec, values[spec.column or ""])
    unknown = [name for name in raw if spec.names and name not in spec.names]
    if unknown:
        return Found([], f"label {unknown[0]!r} is not one of the card's")
    labels = list(dict.fromkeys(spec.names.get(name, name.lower()) for name in raw))
    if not labels and spec.none:
        return Found([spec.none])
    return Found(labels, "" if labels else "no label")


def cells(spec: Labels, cell: str) -> list[str]:
    if spec.form == "word":
        return [cell.strip()] if cell.strip() else []
    return re.findall(r"\d+", cell) if spec.form == "ids" else split_labels(cell)


def by_level(spec: Labels, values: Mapping[str, str]) -> list[str]:
    """Columns that reach the level, highest first; in the card's order where they are equal."""
    levels = {column: number(values[column], column) for column in spec.columns}
    kept = [column for column in spec.columns if levels[column] >= spec.at_least]
    return sorted(kept, key=lambda column: -levels[column])


def number(cell: str, column: str) -> float:
    """A number, an empty cell being 0."""
    try:
        return float(cell or 0)
    except ValueError as error:
        raise AffectError(f"Column '{column}' holds {cell!r}, a number was expected.") from error


def scaled(scale: Scale, values: Mapping[str, str]) -> float:
    """The row's number in -1..1.

    >>> scaled(Scale(column="V", low=1, high=5), {"V": "4"})
    0.5
    """
    value = number(values[scale.column], scale.column)
    if not scale.low <= value <= scale.high:
        raise AffectError(f"Column '{scale.column}' holds {value}, outside {scale.low} to {scale.high}.")
    return round((value - scale.low) / (scale.high - scale.low) * 2 - 1, 4)


def candidates(spec: Labels) -> Sequence[str]:
    """The closed label set, in the card's order."""
    return list(dict.fromkeys([*(spec.names.values() or spec.columns), *([spec.none] if spec.none else [])]))


def read_card(name: str) -> Card:
    """A card by name; an unknown name lists those there are."""
    known = all_cards()
    if name not in known:
        raise AffectError(f"No card '{name}'. Known: {', '.join(known)}.")
    return known[name]


@cache
def all_cards() -> dict[str, Card]:
    """Every card by name, in alphabetical order."""
    import yaml

    found = {}
    for file in sorted(files("affectllm.data_builders").joinpath("cards").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            try:
                found[file.name.removesuffix(".yaml")] = Card.model_validate(yaml.safe_load(file.read_text("utf-8")))
            except (ValidationError, yaml.YAMLError) as error:
                raise AffectError(f"Card {file.name} does not fit: {' '.join(str(error).split())}") from error
    return found
