"""Scores of ratings: sentiment strength, valence, arousal, dominance, and ordered levels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectllm.answers import read_number, read_numbers
from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.tables import Row
from affectllm.scores.engine.uncertainty import Drawn, Statistic, Values, divide, drawn_mean, drawn_sums, only, value_of

VALUE = "valence (`--scale cmu` or `sims`)"
SAID_VALUE = "valence, or one number in the text"
VAD = "`vad` triple, or a field of the dimension's name"
SAID_VAD = "the same, or three numbers in the text"
LEVEL = "level as valence"
DIMENSIONS = ("valence", "arousal", "dominance")
Score = Callable[[Values, Values], Drawn]
"""A score from predicted numbers and gold numbers."""


def columns(said: ArrayLike, gold: ArrayLike) -> Values:
    """One row a clip whose sums are the moments, shape (clips, 8): 1, a, b, a^2, b^2, ab, |a - b|, and the offset.

    a and b are taken about their own means, where moments lose no digits; the offset is the distance of those means.
    """
    a, b = as_pair(said, gold)
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


def concordance(sums: Values) -> Values:
    """2 cov / (var_said + var_gold + (mean_said - mean_gold)^2) of population variances, in -1..1 (Lin 1989).

    0 if a side is constant and they differ; 1 if both are the same constant.
    """
    var_a, var_b, covariance, distance = moments(sums)
    spread = var_a + var_b + distance
    return np.where(spread > 0, divide(2 * covariance * (var_a > 0) * (var_b > 0), spread), 1.0)


def pearson(sums: Values) -> Values:
    """Pearson's r, in -1..1. nan if a side is constant."""
    var_a, var_b, covariance, _ = moments(sums)
    return np.clip(divide(covariance, np.sqrt(var_a * var_b)), -1, 1)


def absolute_error(sums: Values) -> Values:
    return divide(sums[:, 6], sums[:, 0])


