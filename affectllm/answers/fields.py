"""Other fields than the labels: confidence, multiple-choice letter, preference, and the rating of a judge."""

import re
from collections import deque
from typing import Literal, NamedTuple

NUMBER = r"(\d{1,6}(?:\.\d{1,12})?|\.\d{1,12})"
SHARE = re.compile(rf"{NUMBER}\s{{0,3}}(?:(%|％)|(?:/|／|out\s+of|of)\s{{0,3}}{NUMBER})?")
CONFIDENCE = re.compile(
    rf"[(（,;，；]?\s*(?:with\s+)?(?:confidence|certainty|置信度|信心)(?:\s+(?:score|level|of))*\s*(?:is|为|是|=|:|：)?\s*"
    rf"(?:<?\s*)({NUMBER}\s{{0,3}}(?:[%％]|(?:/|／|out\s+of)\s{{0,3}}{NUMBER})?)(?![\d.]*\d)\s*[)）.]?"
    rf"|({NUMBER}\s{{0,3}}[%％])\s+(?:confident|confidence|sure|certain)\b",
    re.IGNORECASE,
)
SIGNED = re.compile(r"[-+]?(?:\d{1,9}(?:\.\d{1,12})?|\.\d{1,12})")
LABEL_SHARE = re.compile(rf"([^\W\d_][^\d:=,;]{{0,60}}?)\s{{0,2}}[:=]?\s{{0,2}}{NUMBER}\s?(%?)")
SHARES = re.compile(r"[,;，；、\n]")
# "5 surprise 2", "(5, surprise, 2)", "U5 - surprise - U2".
PAIR = re.compile(r"\b[Uu]?(\d{1,4})[\s,:_-]{1,5}([A-Za-z]{3,20})[\s,:_-]{1,5}[Uu]?(\d{1,4})\b")
NO_PAIRS = re.compile(r"\s*(?:none|no(?: emotion-cause)? pairs?|没有|无)\b", re.IGNORECASE)
DIGIT = re.compile(r"\d")
LETTER = r"[A-H]"
ONLY_LETTERS = re.compile(rf"\W*({LETTER}(?:\s*[,、，;/&和]\s*{LETTER}|\s+and\s+{LETTER})*)\W*")
CHOICE_CUE = re.compile(
    rf"(?:(?i:answers?|options?|choices?|choose|select|pick|go with)"
    rf"(?:\s+(?i:options?|is|are|should be|would be|must be))*"
    rf"|最终答案|答案|选项|选择|应选|选)\s*(?:应该是|应为|是|为|:|：|=)?\s*[\"'*(\[（“]*"
    rf"({LETTER}(?:\s*[,、，和]\s*{LETTER}(?![A-Za-z'’])|\s+and\s+{LETTER}(?![A-Za-z'’]))*)(?![A-Za-z'’])"
)
NOUN_CUE = re.compile(r"(?:option|choice)s?\s*$", re.IGNORECASE)
# After these words a capital A is an option ("The answer is A because ..."). Elsewhere it is the article.
AFTER_OPTION = re.compile(r"\s*(?:$|[^\sA-Za-z]|(?:is|was|because|as|since|for|due|based|with|and|or|would|best)\b)")
IN_PARENTHESES = re.compile(rf"[(\[（]\s*({LETTER})\s*[)\]）]")
LINE_START = re.compile(rf"^\s*\**({LETTER})\**\s*[.):、．：]\s*", re.MULTILINE)
STANDING_ALONE = re.compile(r"(?<![A-Za-z0-9'’.])([B-H])(?![A-Za-z0-9'’])")
PREFERENCE_WORDS = re.compile(
    r"\b(?:a|answer|description|response|candidate|option)[ _-]?([12])\b"
    r"|\b(?:the )?(first|second|former|latter)\b(?: (?:one|description|answer|response|candidate|option))?"
    r"|(第一|前者|第二|后者)|\b(same|tie|tied|equally good|equal|equivalent)\b|(相同|一样|平手|不分上下|差不多)",
    re.IGNORECASE,
)
PREFERENCE_CUE = re.compile(
    r"\b(?:better|prefer\w*|best|wins?|choose|more (?:accurate|detailed|complete|precise)"
    r"|same|tied?|equal\w*|equivalent)\b"
    r"|更|较好|优于|相同|一样|平手|不分上下|差不多",
    re.IGNORECASE,
)
THAN = re.compile(
    r"\b(?:than|over|rather than|instead of|compared (?:to|with))\b.{0,200}|比.{0,40}更|优于.{0,60}",
    re.IGNORECASE,
)
PREFERENCE_OF = dict.fromkeys(("1", "first", "former", "第一", "前者"), "a1") | dict.fromkeys(
    ("2", "second", "latter", "第二", "后者"), "a2"
)
RATING = re.compile(
    rf"(?:scores?|rating|rate|评分|得分|打分|分数)\s*(?:is|of|为|是|=|:|：)?\s*[\"'*]*\s*{NUMBER}"
    rf"(?:\s*(?:/|／|out\s+of)\s*{NUMBER})?(?!\s*[-–~到至]\s*\d)",
    re.IGNORECASE,
)
RANGE = re.compile(rf"{NUMBER}\s*(?:-|–|~|to|到|至)\s*{NUMBER}")


