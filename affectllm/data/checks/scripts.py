"""The script a text is written in, against the one its language is written in."""

import re
import unicodedata
from collections import Counter
from functools import cache

# By the first word of a letter's Unicode name. Serbian, Punjabi and others that use several scripts are not judged.
SCRIPTS = {
    ("CJK",): "zh",
    ("CJK", "HIRAGANA", "KATAKANA"): "ja",
    ("HANGUL",): "ko",
    (
        "LATIN",
    ): "af ca cs da de en es et eu fi fr ga ha hr hu id ig is it lt lv nl no pl pt ro sk sl so sq sv sw tl tr vi "
    "xh yo zu",
    ("CYRILLIC",): "be bg mk ru tg tt uk",
    ("ARABIC",): "ar fa ps ur",
    ("DEVANAGARI",): "hi mr ne",
    ("ETHIOPIC",): "am ti",
    ("BENGALI",): "as bn",
    ("GREEK",): "el",
    ("HEBREW",): "he",
    ("TAMIL",): "ta",
    ("TELUGU",): "te",
    ("THAI",): "th",
}
WRITTEN = {language: scripts for scripts, languages in SCRIPTS.items() for language in languages.split()}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
"""A Chinese character."""
LETTERS = 100
"""Number of characters at the beginning of a text that decide its script."""


def script_of(text: str) -> str:
    """The script of most letters at the beginning of a text, as Unicode names it. 'no letters' if there is none.

    >>> script_of("Yes, there 你好"), script_of("2:17.")
    ('LATIN', 'no letters')
    """
    found = Counter(map(script_of_letter, filter(str.isalpha, text[:LETTERS])))
    return found.most_common(1)[0][0] if found else "no letters"


@cache
def script_of_letter(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def is_foreign(text: str | None, language: str | None) -> bool:
    """Whether a text is not written as its language is; never where the language is unknown or has several scripts."""
    return bool(text) and language in WRITTEN and script_of(text or "") not in (*WRITTEN[language], "no letters")
