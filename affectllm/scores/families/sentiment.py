"""Sentiment: MER-UniBench's binary rule on words, and the regression scores of CMU-MOSI, CMU-MOSEI and SIMS.

Sources: AffectGPT `evaluation.py` (rule on words); MMSA `metricsTop.py` (github.com/thuiar/MMSA) for Acc-2, Acc-3,
Acc-5, Acc-7, F1, MAE and Corr on both scales.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectllm.scores import confusion, dimensional

Values = NDArray[np.float64]
Sides = NDArray[np.bool_]

SIGN = {"positive": 1.0, "negative": -1.0, "neutral": 0.0}
# MMSA cuts SIMS (-1..1) at these bounds, upper bound inside; CMU sets (-3..3) are rounded.
SIMS_BOUNDS = {"acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}
CMU_LIMITS = {"acc3": 1, "acc5": 2, "acc7": 3}


def sign_of(word: str) -> float:
    """+1, -1 or 0 for a sentiment word; any other word ('mixed', 'anxious') is 0, as in AffectGPT's code."""
    return SIGN.get(word.strip().lower(), 0.0)


def unibench_columns(said: Sequence[float], gold: Sequence[float]) -> Values:
    """Rows of the binary confusion table; clips with gold 0 are all zeros, since they do not count.

    What is not above 0 is negative, so an answer 'neutral' counts as negative: a published quirk.
    """
    felt = np.asarray(gold, float)
    table = confusion.columns(two_classes(said), two_classes(gold), ["negative", "positive"])
    return table * (felt != 0)[:, None]


def two_classes(values: Sequence[float]) -> list[str]:
    return ["positive" if value > 0 else "negative" for value in values]


def unibench(said: Sequence[float], gold: Sequence[float]) -> float:
    """MER-UniBench's WAF on sentiment, 0..1."""
    return float(confusion.weighted_f1(unibench_columns(said, gold).sum(0)[None])[0])


class Regression(NamedTuple):
    """Scores of predicted sentiment strengths. Acc-7 exists on the CMU scale only."""

    acc2_nonnegative: float
    """Negative against the rest, over all clips."""
    f1_nonnegative: float
    acc2_positive: float
    """Negative against positive, over clips whose gold is not 0."""
    f1_positive: float
    acc3: float
    acc5: float
    acc7: float | None
    mae: float
    corr: float
    """Pearson's r; nan for a constant."""


def regression(said: Sequence[float], gold: Sequence[float], scale: Literal["cmu", "sims"] = "cmu") -> Regression:
    """All scores of predicted strengths against gold ones; 'cmu' runs from -3 to 3, 'sims' from -1 to 1."""
    named, felt = dimensional.pair(said, gold)
    nonzero = felt != 0
    whole = nonnegative(named, felt, scale)
    positive = (named[nonzero] > 0, felt[nonzero] > 0)
    steps = {name: float(right_in_steps(named, felt, name, scale).mean()) for name in ("acc3", "acc5")}
    return Regression(
        *accuracy_and_f1(*whole),
        *accuracy_and_f1(*positive),
        steps["acc3"],
        steps["acc5"],
        float(right_in_steps(named, felt, "acc7", scale).mean()) if scale == "cmu" else None,
        float(np.abs(named - felt).mean()),
        dimensional.score(named, felt).pearson,
    )


def nonnegative(said: Values, gold: Values, scale: str) -> tuple[Sides, Sides]:
    """The side of 0 of both: MMSA puts 0 itself on the negative side for SIMS, on the other for the CMU sets."""
    return (said >= 0, gold >= 0) if scale == "cmu" else (said > 0, gold > 0)


def accuracy_and_f1(said: Sides, gold: Sides) -> tuple[float, float]:
    table = side_columns(said, gold).sum(0)[None]
    return float(confusion.accuracy(table)[0]), float(confusion.weighted_f1(table)[0])


def side_columns(said: Sides, gold: Sides) -> Values:
    """Rows of the two-class confusion table, one a clip."""
    return confusion.columns([str(it) for it in said], [str(it) for it in gold], ["False", "True"])


def right_in_steps(said: Values, gold: Values, name: str, scale: str) -> Sides:
    """Whether both fall into the same of 3, 5 or 7 classes, one a clip."""
    if scale == "sims":
        bounds = SIMS_BOUNDS[name]
        return np.digitize(said, bounds, right=True) == np.digitize(gold, bounds, right=True)
    limit = CMU_LIMITS[name]
    # np.round sends halves to the even neighbour, as the original does.
    return np.round(np.clip(said, -limit, limit)) == np.round(np.clip(gold, -limit, limit))
