"""Scores of continuous ratings: valence, arousal, dominance, intensity."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError


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
    covariance = float(np.mean((a - a.mean()) * (b - b.mean())))
    spread = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    deviation = float(a.std() * b.std())
    return Dimensional(
        ccc=2 * covariance / spread if spread else 1.0,
        pearson=covariance / deviation if deviation else float("nan"),
        mae=float(np.abs(a - b).mean()),
        n=len(a),
    )


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
