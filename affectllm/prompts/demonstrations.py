"""Training rows that are most like a row's text, with their answers, to be shown before its question.

TF-IDF and cosine over words (characters in Chinese). InstructERC (arXiv 2309.11911) puts retrieved examples before its
questions; here none has the same dialogue or the same words, and all come from the training split.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from affectllm.errors import AffectError
from affectllm.records import Conversation

WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
# What our builders write after the name of a dialogue: _utt3, _M003, _A_12, _7.
DIALOGUE = r"^(.+?)[_-](?:utt_?\d+|[FM]\d{3}[a-z]?|[A-Z]_.+|\d+)$"
CELLS = 4_000_000
"""How many numbers of the similarity table are held at once."""


class Pool:
    """Training rows with a text and labels. Of rows with the same text, the first is kept."""

    def __init__(self, rows: Sequence[Conversation], dialogue: str = DIALOGUE) -> None:
        unique: dict[str, Conversation] = {}
        for row in rows:
            if row.split == "train" and (words := words_of(row)) and (row.target.labels or row.target.basic):
                unique.setdefault(" ".join(words), row)
        self.rows = list(unique.values())
        self.place_of_text = {text: place for place, text in enumerate(unique)}
        self.dialogue = re.compile(dialogue)
        # Rows of a set without dialogues have numbered ids too, which name no dialogue.
        self.spoken = any(row.context for row in rows)
        self.places_of_dialogue: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(self.rows):
            self.places_of_dialogue[self.dialogue_of(row)].append(place)
        counts = [Counter(words_of(row)) for row in self.rows]
        seen = Counter(word for its in counts for word in its)
        self.columns: Mapping[str, int] = {word: i for i, word in enumerate(seen)}
        self.rarity = np.log((1 + len(counts)) / (1 + np.array(list(seen.values()), float))) + 1
        self.table = self.vectors(counts)

    def like(self, rows: Sequence[Conversation], count: int) -> Iterator[list[Conversation]]:
        """At most `count` training rows for each row. The most similar one is last, next to the question.

        Only rows that share a word count. Of equally similar ones, those that come first in the pool are taken.
        """
        block = max(1, CELLS // max(1, len(self.rows)))
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            likeness = (self.vectors([Counter(words_of(row)) for row in part]) @ self.table.T).toarray()
            for row, values in zip(part, likeness, strict=True):
                values[self.hidden_from(row)] = 0
                yield [self.rows[place] for place in reversed(highest(values, count))]

    def hidden_from(self, row: Conversation) -> list[int]:
        """Places of the rows that this one must not see: those with its own words, and all of its dialogue."""
        same = self.place_of_text.get(" ".join(words_of(row)))
        hidden = [] if same is None else [same]
        return hidden + (self.places_of_dialogue.get(self.dialogue_of(row), []) if self.spoken else [])

    def dialogue_of(self, row: Conversation) -> str:
        """The name of a row's dialogue in its data set; its whole id where the expression finds none."""
        found = self.dialogue.match(row.id)
        return f"{row.dataset}/{found[1] if found else row.id}"

    def vectors(self, texts: Sequence[Counter[str]]) -> Any:
        """Rows of length 1, one per text, shape (texts, words). Words that no text of the pool holds do not count."""
        cells = [
            (i, self.columns[word], n) for i, its in enumerate(texts) for word, n in its.items() if word in self.columns
        ]
        places, columns, counts = np.array(cells, int).reshape(-1, 3).T
        values = counts * self.rarity[columns]
        length = np.sqrt(np.bincount(places, values**2, minlength=len(texts)))
        return csr_array((values / length[places], (places, columns)), shape=(len(texts), len(self.columns)))


def highest(values: NDArray[np.float64], count: int) -> list[int]:
    """Places of the highest values above 0, highest first, equal ones in order.

    >>> highest(np.array([0.1, 0.0, 0.9, 0.1]), 2)
    [2, 0]
    """
    least = np.partition(values, -count)[-count] if count < len(values) else 0.0
    places = np.flatnonzero((values >= least) & (values > 0))
    return [int(place) for place in places[np.argsort(-values[places], kind="stable")][:count]]


def words_of(row: Conversation) -> list[str]:
    return WORD.findall((row.subtitle or "").casefold())


def check_dialogue(expression: str) -> str:
    """The expression. It is an error if it is not one, or has no group."""
    try:
        groups = re.compile(expression).groups
    except re.error as error:
        raise AffectError(f"--dialogue {expression!r} is not a regular expression ({error}).") from error
    if groups != 1:
        raise AffectError(f"--dialogue {expression!r} must have one group, the dialogue's name, as '^(.+)_utt'.")
    return expression
