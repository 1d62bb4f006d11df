"""Does the explanation say what the answer says? From labels of the reasoning, of the answer, and gold.

After ERV (AAAI 2026): EEA, explanation emotion accuracy; FCR, faithful consistency rate; EPC, explanation-prediction
consistency. The labels of a reasoning are those our parser finds in it, instead of a classifier's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from affectllm.errors import AffectError
from affectllm.vocabulary.wheels import Wheels

Labels = Sequence[str]


class Consistency(NamedTuple):
    eea: float
    """Share of clips whose reasoning names a gold group: the explanation is about the right emotion."""
    epc: float
    """Share of clips whose reasoning names a group of the answer: the explanation is about the answer."""
    fcr: float
    """Share of clips whose reasoning names a group that is in the answer and in gold: right, and for that reason."""
    overlap: float
    """Mean Jaccard overlap of the groups of reasoning and answer, in 0..1."""
    silent: int
    """Clips whose reasoning names no emotion: they agree with nothing."""
    n: int


def score(reasoning: Sequence[Labels], answer: Sequence[Labels], gold: Sequence[Labels], wheels: Wheels) -> Consistency:
    """All shares on the groups of the wheels' inner ring, mean over wheels."""
    if not len(reasoning) == len(answer) == len(gold) or not gold:
        raise AffectError(f"{len(reasoning)} reasonings, {len(answer)} answers, {len(gold)} gold sets; give one each.")
    rows = [compare(*sets, wheels) for sets in zip(reasoning, answer, gold, strict=True)]
    eea, epc, fcr, overlap = (float(value) for value in np.mean(rows, axis=0))
    return Consistency(eea, epc, fcr, overlap, sum(not labels for labels in reasoning), len(gold))


def compare(reasoning: Labels, answer: Labels, gold: Labels, wheels: Wheels) -> tuple[float, float, float, float]:
    """Agreement with gold, with the answer, with both, and Jaccard with the answer; means over wheels."""
    values = []
    for column in wheels.at("level1"):
        thought, said, felt = (
            {wheels.groups(label)[column] for label in labels} - {None} for labels in (reasoning, answer, gold)
        )
        jaccard = len(thought & said) / len(thought | said) if thought | said else 0.0
        values.append((bool(thought & felt), bool(thought & said), bool(thought & said & felt), jaccard))
    eea, epc, fcr, overlap = (float(value) for value in np.mean(values, axis=0))
    return eea, epc, fcr, overlap
