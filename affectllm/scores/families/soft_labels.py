"""Scores against the distribution of several raters instead of their majority.

Said and gold are (clips, labels) with rows that sum to 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.answers import read_distribution
from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, divide, drawn_sums, value_of_sums

GOLD = "`raters` (labels of each) or `distribution` {label: share}"
PREDICTIONS = "`distribution`, in a field or in the text, or labels"
FIELDS = ("raters", "distribution")
EPSILON = 1e-12


def columns(said: ArrayLike, gold: ArrayLike) -> Values:
    """One row per clip whose sums over clips the statistics take: JS, KL, overlap and 1, shape (clips, 4)."""
    p, q = distributions(said), distributions(gold)
    if p.shape != q.shape:
        raise AffectError(f"Said {p.shape} and gold {q.shape} must have the same clips and labels.")
    middle = (p + q) / 2
    js = (divergence(p, middle) + divergence(q, middle)) / 2
    kl = divergence(q, np.maximum(p, EPSILON))
    # Rows sum to 1 on both sides, so 2 min / (1 + 1) is the overlap itself.
    return np.stack([js, kl, np.minimum(p, q).sum(1), np.ones(len(p))], 1)


def mean_js(sums: Values) -> Values:
    return divide(sums[:, 0], sums[:, 3])


def mean_kl(sums: Values) -> Values:
    return divide(sums[:, 1], sums[:, 3])


def mean_overlap(sums: Values) -> Values:
    return divide(sums[:, 2], sums[:, 3])


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p || q) in bits of each row."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log2(ratio)).sum(1)


def from_raters(raters: Sequence[Sequence[Sequence[str]]], classes: Sequence[str]) -> NDArray[np.float64]:
    """The share of each class among the labels of a clip's raters, one row per clip (raters x labels each)."""
    number = {label: i for i, label in enumerate(classes)}
    table = np.zeros((len(raters), len(classes)))
    for row, votes in zip(table, raters, strict=True):
        for label in (label for vote in votes for label in vote):
            if label not in number:
                raise AffectError(f"A rater said '{label}', not among the classes {', '.join(classes)}.")
            row[number[label]] += 1
        if not row.sum():
            raise AffectError("A clip has no rater's label: leave it out, its distribution is unknown.")
    return table / table.sum(1, keepdims=True)


def rater_columns(raters: Sequence[Sequence[Sequence[str]]], classes: Sequence[str]) -> Values:
    """`columns` of left-out raters against the others: their score is the most that a model can be expected to reach.

    In clips with at least two raters, every rater is the answer once.
    """
    said, gold = [], []
    for votes in raters:
        for i, vote in enumerate(votes):
            rest = [other for j, other in enumerate(votes) if j != i and other]
            if vote and rest:
                said.append([vote])
                gold.append(rest)
    if not said:
        raise AffectError("No clip has two raters: there is no ceiling to compute.")
    return columns(from_raters(said, classes), from_raters(gold, classes))


def distributions(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, float)
    if table.ndim != 2 or not len(table) or (table < 0).any() or not np.allclose(table.sum(1), 1, atol=1e-6):
        raise AffectError(
            f"Distributions must be (clips, labels), each row from 0 up and summing to 1; shape {table.shape}."
        )
    return table


@metric("js", gold=GOLD, predictions=PREDICTIONS, reads=FIELDS, lower_is_better=True)
def js(case: Case) -> Measured:
    """Jensen-Shannon divergence in bits, mean over clips, in 0..1."""
    return score_distributions(case, mean_js)


@metric("kl", gold=GOLD, predictions=PREDICTIONS, reads=FIELDS, lower_is_better=True)
def kl(case: Case) -> Measured:
    """Kullback-Leibler divergence of the raters from the answer, in bits, mean over clips."""
    return score_distributions(case, mean_kl)


@metric("soft_f1", gold=GOLD, predictions=PREDICTIONS, reads=FIELDS)
def soft_f1(case: Case) -> Measured:
    """2 sum min(said, gold) / (sum said + sum gold) over all cells, in 0..1."""
    return score_distributions(case, mean_overlap)


def score_distributions(case: Case, statistic: Statistic) -> Measured:
    """A score against the raters' distribution. Labels without shares get equal ones."""
    raters = [row.cells.get("raters") for row in case.gold_rows]
    spread = [row.cells.get("distribution") for row in case.gold_rows]
    if lost := [it for it, a, b in zip(case.ids, raters, spread, strict=True) if not a and not b]:
        raise AffectError(f"Gold clip '{lost[0]}' has neither raters nor a distribution.")
    votes = [[label for vote in its or () for label in vote] for its in raters]
    classes = list(case.classes) or sorted({label for it in (*votes, *(it or {} for it in spread)) for label in it})
    gold = np.stack([shares(it or vote, classes) for it, vote in zip(spread, votes, strict=True)])
    rows = zip(case.said_rows, case.said, strict=True)
    answers = [row.cells.get("distribution") or read_distribution(row.text or "") or labels for row, labels in rows]
    said = np.stack([shares(it, classes) for it in answers])
    mean = np.broadcast_to(gold.mean(0), gold.shape)
    several = [its for its in raters if its and len(its) > 1]
    return Measured(
        drawn_sums(columns(said, gold), statistic),
        n=len(gold),
        constants=[Constant(["mean distribution"], mean_value(columns(mean, gold), statistic))],
        chance=mean_value(columns(np.roll(gold, 1, 0), gold), statistic),
        ceiling=value_of_sums(rater_columns(several, classes), statistic) if several else None,
    )


def mean_value(columns: Values, statistic: Statistic) -> float:
    return float(statistic(columns.mean(0)[None])[0])


def shares(answer: Mapping[str, Any] | Sequence[str], classes: Sequence[str]) -> Values:
    """A distribution over the classes and, last, over all other labels; an answer without a label counts there."""
    weights = answer if isinstance(answer, Mapping) else {label: 1 / len(answer) for label in answer}
    row = np.zeros(len(classes) + 1)
    for label, weight in weights.items():
        row[classes.index(label) if label in classes else -1] += max(0.0, float(weight))
    if not row.sum():
        row[-1] = 1.0
    return row / row.sum()
