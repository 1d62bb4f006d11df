"""What an answer is worth that never looked at the clip: the number to stand beside every score.

A constant answer's wheel score has a closed form. Per wheel, with the groups S that the answer names, P is the sum of
the groups' shares of clips divided by |S|, and R the sum over S of 1/|G| over the clips whose gold groups G hold it,
divided by all clips. So thousands of answers are tried in the time of one scoring run.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from affectllm.scores.open_vocabulary import Labels, harmonic
from affectllm.vocabulary.wheels import Wheels

CANDIDATES = 64
SIZES = 8
SHUFFLES = 20


class Constant(NamedTuple):
    """One answer given to every clip."""

    labels: list[str]
    value: float


class ConstantScore:
    """Scores constant answers against one corpus.

    >>> ConstantScore(gold, wheels).f1(["happy", "sad"])  # doctest: +SKIP
    0.31
    """

    def __init__(self, gold: Sequence[Labels], wheels: Wheels, level: str = "level1") -> None:
        self.wheels, self.columns = wheels, wheels.at(level)
        self.parts = [self.weigh_groups(gold, column) for column in self.columns]

    def weigh_groups(self, gold: Sequence[Labels], column: int) -> dict[str, tuple[float, float]]:
        """Group -> (share of the counted clips that hold it, sum of 1/|G| over those, divided by all counted clips)."""
        held: dict[str, int] = defaultdict(int)
        weight: dict[str, float] = defaultdict(float)
        counted = 0
        for labels in gold:
            felt = {group for label in labels if (group := self.wheels.groups(label)[column]) is not None}
            counted += bool(felt)
            for group in felt:
                held[group] += 1
                weight[group] += 1 / len(felt)
        return {group: (held[group] / counted, weight[group] / counted) for group in held}

    def per_wheel(self, labels: Labels) -> list[tuple[float, float]]:
        """Mean precision and mean recall of one constant answer on every wheel."""
        groups = [self.wheels.groups(label) for label in labels]
        found = []
        for column, weights in zip(self.columns, self.parts, strict=True):
            named = {row[column] for row in groups} - {None}
            held = [weights[group] for group in named if group in weights]
            found.append((sum(p for p, _ in held) / max(len(named), 1), sum(r for _, r in held)))
        return found

    def f1(self, labels: Labels) -> float:
        return float(np.mean([harmonic(p, r) for p, r in self.per_wheel(labels)]))

    def recall(self, labels: Labels) -> float:
        return float(np.mean([r for _, r in self.per_wheel(labels)]))


def best_constants(
    gold: Sequence[Labels], score: Callable[[Labels], float], sizes: int = SIZES, candidates: int = CANDIDATES
) -> list[Constant]:
    """The best constant answer of each size 1..sizes among the most frequent gold words.

    Words are added one at a time and then exchanged one at a time as long as that helps: a lower bound of the true
    optimum, found the same way every time.
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
    """Replace words of an answer, the last first, until no single exchange helps; '' is a place still free."""
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
    """The highest of them, the shortest where several are; None for none."""
    return max(constants, key=lambda it: (it.value, -len(it.labels)), default=None)


def majority(gold: Sequence[str]) -> str:
    """The most frequent class, the alphabetically first where several are."""
    return min(Counter(gold).items(), key=lambda item: (-item[1], item[0]))[0]


def random_answers(gold: Sequence[Labels], score: Callable[[Sequence[Labels]], float], seed: int = 0) -> float:
    """Mean score of answering with another clip's gold, over 20 shuffles: chance at the right label frequencies."""
    random = np.random.default_rng(seed)
    shuffles = [random.permutation(len(gold)) for _ in range(SHUFFLES)]
    return float(np.mean([score([gold[i] for i in order]) for order in shuffles]))
