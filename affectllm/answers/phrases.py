"""Small words around a label: intensifiers that are dropped, negations that cancel, conjunctions that join two labels."""

import re
from functools import cache
from typing import NamedTuple

INTENSIFIERS = frozenset(
    """very so too really quite rather extremely highly deeply slightly somewhat fairly pretty incredibly absolutely totally
    completely utterly truly genuinely intensely mildly moderately strongly increasingly exceedingly super especially
    particularly mostly mainly primarily probably possibly perhaps maybe clearly obviously visibly seemingly apparently
    relatively overly terribly awfully immensely tremendously profoundly thoroughly a an the bit little also more most less
    faintly vaguely subtly noticeably""".split()
)
INTENSIFIER_PHRASES = ("a little bit", "a bit", "a little", "kind of", "sort of", "a lot", "a hint of", "a touch of")
INTENSIFIERS_ZH = (
    "非常", "十分", "极其", "特别", "有一点", "有点儿", "有点", "有些", "略微", "略带", "略显", "稍微", "稍显", "比较",
    "相当", "极度", "极为", "格外", "过于", "显得", "感到", "觉得", "很", "太", "挺", "颇", "更",
)  # fmt: skip
NEGATORS = frozenset(
    """not no never without neither nor cannot isn't aren't wasn't weren't don't doesn't didn't won't wouldn't can't couldn't
    shouldn't hardly barely scarcely nothing nobody none ain't hasn't haven't hadn't""".split()
)
NEGATIONS_ZH = ("并不是", "并没有", "并非", "并不", "不是", "没有", "不再", "而非", "毫无", "不", "没", "无", "未", "非")
CONJUNCTION = re.compile(r"\s+(?:and|or|as well as|plus|mixed with|&|\+)\s+|\s*(?:以及|并且|而且|和|与|及|或|并)\s*")
NO_LABEL = frozenset(("none", "null", "nan", "n/a", "na", "nil", "empty", "unknown", "无", "没有", "未知", "same"))


class Trimmed(NamedTuple):
    label: str
    stripped: list[str]


@cache
def is_word(label: str) -> bool:
    """Whether our lexicon knows this phrase as it stands (no head-word back-off)."""
    from affectllm.vocabulary import lexicon

    return lexicon.knows(label)


def drop_intensifiers(label: str) -> Trimmed:
    """'very happy' -> 'happy'; a phrase that is a word of its own ('a little') stays whole.

    >>> drop_intensifiers("a bit sad")
    Trimmed(label='sad', stripped=['a bit'])
    """
    stripped = []
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
