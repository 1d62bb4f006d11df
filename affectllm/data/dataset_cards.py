"""Data-set cards: what a table-shaped data set looks like, as data, so that one builder reads them all.

A card names the task, columns, label form, licence and published sizes of a data set. Cards with `builder` describe a
set that has a script of its own; they are there for the list.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import chain
from typing import Any, Literal, NamedTuple

import msgspec

from affectllm.answers.lists import split_labels
from affectllm.errors import AffectError
from affectllm.records import Record, Task


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
    """The one sign between the labels of a list, where a label may hold another (`fear/scare, joy`)."""
    strength: str | None = None
    """Column with a number for every label of a list; the labels then stand strongest first."""
    at_least: float = 1
    none: str | None = None
    """What no label at all means; without it such a row is rejected."""
    votes: bool = False
    """Whether levels are numbers of raters, whose shares and majority can then be asked for."""

    def __post_init__(self) -> None:
        wanted = "columns" if self.form in ("flags", "levels", "raters") else "column"
        if not getattr(self, wanted):
            raise ValueError(f"form {self.form} needs {wanted}")

    @cached_property
    def labels_by_name(self) -> dict[str, str]:
        """`names` in lower case, to be found in whatever case a cell writes them."""
        return {name.casefold(): label for name, label in self.names.items()}


class Scale(Record):
    """A column with a number between `low` and `high`, brought to -1..1."""

    column: str
    low: float
    high: float


class Lists(Record):
    """Files that say which split a row is in, by the value of one of its columns."""

    column: str
    files: dict[str, str]
    """Text file with a value a line -> split; or JSON file -> way to a value (as `items`), with {split} in it."""


class Example(Record):
    """A row of our own making in the data set's shape, and what it must become."""

    row: dict[str, str]
    """Column -> cell; for files whose names say it all, their path."""
    labels: list[str] = []
    sentiment: str | None = None
    valence: float | None = None
    vad: tuple[float, float, float] | None = None


class Card(Record, kw_only=True, dict=True):
    title: str
    task: Task
    perspective: Literal["expressed", "induced"] | None = None
    """Whether the labels say what is shown, or what readers and viewers feel; not stated, what is shown."""
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
    """File under the source -> split."""
    lists: Lists | None = None
    languages: dict[str, str] = {}
    """File name without its ending -> language, for a set of several."""
    delimiter: str = ","
    quoted: bool = True
    """Whether quotation marks may wrap a field; false where they are signs like any other."""
    header: list[str] = []
    """Column names of a file that has no header line."""
    items: str | None = None
    """Way from the top of a JSON file to a row, `{film}/{scene}/Dialog/{line}`: braces name the key, or the place in a
    list, as a column; what lies below a row is a column each, as in `emotion.3.label`."""
    paths: str | None = None
    """Regular expression of the end of a media file's path under the source, each named group being a column: for sets
    whose file names say it all."""
    id: str = "{split}_{row}"
    """Pattern of column names, `split`, `stem` (file name without its ending) and `row` (1-based row number)."""
    text: str | None = None
    """Column of what is said or written."""
    texts: dict[str, str] = {}
    """What a cell of `text` stands for, where actors speak given sentences."""
    dialogue: str | None = None
    """Pattern that is the same for all rows of a dialogue; they stand in order, the earlier ones become context."""
    speaker: str | None = None
    """Column of who speaks."""
    turns: list[str] = []
    """Those who take turns, where no column says who speaks."""
    clip: str | None = None
    """Pattern of the media file's path under --media."""
    clip_tail: int = 0
    """How many last parts of that path count, where the authors' own folders stand before them; 0 for all."""
    split: str | None = None
    """Column that names the split."""
    labels: Labels | None = None
    sentiment: str | None = None
    """Column with positive, negative or neutral."""
    valence: Scale | None = None
    vad: tuple[Scale, Scale, Scale] | None = None
    """Valence, arousal and dominance, where there are all three."""
    example: list[Example] = []

    @cached_property
    def needs(self) -> list[str]:
        """The columns that must be there."""
        patterns = [self.id, self.clip or "", self.dialogue or ""]
        given = ("split", "row", "stem", "path")
        named = [name for pattern in patterns for name in re.findall(r"{([^}]+)}", pattern) if name not in given]
        labels = [self.labels.column, self.labels.strength, *self.labels.columns] if self.labels else []
        others = [self.text, self.speaker, self.sentiment]
        others += [scale.column for scale in (self.valence, *(self.vad or ())) if scale]
        # A group of a file name may be absent, as the folder of a split is in some copies.
        others += [self.lists.column] if self.lists else [] if self.paths else [self.split]
        return [name for name in dict.fromkeys([*others, *labels, *named]) if name]


class Found(NamedTuple):
    """Labels of a row and those of each rater, or why there are none."""

    labels: list[str]
    problem: str = ""
    raters: list[list[str]] | None = None


def read_labels(spec: Labels, values: Mapping[str, str]) -> Found:
    """The labels of a row, strongest first where there are levels, votes or strengths.

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
    """The closed label set, in the card's order; empty where the card leaves it open."""
    columns = spec.columns if spec.form in ("flags", "levels") else []
    return list(dict.fromkeys([*(spec.names.values() or columns), *([spec.none] if spec.none else [])]))


def walk(value: Any, way: str, bound: Mapping[str, str] | None = None) -> Iterator[tuple[dict[str, str], Any]]:
    """What a JSON value holds at the end of a way, with the keys passed.

    >>> list(walk({"a": {"log": ["hm", "oh"]}}, "{dialogue}/log/{turn}"))
    [({'dialogue': 'a', 'turn': '0'}, 'hm'), ({'dialogue': 'a', 'turn': '1'}, 'oh')]
    """
    if not way:
        yield dict(bound or {}), value
        return
    step, _, rest = way.partition("/")
    if step.startswith("{") and isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk(child, rest, {**(bound or {}), step.strip("{}"): str(key)})
    elif isinstance(value, dict) and step in value:
        yield from walk(value[step], rest, bound)
    else:
        raise AffectError(f"no '{step}' {'in ' + '/'.join(bound.values()) if bound else 'at its top'}")


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """The cells of a JSON row; null is an empty cell.

    >>> flatten({"Text": "hm", "votes": [{"is": 1}, None]})
    {'Text': 'hm', 'votes.0.is': '1', 'votes.1': ''}
    """
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: cell for key, child in pairs for name, cell in flatten(child, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): "" if value is None else str(value)}


def read_card(name: str) -> Card:
    """A card by name; an unknown name lists those there are."""
    import yaml

    if name not in card_names():
        raise AffectError(f"No card '{name}'. Known: {', '.join(card_names())}.")
    try:
        return msgspec.convert(yaml.safe_load((folder() / f"{name}.yaml").read_text("utf-8")), Card)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise AffectError(f"Card {name}.yaml does not fit: {' '.join(str(error).split())}") from error


def card_names() -> list[str]:
    """The name of every card, in alphabetical order."""
    return sorted(file.name.removesuffix(".yaml") for file in folder().iterdir() if file.name.endswith(".yaml"))


def folder() -> Traversable:
    return files("affectllm.data_builders").joinpath("cards")


@cache
def all_cards() -> dict[str, Card]:
    """Every card by name, in alphabetical order."""
    return {name: read_card(name) for name in card_names()}
