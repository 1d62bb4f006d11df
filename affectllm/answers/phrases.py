"""Small words around a label: intensifiers are dropped, negations cancel it, conjunctions join two labels."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from affectllm.vocabulary import lexicon
from affectllm.vocabulary.tables import function_words


def one_of(words: Iterable[str]) -> str:
    """A pattern that takes the longest of the words: 有点儿 before 有点."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


INTENSIFIERS = function_words("intensifier")
LEADING_INTENSIFIER = re.compile(
    rf"(?:({one_of(word for word in INTENSIFIERS if word.isascii())}) "
    rf"|({one_of(word for word in INTENSIFIERS if not word.isascii())}))(?=.)"
)
NEGATORS = function_words("negator")
NEGATIONS_ZH = tuple(sorted((word for word in NEGATORS if not word.isascii()), key=len, reverse=True))
NO_LABEL = function_words("no label")
CONJUNCTION = re.compile(r"\s+(?:and|or|as well as|plus|mixed with|&|\+)\s+|\s*(?:以及|并且|而且|和|与|及|或|并)\s*")


class Trimmed(NamedTuple):
    label: str
    stripped: list[str]


@lru_cache(maxsize=lexicon.CACHED)
def is_word(label: str) -> bool:
    """Whether our lexicon knows this very phrase (no head-word back-off)."""
    return lexicon.knows(label)


def drop_intensifiers(label: str) -> Trimmed:
    """'very happy' -> 'happy'; an intensifier alone stays.

    >>> drop_intensifiers("a bit sad")
    Trimmed(label='sad', stripped=['a bit'])
    """
    stripped: list[str] = []
    while match := LEADING_INTENSIFIER.match(label):
        # 有点 or 太 may be the beginning of a word of its own.
        if match[2] and is_word(label):
            break
        stripped.append(match[1] or match[2])
        label = label[match.end() :]
    return Trimmed(label, stripped)


def is_negated(label: str) -> bool:
    """Whether the phrase denies what it names ('not annoyed'); 'no emotion' and '不满' are words of their own."""
    negator = label.partition(" ")[0] in NEGATORS or label.startswith(NEGATIONS_ZH)
    return negator and label not in NO_LABEL and not is_word(label)


def split_conjunctions(piece: str) -> list[str]:
    """'calm and composed' -> two labels; 'expecting truth and fairness' and '温和' stay one.

    English conjunctions split single words and phrases that the lexicon knows; Chinese ones only known words, since
    和 and 与 also occur inside words.
    """
    match = CONJUNCTION.search(piece)
    if match is None or (not piece.isascii() and is_word(piece)):
        return [piece]
    parts = [part for part in CONJUNCTION.split(piece) if part]
    ascii_words = piece.isascii()
    if all((ascii_words and " " not in part) or is_word(drop_intensifiers(part).label) for part in parts):
        return parts
    return [piece]
