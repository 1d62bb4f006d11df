"""Open-vocabulary scores: sets of emotion words compared on emotion wheels.

    overlap       one clip: precision and recall on every wheel; rewards call it
    wheel_score   a corpus: the published wheel score, or ours, depending on the vocabulary
    ew, hit_rate, mscore   the metrics; mscore is the companion of the hit rate, which the official code never prints

Source: MERTools `my_affectgpt/evaluation/{wheel,ew_metric}.py` (MER2025, MER2026) and AffectGPT (arXiv 2501.16566).
Labels are grouped first and made a set then, so duplicates and order never matter.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from affectllm.scores.engine import baselines
from affectllm.scores.engine.baselines import Labels
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, drawn_sums
from affectllm.scores.families import mer2024
from affectllm.scores.families.wheel_constants import ConstantScore, harmonic
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.vocabulary.wheels import Groups, Wheels

PREDICTIONS = "labels or text"
NEEDS = ("wheels",)
# These protocols count 0/0 as 0; in the older official code it is nan.
GUARDED = ("mer2026", "affectllm-1")
NO_WHEEL = "no gold label stands on a wheel"


class Overlap(NamedTuple):
    """Overlap of one clip on one wheel. nan if no gold label is on the wheel: the clip does not count there."""

    precision: float
    recall: float


SKIPPED = Overlap(math.nan, math.nan)


class WheelScore(NamedTuple):
    f1: float
    """Harmonic mean of the two corpus means, not a mean of per-clip F."""
    precision: float
    recall: float
    n: int
    """Number of clips that count on this wheel."""


class EW(NamedTuple):
    """Unweighted means over wheels, so `f1` is not the harmonic mean of the other two."""

    f1: float
    precision: float
    recall: float
    wheels: dict[str, WheelScore]


def overlap(said: Labels, gold: Labels, wheels: Wheels, level: str = "level1") -> list[Overlap]:
    """Precision and recall of the groups said, one entry per wheel of the level.

    A clip without a gold group is skipped on that wheel only, so wheels count different clips (a published quirk). A
    clip with nothing said, or nothing said that the wheel knows, scores 0 and stays.
    """
    found = []
    for named, felt in zip(wheels.sets(frozenset(said), level), wheels.sets(frozenset(gold), level), strict=True):
        hits = len(felt & named)
        found.append(Overlap(hits / len(named) if named else 0.0, hits / len(felt)) if felt else SKIPPED)
    return found


def f1(said: Labels, gold: Labels, wheels: Wheels, level: str = "level1") -> float:
    """F of one clip: per wheel 2PR/(P+R), then the mean over the wheels that count. nan if no wheel counts."""
    total, counted = 0.0, 0
    for named, felt in zip(wheels.sets(frozenset(said), level), wheels.sets(frozenset(gold), level), strict=True):
        if felt:
            counted += 1
            # With P = hits/|named| and R = hits/|felt|, 2PR/(P+R) is this.
            total += 2 * len(felt & named) / (len(named) + len(felt))
    return total / counted if counted else math.nan


def wheel_score(said: Sequence[Labels], gold: Sequence[Labels], wheels: Wheels, level: str = "level1") -> EW:
    """The wheel score of a corpus.

    Per wheel: P and R are means over the clips that count, F = 2PR/(P+R); then F, P and R are averaged over wheels.
    Level 'level1' or 'level2'; 'M1' and 'M2' give OV-MER's scores without a wheel. Without a clip that counts, or with
    P+R = 0, the protocols before MER2026 give nan (a published quirk), later ones 0.
    """
    return corpus_score(overlaps(said, gold, wheels, level), wheels, level)


def corpus_score(values: Values, wheels: Wheels, level: str = "level1") -> EW:
    """The wheel score from `overlaps`' values."""
    scores = {}
    for wheel, column in enumerate(wheels.at(level)):
        counted = values[~np.isnan(values[:, wheel, 1]), wheel]
        # Copies are in memory like the official lists, so that the sums round in the same way.
        p, r = (float(np.copy(counted[:, i]).mean()) if len(counted) else math.nan for i in (0, 1))
        scores[wheels.columns[column]] = guarded(p, r, len(counted), wheels.protocol)
    means = [float(np.mean([score[i] for score in scores.values()])) for i in range(3)]
    return EW(means[0], means[1], means[2], scores)


def guarded(precision: float, recall: float, n: int, protocol: str) -> WheelScore:
    if protocol in GUARDED:
        precision, recall = (precision, recall) if n else (0.0, 0.0)
        return WheelScore(harmonic(precision, recall), precision, recall, n)
    both = precision + recall
    return WheelScore(2 * precision * recall / both if both else math.nan, precision, recall, n)


