"""How a row of a table holds its labels, and how they are read: words, lists, numbers, flags, levels, raters."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Literal, NamedTuple

from affectllm.answers.lists import split_labels
from affectllm.errors import AffectError
from affectllm.records import Record


class Labels(Record, dict=True):
    """How a row says its labels.

    word    one column with one label                        `joy`
    list    one column with several, in any spelling         `['joy', 'fear']`, `joy;fear`
    ids     one column with numbers, named by `names`        `2,14`
    flags   a column per label, 1 where it holds             `0,1,0`
    levels  a column per label with its strength or votes    `0,3,1`, kept from `at_least` on, strongest first
    raters  a column per rater with a list each              `joy, awe` and `joy`, kept from `at_least` raters on
    """

    form: Literal["word", "list", "ids", "flags", "levels", "raters"]
    column: str | None = None
    columns: list[str] = []
    names: dict[str, str] = {}
    """Cell value, in any case, number or column -> label; without it the text itself, in lower case, is the label."""
    separator: str | None = None
    """The one character between the labels of a list, if a label may hold another one (`fear/scare, joy`)."""
    strength: str | None = None
    """Column with a number for every label of a list; the labels are then ordered from the strongest."""
    at_least: float = 1
    none: str | None = None
    """The label of a row without any label. Without it, such a row is rejected."""
    votes: bool = False
    """Whether levels are numbers of raters. Their shares and majority can then be asked for."""

    def __post_init__(self) -> None:
        wanted = "columns" if self.form in ("flags", "levels", "raters") else "column"
        if not getattr(self, wanted):
            raise ValueError(f"form {self.form} needs {wanted}")

    @cached_property
    def labels_by_name(self) -> dict[str, str]:
        """`names` in lower case, so that upper and lower case in a cell do not matter."""
        return {name.casefold(): label for name, label in self.names.items()}


class Scale(Record):
    """A column with a number between `low` and `high`, scaled to -1..1."""

    column: str
    low: float
    high: float


class Found(NamedTuple):
    """Labels of a row and those of each rater, or why there are none."""

    labels: list[str]
    problem: str = ""
    raters: list[list[str]] | None = None


def read_labels(spec: Labels, values: Mapping[str, str]) -> Found:
    """The labels of a row, strongest first if there are levels, votes or strengths.

    >>> read_labels(Labels(form="levels", columns=["joy", "fear"]), {"joy": "1", "fear": "3"}).labels
    ['fear', 'joy']
    """
    if spec.columns and not any(values[column].strip() for column in spec.columns):
        # Test sets are published with empty columns: no annotation is not the absence of emotion.
        return Found([], "no label")
    lists = [cells(spec, values[column]) for column in spec.columns] if spec.form == "raters" else None
    raw = by_votes(spec, lists) if lists else by_level(spec, values) if spec.columns else one_cell(spec, values)
    if spec.votes:
        lists = [[column] for column in spec.columns for _ in range(round(number(values[column], column)))]
    names = spec.labels_by_name
    unknown = [name for name in (chain(*lists) if lists else raw) if names and name.casefold() not in names]
    if unknown:
        return Found([], f"label {unknown[0]!r} is not one of the card's")
    raters = [[names.get(name.casefold(), name.lower()) for name in said] for said in lists] if lists else None
    labels = list(dict.fromkeys(names.get(name.casefold(), name.lower()) for name in raw))
    if not labels and spec.none:
        return Found([spec.none], raters=raters)
    return Found(labels, "" if labels else "no label", raters)


def one_cell(spec: Labels, values: Mapping[str, str]) -> list[str]:
    """The labels of one column, in the order of another with their strengths where the card names one."""
    labels = cells(spec, values[spec.column or ""])
    if not spec.strength:
        return labels
    strengths = [number(part, spec.strength) for part in re.findall(r"[^\s,;]+", values[spec.strength])]
    if len(strengths) != len(labels):
        raise AffectError(f"{len(labels)} labels and {len(strengths)} strengths")
    return [label for _, label in sorted(zip(strengths, labels, strict=True), key=lambda pair: -pair[0])]


def cells(spec: Labels, cell: str) -> list[str]:
    if spec.form == "word":
        return [cell.strip()] if cell.strip() else []
    if spec.separator:
        return [part.strip() for part in cell.split(spec.separator) if part.strip()]
    return re.findall(r"\d+", cell) if spec.form == "ids" else split_labels(cell)


def by_votes(spec: Labels, lists: Sequence[Sequence[str]]) -> list[str]:
    """Labels that enough raters gave, the most frequent first; in the raters' order where they are equal."""
    votes = Counter(label for said in lists for label in dict.fromkeys(said))
    return [label for label, count in votes.most_common() if count >= spec.at_least]


def by_level(spec: Labels, values: Mapping[str, str]) -> list[str]:
    """Columns that reach the level, highest first; in the card's order where they are equal."""
    levels = {column: number(values[column], column) for column in spec.columns}
    kept = [column for column in spec.columns if levels[column] >= spec.at_least]
    return sorted(kept, key=lambda column: -levels[column])


def number(cell: str, column: str) -> float:
    """The number in a cell. An empty cell is 0."""
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
    """The closed label set, in the card's order; empty where the card leaves it open."""
    columns = spec.columns if spec.form in ("flags", "levels") else []
    return list(dict.fromkeys([*(spec.names.values() or columns), *([spec.none] if spec.none else [])]))
