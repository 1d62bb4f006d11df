"""Which of two descriptions do people prefer (EmoPrefer, MER2026 track 3)?"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores import confusion
from affectllm.scores.uncertainty import Values

Choice = Literal["a1", "a2", "same"]
Rule = Literal["mer2026", "strict"]
SWAPPED = {"a1": "a2", "a2": "a1", "same": "same"}


class Preference(NamedTuple):
    waf: float
    """Support-weighted F1 over a1 and a2."""
    accuracy: float
    n: int
    skipped_same: int
    """Clips that people found equally good: not counted."""
    said_same: int
    """Counted clips on which the model would not choose."""


def score(said: Sequence[Choice], gold: Sequence[Choice], rule: Rule = "strict") -> Preference:
    """Two-class WAF and accuracy.

    Both rules skip clips whose gold is `same`. `mer2026` turns an answer `same` into a1 (MERTools, utils/common.py),
    which pays a model for not choosing; `strict` counts it as wrong.
    """
    if len(said) != len(gold):
        raise AffectError(f"{len(said)} answers for {len(gold)} gold preferences; give one each.")
    kept = [(a, b) for a, b in zip(said, gold, strict=True) if b != "same"]
    if not kept:
        raise AffectError("No clip has a gold preference a1 or a2.")
    undecided = sum(a == "same" for a, _ in kept)
    sums = columns([a for a, _ in kept], [b for _, b in kept], rule).sum(0)[None]
    waf, accuracy = float(confusion.weighted_f1(sums)[0]), float(confusion.accuracy(sums)[0])
    return Preference(waf, accuracy, len(kept), len(gold) - len(kept), undecided)


def columns(said: Sequence[str], gold: Sequence[str], rule: Rule) -> Values:
    """Rows of the two-class confusion table, one a clip whose gold is a1 or a2."""
    answers = ["a1" if a == "same" and rule == "mer2026" else a for a in said]
    return confusion.columns(answers, gold, ("a1", "a2"))


def swap_consistency(said: Sequence[Choice], said_swapped: Sequence[Choice]) -> float:
    """Share of clips on which the answer follows the description when the two change places, in 0..1.

    `said_swapped` is what the model says with a1 and a2 exchanged; always saying a1 gives 0.
    """
    if len(said) != len(said_swapped) or not said:
        raise AffectError(f"{len(said)} answers and {len(said_swapped)} with swapped places; give one each.")
    return float(np.mean([SWAPPED[b] == a for a, b in zip(said, said_swapped, strict=True)]))
