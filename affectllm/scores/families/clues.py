"""Clue overlap without a judge: which annotated clues does a reasoning mention?

The field asks a chat model for a 1-10 overlap (EMER, arXiv 2306.15401), and no two studies use the same one. Here
gold statements and clauses of the reasoning are matched one to one by the content words they share, so the number
is the same everywhere. It rewards naming a clue in its own words, not judging it right: read it beside the floor
that shuffled references reach (`shuffled_floor`), which any real overlap must beat.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from random import Random
from statistics import fmean
from typing import NamedTuple

from affectllm.errors import AffectError
from affectllm.records import Clues
from affectllm.scores.clue_words import content_words, read

MODALITIES = ("visual", "audio", "text")


class Overlap(NamedTuple):
    """Soft-matched clues per statement of the reasoning (at most 1), per gold statement, and the F of both."""

    precision: float
    recall: float
    f1: float


def clue_scores(reasoning: str, gold: Clues) -> dict[str, float | None]:
    """Share of each modality's gold statements that the reasoning mentions, in 0..1; None where gold has none.

    >>> clue_scores("She has a broad, wide smile.", Clues(visual=["a wide smile"]))
    {'visual': 1.0, 'audio': None, 'text': None}
    """
    parts = read(reasoning).parts
    golds = {modality: all_statements(tuple(getattr(gold, modality))) for modality in MODALITIES}
    return {modality: mentioned(wanted, parts) if wanted.sets else None for modality, wanted in golds.items()}


def overlap(reasoning: str, gold: Clues) -> Overlap:
    """Precision, recall and F over all modalities together; all 0 when either side is empty.

    A reasoning counts as its sentences, or as its content words over those of an average gold statement where that
    is more: clues strung together by commas cost as much precision as clues in sentences of their own.
    """
    wanted = all_statements((*gold.visual, *gold.audio, *gold.text))
    said = read(reasoning)
    if not wanted.sets or not said.parts:
        return Overlap(0.0, 0.0, 0.0)
    size = len(wanted.sets)
    return prf(mentioned(wanted, said.parts) * size, max(said.sentences, said.words * size / wanted.size), size)


def coverage(reasoning: str, gold: Clues) -> float:
    """Mean over the annotated modalities of the share of clues mentioned, in 0..1; what more costs as in an F.

    With g gold statements and s > g of the reasoning (counted as in `overlap`) the mean is multiplied by 2g / (g + s),
    the F of a reasoning that mentions all. Up to g statements nothing is lost: unlike with the F, which a policy climbs
    by falling silent about the modality it hears worse, speaking of each modality is never worse than leaving it out.
    """
    golds, every = by_modality(tuple(gold.visual), tuple(gold.audio), tuple(gold.text))
    if not golds:
        return 0.0
    said = read(reasoning)
    near = touching(every.words, said.parts)
    share = sum([matched(wanted.sets, near) / len(wanted.sets) for wanted in golds]) / len(golds)
    size = len(every.sets)
    told = max(size, said.sentences, said.words * size / every.size)
    return share * 2 * size / (size + told)


class Statements(NamedTuple):
    """Gold statements as their content words; those without any are left out."""

    sets: list[frozenset[str]]
    size: int
    """Words of all of them, repeats included."""
    words: frozenset[str]


# All completions of a clip are compared with the same statements.
@lru_cache(maxsize=8192)
def all_statements(texts: tuple[str, ...]) -> Statements:
    statements = statement_words(texts)
    return Statements(statements, sum(map(len, statements)), frozenset().union(*statements))


@lru_cache(maxsize=8192)
def by_modality(*texts: tuple[str, ...]) -> tuple[list[Statements], Statements]:
    """The statements of each modality that has any, and all of them together."""
    return [wanted for wanted in map(all_statements, texts) if wanted.sets], all_statements(tuple(chain(*texts)))


def mentioned(gold: Statements, parts: Sequence[frozenset[str]]) -> float:
    """Share of the statements, of which there is at least one, that the parts of a reasoning mention, in 0..1."""
    return matched(gold.sets, touching(gold.words, parts)) / len(gold.sets)


def touching(words: frozenset[str], parts: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The parts that hold one of the words; most hold none, which is sooner seen than that they match nothing."""
    return [part for part in parts if not words.isdisjoint(part)]


def prf(found: float, said: float, gold: float) -> Overlap:
    """Overlap from the matched mass and the sizes of both sides, which are above 0."""
    precision, recall = min(1.0, found / said), found / gold
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if found else 0.0)


def shuffled_floor(reasonings: Sequence[str], golds: Sequence[Clues], seed: int = 7) -> float:
    """Mean recall over all modalities when every clip is compared with another clip's clues.

    Raises AffectError for fewer than two clips: there is no other clip then.
    """
    partner = partners(len(golds), seed)
    return fmean(overlap(text, golds[partner[i]]).recall for i, text in enumerate(reasonings))


def partners(clips: int, seed: int = 7) -> dict[int, int]:
    """Another clip for every clip, each taken once: a cyclic shift of a random order."""
    if clips < 2:
        raise AffectError(f"A shuffled floor needs at least two clips with clues, there are {clips}.")
    order = list(range(clips))
    Random(seed).shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def statement_words(statements: Sequence[str]) -> list[frozenset[str]]:
    """Content words of every statement that has any."""
    return [words for words in map(content_words, statements) if words]


def matched(statements: Sequence[frozenset[str]], parts: Sequence[frozenset[str]]) -> float:
    """Sum of the word F, 2|a & b| / (|a| + |b|), of statements and parts in their best one-to-one matching."""
    return assign([[2 * len(words & part) / (len(words) + len(part)) for part in parts] for words in statements])


def assign(table: Sequence[Sequence[float]]) -> float:
    """The largest sum of a table's cells, at most one of each row and column; cells are in 0..1."""
    if not table or not table[0]:
        return 0.0
    if len(table) == 1:
        return max(table[0])
    best = [max(row) for row in table]
    # Statements that like different parts best have their optimum already; only rivals need the assignment solved.
    wanted = [row.index(value) for row, value in zip(table, best, strict=True) if value]
    if len(set(wanted)) == len(wanted):
        return sum(best)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return sum(table[row][column] for row, column in zip(rows, columns, strict=True))
