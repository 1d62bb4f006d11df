"""Our own emotion vocabulary: a word in any spelling -> its base -> the concept it names -> a group on every wheel.

The tables in `data/` are read on first use. A base word names one concept; a concept has a valence sign and a sector on
each wheel that admits it. A word that a published taxonomy itself places keeps that place on that wheel (`terms.tsv`).
"""

import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from affectllm.vocabulary import morphology

CACHED = 65536
LEVELS = ("level1", "level2")
INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\x00-\x08\x0e-\x1f\x7f]")
OUTER = re.compile(r"^[^\w]+|[^\w]+$")
# Cyrillic and Greek letters that look Latin; only words that also hold Latin letters are mended.
LOOKALIKES = str.maketrans("аеорсухіјѕɡαορνικτ", "aeopcyxijsgaopvikt")
LATIN = re.compile(r"[a-z]")
CHINESE = re.compile(r"[\u3400-\u9fff]")
CHINESE_SHELL = re.compile(r"^(?:感到|觉得|感觉|显得|表现出|表现得|充满|带有|带着|一丝|一种|内心)+|(?:的|地|得|了|着|之情|之意|情绪|情感|心情|心理|感受|的样子)+$")
CONNECTIVE = re.compile(r"\b(?:about|for|of|to|at|with|in|on|over|by|from|towards?|against|regarding|because|that|after|when|and)\b")
# Heads that only say "here comes the emotion": the word beside them carries the meaning.
LIGHT = frozenset(
    """feeling feelings sense state emotion emotions mood attitude expression tone look air hint touch trace degree kind sort
    bit level mixture mix atmosphere manner behavior behaviour response reaction demeanor spirit experience mental psychological
    inner mind mindset heart tendency way full filled feel feels being very slightly somewhat a an the some certain""".split()
)
DENIALS = frozenset("not no non never without lack lacking less absence loss free un nor neither hardly isn't don't doesn't".split())
LONGEST_PHRASE = 5
LONGEST_CHINESE = 8


class Entry(NamedTuple):
    """A base word of the tables."""

    word: str
    concept: str
    valence: int
    prose: bool
    """False for words that name an emotion in a list of labels only: 'cold', 'close', 'content'."""
    source: str


class Concept(NamedTuple):
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
    """Irregular form -> base word; '-' bars a form from being taken for an inflection."""
    phrase_starts: frozenset[str]
    """First words of phrases of two words and more."""


class Resolved(NamedTuple):
    """How a label was understood: `rule` says by which step."""

    form: str
    base: str
    rule: str


def rows(name: str) -> list[list[str]]:
    """Cells of a table in `data/`, without its header and comments."""
    text = (files("affectllm.vocabulary") / "data" / name).read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return lines[1:]


@cache
def tables() -> Tables:
    """All tables, read once."""
    sectors: dict[str, dict[str, str]] = {}
    for wheel, level1, level2, _ in rows("sectors.tsv"):
        sectors.setdefault(wheel, {})[level2] = level1
    concepts = {}
    for name, valence, *cells in rows("concepts.tsv"):
        placed = {wheel: cell for wheel, cell in zip(sectors, cells, strict=False) if cell != "-"}
        concepts[name] = Concept(name, int(valence), placed)
    entries = {}
    for word, concept, valence, prose, source in rows("words_en.tsv") + rows("words_zh.tsv"):
        sign = int(valence) if valence else concepts[concept].valence
        entries[word] = Entry(word, concept, sign, prose == "prose", source)
    terms: dict[str, dict[str, str]] = {}
    for wheel, word, level2, _ in rows("terms.tsv"):
        terms.setdefault(wheel, {})[word] = level2
    forms = {form: word for form, word, _ in rows("forms.tsv")}
    starts = frozenset(word.partition(" ")[0] for word in entries if " " in word)
    return Tables(entries, concepts, sectors, terms, forms, starts)


def normalise(word: str) -> str:
    """Case, width, invisible characters, look-alike letters, quotes, underscores and outer punctuation evened out.

    >>> normalise("  “Lack_of  Concern”. ")
    'lack of concern'
    """
    if word.isascii() and word.isalpha():
        return word.lower()
    word = unicodedata.normalize("NFKC", INVISIBLE.sub("", word)).lower().replace("’", "'").replace("_", " ")
    if LATIN.search(word):
        word = word.translate(LOOKALIKES)
    return OUTER.sub("", " ".join(word.split()))


