"""Our own emotion vocabulary: a word in any spelling -> its base -> the concept it names -> a group on every wheel.

The tables in `data/` are read on first use. A base word names one concept; a concept has a valence sign and a sector on
each wheel that admits it. A word that a published taxonomy itself places keeps that place on that wheel (`terms.tsv`).
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from affectllm.vocabulary import morphology
from affectllm.vocabulary.tables import data_hash, function_words, tables
from affectllm.vocabulary.wheels import Groups, Wheels

PROTOCOL = "affectllm-1"
CACHED = 65536
INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\x00-\x08\x0e-\x1f\x7f]")
OUTER = re.compile(r"^[^\w]+|[^\w]+$")
# Cyrillic and Greek letters that look Latin; they are replaced only in words that also hold Latin letters.
LOOKALIKES = str.maketrans("аеорсухіјѕɡαορνικτ", "aeopcyxijsgaopvikt")
LATIN = re.compile(r"[a-z]")
CHINESE = re.compile(r"[\u3400-\u9fff]")
# The frame of an emotion word in Chinese: 感到, 一丝 before it, 的, 情绪, 的样子 after it.
CHINESE_SHELL = re.compile(
    r"^(?:感到|觉得|感觉|显得|表现出|表现得|充满|带有|带着|一丝|一种|内心)+"
    r"|(?:的|地|得|了|着|之情|之意|情绪|情感|心情|心理|感受|的样子)+$"
)
CONNECTIVE = re.compile(
    r"\b(?:about|for|of|to|at|with|in|on|over|by|from|towards?|against|regarding|because|that|after|when|and)\b"
)
LONGEST_PHRASE = 5
LONGEST_CHINESE = 8


class Resolved(NamedTuple):
    """How a label was understood: `rule` says by which step."""

    form: str
    base: str
    rule: str


def normalise(word: str) -> str:
    """The text with case, width, invisible characters, look-alike letters, quotes, underscores and outer marks unified.

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
    """The base word of a label and the step that found it. None for a word that we do not know."""
    form = normalise(word)
    if found := find(form):
        return Resolved(form, *found)
    if CHINESE.search(form):
        inner = CHINESE_SHELL.sub("", form)
        return Resolved(form, inner, "without frame") if inner in tables().entries else None
    base = head_word(form)
    return Resolved(form, base, "head word") if base else None


def find(form: str) -> tuple[str, str] | None:
    """Base word and rule for a whole phrase, without looking at its parts."""
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

    The part before the first connective is asked first, its last word before its first ('emotional turmoil'); light
    heads are skipped ('sense of urgency'). A phrase that denies ('not annoyed', 'lack of trust') has no head word.
    """
    words = form.replace("-", " ").split()
    denials = function_words("denial") | function_words("negator")
    if len(words) < 2 or not denials.isdisjoint(words[:-1]):
        return None
    light = function_words("light")
    for part in CONNECTIVE.split(" ".join(words)):
        heavy = [word for word in part.split() if word not in light]
        for size in range(min(len(heavy), LONGEST_PHRASE), 1, -1):
            if found := find(" ".join(heavy[-size:])):
                return found[0]
        for word in reversed(heavy):
            if found := find(word):
                return found[0]
    return None


def knows(phrase: str) -> bool:
    """Whether the whole phrase is in the lexicon, inflected or not; there is no head-word back-off."""
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
    """How many characters from `at` make the longest Chinese entry that names an emotion in prose; 0 for none."""
    known = tables()
    if run[at] not in known.chinese_starts:
        return 0
    for size in range(min(LONGEST_CHINESE, len(run) - at), 1, -1):
        entry = known.entries.get(run[at : at + size])
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


@cache
def load_wheels() -> Wheels:
    """Our wheels as protocol 'affectllm-1': columns 'ekman/level1', 'ekman/level2' ...; never a None group."""
    columns = tuple(f"{wheel}/{level}" for wheel in tables().sectors for level in ("level1", "level2"))
    return Wheels(PROTOCOL, columns, data_hash(), find_groups)


@lru_cache(maxsize=CACHED)
def find_groups(label: str) -> Groups:
    placed = groups(label)
    return tuple(group for wheel in tables().sectors for group in placed[wheel])


class Place(NamedTuple):
    level1: str
    level2: str
    why: str


class Explanation(NamedTuple):
    """How a word gets to its groups. `base` and the fields after it are None for a word that we do not know."""

    word: str
    form: str
    base: str | None
    rule: str | None
    """The step that found the base: base word, spelling, irregular form, inflection, without frame, head word."""
    concept: str | None
    valence: int | None
    source: str | None
    synonyms: list[str]
    groups: dict[str, Place]


def explain(word: str) -> Explanation:
    """The path of a word: form -> base -> concept with its other words -> group on every wheel, and why."""
    found = resolve(word)
    placed = groups(word)
    if found is None:
        own = {wheel: Place(*place, "unknown word: its own group") for wheel, place in placed.items()}
        return Explanation(word, normalise(word), None, None, None, None, None, [], own)
    entry = tables().entries[found.base]
    same = [other for other, it in tables().entries.items() if it.concept == entry.concept and other != found.base]
    why = {wheel: Place(*place, reason(found.base, wheel)) for wheel, place in placed.items()}
    return Explanation(word, found.form, found.base, found.rule, entry.concept, entry.valence, entry.source, same, why)


def reason(base_word: str, wheel: str) -> str:
    known = tables()
    if base_word in known.terms[wheel]:
        return "the taxonomy's own word"
    concept = known.concepts[known.entries[base_word].concept]
    return f"as '{concept.name}'" if wheel in concept.sectors else "no sector for it: its own group"
