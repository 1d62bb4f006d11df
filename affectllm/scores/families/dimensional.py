"""Scores of continuous ratings: valence, arousal, dominance, intensity."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Values, divide


class Dimensional(NamedTuple):
    ccc: float
    """Concordance correlation (Lin 1989): 2 cov / (var_said + var_gold + (mean_said - mean_gold)^2), in -1..1.

    Population variances. 0 where either side is constant and they differ; 1 where both are one equal constant."""
    pearson: float
    """In -1..1; nan where a side is constant."""
    mae: float
    """Mean absolute error, in the rating's own unit."""
    n: int


def score(said: ArrayLike, gold: ArrayLike) -> Dimensional:
    """CCC, Pearson and MAE of one dimension over clips."""
    a, b = pair(said, gold)
    sums = columns(a, b).sum(0)[None]
    return Dimensional(float(ccc(sums)[0]), float(pearson(sums)[0]), float(mae(sums)[0]), len(a))


def columns(said: ArrayLike, gold: ArrayLike) -> Values:
    """One row a clip whose sums are the moments, shape (clips, 8): 1, a, b, a^2, b^2, ab, |a - b|, and the offset.

    a and b are taken about their own means, where moments lose no digits; the offset is the distance of those means.
    """
    a, b = pair(said, gold)
    error, offset = np.abs(a - b), np.full(len(a), a.mean() - b.mean())
    a, b = a - a.mean(), b - b.mean()
    return np.stack([np.ones_like(a), a, b, a * a, b * b, a * b, error, offset], 1)


def moments(sums: Values) -> tuple[Values, Values, Values, Values]:
    """Variances of both sides, covariance, and squared distance of the means; a variance of rounding size is 0."""
    mean_a, mean_b, square_a, square_b, product, _, offset = (divide(sums[:, i], sums[:, 0]) for i in range(1, 8))
    variances = [
        np.where(square - mean**2 > 1e-12 * square, square - mean**2, 0.0)
        for square, mean in ((square_a, mean_a), (square_b, mean_b))
    ]
    return variances[0], variances[1], product - mean_a * mean_b, (mean_a - mean_b + offset) ** 2


def ccc(sums: Values) -> Values:
    var_a, var_b, covariance, distance = moments(sums)
    spread = var_a + var_b + distance
    return np.where(spread > 0, divide(2 * covariance * (var_a > 0) * (var_b > 0), spread), 1.0)


def pearson(sums: Values) -> Values:
    var_a, var_b, covariance, _ = moments(sums)
    return np.clip(divide(covariance, np.sqrt(var_a * var_b)), -1, 1)


def mae(sums: Values) -> Values:
    return divide(sums[:, 6], sums[:, 0])


def vad(said: Sequence[Sequence[float]], gold: Sequence[Sequence[float]]) -> dict[str, Dimensional]:
    """Valence, arousal and dominance of (clips, 3) ratings, each on its own."""
    a, b = np.asarray(said, float), np.asarray(gold, float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3:
        raise AffectError(f"VAD ratings must be (clips, 3) on both sides, they are {a.shape} and {b.shape}.")
    return {name: score(a[:, i], b[:, i]) for i, name in enumerate(("valence", "arousal", "dominance"))}


def ordinal_accuracy(said: Sequence[int], gold: Sequence[int], within: int = 0) -> float:
    """Share of levels (DAiSEE's 0..3, intensities) that are at most `within` steps off, in 0..1."""
    a, b = pair(said, gold)
    return float((np.abs(a - b) <= within).mean())


def pair(said: ArrayLike, gold: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides as arrays; AffectError for no clips, other lengths or NaN."""
    a, b = np.asarray(said, float), np.asarray(gold, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise AffectError(f"{a.shape} ratings for {b.shape} gold ratings; give one each, and at least one.")
    if np.isnan(a).any() or np.isnan(b).any():
        raise AffectError(f"A rating is NaN at clip {int(np.flatnonzero(np.isnan(a) | np.isnan(b))[0]) + 1}.")
    return a, b
