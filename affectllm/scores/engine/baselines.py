"""Scores of answers that ignore the clip: the numbers to read next to every score."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Labels = Sequence[str]
CANDIDATES = 64
SIZES = 8
SHUFFLES = 20


class Constant(NamedTuple):
    """One answer given to every clip."""

    labels: list[str]
    value: float


def best_constants(
    gold: Sequence[Labels], score: Callable[[Labels], float], sizes: int = SIZES, candidates: int = CANDIDATES
) -> list[Constant]:
    """The best constant answer of each size 1..sizes among the most frequent gold words.

    Words are added one at a time and then exchanged one at a time as long as that helps: a lower bound of the true
    optimum, which is the same in every run.
    """
    counts = Counter(label.strip().lower() for labels in gold for label in labels)
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:candidates]]
    best: list[Constant] = []
    labels: list[str] = []
    for _ in range(min(sizes, len(words))):
        labels = exchange([*labels, ""], words, score)
        best.append(Constant(labels, score(labels)))
    return best


def exchange(labels: list[str], words: Sequence[str], score: Callable[[Labels], float]) -> list[str]:
    """Replace words of an answer, the last first, until no single exchange helps. '' is a free place."""
    value = -1.0
    while True:
        before = value
        for place in reversed(range(len(labels))):
            for word in words:
                if word in labels:
                    continue
                tried = [*labels[:place], word, *labels[place + 1 :]]
                if (new := score([it for it in tried if it])) > value:
                    labels, value = tried, new
        if value <= before:
            return labels


def best(constants: Sequence[Constant]) -> Constant | None:
    """The constant with the highest score, the shortest of several. None without any."""
    return max(constants, key=lambda it: (it.value, -len(it.labels)), default=None)


def random_answers(gold: Sequence[Labels], score: Callable[[Sequence[Labels]], float], seed: int = 0) -> float:
    """Mean score, over 20 shuffles, of answering with another clip's gold: chance at the right label frequencies."""
    random = np.random.default_rng(seed)
    shuffles = [random.permutation(len(gold)) for _ in range(SHUFFLES)]
    return float(np.mean([score([gold[i] for i in order]) for order in shuffles]))
