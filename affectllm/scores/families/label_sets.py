"""Scores of label sets from a closed list: several emotions a clip, each right or wrong.

A label that is said but not on the list is a false positive, never dropped: dropping it lets a model say anything
(the micro F1 of Emotion-LLaMA v2's evaluation has that hole). Definitions: Tsoumakas & Katakis (2007), sec. 4.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectllm.errors import AffectError
from affectllm.scores.engine import baselines
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import (
    Drawn,
    Statistic,
    Values,
    divide,
    drawn_sums,
    value_of,
    value_of_sums,
)

GOLD = "labels of a closed list (`--classes`)"
PREDICTIONS = "labels or text"
# Exchanging words among more classes than this takes minutes and changes little: classes are tried by frequency.
CONSTANT_CLASSES = 12
Sets = Sequence[Sequence[str]]


def columns(said: Sets, gold: Sets, classes: Sequence[str]) -> Values:
    """One row per clip whose sums over clips the statistics below take, shape (clips, 7 + 2 * classes).

    Hits, labels on both sides, wrong decisions, F1, Jaccard, exactness and 1; then, per class, hits and labels.
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


def sample_f1(sums: Values) -> Values:
    return divide(sums[:, 3], sums[:, 6])


def jaccard(sums: Values) -> Values:
    return divide(sums[:, 4], sums[:, 6])


def exact(sums: Values) -> Values:
    return divide(sums[:, 5], sums[:, 6])


def ranked(scores: Values, gold: NDArray[np.bool_]) -> Drawn:
    """Mean average precision as a function of how often each clip counts, for tables of shape (clips, labels).

    AP = sum over gold clips of precision at that clip's rank, over the number of gold clips; clips with equal scores
    share the worst rank among them, so a constant score gains nothing. Labels that are never gold are left out.
    """
    if scores.shape != gold.shape or scores.ndim != 2 or np.isnan(scores).any():
        raise AffectError(f"Scores {scores.shape} and gold {gold.shape} must be one table (clips, labels) without NaN.")
    orders = np.argsort(-scores, axis=0, kind="stable")
    # All clips of a run of equal scores have the rank of its last clip.
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


@metric("multi_micro_f1", gold=GOLD, predictions=PREDICTIONS)
def multi_micro_f1(case: Case) -> Measured:
    """2 hits / (said + gold), summed over clips and labels; every unknown label said counts as said."""
    return score_sets(case, micro_f1)


@metric("multi_macro_f1", gold=GOLD, predictions=PREDICTIONS)
def multi_macro_f1(case: Case) -> Measured:
    """Mean over labels of each label's F1; a label with neither gold nor answer is left out."""
    return score_sets(case, macro_f1)


@metric("multi_sample_f1", gold=GOLD, predictions=PREDICTIONS)
def multi_sample_f1(case: Case) -> Measured:
    """Mean over clips of each clip's F1; 1 where nothing is gold and nothing said."""
    return score_sets(case, sample_f1)


@metric("multi_jaccard", gold=GOLD, predictions=PREDICTIONS)
def multi_jaccard(case: Case) -> Measured:
    """Mean over clips of hits / (said or gold); 1 where both are empty."""
    return score_sets(case, jaccard)


@metric("multi_hamming", gold=GOLD, predictions=PREDICTIONS, lower_is_better=True)
def multi_hamming(case: Case) -> Measured:
    """Share of the (clips x labels) decisions that are wrong, unknown labels said included; at most 1."""
    return score_sets(case, hamming)


@metric("multi_exact", gold=GOLD, predictions=PREDICTIONS)
def multi_exact(case: Case) -> Measured:
    """Share of clips whose set is exactly gold's."""
    return score_sets(case, exact)


@metric("map", gold=GOLD, predictions="`scores` {label: number}", reads=("scores",))
def mean_average_precision(case: Case) -> Measured:
    """Mean over labels of the average precision of their ranking; a label without a number is ranked last."""
    gold = lower_case(case.gold)
    classes = list(case.classes) or sorted({label for labels in gold for label in labels})
    rows = case.said_field("scores", "mAP ranks clips by a number per label")
    table = np.array([[float(row.get(label, -np.inf)) for label in classes] for row in rows])
    truth = np.array([[label in labels for label in classes] for labels in gold], bool)
    constant = value_of(ranked(np.zeros(table.shape), truth), len(gold))
    return Measured(ranked(table, truth), n=len(gold), constants=[Constant(["all alike"], constant)], failures=0)


def score_sets(case: Case, statistic: Statistic) -> Measured:
    """A statistic of label sets from a closed list: --classes, or all labels that are gold somewhere."""
    said, gold = lower_case(case.said), lower_case(case.gold)
    classes = list(case.classes) or sorted({label for labels in gold for label in labels})

    def score(answers: Sets) -> float:
        return value_of_sums(columns(answers, gold, classes), statistic)

    # The search for the best constant looks for the highest number.
    sign = -1 if statistic is hamming else 1
    found = baselines.best_constants(
        gold, lambda labels: sign * score([labels] * len(gold)), candidates=CONSTANT_CLASSES
    )
    return Measured(
        drawn_sums(columns(said, gold, classes), statistic),
        n=len(gold),
        constants=[Constant([], score([[]] * len(gold)))] + [Constant(it.labels, sign * it.value) for it in found],
        chance=baselines.random_answers(gold, score),
    )


def lower_case(sets: Sets) -> list[list[str]]:
    return [[label.strip().lower() for label in labels] for labels in sets]
