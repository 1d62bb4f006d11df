"""Matching the clue statements of gold with the parts of a reasoning, one to one, by words or by meaning."""

from collections.abc import Sequence
from typing import NamedTuple

from affectllm.scores.families.clue_words import content_words

MODALITIES = ("visual", "audio", "text")


class Overlap(NamedTuple):
    """Soft-matched clues per statement of the reasoning (at most 1), per gold statement, and the F of both."""

    precision: float
    recall: float
    f1: float


def prf(found: float, said: float, gold: float) -> Overlap:
    """Overlap from the matched mass and the sizes of both sides, which are above 0."""
    precision, recall = min(1.0, found / said), found / gold
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if found else 0.0)


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
    # Statements with different best parts are matched optimally already; only the others need the assignment.
    wanted = [row.index(value) for row, value in zip(table, best, strict=True) if value]
    if len(set(wanted)) == len(wanted):
        return sum(best)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return sum(table[row][column] for row, column in zip(rows, columns, strict=True))
