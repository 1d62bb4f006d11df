"""The tables of our vocabulary, read from `data/*.tsv` on first use.

Lines that begin with # are comments; the first other line is the header; the last column is where a row comes from.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).with_name("data")
TABLES = (
    "concepts.tsv", "forms.tsv", "function_words.tsv", "sectors.tsv", "terms.tsv", "words_en.tsv", "words_zh.tsv",
)  # fmt: skip


class Entry(NamedTuple):
    """A base word."""

    word: str
    concept: str
    valence: int
    prose: bool
    """False for words that name an emotion in a list of labels only: 'cold', 'close', 'content'."""
    source: str


class Concept(NamedTuple):
    """Words that mean nearly one thing, e.g. 'worry': worried, concerned, worries."""

    name: str
    valence: int
    sectors: dict[str, str]
    """Wheel -> level-2 sector, where the taxonomy admits one."""


class Tables(NamedTuple):
    entries: dict[str, Entry]
    concepts: dict[str, Concept]
    sectors: dict[str, dict[str, str]]
    """Wheel -> level-2 sector -> level-1 sector."""
    terms: dict[str, dict[str, str]]
    """Wheel -> base word that the taxonomy itself places -> level-2 sector."""
    forms: dict[str, str]
    """Irregular form -> base word; '-' prevents that a form is taken for an inflection."""
    phrase_starts: frozenset[str]
    """First words of the phrases of two words and more."""
    chinese_starts: frozenset[str]
    """First characters of the Chinese words."""


@cache
def tables() -> Tables:
    sectors: dict[str, dict[str, str]] = {}
    for wheel, level1, level2, _ in rows("sectors.tsv"):
        sectors.setdefault(wheel, {})[level2] = level1
    concepts = {name: read_concept(name, cells, list(sectors)) for name, *cells in rows("concepts.tsv")}
    entries = {}
    for word, concept, valence, use, source in rows("words_en.tsv") + rows("words_zh.tsv"):
        sign = int(valence) if valence else concepts[concept].valence
        entries[word] = Entry(word, concept, sign, use == "prose", source)
    terms: dict[str, dict[str, str]] = {wheel: {} for wheel in sectors}
    for wheel, word, level2, _ in rows("terms.tsv"):
        terms[wheel][word] = level2
    forms = {form: word for form, word, _ in rows("forms.tsv")}
    starts = frozenset(word.partition(" ")[0] for word in entries if " " in word)
    chinese_starts = frozenset(word[0] for word in entries if not word.isascii())
    return Tables(entries, concepts, sectors, terms, forms, starts, chinese_starts)


def read_concept(name: str, cells: list[str], wheels: list[str]) -> Concept:
    valence, *sectors, _ = cells
    placed = {wheel: sector for wheel, sector in zip(wheels, sectors, strict=True) if sector != "-"}
    return Concept(name, int(valence), placed)


@cache
def function_words(kind: str) -> frozenset[str]:
    """Words with a function near emotion words: 'intensifier', 'negator', 'clause' ... (`data/function_words.tsv`)."""
    return frozenset(word for row_kind, word, _ in rows("function_words.tsv") if row_kind == kind)


@cache
def data_hash() -> str:
    """First 16 hexadecimal digits of the SHA-256 over all tables: names the vocabulary next to every number."""
    digest = hashlib.sha256()
    for name in TABLES:
        digest.update((DATA / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def rows(name: str) -> list[list[str]]:
    """Cells of a table, without its comments and header."""
    text = (DATA / name).read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return lines[1:]
