"""Emotion-cause pairs in dialogues (SemEval-2024 task 3, ECF): which utterance caused which emotion?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from affectllm.errors import AffectError

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
    wanted = {(name, *pair) for name, pairs in gold.items() for pair in pairs}
    given = {(name, *pair) for name, pairs in said.items() if name in gold for pair in pairs}
    if not wanted or any(emotion == "neutral" for _, _, emotion, _ in wanted):
        raise AffectError("Gold needs at least one pair, and none with the emotion 'neutral'.")
    gold_count = Counter(emotion for _, _, emotion, _ in wanted)
    said_count = Counter(emotion for _, _, emotion, _ in given)
    hits = Counter(emotion for _, _, emotion, _ in wanted & given)
    by_emotion = {e: 2 * hits[e] / (gold_count[e] + said_count[e]) for e in sorted(gold_count)}
    weighted = sum(by_emotion[e] * count for e, count in gold_count.items()) / len(wanted)
    return Causes(weighted, 2 * len(wanted & given) / (len(wanted) + len(given)), by_emotion, len(wanted))


def self_cause(emotions: Mapping[str, Sequence[tuple[int, str]]]) -> dict[str, list[Pair]]:
    """The baseline that every emotional utterance is its own cause; a model must beat it."""
    return {name: [(u, emotion, u) for u, emotion in found if emotion != "neutral"] for name, found in emotions.items()}
