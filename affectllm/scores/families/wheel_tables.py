"""The overlap of many clips at once, as tables of numbers: this makes corpora, rewards and intervals fast."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from affectllm.scores.engine.baselines import Labels
from affectllm.scores.engine.uncertainty import Values
from affectllm.vocabulary.wheels import Wheels

Numbers = NDArray[np.intp]
BLOCK = 4096


def overlaps(said: Sequence[Labels], gold: Sequence[Labels], wheels: Wheels, level: str = "level1") -> Values:
    """`wheels.overlap` of many clips at once, shape (clips, wheels, 2).

    The last axis is precision and recall. nan means that the clip does not count on the wheel.
    """
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
    """Clip number of every label, and the labels one after the other."""
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
    # Unknown words, -1, are in the last row.
    return table[:-1]
