"""Scores against the distribution of several raters, rather than their majority.

Said and gold are (clips, labels) with rows that sum to 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Statistic, Values, divide

EPSILON = 1e-12


class SoftLabels(NamedTuple):
    js: float
    """Jensen-Shannon divergence in bits, mean over clips, in 0..1; 0 is best."""
    kl: float
    """Kullback-Leibler divergence of the raters from the answer, in bits; 0 is best, no upper bound."""
    soft_f1: float
    """2 sum min(said, gold) / (sum said + sum gold) over all cells (ChaLearn-style overlap), in 0..1."""
    n: int


def score(said: ArrayLike, gold: ArrayLike) -> SoftLabels:
    sums = columns(said, gold).sum(0)[None]
    return SoftLabels(**{name: float(statistic(sums)[0]) for name, statistic in STATISTICS.items()}, n=int(sums[0, 3]))


def columns(said: ArrayLike, gold: ArrayLike) -> Values:
    """One row a clip whose sums over clips the statistics take: JS, KL, overlap and 1, shape (clips, 4)."""
    p, q = distributions(said), distributions(gold)
    if p.shape != q.shape:
        raise AffectError(f"Said {p.shape} and gold {q.shape} must have the same clips and labels.")
    middle = (p + q) / 2
    js = (divergence(p, middle) + divergence(q, middle)) / 2
    kl = divergence(q, np.maximum(p, EPSILON))
    # Rows sum to 1 on both sides, so 2 min / (1 + 1) is the overlap itself.
    return np.stack([js, kl, np.minimum(p, q).sum(1), np.ones(len(p))], 1)


# By SoftLabels' fields.
STATISTICS: dict[str, Statistic] = {
    "js": lambda sums: divide(sums[:, 0], sums[:, 3]),
    "kl": lambda sums: divide(sums[:, 1], sums[:, 3]),
    "soft_f1": lambda sums: divide(sums[:, 2], sums[:, 3]),
}


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p || q) in bits of each row."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log2(ratio)).sum(1)


def from_raters(raters: Sequence[Sequence[Sequence[str]]], classes: Sequence[str]) -> NDArray[np.float64]:
    """The share of each class among the labels of a clip's raters, one row a clip (raters x labels each)."""
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


def rater_ceiling(raters: Sequence[Sequence[Sequence[str]]], classes: Sequence[str]) -> SoftLabels:
    """What a left-out rater reaches against the others: the score a model can at most be asked for.

    Every rater of every clip with at least two is the answer once; n counts those.
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
    return score(from_raters(said, classes), from_raters(gold, classes))


def distributions(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, float)
    if table.ndim != 2 or not len(table) or (table < 0).any() or not np.allclose(table.sum(1), 1, atol=1e-6):
        raise AffectError(
            f"Distributions must be (clips, labels), each row from 0 up and summing to 1; shape {table.shape}."
        )
    return table