class Rating(NamedTuple):
    """A judge's number and the top of its scale, where the reply names one."""

    value: float
    scale: float | None = None


def as_confidence(text: str) -> float | None:
    """A share in 0..1 from '0.9', '90%', '9/10' or '9 out of 10'; None for anything else, '90' alone included.

    >>> as_confidence("9/10")
    0.9
    """
    match = SHARE.fullmatch(text.strip())
    if match is None:
        return None
    top = 100.0 if match[2] else float(match[3]) if match[3] else 1.0
    value = float(match[1])
    return value / top if 0 <= value <= top and top > 0 else None


class Confidence(NamedTuple):
    value: float | None
    rest: str
    """The text without the confidence statement."""


def read_confidence(text: str) -> Confidence:
    """The last stated confidence, and the text without it."""
    stated = deque(CONFIDENCE.finditer(text) if DIGIT.search(text) else (), maxlen=1)
    if not stated:
        return Confidence(None, text)
    match = stated[0]
    value = as_confidence(match[1] or match[4])
    return Confidence(value, (text[: match.start()] + " " + text[match.end() :]).strip())


def read_choice(text: str) -> str | None:
    """The letter of a multiple-choice answer: 'The answer is D' is D; the article A and the pronoun I are not options.

    The forms are tried in this order: nothing but letters; after 'answer', 'option', 选 ...; in parentheses; at the
    start of the only such line; a lone B..H in a sentence that names no other. Several letters come back as 'B,C'.
    """
    if not any(letter in text for letter in "ABCDEFGH"):
        return None
    if match := ONLY_LETTERS.fullmatch(text):
        return join_letters(match[1])
    cued = [match for match in CHOICE_CUE.finditer(text) if is_option(text, match)]
    if cued:
        return join_letters(cued[-1][1])
    if inside := IN_PARENTHESES.findall(text):
        return str(inside[-1])
    # Options that are all repeated ('A. happy', 'B. sad' ...) choose none.
    letters = set(LINE_START.findall(text)) or set(STANDING_ALONE.findall(text))
    return str(letters.pop()) if len(letters) == 1 else None


def is_option(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start()) : match.start(1)]
    return match[1] != "A" or bool(NOUN_CUE.search(before)) or bool(AFTER_OPTION.match(text, match.end()))


def join_letters(text: str) -> str:
    return ",".join(sorted(set(re.findall(r"[A-H]", text))))


