"""Open-vocabulary scores: sets of emotion words compared on emotion wheels.

    overlap    one clip: precision and recall on every wheel; what a reward calls
    ew         a corpus: the published wheel score, or ours, depending on the vocabulary given
    hit_rate   a corpus with one gold word a clip (MER-UniBench's basic-emotion sets)
    mscore     the companion of the hit rate that officially is computed and never printed

Source: MERTools `my_affectgpt/evaluation/{wheel,ew_metric}.py` (MER2025, MER2026) and AffectGPT (arXiv 2501.16566).
Labels are grouped first and made a set then, so duplicates and order never matter.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectllm.vocabulary.wheels import Groups, Wheels

Labels = Sequence[str]
Values = NDArray[np.float64]
Numbers = NDArray[np.intp]

BLOCK = 4096
# These protocols call 0/0 zero; the older official code lets it become nan.
GUARDED = ("mer2026", "affectllm-1")


class Overlap(NamedTuple):
    """Of one clip on one wheel; nan where no gold label stands on that wheel, so the clip does not count there."""

    precision: float
    recall: float


SKIPPED = Overlap(math.nan, math.nan)


class WheelScore(NamedTuple):
    f1: float
    """Harmonic mean of the two corpus means, not a mean of per-clip F."""
    precision: float
    recall: float
    n: int
    """Clips that count on this wheel."""


class EW(NamedTuple):
    """Unweighted means over wheels; hence `f1` is not the harmonic mean of the two beside it."""

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
    """F of one clip: per wheel 2PR/(P+R), then the mean over the wheels that count; nan when none does."""
    total, counted = 0.0, 0
    for named, felt in zip(wheels.sets(frozenset(said), level), wheels.sets(frozenset(gold), level), strict=True):
        if felt:
            counted += 1
            # With P = hits/|named| and R = hits/|felt|, 2PR/(P+R) is this.
            total += 2 * len(felt & named) / (len(named) + len(felt))
    return total / counted if counted else math.nan


def harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def overlaps(said: Sequence[Labels], gold: Sequence[Labels], wheels: Wheels, level: str = "level1") -> Values:
    """`overlap` of many clips at once: shape (clips, wheels, 2), last axis precision and recall, nan where skipped."""
    if len(said) != len(gold):
        raise ValueError(f"{len(said)} predictions for {len(gold)} gold sets")
    (said_clips, said_words), (gold_clips, gold_words) = flatten(said), flatten(gold)
    number = {word: i for i, word in enumerate(dict.fromkeys(chain(said_words, gold_words)))}
    groups = number_groups(list(number), wheels, level)
    named, felt = (
        groups[:, np.fromiter(map(number.__getitem__, words), np.intp, len(words))]
        for words in (said_words, gold_words)
    )
    blocks = [
        overlap_block(min(BLOCK, len(gold) - start), *cut(said_clips, named, start), *cut(gold_clips, felt, start))
        for start in range(0, max(len(gold), 1), BLOCK)
    ]
    return np.concatenate(blocks)


def flatten(sets: Sequence[Labels]) -> tuple[Numbers, list[str]]:
    """Clip number of every label, and the labels one behind the other."""
    lengths = np.fromiter(map(len, sets), np.intp, len(sets))
    return np.repeat(np.arange(len(sets)), lengths), list(chain.from_iterable(sets))


def cut(clips: Numbers, groups: Numbers, start: int) -> tuple[Numbers, Numbers]:
    """The labels of one block of clips: clip numbers from the block's start, and groups (wheels, labels)."""
    first, last = np.searchsorted(clips, (start, start + BLOCK))
    return clips[first:last] - start, groups[:, first:last]


def overlap_block(clips: int, said_clips: Numbers, said: Numbers, gold_clips: Numbers, gold: Numbers) -> Values:
    """`overlaps` of some clips, given the clip number of every label and its group per wheel, -1 for none."""
    values = np.full((clips, len(said), 2), np.nan)
    for wheel, (said_groups, gold_groups) in enumerate(zip(said, gold, strict=True)):
        size = 1 + max(int(said_groups.max(initial=-1)), int(gold_groups.max(initial=-1)))
        named = membership(clips, size, said_clips, said_groups)
        felt = membership(clips, size, gold_clips, gold_groups)
        hits, n_named, n_felt = (table.sum(0, dtype=np.int32) for table in (named & felt, named, felt))
        counted = n_felt > 0
        np.divide(hits, np.maximum(n_named, 1), out=values[:, wheel, 0], where=counted)
        np.divide(hits, n_felt, out=values[:, wheel, 1], where=counted)
    return values


