"""Scores of label sets from a closed list: several emotions a clip, each right or wrong.

A label that is said but not on the list is a false positive, never dropped: dropping it lets a model say anything
(the micro F1 of Emotion-LLaMA v2's evaluation has that hole). Definitions: Tsoumakas & Katakis (2007), sec. 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Drawn, Statistic, Values, divide, value_of

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
    sums = columns(said, gold, classes).sum(0)[None]
    return MultiLabel(**{name: float(statistic(sums)[0]) for name, statistic in STATISTICS.items()}, n=len(gold))


def columns(said: Sets, gold: Sets, classes: Sequence[str]) -> Values:
    """One row a clip whose sums over clips the statistics below take, shape (clips, 7 + 2 * classes).

    Hits, labels on both sides, wrong decisions, F1, Jaccard, exactness and 1; then per class hits, and on both sides.
    """
    check(said, gold, classes)
    number = {label: i for i, label in enumerate(classes)}
    table = np.zeros((len(gold), 7 + 2 * len(classes)))
    for row, a, b in zip(table, map(set, said), map(set, gold), strict=True):
        hits, both, either = len(a & b), len(a) + len(b), len(a | b)
        row[:7] = hits, both, len(a ^ b), 2 * hits / both if both else 1, hits / either if either else 1, a == b, 1
        for label in a & number.keys():
            row[8 + 2 * number[label]] += 1
        for label in b:
            row[7 + 2 * number[label]] += label in a
            row[8 + 2 * number[label]] += 1
    return table


def micro_f1(sums: Values) -> Values:
    return np.where(sums[:, 1] > 0, 2 * sums[:, 0] / np.maximum(sums[:, 1], 1), 1.0)


def macro_f1(sums: Values) -> Values:
    hits, both = sums[:, 7::2], sums[:, 8::2]
    occurs = (both > 0).sum(1)
    total = np.sum(2 * hits / np.maximum(both, 1), 1)
    return np.where(occurs > 0, total / np.maximum(occurs, 1), 1.0)


def hamming(sums: Values) -> Values:
    classes = (sums.shape[1] - 7) // 2
    return np.minimum(1.0, divide(sums[:, 2], sums[:, 6] * classes))


# By MultiLabel's fields.
STATISTICS: dict[str, Statistic] = {
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "sample_f1": lambda sums: divide(sums[:, 3], sums[:, 6]),
    "jaccard": lambda sums: divide(sums[:, 4], sums[:, 6]),
    "hamming": hamming,
    "exact": lambda sums: divide(sums[:, 5], sums[:, 6]),
}


def mean_average_precision(scores: Values, gold: NDArray[np.bool_]) -> float:
    """Mean over labels of the average precision of their ranking, for scores and truth of shape (clips, labels).

    AP = sum over gold clips of precision at that clip's rank, over the number of gold clips; clips with equal scores
    share the worst rank among them, so a constant score gains nothing. Labels that are never gold are left out.
    """
    if not gold.any():
        raise AffectError("No label is gold in any clip: there is nothing to rank.")
    return value_of(ranked(scores, gold), len(gold))


def ranked(scores: Values, gold: NDArray[np.bool_]) -> Drawn:
    """`mean_average_precision` as a function of how often each clip counts."""
    if scores.shape != gold.shape or scores.ndim != 2 or np.isnan(scores).any():
        raise AffectError(f"Scores {scores.shape} and gold {gold.shape} must be one table (clips, labels) without NaN.")
    orders = np.argsort(-scores, axis=0, kind="stable")
    # The last clip of every run of equal scores stands for the run.
    ends = [
        np.searchsorted(-column[order], -column[order], "right") - 1
        for column, order in zip(scores.T, orders.T, strict=True)
    ]

    def drawn(counts: Values) -> Values:
        found = [average_precision(counts[:, o], gold[o, i], ends[i]) for i, o in enumerate(orders.T)]
        known = ~np.isnan(found)
        return divide(np.nansum(found, 0), known.sum(0).astype(float))

    return drawn


def average_precision(counts: Values, gold: NDArray[np.bool_], ends: NDArray[np.intp]) -> Values:
    """AP of one label's ranking per draw; nan where the label is gold in no clip drawn."""
    hits = counts * gold
    seen = np.maximum(np.cumsum(counts, 1)[:, ends], 1)
    return divide((hits * np.cumsum(hits, 1)[:, ends] / seen).sum(1), hits.sum(1))


def check(said: Sets, gold: Sets, classes: Sequence[str]) -> None:
    if not gold or len(said) != len(gold):
        raise AffectError(f"{len(said)} answers for {len(gold)} gold sets; give one each, and at least one.")
    unknown = {label for labels in gold for label in labels} - set(classes)
    if unknown:
        raise AffectError(f"Gold holds {sorted(unknown)}, not among the classes {', '.join(classes)}.")
