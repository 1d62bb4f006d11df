"""Regular English inflection undone by rule: 'happily' -> 'happy', 'worrying' -> 'worry', 'humour' -> 'humor'.

Rules only propose; the lexicon accepts the first proposal it knows, and its table of exceptions comes first. Derivation
that changes the meaning is never undone: un-, dis-, in-, non-, -less and -ful stay ('fearless' is not 'fear').
"""

from collections.abc import Iterator

# Ending -> what may replace it; longer endings first. Schoolbook rules of English inflection; -ed and -ing find
# each other, since many verbs of feeling are listed by a participle only (captivated, captivating).
ENDINGS = (
    ("iness", ("y",)),
    ("edness", ("ed",)),
    ("ness", ("",)),
    ("iest", ("y",)),
    ("ier", ("y",)),
    ("ily", ("y",)),
    ("bly", ("ble",)),
    ("ically", ("ic", "ical")),
    ("ally", ("al", "")),
    ("lly", ("ll",)),
    ("ly", ("", "le")),
    ("ied", ("y",)),
    ("ies", ("y", "ie")),
    ("ying", ("y", "ie")),
    ("ed", ("", "e", "ing")),
    ("ing", ("", "e", "ed")),
    ("es", ("", "e")),
    ("s", ("", "d")),
    ("est", ("", "e")),
    ("er", ("", "e")),
)
DOUBLING = ("ed", "ing", "er", "est")
BRITISH = (
    ("our", "or"),
    ("isation", "ization"),
    ("ise", "ize"),
    ("ising", "izing"),
    ("lled", "led"),
    ("lling", "ling"),
)
SHORTEST_STEM = 3


def proposals(word: str) -> Iterator[str]:
    """Base forms the word may be an inflection of, most likely first.

    >>> list(proposals("sadly"))[:1]
    ['sad']
    >>> "regret" in proposals("regretting")
    True
    """
    seen = {word}
    for first in once(word):
        if first not in seen:
            seen.add(first)
            yield first
    # 'embarrassingly' -> 'embarrassing' -> 'embarrass': two steps reach every regular form.
    for first in list(once(word)):
        for second in once(first):
            if second not in seen:
                seen.add(second)
                yield second


def once(word: str) -> Iterator[str]:
    for ending, replacements in ENDINGS:
        if not word.endswith(ending) or len(word) - len(ending) < SHORTEST_STEM - (replacements[0] != ""):
            continue
        stem = word[: len(word) - len(ending)]
        # 'kiss' and 'anxious' are not plurals.
        if ending == "s" and stem[-1] in "su":
            continue
        for replacement in replacements:
            yield stem + replacement
        if ending in DOUBLING and len(stem) > SHORTEST_STEM and stem[-1] == stem[-2] and stem[-1] not in "aeiou":
            yield stem[:-1]
    for british, american in BRITISH:
        if british in word:
            yield word.replace(british, american)
