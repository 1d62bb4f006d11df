"""Sentiment: MER-UniBench's binary rule on words, and the class scores of CMU-MOSI, CMU-MOSEI and SIMS.

Sources: AffectGPT `evaluation.py` (rule on words); MMSA `metricsTop.py` (github.com/thuiar/MMSA) for Acc-2, Acc-3,
Acc-5, Acc-7 and F1 on both scales; MAE and Corr are in `dimensional`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured, Said
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.tables import SIGN, Row
from affectllm.scores.engine.uncertainty import Drawn, Statistic, Values, drawn_mean, drawn_sums, value_of_sums
from affectllm.scores.families import classes
from affectllm.scores.families.dimensional import Score, gold_values, score_values

GOLD = "valence (`--scale cmu` or `sims`)"
PREDICTIONS = "valence, or one number in the text"
Sides = NDArray[np.bool_]

# MMSA cuts SIMS (-1..1) at these bounds, upper bound inside; CMU sets (-3..3) are rounded.
SIMS_BOUNDS = {"acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}
CMU_LIMITS = {"acc3": 1, "acc5": 2, "acc7": 3}


def unibench_columns(said: Sequence[float], gold: Sequence[float]) -> Values:
    """Rows of the binary confusion table; clips with gold 0 are all zeros, since they do not count.

    An answer that is not above 0 is negative, so 'neutral' counts as negative: a published quirk.
    """
    felt = np.asarray(gold, float)
    table = classes.columns(two_classes(said), two_classes(gold), ["negative", "positive"])
    return table * (felt != 0)[:, None]


def two_classes(values: Sequence[float]) -> list[str]:
    return ["positive" if value > 0 else "negative" for value in values]


def unibench(said: Sequence[float], gold: Sequence[float]) -> float:
    """MER-UniBench's WAF on sentiment, 0..1."""
    return value_of_sums(unibench_columns(said, gold), classes.weighted_f1)


def nonnegative(said: Values, gold: Values, scale: str) -> tuple[Sides, Sides]:
    """On which side of 0 both are: MMSA puts 0 itself on the negative side for SIMS, on the other for the CMU sets."""
    return (said >= 0, gold >= 0) if scale == "cmu" else (said > 0, gold > 0)


def side_columns(said: Sides, gold: Sides) -> Values:
    """Rows of the two-class confusion table, one a clip."""
    return classes.columns([str(it) for it in said], [str(it) for it in gold], ["False", "True"])


def right_in_steps(said: Values, gold: Values, name: str, scale: str) -> Sides:
    """Whether both fall into the same of 3, 5 or 7 classes, one a clip."""
    if scale == "sims":
        bounds = SIMS_BOUNDS[name]
        return np.digitize(said, bounds, right=True) == np.digitize(gold, bounds, right=True)
    limit = CMU_LIMITS[name]
    # np.round sends halves to the even neighbour, as the original does.
    return np.round(np.clip(said, -limit, limit)) == np.round(np.clip(gold, -limit, limit))


@metric("sentiment", gold="valence or sentiment", predictions="sentiment word or valence")
def sentiment(case: Case) -> Measured:
    """MER-UniBench's weighted F1: clips of gold 0 do not count, all that is not positive is negative."""
    gold = gold_values(case)
    signs = [said_sign(row, said) for row, said in zip(case.said_rows, case.answers, strict=True)]
    zeros = gold.count(0.0)
    return Measured(
        drawn_sums(unibench_columns([sign or 0.0 for sign in signs], gold), classes.weighted_f1),
        n=len(gold) - zeros,
        constants=[
            Constant([word], unibench([value] * len(gold), gold))
            for word, value in (("positive", 1.0), ("negative", -1.0))
        ],
        failures=sum(sign is None for sign in signs),
        skipped={"gold sentiment is 0": zeros} if zeros else {},
    )


def said_sign(row: Row, said: Said) -> float | None:
    """The sentiment of the answer. None for a word that is no sentiment; the published rule counts it as neutral."""
    if row.value is not None:
        return row.value
    words = [label.strip().lower() for label in said.labels]
    return next((SIGN[word] for word in words if word in SIGN), None)


@metric("acc2", gold=GOLD, predictions=PREDICTIONS)
def acc2(case: Case) -> Measured:
    """Accuracy of negative against positive, over clips whose gold is not 0."""
    return score_values(case, two_signs(classes.accuracy))


@metric("acc2_nonnegative", gold=GOLD, predictions=PREDICTIONS)
def acc2_nonnegative(case: Case) -> Measured:
    """Accuracy of negative against the rest, over all clips."""
    return score_values(case, two_sides(classes.accuracy, case.scale))


@metric("f1", gold=GOLD, predictions=PREDICTIONS)
def f1(case: Case) -> Measured:
    """Weighted F1 of negative against positive, over clips whose gold is not 0."""
    return score_values(case, two_signs(classes.weighted_f1))


@metric("f1_nonnegative", gold=GOLD, predictions=PREDICTIONS)
def f1_nonnegative(case: Case) -> Measured:
    """Weighted F1 of negative against the rest, over all clips."""
    return score_values(case, two_sides(classes.weighted_f1, case.scale))


@metric("acc3", gold=GOLD, predictions=PREDICTIONS)
def acc3(case: Case) -> Measured:
    """Accuracy in 3 classes of strength, cut as MMSA does."""
    return score_values(case, in_steps("acc3", case.scale))


@metric("acc5", gold=GOLD, predictions=PREDICTIONS)
def acc5(case: Case) -> Measured:
    """Accuracy in 5 classes of strength, cut as MMSA does."""
    return score_values(case, in_steps("acc5", case.scale))


@metric("acc7", gold=GOLD, predictions=PREDICTIONS)
def acc7(case: Case) -> Measured:
    """Accuracy in 7 classes of strength, cut as MMSA does (CMU scale only)."""
    return score_values(case, in_steps("acc7", case.scale))


def in_steps(name: str, scale: str) -> Score:
    """Accuracy in 3, 5 or 7 classes, by MMSA's cuts for the scale."""
    if name == "acc7" and scale == "sims":
        raise AffectError("Acc-7 exists on the CMU scale only; SIMS has Acc-3 and Acc-5.")
    return lambda said, gold: drawn_mean(right_in_steps(said, gold, name, scale).astype(float))


def two_sides(statistic: Statistic, scale: str) -> Score:
    """Negative against the rest, over all clips."""
    return lambda said, gold: drawn_sums(side_columns(*nonnegative(said, gold, scale)), statistic)


def two_signs(statistic: Statistic) -> Score:
    """Negative against positive, over the clips whose gold is not 0."""

    def score(said: Values, gold: Values) -> Drawn:
        return drawn_sums(side_columns(said > 0, gold > 0) * (gold != 0)[:, None], statistic)

    return score
