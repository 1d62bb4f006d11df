"""Text as sets of content words, clause by clause: what clue scores compare.

Words become rough stems, Chinese becomes character pairs, and a word after a negation becomes another word, so
that "no smile" and "a smile" share nothing. A negation reaches to the next comma, contrast or sentence end.
"""

import re
from functools import lru_cache
from typing import NamedTuple

SENTENCE_END = re.compile(r"[.!?\n。！？；]+")
# In order: "and" before a new subject, which ends a negation; words; Chinese; ends of clauses.
TOKEN = re.compile(r"\band (?=(?:he|she|his|her|the|they|their|it|its)\b)|[a-z']+|[\u4e00-\u9fff]+|[;:,，：、]")
CLAUSE_ENDS = {*";:,，：、", "and ", "but", "while", "with", "yet", "however", "instead", "although", "though"}
NEGATIONS = {
    "no", "not", "without", "never", "hardly", "barely", "rarely", "neither", "nor", "none", "nothing", "cannot",
    "cant", "dont", "isnt", "doesnt", "lack", "lacks", "lacking", "absence", "absent",
}  # fmt: skip
# "not only", "no doubt", "never stops": the word after the negation cancels it.
AFFIRMED = {"only", "just", "merely", "simply", "doubt", "stop", "stops", "stopped", "help"}
# Words that frame a clue and are not a clue: everybody has a face, and every voice "is" something.
FRAME = {
    "a", "an", "the", "this", "that", "these", "those", "he", "she", "it", "they", "his", "her", "its", "their",
    "him", "them", "who", "which", "there", "here", "of", "in", "on", "at", "to", "for", "from", "by", "as", "any",
    "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "do", "does", "did", "or",
    "so", "very", "quite", "rather", "person", "man", "woman", "character", "speaker",
    "face", "facial", "voice", "vocal", "words", "word", "shows", "show", "shown", "showing", "seems",
    "appears", "looks", "sounds", "speaks", "says", "said", "expression", "tone", "video", "audio", "text",
    "subtitle", "clip", "also", "into", "than", "then", "some",
}  # fmt: skip
NEGATING = NEGATIONS | AFFIRMED
SEPARATING = CLAUSE_ENDS | {"and"}
EMPTY = frozenset([""])
SUFFIXES = ("ingly", "edly", "ness", "ing", "ed", "ly", "es", "s")

CHINESE_NEGATIONS = frozenset("不没无未")
CHINESE_CONTRASTS = frozenset("而但却只")
# Words that hold a negation and negate nothing that follows ("dissatisfied", "cannot help but", "constantly").
CHINESE_WHOLE = {
    "不满", "不安", "不禁", "不由", "不断", "不停", "不时", "不仅", "不但", "不悦", "不耐", "不屑", "不解",
    "不过", "不同", "不少", "不已", "不错", "不适", "不快", "不幸", "不自", "无奈", "无助", "无力", "无语",
    "无聊", "无辜", "无措", "没错", "未来", "忍不", "禁不", "由不", "得不", "差不", "对不",
}  # fmt: skip
CHINESE_FRAME = {
    "视频", "音频", "文本", "字幕", "角色", "人物", "男性", "女性", "男子", "女子", "表情", "面部", "脸部",
    "语气", "语调", "声音", "说话", "显得", "表现", "显示", "画面",
}  # fmt: skip
CHINESE_PARTICLES = frozenset("的了是他她它这那在中")


class Reading(NamedTuple):
    """A text as its candidates for a match."""

    parts: list[frozenset[str]]
    """Content words of each sentence and of each of its clauses, so that a clue of either size finds its match."""
    sentences: int
    words: int
    """Content words of all clauses, repeats included."""


def read(text: str) -> Reading:
    """Sentences and clauses with at least one content word."""
    parts: list[frozenset[str]] = []
    sentences = words = 0
    for sentence in split_sentences(text.lower()):
        found, size = sentence_parts(sentence)
        if size:
            parts += found
            words += size
            sentences += 1
    return Reading(parts, sentences, words)


def split_sentences(text: str) -> list[str]:
    """The text cut at its sentence ends, which `str.split` does several times as fast for ASCII."""
    if not text.isascii():
        return SENTENCE_END.split(text)
    return text.replace("!", ".").replace("?", ".").replace("\n", ".").split(".")


