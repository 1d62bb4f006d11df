"""Emotion words of free prose, in English and Chinese, without the ones that are denied."""

import re
from typing import NamedTuple

from affectllm.answers.phrases import NEGATORS, one_of
from affectllm.vocabulary import lexicon
from affectllm.vocabulary.tables import function_words

# How far a negation reaches: words in English ('not in the least happy'), characters in Chinese.
REACH = 4
TOKEN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|[\u3400-\u9fff]+|[.;:!?,\n。；：！？，、]")
# Quoted speech (a subtitle) is evidence; it is not what the answer says is felt.
QUOTED = re.compile(r'"[^"\n]{0,400}"|“[^”\n]{0,400}”')
BREAKS = frozenset(
    (*".;:!?,\n。；：！？，", "but", "however", "yet", "although", "though", "while", "instead", "rather")
)
# 'not only angry', "can't hide his joy", 'no doubt': the negation does not fall on the emotion.
HOLLOW = function_words("hollow")
DENIAL_ZH = re.compile(
    rf"{one_of(word for word in HOLLOW if not word.isascii())}"
    rf"|(?P<negator>{one_of(word for word in NEGATORS if not word.isascii())})"
)
PAIRS = frozenset(
    (("lack", "of"), ("absence", "of"), ("free", "of"), ("free", "from"), ("rather", "than"), ("instead", "of"))
)


class Found(NamedTuple):
    labels: list[str]
    stripped: list[str]
    """Emotion words that the text denies."""


def find_emotions(text: str) -> Found:
    """Emotion words in order of mention.

    >>> find_emotions("He is not angry but deeply hurt.")
    Found(labels=['hurt'], stripped=['not angry'])
    """
    labels: dict[str, None] = {}
    denied: dict[str, None] = {}
    tokens = TOKEN.findall(QUOTED.sub(skip_speech, text.replace("’", "'")).lower())
    at, reach, negator = 0, 0, ""
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        if not token.isascii() and len(token) + (token not in BREAKS) > 1:
            find_chinese(token, labels, denied)
        size = lexicon.longest_phrase(tokens, at)
        if size:
            word = " ".join(tokens[at : at + size])
            if reach > 0:
                denied[f"{negator} {word}"] = None
            else:
                labels[word] = None
            at += size
            continued = reach > 0 and at < len(tokens) and tokens[at] in ("or", "nor")
            reach = REACH if continued else max(0, reach - size)
            continue
        if token in NEGATORS or (token, following) in PAIRS:
            hollow = following in HOLLOW
            reach, negator = (0, "") if hollow else (REACH + 1, token)
            at += hollow
        elif token in BREAKS:
            reach = 0
        reach = max(0, reach - 1)
        at += 1
    return Found(list(labels), list(denied))


def skip_speech(match: re.Match[str]) -> str:
    """A short quotation ('a "happy" look') is a word in quotes; a longer one is speech."""
    words = match[0]
    return words if words.count(" ") < 2 and len(words) <= 24 and (words.isascii() or len(words) <= 6) else " , "


def find_chinese(run: str, labels: dict[str, None], denied: dict[str, None]) -> None:
    """The same for one run of Chinese characters: longest word first; a negation reaches four characters."""
    at, reach, negator = 0, 0, ""
    while at < len(run):
        if size := lexicon.longest_chinese(run, at):
            word = run[at : at + size]
            if reach > 0:
                denied[negator + word] = None
            else:
                labels[word] = None
            at += size
            reach = REACH if reach > 0 and run[at : at + 1] in ("和", "或", "与") else 0
        elif match := DENIAL_ZH.match(run, at):
            at = match.end()
            reach, negator = (REACH, match["negator"]) if match["negator"] else (reach, negator)
        else:
            at, reach = at + 1, max(0, reach - 1)
