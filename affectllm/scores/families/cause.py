"""Emotion-cause pairs in dialogues (SemEval-2024 task 3, ECF): which utterance caused which emotion?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Values, divide

Pair = tuple[int, str, int]
"""Number of the emotional utterance, its emotion, number of the cause utterance."""


class Causes(NamedTuple):
    weighted_f1: float
    """F1 of each emotion's pairs, weighted by its gold pairs: the task's ranking score, in 0..1."""
    micro_f1: float
    """F1 over all pairs, whatever the emotion."""
    by_emotion: dict[str, float]
    n: int
    """Gold pairs."""


def score(said: Mapping[str, Sequence[Pair]], gold: Mapping[str, Sequence[Pair]]) -> Causes:
    """Pairs by dialogue id; a pair is right when utterance, emotion and cause are.

    'neutral' pairs are not part of the task and are refused in gold. Raises AffectError for a dialogue without an
    answer (give an empty list for none).
    """
    missing = set(gold) - set(said)
    if missing:
        raise AffectError(
            f"No answer for dialogue '{min(missing)}' ({len(missing)} in all); give an empty list for none."
        )
    emotions = emotions_of(gold)
    sums = columns([said[name] for name in gold], list(gold.values()), emotions).sum(0)[None]
    by_emotion = dict(zip(emotions, emotion_f1(sums)[0].tolist(), strict=True))
    micro, weighted = (float(statistic(sums)[0]) for statistic in (micro_f1, weighted_f1))
    return Causes(weighted, micro, by_emotion, int(sums[:, 2 : 3 * len(emotions) : 3].sum()))


def emotions_of(gold: Mapping[str, Sequence[Pair]]) -> list[str]:
    """The emotions that have a gold pair; AffectError without any, or for 'neutral'."""
    emotions = sorted({emotion for pairs in gold.values() for _, emotion, _ in pairs})
    if not emotions or "neutral" in emotions:
        raise AffectError("Gold needs at least one pair, and none with the emotion 'neutral'.")
    return emotions


def columns(said: Sequence[Sequence[Pair]], gold: Sequence[Sequence[Pair]], emotions: Sequence[str]) -> Values:
    """One row a dialogue: hits, pairs said and gold pairs of every emotion; last, pairs of emotions never gold.

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


def self_cause(emotions: Mapping[str, Sequence[tuple[int, str]]]) -> dict[str, list[Pair]]:
    """The baseline that every emotional utterance is its own cause; a model must beat it."""
    return {name: [(u, emotion, u) for u, emotion in found if emotion != "neutral"] for name, found in emotions.items()}
