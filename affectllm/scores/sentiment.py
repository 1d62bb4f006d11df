"""Sentiment: MER-UniBench's binary rule on words, and the regression scores of CMU-MOSI, CMU-MOSEI and SIMS.

Sources: AffectGPT `evaluation.py` (rule on words); MMSA `metricsTop.py` (github.com/thuiar/MMSA) for Acc-2, Acc-3,
Acc-5, Acc-7, F1, MAE and Corr on both scales.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectllm.scores import confusion

Values = NDArray[np.float64]

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
    named, felt = np.asarray(said, float), np.asarray(gold, float)
    if np.isnan(named).any() or np.isnan(felt).any():
        raise ValueError("nan among the values: take those clips out, and say how many")
    nonzero = felt != 0
    # On SIMS, MMSA puts 0 on the negative side; on the CMU sets on the other.
    whole = (named >= 0, felt >= 0) if scale == "cmu" else (named > 0, felt > 0)
    steps = {name: accuracy_in_steps(named, felt, name, scale) for name in ("acc3", "acc5")}
    return Regression(
        *accuracy_and_f1(*whole),
        *accuracy_and_f1(named[nonzero] > 0, felt[nonzero] > 0),
        steps["acc3"],
        steps["acc5"],
        accuracy_in_steps(named, felt, "acc7", scale) if scale == "cmu" else None,
        float(np.abs(named - felt).mean()),
        pearson(named, felt),
    )


def accuracy_and_f1(said: NDArray[np.bool_], gold: NDArray[np.bool_]) -> tuple[float, float]:
    table = confusion.columns([str(it) for it in said], [str(it) for it in gold], ["False", "True"]).sum(0)[None]
    return float(confusion.accuracy(table)[0]), float(confusion.weighted_f1(table)[0])


def accuracy_in_steps(said: Values, gold: Values, name: str, scale: str) -> float:
    if scale == "sims":
        bounds = SIMS_BOUNDS[name]
        return float((np.digitize(said, bounds, right=True) == np.digitize(gold, bounds, right=True)).mean())
    limit = CMU_LIMITS[name]
    # np.round sends halves to the even neighbour, as the original does.
    return float((np.round(np.clip(said, -limit, limit)) == np.round(np.clip(gold, -limit, limit))).mean())


def pearson(said: Values, gold: Values) -> float:
    if len(said) < 2 or said.std() == 0 or gold.std() == 0:
        return float("nan")
    return float(np.corrcoef(said, gold)[0, 1])