@lru_cache(maxsize=65536)
def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning; Chinese as character pairs; negated words begin with a not sign."""
    return frozenset().union(*read(text).parts)


# Sentences repeat: in completions of one clip, and in those of a model that has learnt a form.
@lru_cache(maxsize=4096)
def sentence_parts(sentence: str) -> tuple[list[frozenset[str]], int]:
    """Content words of a sentence's clauses and of the sentence itself where it has several; how many words it has."""
    clauses = plain_clauses(sentence)
    if clauses is None:
        clauses = mixed_clauses(sentence)
    whole = [frozenset().union(*clauses)] if len(clauses) > 1 else []
    return clauses + whole, sum(map(len, clauses))


ANOTHER, ENDS = "another way", ","


class Plain(dict[str, str]):
    """Token -> its stem; '' where it frames a clue, `ENDS` where it ends a clause, `ANOTHER` where it needs care."""

    def __missing__(self, token: str) -> str:
        if token in SEPARATING:
            found = ENDS
        elif token in NEGATING or not token.isascii() or not token.isalnum():
            found = ANOTHER
        elif token.isalpha():
            found = content_stem(token)
        else:
            found = "" if token.isdigit() else ANOTHER
        if len(self) < 65536:
            self[token] = found
        return found


PLAIN = Plain()


def plain_clauses(sentence: str) -> list[frozenset[str]] | None:
    """`mixed_clauses` of plain words, numbers and commas without a negation, several times as fast; None for others."""
    tokens = sentence.replace("-", " ").replace(",", " , ").split()
    stems = list(map(PLAIN.__getitem__, tokens))
    every = frozenset(stems)
    if ANOTHER in every:
        return None
    if ENDS not in every:
        words = every - EMPTY
        return [words] if words else []
    clauses, start = [], 0
    for end, stem in enumerate([*stems, ENDS]):
        if stem == ENDS:
            if words := frozenset(stems[start:end]) - EMPTY:
                clauses.append(words)
            start = end + 1
    return clauses


def mixed_clauses(sentence: str) -> list[frozenset[str]]:
    """Content words of each clause that has any; those in reach of a negation begin with a not sign."""
    clauses: list[frozenset[str]] = []
    clause: set[str] = set()
    negated = fresh = False
    for token in TOKEN.findall(sentence.replace("’", "'")):
        kind, words, denied = meaning(token)
        if kind == "word" or (kind == "affirmed" and not fresh):
            clause.update(denied if negated else words)
            fresh = False
        elif kind == "affirmed":
            negated = fresh = False
        elif kind == "negation":
            negated = fresh = True
        elif kind == "clause" or kind == "and":
            # A plain "and" goes on with the negation: "no smile and laughter".
            negated = negated and kind == "and"
            clauses.append(frozenset(clause))
            clause = set()
    return [words for words in [*clauses, frozenset(clause)] if words]


@lru_cache(maxsize=32768)
def meaning(token: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What a token does to its clause, and the words it adds where it is affirmed and where it is denied."""
    if token in CLAUSE_ENDS:
        return "clause", (), ()
    if token in NEGATIONS or token.endswith("n't"):
        return "negation", (), ()
    if token == "and":
        return "and", (), ()
    if token[0] >= "\u4e00":
        return "word", (words := chinese_words(token)), words
    word = content_stem(token)
    if not word:
        return "frame", (), ()
    return "affirmed" if token in AFFIRMED else "word", (word,), ("¬" + word,)


@lru_cache(maxsize=32768)
def content_stem(token: str) -> str:
    """The stem of a word that carries meaning, '' of one that frames it."""
    return "" if token in FRAME else stem(token)


def stem(word: str) -> str:
    """The word without its inflection, roughly: enough for 'smiling' and 'smiles', 'crying' and 'cries' to meet."""
    word = word.strip("'").removesuffix("'s")
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            if suffix in ("ing", "ed") and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    word = word.rstrip("e")
    return word[:-1] + "i" if word.endswith("y") else word


def chinese_words(run: str) -> tuple[str, ...]:
    """Character pairs of a run without punctuation; those from a negation up to the next contrast are denied."""
    pairs = [run[i : i + 2] for i in range(max(1, len(run) - 1))]
    words, denied = [], False
    for i, pair in enumerate(pairs):
        if pair[0] in CHINESE_CONTRASTS:
            denied = False
        elif pair[0] in CHINESE_NEGATIONS and pair not in CHINESE_WHOLE and run[i - 1 : i + 1] not in CHINESE_WHOLE:
            denied = True
        if pair not in CHINESE_FRAME and CHINESE_PARTICLES.isdisjoint(pair):
            words.append("¬" + pair if denied else pair)
    return tuple(words)
