"""Does a confidence of 0.8 mean right in 80 of 100 cases? Confidences in 0..1 against right or wrong.

An answer without a confidence is left out by the caller and reported, never given a made-up one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Drawn, Values, divide, of_sums, value_of, with_count


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
    found = {name: value_of(make(c, y, bins), len(c)) for name, make in STATISTICS.items()}
    return Calibration(**found, accuracy=float(y.mean()), confidence=float(c.mean()), n=len(c))


def equal_width(c: Values, y: Values, bins: int = 10) -> Drawn:
    """ECE over bins of equal width, as a function of how often each clip counts.

    The last bin is closed: a confidence of exactly 1 counts. Half-open bins let answers that are all wrong at
    confidence 1.0 score a perfect 0.
    """
    place = np.minimum((c * bins).astype(int), bins - 1)
    columns = np.zeros((len(c), bins + 1))
    columns[np.arange(len(c)), place] = c - y
    columns[:, bins] = 1
    return of_sums(columns, lambda sums: divide(np.abs(sums[:, :bins]).sum(1), sums[:, bins]))


def equal_mass(c: Values, y: Values, bins: int = 10) -> Drawn:
    """ECE over bins of equally many clips; of equal confidences the earlier clip comes first."""
    order = np.argsort(c, kind="stable")
    gaps = (c - y)[order]

    def drawn(counts: Values) -> Values:
        return np.array([mass_error(row[order], gaps, bins) for row in counts])

    return drawn


def mass_error(counts: Values, gaps: Values, bins: int) -> float:
    """ECE of one draw: the gaps summed up to each bin's border, where a clip drawn often may lie on both sides."""
    n = counts.sum()
    if n == 0:
        return float("nan")
    borders = np.ceil(np.arange(bins + 1) * n / bins)
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    summed = np.concatenate([[0.0], np.cumsum(counts * gaps)])
    return float(np.abs(np.diff(np.interp(borders, reached, summed))).sum() / n)


def brier(c: Values, y: Values, bins: int = 10) -> Drawn:
    return of_sums(with_count((c - y) ** 2))


def auroc(c: Values, y: Values, bins: int = 10) -> Drawn:
    """The chance that a right answer has the higher confidence, as a function of how often each clip counts."""
    order, starts, ends = ranks(c)
    good = y[order] == 1

    def drawn(counts: Values) -> Values:
        counts = counts[:, order]
        right, wrong = counts * good, counts * ~good
        below = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(wrong, 1)], 1)
        halves = (right * (below[:, starts] + below[:, ends])).sum(1)
        return divide(halves, 2 * right.sum(1) * wrong.sum(1))

    return drawn


def aurc(c: Values, y: Values, bins: int = 10) -> Drawn:
    """Mean of `risk_coverage`, as a function of how often each clip counts."""
    order, _, ends = ranks(-c)
    wrong = 1 - y[order]

    def drawn(counts: Values) -> Values:
        counts = counts[:, order]
        risks = divide(np.cumsum(counts * wrong, 1)[:, ends - 1], np.cumsum(counts, 1)[:, ends - 1])
        return divide((counts * np.nan_to_num(risks)).sum(1), counts.sum(1))

    return drawn


def ranks(values: Values) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Rising order, and of each place in it where its run of equal values starts and ends."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")


# By Calibration's fields.
STATISTICS: dict[str, Callable[[Values, Values, int], Drawn]] = {
    "ece": equal_width,
    "ece_equal_mass": equal_mass,
    "brier": brier,
    "auroc": auroc,
    "aurc": aurc,
}


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> Values:
    """Error rate among the k most confident answers, for k = 1..n; equal confidences are kept or dropped together."""
    c, y = pair(confidence, right)
    order, _, ends = ranks(-c)
    return np.cumsum(1 - y[order])[ends - 1] / ends


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
