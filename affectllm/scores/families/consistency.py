"""Does the explanation say what the answer says? From labels of the reasoning, of the answer, and gold.

After ERV (AAAI 2026): EEA, explanation emotion accuracy; FCR, faithful consistency rate; EPC, explanation-prediction
consistency. The labels of a reasoning are those our parser finds in it, instead of a classifier's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from affectllm import answers
from affectllm.scores.engine import baselines
from affectllm.scores.engine.baselines import Labels
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import drawn_mean
from affectllm.vocabulary.wheels import Wheels

GOLD = "labels"
PREDICTIONS = "text with reasoning, or `reasoning` and labels"
NEEDS = ("wheels",)
READS = ("reasoning",)


class Agreement(NamedTuple):
    """Agreement of one clip, on the groups of the wheels' inner ring, mean over wheels."""

    eea: float
    """Whether the reasoning names a gold group."""
    epc: float
    """Whether the reasoning names a group of the answer."""
    fcr: float
    """Whether the reasoning names a group that is in the answer and in gold."""
    overlap: float
    """Jaccard overlap of the groups of reasoning and answer."""


def compare(reasoning: Labels, answer: Labels, gold: Labels, wheels: Wheels) -> Agreement:
    """Agreement of a reasoning's labels with gold, with the answer and with both."""
    values = []
    for column in wheels.at("level1"):
        thought, said, felt = (
            {wheels.groups(label)[column] for label in labels} - {None} for labels in (reasoning, answer, gold)
        )
        jaccard = len(thought & said) / len(thought | said) if thought | said else 0.0
        values.append((bool(thought & felt), bool(thought & said), bool(thought & said & felt), jaccard))
    return Agreement(*(float(value) for value in np.mean(values, axis=0)))


@metric("eea", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def eea(case: Case) -> Measured:
    """Explanation emotion accuracy: share of clips whose reasoning names a gold group."""
    return score_agreement(case, "eea")


@metric("epc", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def epc(case: Case) -> Measured:
    """Explanation-prediction consistency: share of clips whose reasoning names a group of the answer."""
    return score_agreement(case, "epc")


@metric("fcr", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def fcr(case: Case) -> Measured:
    """Faithful consistency rate: share of clips whose reasoning names a group that is in the answer and in gold."""
    return score_agreement(case, "fcr")


@metric("label_overlap", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def label_overlap(case: Case) -> Measured:
    """Mean Jaccard overlap of the groups of reasoning and answer, in 0..1."""
    return score_agreement(case, "overlap")


def score_agreement(case: Case, field: str) -> Measured:
    """Mean agreement over clips; chance pairs every answer with another clip's reasoning."""
    place = Agreement._fields.index(field)
    reasonings = [answers.parse(text).labels for text in case.reasonings]

    def values(reasonings: Sequence[Labels]) -> list[float]:
        rows = zip(reasonings, case.said, case.gold, strict=True)
        return [compare(*row, case.known_wheels)[place] for row in rows]

    return Measured(
        drawn_mean(values(reasonings)),
        n=len(reasonings),
        chance=baselines.random_answers(reasonings, lambda order: float(np.mean(values(order)))),
        failures=sum(not labels for labels in reasonings),
    )