def as_pair(said: ArrayLike, gold: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides as arrays; AffectError for no clips, other lengths or NaN."""
    a, b = np.asarray(said, float), np.asarray(gold, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise AffectError(f"{a.shape} ratings for {b.shape} gold ratings; give one each, and at least one.")
    if np.isnan(a).any() or np.isnan(b).any():
        raise AffectError(f"A rating is NaN at clip {int(np.flatnonzero(np.isnan(a) | np.isnan(b))[0]) + 1}.")
    return a, b


@metric("mae", gold=VALUE, predictions=SAID_VALUE, lower_is_better=True)
def mae(case: Case) -> Measured:
    """Mean absolute error of the strength, in its own unit."""
    return score_values(case, by_moments(absolute_error))


@metric("corr", gold=VALUE, predictions=SAID_VALUE)
def corr(case: Case) -> Measured:
    """Pearson's correlation of the strengths, in -1..1."""
    return score_values(case, by_moments(pearson))


@metric("ccc", gold=VALUE, predictions=SAID_VALUE)
def ccc(case: Case) -> Measured:
    """Concordance correlation of the strengths, in -1..1."""
    return score_values(case, by_moments(concordance))


@metric("ordinal_accuracy", gold=LEVEL, predictions=LEVEL)
def ordinal_accuracy(case: Case) -> Measured:
    """Share of levels that are right."""
    return score_values(case, share_within(0))


@metric("ordinal_within_1", gold=LEVEL, predictions=LEVEL)
def ordinal_within_1(case: Case) -> Measured:
    """Share of levels that are at most one step off."""
    return score_values(case, share_within(1))


@metric("valence_ccc", gold=VAD, predictions=SAID_VAD, reads=("vad",))
def valence_ccc(case: Case) -> Measured:
    """Concordance correlation of valence, in -1..1."""
    return score_dimension(case, "valence", by_moments(concordance))


@metric("valence_corr", gold=VAD, predictions=SAID_VAD, reads=("vad",))
def valence_corr(case: Case) -> Measured:
    """Pearson's correlation of valence, in -1..1."""
    return score_dimension(case, "valence", by_moments(pearson))


@metric("valence_mae", gold=VAD, predictions=SAID_VAD, reads=("vad",), lower_is_better=True)
def valence_mae(case: Case) -> Measured:
    """Mean absolute error of valence, in its own unit."""
    return score_dimension(case, "valence", by_moments(absolute_error))


@metric("arousal_ccc", gold=VAD, predictions=SAID_VAD, reads=("vad", "arousal"))
def arousal_ccc(case: Case) -> Measured:
    """Concordance correlation of arousal, in -1..1."""
    return score_dimension(case, "arousal", by_moments(concordance))


@metric("arousal_corr", gold=VAD, predictions=SAID_VAD, reads=("vad", "arousal"))
def arousal_corr(case: Case) -> Measured:
    """Pearson's correlation of arousal, in -1..1."""
    return score_dimension(case, "arousal", by_moments(pearson))


@metric("arousal_mae", gold=VAD, predictions=SAID_VAD, reads=("vad", "arousal"), lower_is_better=True)
def arousal_mae(case: Case) -> Measured:
    """Mean absolute error of arousal, in its own unit."""
    return score_dimension(case, "arousal", by_moments(absolute_error))


@metric("dominance_ccc", gold=VAD, predictions=SAID_VAD, reads=("vad", "dominance"))
def dominance_ccc(case: Case) -> Measured:
    """Concordance correlation of dominance, in -1..1."""
    return score_dimension(case, "dominance", by_moments(concordance))


@metric("dominance_corr", gold=VAD, predictions=SAID_VAD, reads=("vad", "dominance"))
def dominance_corr(case: Case) -> Measured:
    """Pearson's correlation of dominance, in -1..1."""
    return score_dimension(case, "dominance", by_moments(pearson))


@metric("dominance_mae", gold=VAD, predictions=SAID_VAD, reads=("vad", "dominance"), lower_is_better=True)
def dominance_mae(case: Case) -> Measured:
    """Mean absolute error of dominance, in its own unit."""
    return score_dimension(case, "dominance", by_moments(absolute_error))


def score_values(case: Case, score: Score) -> Measured:
    """A score of predicted strengths; an answer without a number does not count and is reported."""
    gold = gold_values(case)
    said = [row.value if row.value is not None else read_number(row.text or "") for row in case.said_rows]
    return score_numbers(said, gold, score)


def gold_values(case: Case) -> list[float]:
    """The gold strength of every clip, or an error that names the clip without one."""
    return [gold_value(row, name) for row, name in zip(case.gold_rows, case.ids, strict=True)]


def gold_value(row: Row, name: str) -> float:
    if row.value is not None:
        return row.value
    raise AffectError(f"This metric needs a gold valence or sentiment; clip '{name}' has none.")


def score_dimension(case: Case, name: str, score: Score) -> Measured:
    """A score of one dimension of `vad` triples. A dimension alone may also be a field of its name."""
    place = DIMENSIONS.index(name)

    def from_cells(cells: Any) -> float | None:
        if cells.get("vad"):
            return float(cells["vad"][place])
        return None if cells.get(name) in (None, "") else float(cells[name])

    def from_text(text: str | None) -> float | None:
        """The number of this dimension in an answer with exactly three numbers."""
        numbers = read_numbers(text or "")
        return numbers[place] if len(numbers) == len(DIMENSIONS) else None

    gold = [from_cells(row.cells) for row in case.gold_rows]
    if None in gold:
        raise AffectError(f"Gold clip '{case.ids[gold.index(None)]}' has neither vad nor {name}.")
    found = [(from_cells(row.cells), row.text) for row in case.said_rows]
    said = [from_text(text) if value is None else value for value, text in found]
    return score_numbers(said, [it for it in gold if it is not None], score)


def score_numbers(said: Sequence[float | None], gold: Sequence[float], score: Score) -> Measured:
    """A score of the clips with a predicted number, and what constant numbers and another clip's number reach."""
    kept = [i for i, value in enumerate(said) if value is not None]
    if not kept:
        raise AffectError(f"None of the {len(said)} predictions holds a number.")
    felt = np.array([gold[i] for i in kept])
    named = np.array([said[i] for i in kept], float)
    tried = {"mean": felt.mean(), "median": np.median(felt), "0": 0.0, "maximum": felt.max(), "minimum": felt.min()}
    missing = len(said) - len(kept)
    return Measured(
        only(score(named, felt), kept),
        n=len(kept),
        constants=[
            Constant([word], value_of(score(np.full(len(felt), value), felt), len(felt)))
            for word, value in tried.items()
        ],
        chance=value_of(score(np.roll(felt, 1), felt), len(felt)),
        failures=missing,
        skipped={"no number was said": missing} if missing else {},
    )


def by_moments(statistic: Statistic) -> Score:
    return lambda said, gold: drawn_sums(columns(said, gold), statistic)


def share_within(steps: int) -> Score:
    """Share of levels that are at most `steps` steps off."""
    return lambda said, gold: drawn_mean((np.abs(np.round(said) - gold) <= steps).astype(float))
