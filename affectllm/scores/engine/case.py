"""Input and output of a metric: predictions and gold of the same clips; a number before its interval."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from affectllm import answers
from affectllm.answers import Parsed
from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.tables import Row, Table
from affectllm.scores.engine.uncertainty import Drawn
from affectllm.vocabulary import OURS, Wheels
from affectllm.vocabulary.mertools import split_list


class Said(NamedTuple):
    labels: list[str]
    failed: bool
    """Whether no label could be read from the text, or the model gave an error."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Predictions and gold of the clips to score, in the same order."""

    ids: Sequence[str]
    said_rows: list[Row]
    gold_rows: list[Row]
    protocol: str = OURS
    wheels: Wheels | None = None
    level: str = "level1"
    assets: Path | None = None
    classes: Sequence[str] = ()
    """The closed list of labels. If it is empty, the labels that are gold somewhere."""
    scale: Literal["cmu", "sims"] = "cmu"
    """Scale of sentiment strengths: -3..3 (cmu) or -1..1 (sims)."""
    clue_encoder: str | None = None
    """Text encoder that compares clues by meaning. Without it, their words are compared."""

    @cached_property
    def answers(self) -> list[Said]:
        return [read_answer(row, self.protocol) for row in self.said_rows]

    @property
    def said(self) -> list[list[str]]:
        return [answer.labels for answer in self.answers]

    @cached_property
    def parsed(self) -> list[Parsed]:
        """The parsed texts of the answers. A row without text gives an empty answer."""
        return [answers.parse("" if row.error is not None else row.text or "") for row in self.said_rows]

    @property
    def reasonings(self) -> list[str]:
        """What each answer says in addition to its labels: a field of the row, the think text, the prose or clues."""
        rows = zip(self.said_rows, self.parsed, strict=True)
        return [str(row.cells.get("reasoning") or parsed.evidence) for row, parsed in rows]

    @cached_property
    def gold(self) -> list[list[str]]:
        return [read_answer(row, self.protocol).labels for row in self.gold_rows]

    @property
    def gold_word(self) -> list[str]:
        """The one gold label of every clip, or an error that names the clip with none or several."""
        for name, labels in zip(self.ids, self.gold, strict=True):
            if len(labels) != 1:
                raise AffectError(f"This metric needs one gold label per clip; '{name}' has {len(labels)}: {labels}.")
        return [labels[0].strip().lower() for labels in self.gold]

    @property
    def known_wheels(self) -> Wheels:
        """The wheels. A metric has them if it declares needs=("wheels",)."""
        if self.wheels is None:
            raise AffectError("This metric compares words on emotion wheels; declare it with needs=('wheels',).")
        return self.wheels

    @property
    def failures(self) -> int:
        return sum(answer.failed for answer in self.answers)

    @property
    def labels_per_clip(self) -> float:
        return float(np.mean([len(labels) for labels in self.said]))

    def gold_field(self, key: str, what: str) -> list[Any]:
        """A field of every gold row, or an error that names the clip without it."""
        rows = zip(self.ids, self.gold_rows, strict=True)
        return [cell(row, key, f"gold clip '{name}'", what) for name, row in rows]

    def said_field(self, key: str, what: str) -> list[Any]:
        """A field of every prediction, or an error that names the clip without it."""
        rows = zip(self.ids, self.said_rows, strict=True)
        return [cell(row, key, f"prediction '{name}'", what) for name, row in rows]

    def clusters(self, by: str) -> list[str]:
        """The group of each clip: a field of the gold rows, or an expression on the id with one group."""
        if "(" not in by:
            return [str(value) for value in self.gold_field(by, "--cluster names it")]
        found = [re.search(by, name) for name in self.ids]
        if None in found:
            raise AffectError(f"--cluster {by!r} does not match the id '{self.ids[found.index(None)]}'.")
        return [match[1] for match in found if match]


def cell(row: Row, key: str, whose: str, what: str) -> Any:
    if key not in row.cells or row.cells[key] in (None, ""):
        raise AffectError(f"No '{key}' in {whose} ({what}); it holds {', '.join(row.cells) or 'no such fields'}.")
    return row.cells[key]


def read_answer(row: Row, protocol: str) -> Said:
    """Labels of a row. MERTools' protocols split an open set as the official code does; ours reads every spelling."""
    if row.error is not None:
        return Said([], True)
    if row.labels is not None:
        return Said(list(row.labels), False)
    if row.listed is not None:
        official = split_list(row.listed)
        if protocol != OURS or not official:
            return Said(official, False)
        parsed = answers.parse(row.listed)
        return Said(parsed.labels, parsed.status == "failed")
    if row.text is not None:
        parsed = answers.parse(row.text)
        return Said(parsed.labels, parsed.status == "failed")
    return Said([], False)


class Measured(NamedTuple):
    """A metric on one case, before intervals."""

    drawn: Drawn
    """The metric as a function of how often each clip counts."""
    n: int
    """Clips, questions or pairs that count."""
    constants: Sequence[Constant] = ()
    """Constant answers, which ignore the clip, with their scores."""
    chance: float | None = None
    """Score of answering with the gold, or the reasoning, of another clip."""
    ceiling: float | None = None
    """Score of people against each other, if several rated a clip."""
    failures: int | None = None
    """Number of answers that could not be read. Without it, answers without a label are counted."""
    skipped: Mapping[str, int] = {}
    precision: float | None = None
    recall: float | None = None
    per_wheel: Mapping[str, Mapping[str, float]] | None = None


def make_case(said: Table, gold: Table, ids: Sequence[str], **options: Any) -> Case:
    return Case(ids=list(ids), said_rows=[said[it] for it in ids], gold_rows=[gold[it] for it in ids], **options)
