"""Small words around a label: intensifiers are dropped, negations cancel it, conjunctions join two labels."""

import re
from functools import cache
from typing import NamedTuple

from affectllm.vocabulary import lexicon
from affectllm.vocabulary.tables import function_words

INTENSIFIERS = function_words("intensifier")
# Longest first, so that 有点儿 goes before 有点.
INTENSIFIER_PHRASES = tuple(sorted((word for word in INTENSIFIERS if " " in word), key=len, reverse=True))
INTENSIFIERS_ZH = tuple(sorted((word for word in INTENSIFIERS if not word.isascii()), key=len, reverse=True))
NEGATORS = function_words("negator")
NEGATIONS_ZH = tuple(sorted((word for word in NEGATORS if not word.isascii()), key=len, reverse=True))
NO_LABEL = function_words("no label")
CONJUNCTION = re.compile(r"\s+(?:and|or|as well as|plus|mixed with|&|\+)\s+|\s*(?:以及|并且|而且|和|与|及|或|并)\s*")


class Trimmed(NamedTuple):
    label: str
    stripped: list[str]


@cache
def is_word(label: str) -> bool:
    """Whether our lexicon knows this phrase as it stands (no head-word back-off)."""
    return lexicon.knows(label)


def drop_intensifiers(label: str) -> Trimmed:
    """'very happy' -> 'happy'; a phrase that is a word of its own ('a little') stays whole.

    >>> drop_intensifiers("a bit sad")
    Trimmed(label='sad', stripped=['a bit'])
    """
    stripped: list[str] = []
    while True:
        head = next((word for word in INTENSIFIER_PHRASES if label.startswith(word + " ")), None)
        head = head or next((word for word in INTENSIFIERS_ZH if label.startswith(word)), None)
        if head is None:
            first, _, rest = label.partition(" ")
            head = first if rest and first in INTENSIFIERS else None
        rest = label[len(head) :].lstrip() if head else ""
        if not head or not rest or (len(label) > len(head) and not head.isascii() and is_word(label)):
            return Trimmed(label, stripped)
        stripped.append(head)
        label = rest


def is_negated(label: str) -> bool:
    """Whether the phrase denies what it names ('not annoyed'); 'no emotion' and '不满' are words of their own."""
    first = label.partition(" ")[0]
    negator = first in NEGATORS or label.startswith(NEGATIONS_ZH)
    return negator and label not in NO_LABEL and not is_word(label)


def split_conjunctions(piece: str) -> list[str]:
    """'calm and composed' -> two labels; 'expecting truth and fairness' and '温和' stay one.

    English conjunctions split single words and phrases that the lexicon knows; Chinese ones only known words, since
    和 and 与 also stand inside words.
    """
    match = CONJUNCTION.search(piece)
    if match is None or (not piece.isascii() and is_word(piece)):
        return [piece]
    parts = [part for part in CONJUNCTION.split(piece) if part]
    ascii_words = piece.isascii()
    if all((ascii_words and " " not in part) or is_word(drop_intensifiers(part).label) for part in parts):
        return parts
    return [piece]
