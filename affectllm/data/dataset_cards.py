"""Data-set cards: what a table-shaped data set looks like, as data, so that one builder reads them all.

A card names the task, columns, label form, licence and published sizes of a data set. It is a YAML file in
data_builders/cards/; data_builders/table.py builds what it describes.
"""

import re
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

import msgspec

from affectllm.data.data_sets import DataSet
from affectllm.data.label_forms import Labels, Scale
from affectllm.errors import AffectError
from affectllm.records import Record


class Lists(Record):
    """Files that say which split a row is in, by the value of one of its columns."""

    column: str
    files: dict[str, str]
    """Text file with one value per line -> split; or JSON file -> path to a value (as `items`), with {split} in it."""


class Example(Record):
    """A made-up row in the data set's shape, and what it must become."""

    row: dict[str, str]
    """Column -> cell; or `path`, for sets whose file names hold all that is known."""
    labels: list[str] = []
    sentiment: str | None = None
    valence: float | None = None
    vad: tuple[float, float, float] | None = None


class Card(DataSet, kw_only=True, dict=True):
    """A table-shaped data set: its columns, and how they are read."""

    perspective: Literal["expressed", "induced"] | None = None
    """Whether the labels say what is shown, or what readers and viewers feel; without it, what is shown."""
    lists: Lists | None = None
    languages: dict[str, str] = {}
    """File name without its ending -> language, for a set of several."""
    delimiter: str = ","
    quoted: bool = True
    """Whether quotation marks may wrap a field; false if they have no special meaning."""
    header: list[str] = []
    """Column names of a file that has no header line."""
    items: str | None = None
    """Path from the top of a JSON file to a row, `{film}/{scene}/Dialog/{line}`: braces name the key, or the place in a
    list, as a column; each value below a row is a column, as in `emotion.3.label`."""
    paths: str | None = None
    """Regular expression of the end of a media file's path under the source, each named group being a column: for sets
    whose file names hold all that is known."""
    id: str = "{split}_{row}"
    """Pattern of column names, `split`, `stem` (file name without its ending) and `row` (1-based row number)."""
    text: str | None = None
    """Column of what is said or written."""
    texts: dict[str, str] = {}
    """Code in a cell of `text` -> sentence, for sets whose actors speak given sentences."""
    dialogue: str | None = None
    """Pattern that is the same for all rows of a dialogue; rows are in order, and the earlier ones become context."""
    speaker: str | None = None
    """Column of who speaks."""
    turns: list[str] = []
    """Those who take turns, where no column says who speaks."""
    clip: str | None = None
    """Pattern of the media file's path under --media."""
    clip_tail: int = 0
    """Number of last parts of that path that count, for paths that begin with the authors' own folders; 0 for all."""
    split: str | None = None
    """Column that names the split."""
    labels: Labels | None = None
    sentiment: str | None = None
    """Column with positive, negative or neutral."""
    valence: Scale | None = None
    vad: tuple[Scale, Scale, Scale] | None = None
    """Valence, arousal and dominance, if the data set has all three."""
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


def read_card(name: str) -> Card:
    """A card by name. The error for an unknown name lists the cards."""
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
