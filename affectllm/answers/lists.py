"""Lists of labels in every spelling of data sets and models: ['a', 'b'], [a, b], a,b, a / b, bullets, 'a and b'."""

import re
from functools import lru_cache
from typing import NamedTuple

from affectllm.answers.phrases import (
    INTENSIFIERS,
    NEGATORS,
    NO_LABEL,
    drop_intensifiers,
    is_negated,
    is_word,
    split_conjunctions,
)
from affectllm.vocabulary.tables import function_words

LONGEST_PLAIN = 400
# A lone capital is an option of a multiple-choice question, not a label.
PLAIN = re.compile(r"""\s*(["']?)([a-z]|[A-Za-z]{2,}(?:[ '-][A-Za-z]+){0,4})\1\s*""")
SEPARATOR = re.compile(r"[,;/|、，；\n\t]")
BULLET = re.compile(r"^\s*(?:[-*•·–—]+\s+|[•·]|[(（]?\d{1,2}[.)、）．:]\s*|[A-H][.)、]\s+)")
PREFIX = re.compile(
    r"^\s*(?:(?:final |the )?(?:answers?|labels?|emotions?|emotion labels?|emotional states?|sentiments?)"
    r"|最终答案|答案|标签|情感标签|情感状态|情感|情绪)\s*(?:is|are|为|是)?\s*[:：]\s*",
    re.IGNORECASE,
)
CHOICE_PREFIX = re.compile(r"^\s*[(\[（]?[A-H](?:[)\]）]\s*[.:]?|[.:、．：])\s*")
PARENTHESIS = re.compile(r"[(（][^()（）]{0,200}[)）]")
WRAPPING = " \t\r\n\"'`*_~#[](){}<>“”‘’「」『』《》【】（）.。!！?？…:：-"
# Words that make a phrase a clause, not a label. Known phrases ("don't care") are asked for first.
CLAUSE = function_words("clause")
CLAUSE_ZH = re.compile(
    r"[。？！：]|因为|所以|因此|但是|但|说话|人物|角色|视频|音频|字幕|文本|表情|语气|他|她|我|你|这|那"
)


class Said(NamedTuple):
    """Labels of an answer, whether it was a clean list or template, what was dropped, and the prose around them."""

    labels: list[str]
    clean: bool
    stripped: list[str]
    reasoning: str | None = None


def plain_list(text: str) -> list[str] | None:
    """Labels of a short list without anything to clean, or None; the fast way for nearly every answer."""
    if len(text) > LONGEST_PLAIN:
        return None
    if text[:1] == "[" and text[-1:] == "]":
        text = text[1:-1]
    labels: dict[str, None] = {}
    for piece in text.split(","):
        label = plain_label(piece)
        if label is None:
            return None
        labels[label] = None
    return list(labels)


@lru_cache(maxsize=65536)
def plain_label(piece: str) -> str | None:
    """The label, if nothing in it has to be dropped, split or judged."""
    match = PLAIN.fullmatch(piece)
    if match is None:
        return None
    label = match[2].lower()
    words = label.split()
    risky = any(word in CLAUSE or word in NEGATORS or word in ("and", "or", "plus", "with", "as") for word in words)
    if risky or words[0] in INTENSIFIERS or label in NO_LABEL:
        return None
    return label


def read_list(text: str, choice: str | None = None, preference: str | None = None) -> Said | None:
    """Labels of a list that may need cleaning. None if the text is prose."""
    if choice:
        text = CHOICE_PREFIX.sub("", text, count=1)
    body = PREFIX.sub("", text, count=1)
    if (whole := clean_label(body)) in NO_LABEL:
        return Said([], True, [whole])
    clean = body == text
    options = {preference, *(letter.lower() for letter in (choice or "").split(","))}
    bracketed = body.lstrip()[:1] in tuple("[【(")
    labels: dict[str, None] = {}
    stripped: list[str] = []
    for raw in SEPARATOR.split(body):
        bare = BULLET.sub("", raw)
        without = PARENTHESIS.sub(" ", bare) if bare.lstrip()[:1] not in tuple("(（") else bare
        clean = clean and without == raw and not any(mark in raw for mark in "*#`~")
        stripped += [note.strip() for note in PARENTHESIS.findall(bare)] if without != bare else []
        for piece in split_conjunctions(clean_label(without)):
            if not piece or piece in options:
                continue
            if not is_label(piece, bracketed):
                return None
            kept = read_piece(piece)
            clean = clean and not kept.denied
            stripped += kept.stripped
            labels |= dict.fromkeys(kept.labels)
    return Said(list(labels), clean, stripped)


def split_labels(text: str) -> list[str]:
    """Every label of a data set's open-set cell as written: nothing is dropped or judged.

    >>> split_labels("['not annoyed', 'very happy']")
    ['not annoyed', 'very happy']
    """
    labels = map(clean_label, SEPARATOR.split(text))
    # Most labels are letters only, which one call checks; the others are examined.
    return [label for label in labels if label.isalpha() or any(map(str.isalpha, label))]


@lru_cache(maxsize=65536)
def clean_label(piece: str) -> str:
    """Lower-cased, without wrapping marks, leading 'and', underscores or doubled spaces.

    >>> clean_label(" **Lack_of_Concern**. ")
    'lack of concern'
    """
    label = " ".join(piece.replace("’", "'").replace("_", " ").strip(WRAPPING).lower().split())
    for conjunction in ("and ", "or ", "but ", "plus ", "以及", "并且"):
        label = label.removeprefix(conjunction)
    return label


def is_label(piece: str, bracketed: bool) -> bool:
    """Whether a piece between separators is a label. Inside brackets a longer phrase is accepted."""
    words = piece.split()
    if len(words) > (10 if bracketed else 5) or len(piece) > 120:
        return False
    if is_word(piece) or (words[0] in NEGATORS and len(words) <= 3):
        return True
    if not piece.isascii():
        return len(piece) <= (24 if bracketed else 10) and not CLAUSE_ZH.search(piece)
    return bracketed or not any(word in CLAUSE for word in words)


class Kept(NamedTuple):
    labels: list[str]
    stripped: list[str]
    denied: bool = False


def read_piece(piece: str) -> Kept:
    """The label of one piece without intensifiers; a denied one is dropped, and 'not angry but hurt' says hurt."""
    label, stripped = drop_intensifiers(piece)
    if is_negated(label):
        denied, _, contrast = label.partition(" but ")
        return Kept([contrast] if contrast else [], [*stripped, denied], denied=True)
    if label in NO_LABEL or not any(sign.isalpha() for sign in label):
        return Kept([], [*stripped, label])
    return Kept([label], stripped)
