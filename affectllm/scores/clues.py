"""Clue overlap without a judge: which annotated clues does a reasoning mention?

The field asks a chat model for a 1-10 overlap (EMER, arXiv 2306.15401), and no two studies use the same one. Here
gold statements and clauses of the reasoning are matched one to one by the content words they share, so the number
is the same everywhere. It rewards naming a clue in its own words, not judging it right: read it beside the floor
that shuffled references reach (`shuffled_floor`), which any real overlap must beat.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from statistics import fmean
from typing import NamedTuple

from affectllm.records import Clues

MODALITIES = ("visual", "audio", "text")
SENTENCE_END = re.compile(r"[.!?\n。！？；]+")
CLAUSE_END = re.compile(r"[.!?;:,\n。！？；，：、]+|\s(?:and|but|while|with)\s")
WORD = re.compile(r"[a-z']+|[\u4e00-\u9fff]+")
NEGATIONS = {
    "no", "not", "without", "never", "hardly", "neither", "nor", "isn't", "doesn't", "don't", "didn't",
    "wasn't", "aren't", "cannot", "can't", "不", "没", "没有", "无",
}  # fmt: skip
# Words that frame a clue rather than being one: everybody has a face, and every voice "is" something.
FRAME = {
    "a", "an", "the", "this", "that", "these", "those", "he", "she", "it", "they", "his", "her", "its", "their",
    "him", "them", "who", "which", "there", "here", "of", "in", "on", "at", "to", "for", "from", "by", "as",
    "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "do", "does", "did", "and", "or",
    "but", "while", "with", "so", "very", "quite", "rather", "person", "man", "woman", "character", "speaker",
    "face", "facial", "voice", "vocal", "words", "word", "shows", "show", "shown", "showing", "seems",
    "appears", "looks", "sounds", "speaks", "says", "said", "expression", "tone", "video", "audio", "text",
    "subtitle", "clip", "also", "into", "than", "then", "some",
}  # fmt: skip
SUFFIXES = ("ingly", "edly", "ness", "ing", "ied", "ies", "ed", "ly", "es", "s")


class Overlap(NamedTuple):
    """Soft-matched clues per sentence of the reasoning (at most 1), per gold statement, and the F of both."""

    precision: float
    recall: float
    f1: float


def clue_scores(reasoning: str, gold: Clues) -> dict[str, float | None]:
    """Share of each modality's gold statements that the reasoning mentions, in 0..1; None where gold has none.

    >>> clue_scores("She has a broad, wide smile.", Clues(visual=["a wide smile"]))
    {'visual': 1.0, 'audio': None, 'text': None}
    """
    clauses = clause_words(reasoning)
    scores: dict[str, float | None] = {}
    for modality in MODALITIES:
        statements = [content_words(statement) for statement in getattr(gold, modality)]
        scores[modality] = sum(best_matches(statements, clauses)) / len(statements) if statements else None
    return scores


def overlap(reasoning: str, gold: Clues) -> Overlap:
    """Precision, recall and F over all modalities together; all 0 when either side is empty."""
    statements = [content_words(text) for modality in MODALITIES for text in getattr(gold, modality)]
    clauses = clause_words(reasoning)
    if not statements or not clauses:
        return Overlap(0.0, 0.0, 0.0)
    matched = sum(best_matches(statements, clauses))
    sentences = sum(bool(content_words(sentence)) for sentence in SENTENCE_END.split(reasoning))
    precision, recall = min(1.0, matched / sentences), matched / len(statements)
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if matched else 0.0)


def shuffled_floor(reasonings: Sequence[str], golds: Sequence[Clues], seed: int = 7) -> float:
    """Mean recall over all modalities when every clip is compared with another clip's clues.

    Raises ValueError for fewer than two clips: there is no other clip then.
    """
    if len(golds) < 2:
        raise ValueError("A shuffled floor needs at least two clips.")
    order = list(range(len(golds)))
    Random(seed).shuffle(order)
    # A cyclic shift of a random order: no clip meets its own clues.
    partner = dict(zip(order, [*order[1:], order[0]], strict=True))
    return fmean(overlap(text, golds[partner[i]]).recall for i, text in enumerate(reasonings))


def best_matches(statements: Sequence[frozenset[str]], clauses: Sequence[frozenset[str]]) -> list[float]:
    """Word F of every gold statement with its clause in the best one-to-one matching."""
    if not statements or not clauses:
        return [0.0] * len(statements)
    table = [[word_f(statement, clause) for clause in clauses] for statement in statements]
    best = [max(row) for row in table]
    # Statements that like different clauses best have their optimum already; only rivals need the assignment solved.
    if len({row.index(value) for row, value in zip(table, best, strict=True)}) == len(table):
        return best
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return [table[row][column] for row, column in zip(rows, columns, strict=True)]


def word_f(a: frozenset[str], b: frozenset[str]) -> float:
    """Harmonic mean of the shares of each other's words."""
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


def clause_words(text: str) -> list[frozenset[str]]:
    """Content words of each sentence and of each of its clauses, so that a clue of either size finds its like."""
    clauses = [
        content_words(part) for sentence in SENTENCE_END.split(text) for part in {sentence, *CLAUSE_END.split(sentence)}
    ]
    return [words for words in dict.fromkeys(clauses) if words]


@lru_cache(maxsize=65536)
def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning; Chinese as character pairs; words behind a negation are other words."""
    words, negated = set(), False
    for word in WORD.findall(text.lower()):
        if word[0] >= "\u4e00":
            pairs = {word[i : i + 2] for i in range(max(1, len(word) - 1))}
            words |= {"¬" + pair for pair in pairs} if word[0] in "不没无" else pairs
        elif word in NEGATIONS:
            negated = True
        elif word not in FRAME:
            words.add("¬" + stem(word) if negated else stem(word))
    return frozenset(words)


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """The word without its inflection, roughly: enough for 'smiling' and 'smiles' to meet."""
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word.rstrip("e")