def as_preference(text: str) -> Literal["a1", "a2", "same"] | None:
    word = text.strip().strip("\"'.。*()（）[]").lower().replace(" ", "").replace("_", "")
    match word:
        case "a1" | "answer1" | "1" | "first":
            return "a1"
        case "a2" | "answer2" | "2" | "second":
            return "a2"
        case "same" | "tie" | "equal" | "相同" | "一样":
            return "same"
    return None


def read_preference(text: str) -> Literal["a1", "a2", "same"] | None:
    """Which of two descriptions is preferred. None if the text does not say so, or names both."""
    if (whole := as_preference(text)) and text.strip() not in ("1", "2"):
        return whole
    if not PREFERENCE_CUE.search(text):
        return None
    named = {preference_of(match) for match in PREFERENCE_WORDS.finditer(THAN.sub(" ", text))}
    return named.pop() if len(named) == 1 else None


def preference_of(match: re.Match[str]) -> Literal["a1", "a2", "same"]:
    word = (match[1] or match[2] or match[3] or "").lower()
    found = PREFERENCE_OF.get(word, "same")
    return "a1" if found == "a1" else "a2" if found == "a2" else "same"


def read_rating(text: str) -> Rating | None:
    """The number a judge gave: after 'score' and never the bounds of the scale.

    >>> read_rating("得分范围为1-10，预测分数：8")
    Rating(value=8.0, scale=10.0)
    >>> read_rating("{Score: 2/5}")
    Rating(value=2.0, scale=5.0)
    """
    bounds = RANGE.search(text)
    scale = float(bounds[2]) if bounds else None
    named = list(RATING.finditer(text))
    if named:
        return Rating(float(named[-1][1]), float(named[-1][2]) if named[-1][2] else scale)
    numbers = re.findall(rf"{NUMBER}(?:\s*/\s*{NUMBER})?", RANGE.sub(" ", text))
    if len(numbers) != 1:
        return None
    value, top = numbers[0]
    return Rating(float(value), float(top) if top else scale)


def read_number(text: str) -> float | None:
    """The one number of an answer, with its sign; None for none or several. A think part before it does not count.

    >>> read_number("<think>3 smiles</think><answer>-0.4</answer>")
    -0.4
    """
    found = SIGNED.findall(text.rpartition("<answer>")[2])
    return float(found[0]) if len(found) == 1 else None


def read_numbers(text: str) -> list[float]:
    """All numbers of an answer in order, with their signs; those of a think part before it do not count.

    >>> read_numbers("<think>3 smiles</think><answer>0.4, -0.2, .1</answer>")
    [0.4, -0.2, 0.1]
    """
    return [float(number) for number in SIGNED.findall(text.rpartition("<answer>")[2])]


def read_distribution(text: str) -> dict[str, float] | None:
    """Labels with their shares, as 'happy 0.6, sad 40%'; None where anything else is said. They need not add up to 1.

    >>> read_distribution("Happy: 0.6, very sad 40%")
    {'happy': 0.6, 'very sad': 0.4}
    """
    answer = text.rpartition("<answer>")[2].partition("</answer>")[0]
    found = [LABEL_SHARE.fullmatch(piece.strip().rstrip(".")) for piece in SHARES.split(answer)]
    if not all(found):
        return None
    return {it[1].strip().lower(): float(it[2]) / (100 if it[3] else 1) for it in found if it}


def read_pairs(text: str) -> list[tuple[int, str, int]] | None:
    """Emotion-cause pairs (utterance, emotion, cause utterance), without repeats. None if no pair can be read.

    'none' and 'no pairs' are an empty list: a dialogue may have no cause, and saying so is an answer.

    >>> read_pairs("<think>...</think><answer>5 surprise 2; 5 surprise 5</answer>")
    [(5, 'surprise', 2), (5, 'surprise', 5)]
    >>> read_pairs("None.")
    []
    """
    answer = text.rpartition("<answer>")[2]
    found = [(int(utterance), emotion.lower(), int(cause)) for utterance, emotion, cause in PAIR.findall(answer)]
    if found:
        return list(dict.fromkeys(found))
    return [] if NO_PAIRS.match(answer) else None