def among(wheels: Wheels, candidates: Labels) -> Wheels:
    """The same wheels, without the groups that no candidate word is in."""
    allowed = [set(column) for column in zip(*map(wheels.groups, candidates), strict=True)]

    def find(label: str) -> Groups:
        found = zip(wheels.find(label), allowed, strict=True)
        return tuple(group if group in groups else None for group, groups in found)

    return Wheels(wheels.protocol, wheels.columns, wheels.hash, find)


def shares_group(label: str, others: Labels, wheels: Wheels, level: str) -> bool:
    """Whether a label shares a group with one of the others on at least half of the wheels of the level."""
    columns = wheels.at(level)
    own = wheels.groups(label)
    rest = [wheels.groups(other) for other in others]
    shared = sum(own[i] is not None and any(groups[i] == own[i] for groups in rest) for i in columns)
    return 2 * shared >= len(columns)


def wheel_columns(values: Values) -> Values:
    """Per clip and wheel: precision, recall and whether the clip counts; shape (clips, 3 * wheels)."""
    counted = ~np.isnan(values[:, :, 1])
    return np.concatenate([np.nan_to_num(values), counted[:, :, None]], 2).reshape(len(values), -1)


def wheel_means(sums: Values, protocol: str) -> Values:
    """Mean P and mean R per wheel from sums of `wheel_columns`, shape (draws, wheels, 2)."""
    parts = sums.reshape(len(sums), -1, 3)
    means = np.divide(
        parts[:, :, :2], parts[:, :, 2:], out=np.full((*parts.shape[:2], 2), np.nan), where=parts[:, :, 2:] > 0
    )
    return np.nan_to_num(means) if protocol in GUARDED else means


def wheel_f1(sums: Values, protocol: str) -> Values:
    """The wheel score from sums of `wheel_columns`."""
    p, r = np.moveaxis(wheel_means(sums, protocol), 2, 0)
    empty = np.where(np.isnan(p), np.nan, 0.0 if protocol in GUARDED else np.nan)
    return np.divide(2 * p * r, p + r, out=empty, where=p + r > 0).mean(1)


@metric("ew", gold="labels", predictions=PREDICTIONS, needs=NEEDS)
def ew(case: Case) -> Measured:
    """Wheel score: F of mean precision and mean recall of the groups said, mean over wheels."""
    if case.protocol == "mer2024":
        return mer2024.score_groups(case)
    constant = ConstantScore(case.gold, case.known_wheels, case.level)
    values = overlaps(case.said, case.gold, case.known_wheels, case.level)
    protocol = case.known_wheels.protocol
    return score_overlaps(case, values, lambda sums: wheel_f1(sums, protocol), constant.f1, lambda score: score.f1)


@metric("hit_rate", gold="one label", predictions=PREDICTIONS, needs=NEEDS)
def hit_rate(case: Case) -> Measured:
    """Share of clips whose one gold word has its group among those said; more words cost nothing."""
    gold, wheels = [[word] for word in case.gold_word], case.known_wheels
    return score_overlaps(
        case,
        overlaps(case.said, gold, wheels, case.level),
        lambda sums: wheel_means(sums, wheels.protocol)[:, :, 1].mean(1),
        ConstantScore(gold, wheels, case.level).recall,
        lambda score: score.recall,
    )


@metric("mscore", gold="one label", predictions=PREDICTIONS, needs=NEEDS)
def mscore(case: Case) -> Measured:
    """Companion of the hit rate: hits over the groups said that some gold label has."""
    gold, wheels = [[word] for word in case.gold_word], among(case.known_wheels, sorted(set(case.gold_word)))
    constant = ConstantScore(gold, wheels, case.level)
    return score_overlaps(
        case,
        overlaps(case.said, gold, wheels, case.level),
        lambda sums: wheel_means(sums, wheels.protocol)[:, :, 0].mean(1),
        constant.precision,
        lambda score: score.precision,
    )


def score_overlaps(
    case: Case,
    values: Values,
    statistic: Statistic,
    constant: Callable[[Labels], float],
    pick: Callable[[EW], float],
) -> Measured:
    """A statistic of `overlaps`, with the best constant answers and what another clip's gold reaches."""
    wheels = case.known_wheels
    summary = corpus_score(values, wheels, case.level)
    counted = int((~np.isnan(values[:, :, 1])).any(1).sum())

    def shuffled(said: Sequence[Labels]) -> float:
        return pick(wheel_score(said, case.gold, wheels, case.level))

    return Measured(
        drawn_sums(wheel_columns(values), statistic),
        n=counted,
        constants=baselines.best_constants(case.gold, constant),
        chance=baselines.random_answers(case.gold, shuffled),
        skipped={NO_WHEEL: len(values) - counted} if counted < len(values) else {},
        precision=summary.precision,
        recall=summary.recall,
        per_wheel={name: score._asdict() for name, score in summary.wheels.items()},
    )
