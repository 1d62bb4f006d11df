"""Scores of label sets from a closed list: several emotions a clip, each right or wrong.

A label that is said but not on the list is a false positive, never dropped: dropping it lets a model say anything
(the micro F1 of Emotion-LLaMA v2's evaluation has that hole). Definitions: Tsoumakas & Katakis (2007), sec. 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectllm.errors import AffectError

Sets = Sequence[Sequence[str]]


class MultiLabel(NamedTuple):
    micro_f1: float
    """2 hits / (said + gold), summed over clips and labels; every unknown label said counts among `said`."""
    macro_f1: float
    """Mean over the list's labels of each label's F1; a label with neither gold nor answer is left out."""
    sample_f1: float
    """Mean over clips of each clip's F1; 1 where nothing is gold and nothing said."""
    jaccard: float
    """Mean over clips of hits / (said or gold); 1 where both are empty."""
    hamming: float
    """Share of the (clips x labels) decisions that are wrong, unknown labels said counting as wrong ones; at most 1."""
    exact: float
    """Share of clips whose set is exactly gold's."""
    n: int


def score(said: Sets, gold: Sets, classes: Sequence[str]) -> MultiLabel:
    """All set scores at once.

    Raises AffectError for lists of other lengths, no clips, or a gold label that is not on the list.
    """
    check(said, gold, classes)
    pairs = [(set(a), set(b)) for a, b in zip(said, gold, strict=True)]
    hits = sum(len(a & b) for a, b in pairs)
    sizes = sum(len(a) + len(b) for a, b in pairs)
    wrong = sum(len(a ^ b) for a, b in pairs)
    per_clip = [
        (2 * len(a & b) / (len(a) + len(b)), len(a & b) / len(a | b)) if a | b else (1.0, 1.0) for a, b in pairs
    ]
    return MultiLabel(
        micro_f1=2 * hits / sizes if sizes else 1.0,
        macro_f1=macro(pairs, classes),
        sample_f1=float(np.mean([f1 for f1, _ in per_clip])),
        jaccard=float(np.mean([share for _, share in per_clip])),
        hamming=min(1.0, wrong / (len(pairs) * len(classes))),
        exact=float(np.mean([a == b for a, b in pairs])),
        n=len(pairs),
    )


def macro(pairs: Sequence[tuple[set[str], set[str]]], classes: Sequence[str]) -> float:
    values = []
    for label in classes:
        said, gold = sum(label in a for a, _ in pairs), sum(label in b for _, b in pairs)
        if said + gold:
            values.append(2 * sum(label in a and label in b for a, b in pairs) / (said + gold))
    return float(np.mean(values)) if values else 1.0


def mean_average_precision(scores: NDArray[np.float64], gold: NDArray[np.bool_]) -> float:
    """Mean over labels of the average precision of their ranking, for scores and truth of shape (clips, labels).

    AP = sum over gold clips of precision at that clip's rank, over the number of gold clips; clips with equal scores
    share the worst rank among them, so a constant score gains nothing. Labels that are never gold are left out.
    """
    if scores.shape != gold.shape or scores.ndim != 2 or np.isnan(scores).any():
        raise AffectError(f"Scores {scores.shape} and gold {gold.shape} must be one table (clips, labels) without NaN.")
    values = [average_precision(scores[:, i], gold[:, i]) for i in range(gold.shape[1]) if gold[:, i].any()]
    if not values:
        raise AffectError("No label is gold in any clip: there is nothing to rank.")
    return float(np.mean(values))


def average_precision(scores: NDArray[np.float64], gold: NDArray[np.bool_]) -> float:
    above = scores[None, :] >= scores[gold][:, None]
    return float(np.mean((above & gold).sum(1) / above.sum(1)))


def check(said: Sets, gold: Sets, classes: Sequence[str]) -> None:
    if not gold or len(said) != len(gold):
        raise AffectError(f"{len(said)} answers for {len(gold)} gold sets; give one each, and at least one.")
    unknown = {label for labels in gold for label in labels} - set(classes)
    if unknown:
        raise AffectError(f"Gold holds {sorted(unknown)}, not among the classes {', '.join(classes)}.")
