"""Clue overlap without a judge: which annotated clues does a reasoning mention?

The field asks a chat model for a 1-10 overlap (EMER, arXiv 2306.15401), and no two studies use the same one. Here
gold statements and clauses of the reasoning are matched one to one by the content words they share, so the number
is the same everywhere. It rewards naming a clue in its own words, not judging it right: compare it with the floor
that shuffled references reach (`shuffled_floor`), which any real overlap must beat.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import chain
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from affectllm.errors import AffectError
from affectllm.records import Clues
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import drawn_mean
from affectllm.scores.families.clue_matching import MODALITIES, Overlap, matched, prf, statement_words
from affectllm.scores.families.clue_words import read

if TYPE_CHECKING:
    from affectllm.scores.families.clue_vectors import ClueEncoder

GOLD = "`clues` {visual, audio, text}, lists of statements"
PREDICTIONS = "text with reasoning, or `reasoning`"
READS = ("clues", "reasoning")


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
    """Mean over the annotated modalities of the share of clues mentioned, in 0..1; more statements cost as in an F.

    With g gold statements and s > g of the reasoning (counted as in `overlap`) the mean is multiplied by 2g / (g + s),
    the F of a reasoning that mentions all. Up to g statements nothing is lost. A policy can raise the F by saying
    nothing about the modality that it perceives worse; here, speaking of a modality is never worse than leaving it out.
    """
    golds, every = by_modality(tuple(gold.visual), tuple(gold.audio), tuple(gold.text))
    if not golds:
        return 0.0
    said = read(reasoning)
    near = touching(every.words, said.parts)
    share = sum([matched(wanted.sets, near) / len(wanted.sets) for wanted in golds]) / len(golds)
    size = len(every.sets)
    length = max(size, said.sentences, said.words * size / every.size)
    return share * 2 * size / (size + length)


class Statements(NamedTuple):
    """Gold statements as their content words; those without any are left out."""

    sets: list[frozenset[str]]
    size: int
    """Words of all statements, repeats included."""
    words: frozenset[str]


# All completions of a clip are compared with the same statements.
@lru_cache(maxsize=8192)
def all_statements(texts: tuple[str, ...]) -> Statements:
    statements = statement_words(texts)
    return Statements(statements, sum(map(len, statements)), frozenset().union(*statements))


@lru_cache(maxsize=8192)
def by_modality(*texts: tuple[str, ...]) -> tuple[list[Statements], Statements]:
    """The statements of each modality that has any, and all statements together."""
    return [wanted for wanted in map(all_statements, texts) if wanted.sets], all_statements(tuple(chain(*texts)))


def mentioned(gold: Statements, parts: Sequence[frozenset[str]]) -> float:
    """Share of the statements, of which there is at least one, that the parts of a reasoning mention, in 0..1."""
    return matched(gold.sets, touching(gold.words, parts)) / len(gold.sets)


def touching(words: frozenset[str], parts: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The parts that hold one of the words; most hold none, and this is faster to check than a match."""
    return [part for part in parts if not words.isdisjoint(part)]


def shuffled_floor(reasonings: Sequence[str], golds: Sequence[Clues], seed: int = 7) -> float:
    """Mean recall over all modalities when every clip is compared with another clip's clues.

    Raises AffectError for fewer than two clips, since there is no other clip.
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


@metric("clue_visual", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_visual(case: Case) -> Measured:
    """Mean share of the visual gold statements that the reasoning mentions, in 0..1."""
    return score_modality(case, "visual")


@metric("clue_audio", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_audio(case: Case) -> Measured:
    """Mean share of the gold statements on the voice that the reasoning mentions, in 0..1."""
    return score_modality(case, "audio")


@metric("clue_text", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_text(case: Case) -> Measured:
    """Mean share of the gold statements on the words that the reasoning mentions, in 0..1."""
    return score_modality(case, "text")


@metric("clue_precision", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_precision(case: Case) -> Measured:
    """Matched clues per sentence of the reasoning, all modalities together, in 0..1."""
    return score_overlap(case, "precision")


@metric("clue_recall", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_recall(case: Case) -> Measured:
    """Matched clues per gold statement, all modalities together, in 0..1."""
    return score_overlap(case, "recall")


@metric("clue_f1", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def clue_f1(case: Case) -> Measured:
    """Mean over clips of the F of `clue_precision` and `clue_recall`."""
    return score_overlap(case, "f1")


def score_modality(case: Case, modality: str) -> Measured:
    """Mean over the clips whose gold has clues of this modality."""
    compare = encoder(case.clue_encoder).clue_scores if case.clue_encoder else clue_scores

    def value(text: str, gold: Clues) -> float:
        share = compare(text, gold)[modality]
        return np.nan if share is None else share

    return score_clues(case, value)


def score_overlap(case: Case, field: str) -> Measured:
    """Mean of precision, recall or F over all modalities together."""
    compare = encoder(case.clue_encoder).overlap if case.clue_encoder else overlap
    return score_clues(case, lambda text, gold: float(getattr(compare(text, gold), field)))


@cache
def encoder(name: str) -> "ClueEncoder":
    from affectllm.scores.families.clue_vectors import ClueEncoder

    return ClueEncoder(name)


def score_clues(case: Case, value: Callable[[str, Clues], float]) -> Measured:
    """Mean of a value of reasoning and clues; the floor pairs reasonings with another clip's clues."""
    gold, texts = gold_clues(case), case.reasonings
    values = np.array([np.nan if it is None else value(text, it) for text, it in zip(texts, gold, strict=True)])
    kept = np.flatnonzero(~np.isnan(values))
    floor = None
    if len(kept) > 1:
        other = partners(len(kept))
        floor = float(np.nanmean([value(texts[i], gold[kept[other[place]]]) for place, i in enumerate(kept)]))
    return Measured(
        drawn_mean(values),
        n=len(kept),
        constants=[Constant([], 0.0)],
        chance=floor,
        failures=sum(not text for text in texts),
        skipped={"no gold clue": len(values) - len(kept)} if len(kept) < len(values) else {},
    )


def gold_clues(case: Case) -> list[Clues | None]:
    """The clue statements of every clip that has some; AffectError when none has."""
    found = [row.cells.get("clues") for row in case.gold_rows]
    if not any(found):
        raise AffectError("No gold clip has clues: rows need clues {visual, audio, text}, lists of statements.")
    return [msgspec.convert(it, Clues) if it else None for it in found]
