"""Does a confidence of 0.8 mean right in 80 of 100 cases? Confidences in 0..1 against right or wrong.

An answer without a confidence is left out by the caller and reported; it never gets an invented one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Drawn, Values, divide, drawn_mean, drawn_sums, only, value_of
from affectllm.scores.families import wheels

GOLD = "labels"
PREDICTIONS = "text with a confidence, or `confidence`"
NEEDS = ("wheels",)
READS = ("confidence",)
BINS = 10


def equal_width(c: Values, y: Values) -> Drawn:
    """Calibration error over bins of equal width, as a function of how often each clip counts.

    The last bin is closed: a confidence of exactly 1 counts. Half-open bins let answers that are all wrong at
    confidence 1.0 score a perfect 0.
    """
    place = np.minimum((c * BINS).astype(int), BINS - 1)
    columns = np.zeros((len(c), BINS + 1))
    columns[np.arange(len(c)), place] = c - y
    columns[:, BINS] = 1
    return drawn_sums(columns, lambda sums: divide(np.abs(sums[:, :BINS]).sum(1), sums[:, BINS]))


def equal_mass(c: Values, y: Values) -> Drawn:
    """Calibration error over bins of equally many clips; of equal confidences the earlier clip comes first."""
    order = np.argsort(c, kind="stable")
    gaps = (c - y)[order]

    def drawn(counts: Values) -> Values:
        return np.array([mass_error(row[order], gaps) for row in counts])

    return drawn


def mass_error(counts: Values, gaps: Values) -> float:
    """ECE of one draw: the gaps summed up to each bin's border. A clip that is drawn often may be on both sides."""
    n = counts.sum()
    if n == 0:
        return float("nan")
    borders = np.ceil(np.arange(BINS + 1) * n / BINS)
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    summed = np.concatenate([[0.0], np.cumsum(counts * gaps)])
    return float(np.abs(np.diff(np.interp(borders, reached, summed))).sum() / n)


def squared_error(c: Values, y: Values) -> Drawn:
    return drawn_mean((c - y) ** 2)


def ranking(c: Values, y: Values) -> Drawn:
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


def mean_risk(c: Values, y: Values) -> Drawn:
    """Mean error rate over all shares of most confident answers kept, as a function of how often each clip counts."""
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


def as_pair(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    c, y = np.asarray(confidence, float), np.asarray(right, float)
    if c.shape != y.shape or c.ndim != 1 or not len(c):
        raise AffectError(f"{c.shape} confidences for {y.shape} outcomes; give one each, and at least one.")
    if not ((c >= 0) & (c <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise AffectError("Confidences lie in 0..1 and outcomes are 0 or 1; leave out answers without a confidence.")
    return c, y


@metric("ece", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS, lower_is_better=True)
def ece(case: Case) -> Measured:
    """Expected calibration error: mean over clips of |confidence - accuracy| of their bin of equal width, in 0..1."""
    return score_confidences(case, equal_width)


@metric("ece_equal_mass", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS, lower_is_better=True)
def ece_equal_mass(case: Case) -> Measured:
    """Expected calibration error with bins of equally many clips, in 0..1."""
    return score_confidences(case, equal_mass)


@metric("brier", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS, lower_is_better=True)
def brier(case: Case) -> Measured:
    """Mean squared distance of the confidence from right (1) or wrong (0), in 0..1."""
    return score_confidences(case, squared_error)


@metric("auroc", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def auroc(case: Case) -> Measured:
    """Chance that a right answer has the higher confidence, ties counting half; undefined where all are right."""
    return score_confidences(case, ranking)


@metric("aurc", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS, lower_is_better=True)
def aurc(case: Case) -> Measured:
    """Area under the risk-coverage curve: mean error rate over all shares of most confident answers kept, in 0..1."""
    return score_confidences(case, mean_risk)


def score_confidences(case: Case, make: Callable[[Values, Values], Drawn]) -> Measured:
    """Confidence against being right; answers without a confidence do not count and are reported."""
    rows = zip(case.said_rows, case.parsed, strict=True)
    said = [row.cells.get("confidence", parsed.confidence) for row, parsed in rows]
    kept = [i for i, it in enumerate(said) if it is not None]
    if not kept:
        raise AffectError(f"None of the {len(said)} answers states a confidence, as 0.9, 90% or 9/10.")
    c, y = as_pair([said[i] for i in kept], is_right(case)[kept])
    always = np.full(len(kept), y.mean())
    silent = len(said) - len(kept)
    return Measured(
        only(make(c, y), kept),
        n=len(kept),
        constants=[Constant([f"always {y.mean():.2f}"], value_of(make(always, y), len(kept)))],
        failures=silent,
        skipped={"no confidence was stated": silent} if silent else {},
    )


def is_right(case: Case) -> Values:
    """Whether each answer's first label shares a gold label's group on at least half of the wheels; 0 or 1."""
    return np.array(
        [
            float(bool(labels) and wheels.shares_group(labels[0], gold, case.known_wheels, case.level))
            for labels, gold in zip(case.said, case.gold, strict=True)
        ]
    )
