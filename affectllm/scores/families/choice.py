"""Questions with given answers: multiple choice, true or false statements, lists of triggers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from affectllm.errors import AffectError


class Choices(NamedTuple):
    accuracy: float
    """Share of questions answered with exactly the right letter or letters."""
    unread: int
    """Questions whose answer held no letter: wrong, and counted here."""
    chance: float
    """Expected accuracy of guessing one letter."""
    n: int


def multiple_choice(said: Sequence[str | None], gold: Sequence[str], options: Sequence[int]) -> Choices:
    """Letters as `answers.parse(...).choice` gives them ('D', 'B,C'; None where none was said)."""
    check(len(said), len(gold), len(options))
    right = [letters(a) == letters(b) for a, b in zip(said, gold, strict=True)]
    chance = np.mean([1 / count if len(letters(b)) == 1 else 0.0 for b, count in zip(gold, options, strict=True)])
    return Choices(float(np.mean(right)), sum(a is None for a in said), float(chance), len(gold))


def letters(choice: str | None) -> frozenset[str]:
    return frozenset(part.strip().upper() for part in choice.split(",") if part.strip()) if choice else frozenset()


class Statements(NamedTuple):
    accuracy: float
    """Share of statements judged rightly; one without a judgement is wrong."""
    balanced: float
    """Mean of the accuracies on true and on false statements: 0.5 for answering all alike."""
    n: int


def statements(said: Sequence[bool | None], gold: Sequence[bool]) -> Statements:
    check(len(said), len(gold))
    right = np.array([a is not None and a == b for a, b in zip(said, gold, strict=True)])
    truth = np.array(gold)
    sides = [right[truth == side].mean() for side in (True, False) if (truth == side).any()]
    return Statements(float(right.mean()), float(np.mean(sides)), len(gold))


class Triggers(NamedTuple):
    recall: float
    """Mean over clips of the share of reference triggers found (EIBench's long-term trigger recall), in 0..1."""
    judged: int
    n: int
    """Clips; those without a rating are not counted in the mean, and never take over another clip's."""


def trigger_recall(ratings: Sequence[tuple[float, float] | None]) -> Triggers:
    """From a judge's `found / total` per clip, as `answers.read_rating` reads them; None where it could not."""
    shares = []
    for i, rating in enumerate(ratings, 1):
        if rating is None:
            continue
        found, total = rating
        if not 0 <= found <= total or total == 0:
            raise AffectError(f"Rating {i} says {found:g} of {total:g} triggers.")
        shares.append(found / total)
    if not shares:
        raise AffectError(f"None of {len(ratings)} ratings could be read: there is no trigger recall.")
    return Triggers(float(np.mean(shares)), len(shares), len(ratings))


def check(*lengths: int) -> None:
    if len(set(lengths)) > 1 or not lengths[0]:
        raise AffectError(
            f"Answers and gold must be as many, and at least one; they are {', '.join(map(str, lengths))}."
        )