def number_groups(words: Labels, wheels: Wheels, level: str) -> Numbers:
    """Number of each word's group per wheel, shape (wheels, words); -1 where the wheel does not know the word."""
    found = list(map(wheels.groups, words))
    numbers = np.empty((len(wheels.at(level)), len(words)), np.intp)
    for row, column in enumerate(wheels.at(level)):
        known: dict[str | None, int] = {None: -1}
        numbers[row] = [known.setdefault(groups[column], len(known) - 1) for groups in found]
    return numbers


def membership(clips: int, groups: int, rows: Numbers, numbers: Numbers) -> NDArray[np.bool_]:
    """Which group occurs in which clip, shape (groups, clips)."""
    table = np.zeros((groups + 1, clips), bool)
    table[numbers, rows] = True
    # Unknown words, -1, went to the last row.
    return table[:-1]


def ew(said: Sequence[Labels], gold: Sequence[Labels], wheels: Wheels, level: str = "level1") -> EW:
    """The wheel score of a corpus.

    Per wheel: P and R are means over the clips that count, F = 2PR/(P+R); then F, P and R are averaged over wheels.
    Level 'level1' or 'level2'; 'M1' and 'M2' give OV-MER's scores without a wheel. Without a clip that counts, or with
    P+R = 0, the protocols before MER2026 give nan (a published quirk), later ones 0.
    """
    return summarise(overlaps(said, gold, wheels, level), wheels, level)


def summarise(values: Values, wheels: Wheels, level: str = "level1") -> EW:
    """The wheel score from `overlaps`' values."""
    scores = {}
    for wheel, column in enumerate(wheels.at(level)):
        counted = values[~np.isnan(values[:, wheel, 1]), wheel]
        # Copies lie in memory as the official lists do, so the sums round alike.
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


def hit_rate(said: Sequence[Labels], gold: Labels, wheels: Wheels, level: str = "level1") -> EW:
    """MER-UniBench's hit rate, as `recall`: the share of clips whose one gold word has its group among those said.

    There is no term for what else was said: naming all basic emotions scores 100 %. 'neutral' stands on no MERTools
    wheel, so neutral clips do not count there.
    """
    return ew(said, [[word] for word in gold], wheels, level)


def mscore(said: Sequence[Labels], gold: Labels, wheels: Wheels, level: str = "level1") -> EW:
    """MER-UniBench's second quantity, as `precision`: hits over the groups said that are a candidate's group."""
    return ew(said, [[word] for word in gold], among(wheels, sorted(set(gold))), level)


def among(wheels: Wheels, candidates: Labels) -> Wheels:
    """The same wheels, blind for every group that no candidate word stands in."""
    allowed = [set(column) for column in zip(*map(wheels.groups, candidates), strict=True)]

    def find(label: str) -> Groups:
        found = zip(wheels.find(label), allowed, strict=True)
        return tuple(group if group in groups else None for group, groups in found)

    return Wheels(wheels.protocol, wheels.columns, wheels.hash, find)


def hits_any(said: Labels, gold: str, wheels: Wheels, level: str = "level1") -> bool:
    """Whether the gold word's group is said on any wheel (`hit_or_not`); no word on a wheel is a hit for 'neutral'."""
    columns = wheels.at(level)
    if gold == "neutral":
        return all(wheels.groups(label)[column] is None for label in said for column in columns)
    return any(found.recall > 0 for found in overlap(said, [gold], wheels, level))


def shares_group(label: str, others: Labels, wheels: Wheels, level: str) -> bool:
    """Whether a label stands with one of the others on at least half of the level's wheels."""
    columns = wheels.at(level)
    own = wheels.groups(label)
    rest = [wheels.groups(other) for other in others]
    shared = sum(own[i] is not None and any(groups[i] == own[i] for groups in rest) for i in columns)
    return 2 * shared >= len(columns)
