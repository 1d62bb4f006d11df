"""Emotion-cause pairs in dialogues (SemEval-2024 task 3, ECF): which utterance caused which emotion?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from affectllm import answers
from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.tables import Row
from affectllm.scores.engine.uncertainty import Statistic, Values, divide, drawn_sums, value_of_sums

GOLD = "`pairs` of (utterance, emotion, cause utterance), one row per dialogue"
PREDICTIONS = "`pairs`, or text with pairs"
READS = ("pairs",)
Pair = tuple[int, str, int]
"""Number of the emotional utterance, its emotion, number of the cause utterance."""


def emotions_of(gold: Sequence[Sequence[Pair]]) -> list[str]:
    """The emotions that have a gold pair. AffectError if there is none, or for 'neutral'."""
    emotions = sorted({emotion for pairs in gold for _, emotion, _ in pairs})
    if not emotions or "neutral" in emotions:
        raise AffectError("Gold needs at least one pair, and none with the emotion 'neutral'.")
    return emotions


def columns(said: Sequence[Sequence[Pair]], gold: Sequence[Sequence[Pair]], emotions: Sequence[str]) -> Values:
    """One row per dialogue: hits, pairs said and gold pairs of every emotion; last, pairs of emotions never gold.

    Shape (dialogues, 3 * emotions + 1); the statistics take sums over dialogues.
    """
    table = np.zeros((len(gold), 3 * len(emotions) + 1))
    for row, given, wanted in zip(table, map(set, said), map(set, gold), strict=True):
        for i, pairs in enumerate((given & wanted, given, wanted)):
            for _, emotion, _ in pairs:
                row[3 * emotions.index(emotion) + i if emotion in emotions else -1] += 1
    return table


def emotion_f1(sums: Values) -> Values:
    hits, given, wanted = (sums[:, i:-1:3] for i in range(3))
    return 2 * hits / np.maximum(given + wanted, 1)


def weighted_f1(sums: Values) -> Values:
    wanted = sums[:, 2:-1:3]
    return divide((emotion_f1(sums) * wanted).sum(1), wanted.sum(1))


def micro_f1(sums: Values) -> Values:
    hits, given, wanted = (sums[:, i:-1:3].sum(1) for i in range(3))
    return divide(2 * hits, given + wanted + sums[:, -1])


@metric("cause_weighted_f1", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def cause_weighted_f1(case: Case) -> Measured:
    """F1 of each emotion's pairs, weighted by its gold pairs: the task's ranking score, in 0..1."""
    return score_pairs(case, weighted_f1)


@metric("cause_micro_f1", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def cause_micro_f1(case: Case) -> Measured:
    """F1 over all pairs, whatever the emotion."""
    return score_pairs(case, micro_f1)


def score_pairs(case: Case, statistic: Statistic) -> Measured:
    """A statistic of the pairs of dialogues. A pair is right if utterance, emotion and cause are right."""
    gold = [read_pairs(it) for it in case.gold_field("pairs", "emotion-cause pairs")]
    said = [pairs_of(row) for row in case.said_rows]
    emotions = emotions_of(gold)
    own = [self_cause(pairs) for pairs in gold]
    return Measured(
        drawn_sums(columns([pairs or [] for pairs in said], gold, emotions), statistic),
        n=sum(len(set(pairs)) for pairs in gold),
        constants=[
            Constant(["self-cause of the gold emotions"], value_of_sums(columns(own, gold, emotions), statistic))
        ],
        failures=sum(pairs is None for pairs in said),
    )


def self_cause(pairs: Sequence[Pair]) -> list[Pair]:
    """Every emotional utterance as its own cause: the baseline that a model must beat."""
    return [(utterance, emotion, utterance) for utterance, emotion, _ in pairs]


def pairs_of(row: Row) -> list[Pair] | None:
    """The pairs of a prediction, from its field or its text. None if none can be read."""
    return read_pairs(row.cells["pairs"]) if "pairs" in row.cells else answers.read_pairs(row.text or "")


def read_pairs(pairs: Any) -> list[Pair]:
    try:
        return [(int(utterance), str(emotion).strip().lower(), int(cause)) for utterance, emotion, cause in pairs]
    except (TypeError, ValueError) as error:
        raise AffectError(f"Pairs are [utterance, emotion, cause utterance] each, not {pairs!r}.") from error