@lru_cache(maxsize=CACHED)
def resolve(word: str) -> Resolved | None:
    """The base word that a label stands for and the step that found it; None for a word we do not know."""
    form = normalise(word)
    if found := find(form):
        return Resolved(form, *found)
    if CHINESE.search(form):
        inner = CHINESE_SHELL.sub("", form)
        return Resolved(form, inner, "without frame") if inner in tables().entries else None
    base = head_word(form)
    return Resolved(form, base, "head word") if base else None


def find(form: str) -> tuple[str, str] | None:
    """Base word and rule for a phrase as it stands, without looking at its parts."""
    known = tables()
    if form in known.forms:
        base = known.forms[form]
        return None if base == "-" else (base, "irregular form")
    if form in known.entries:
        return form, "base word"
    for spelling in (form.replace("-", " "), form.replace("-", ""), form.replace(" ", "-"), form.replace(" ", "")):
        if spelling in known.entries:
            return spelling, "spelling"
    if form.isascii() and " " not in form:
        inflected = next((base for base in morphology.proposals(form) if base in known.entries), None)
        return (inflected, "inflection") if inflected else None
    return None


def head_word(form: str) -> str | None:
    """The word that carries a phrase's meaning: 'concern about others' evaluations' -> 'concern'.

    The part before the first connective is asked first, its last word before its first ('emotional turmoil'); light heads
    are skipped ('sense of urgency'). A phrase that denies ('not annoyed', 'lack of trust') has no head word.
    """
    words = form.replace("-", " ").split()
    if len(words) < 2 or any(word in DENIALS for word in words):
        return None
    for part in CONNECTIVE.split(" ".join(words)):
        heavy = [word for word in part.split() if word not in LIGHT]
        for size in range(min(len(heavy), LONGEST_PHRASE), 1, -1):
            if found := find(" ".join(heavy[-size:])):
                return found[0]
        for word in [*reversed(heavy)]:
            if found := find(word):
                return found[0]
    return None


def knows(phrase: str) -> bool:
    """Whether a phrase as it stands is in the lexicon, inflected or not; no head-word back-off."""
    return find(normalise(phrase)) is not None


def base(word: str) -> str | None:
    """The base word: 'very happily' -> 'happy'; None for a word we do not know."""
    found = resolve(word)
    return found.base if found else None


def valence(word: str) -> int | None:
    """Sign of the feeling: -1, 0 or +1; None for a word we do not know."""
    found = base(word)
    return tables().entries[found].valence if found else None


def longest_phrase(tokens: list[str], at: int) -> int:
    """How many lower-cased tokens from `at` make the longest entry that names an emotion in prose; 0 for none."""
    known = tables()
    if tokens[at] in known.phrase_starts:
        for size in range(min(LONGEST_PHRASE, len(tokens) - at), 1, -1):
            entry = known.entries.get(" ".join(tokens[at : at + size]))
            if entry and entry.prose:
                return size
    return int(is_prose_word(tokens[at]))


@lru_cache(maxsize=CACHED)
def is_prose_word(token: str) -> bool:
    found = find(token) if token.isascii() else None
    return found is not None and tables().entries[found[0]].prose


def longest_chinese(run: str, at: int) -> int:
    """How many signs from `at` make the longest Chinese entry that names an emotion in prose; 0 for none."""
    entries = tables().entries
    for size in range(min(LONGEST_CHINESE, len(run) - at), 1, -1):
        entry = entries.get(run[at : at + size])
        if entry and entry.prose:
            return size
    return 0


def sectors_of(base_word: str) -> dict[str, tuple[str, str]]:
    """Wheel -> (level 1, level 2) for a base word; wheels that do not admit it are absent."""
    known = tables()
    concept = known.concepts[known.entries[base_word].concept]
    placed = {}
    for wheel, level1_of in known.sectors.items():
        sector = known.terms.get(wheel, {}).get(base_word) or concept.sectors.get(wheel)
        if sector:
            placed[wheel] = (level1_of[sector], sector)
    return placed


def groups(label: str) -> dict[str, tuple[str, str]]:
    """Wheel -> (level-1 group, level-2 group). Never empty: where a wheel has no sector, the label is its own group.

    That group carries the concept's name, so that synonyms stay together; for an unknown word it is the word itself.
    """
    found = resolve(label)
    if found is None:
        own = normalise(label)
        return dict.fromkeys(tables().sectors, (own, own))
    concept = tables().entries[found.base].concept
    return dict.fromkeys(tables().sectors, (concept, concept)) | sectors_of(found.base)
