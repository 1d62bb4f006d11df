"""Does a confidence of 0.8 mean right in 80 of 100 cases? Confidences in 0..1 against right or wrong.

An answer without a confidence is left out by the caller and reported, never given a made-up one.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError


class Calibration(NamedTuple):
    ece: float
    """Expected calibration error (Naeini et al. 2015): mean over clips of their bin's |confidence - accuracy|, 0..1."""
    ece_equal_mass: float
    """The same with bins of equally many clips."""
    brier: float
    """Mean squared distance of confidence from right (1) or wrong (0), in 0..1."""
    auroc: float
    """Chance that a right answer has the higher confidence, ties counting half; nan where all are right or wrong."""
    aurc: float
    """Area under the risk-coverage curve: mean error rate over all shares of most confident answers kept, 0..1."""
    accuracy: float
    confidence: float
    """Mean confidence; above the accuracy is overconfident."""
    n: int


def score(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> Calibration:
    c, y = pair(confidence, right)
    risks = risk_coverage(c, y)
    return Calibration(
        ece=ece(c, y, bins),
        ece_equal_mass=ece(c, y, bins, "mass"),
        brier=float(np.mean((c - y) ** 2)),
        auroc=auroc(c, y),
        aurc=float(risks.mean()),
        accuracy=float(y.mean()),
        confidence=float(c.mean()),
        n=len(c),
    )


def ece(confidence: ArrayLike, right: ArrayLike, bins: int = 10, kind: Literal["width", "mass"] = "width") -> float:
    """Calibration error over bins of equal width or equal mass.

    The last bin is closed: a confidence of exactly 1 counts. Half-open bins let answers that are all wrong at
    confidence 1.0 score a perfect 0.
    """
    c, y = pair(confidence, right)
    if kind == "width":
        place = np.minimum((c * bins).astype(int), bins - 1)
    else:
        place = np.argsort(np.argsort(c, kind="stable"), kind="stable") * bins // len(c)
    gaps = [abs(c[place == i].mean() - y[place == i].mean()) * (place == i).sum() for i in np.unique(place)]
    return float(sum(gaps) / len(c))


def auroc(confidence: ArrayLike, right: ArrayLike) -> float:
    c, y = pair(confidence, right)
    good, bad = c[y == 1], c[y == 0]
    if not len(good) or not len(bad):
        return float("nan")
    ordered = np.sort(bad)
    below, up_to = np.searchsorted(ordered, good, "left"), np.searchsorted(ordered, good, "right")
    return float((below + up_to).mean() / (2 * len(bad)))


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """Error rate among the k most confident answers, for k = 1..n; equal confidences are kept or dropped together."""
    c, y = pair(confidence, right)
    order = np.argsort(-c, kind="stable")
    wrong = np.cumsum(1 - y[order])
    # The last answer of each run of equal confidences stands for the run.
    ends = np.searchsorted(-c[order], -c[order], "right")
    return wrong[ends - 1] / ends


def selective_accuracy(confidence: ArrayLike, right: ArrayLike, coverage: float) -> float:
    """Accuracy of the most confident share of answers (at least one, with all that tie at the border)."""
    if not 0 < coverage <= 1:
        raise AffectError(f"Coverage is a share above 0 and up to 1, not {coverage}.")
    risks = risk_coverage(confidence, right)
    return float(1 - risks[max(1, round(coverage * len(risks))) - 1])


def pair(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    c, y = np.asarray(confidence, float), np.asarray(right, float)
    if c.shape != y.shape or c.ndim != 1 or not len(c):
        raise AffectError(f"{c.shape} confidences for {y.shape} outcomes; give one each, and at least one.")
    if not ((c >= 0) & (c <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise AffectError("Confidences lie in 0..1 and outcomes are 0 or 1; leave out answers without a confidence.")
    return c, y
