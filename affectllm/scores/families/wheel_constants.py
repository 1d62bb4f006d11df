"""The wheel score of one answer given to every clip, in closed form."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from affectllm.scores.engine.baselines import Labels
from affectllm.vocabulary.wheels import Wheels


class ConstantScore:
    """Scores constant answers against one corpus: thousands of answers in the time of one scoring run.

    Per wheel, with the groups S that the answer names, P is the sum of the groups' shares of clips divided by |S|, and
    R the sum over S of 1/|G| over the clips whose gold groups G hold it, divided by all clips.

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
            # In order of the labels: the order of a set, and so the last digit of a sum, differs between processes.
            named = dict.fromkeys(row[column] for row in groups if row[column] is not None)
            held = [weights[group] for group in named if group in weights]
            found.append((sum(p for p, _ in held) / max(len(named), 1), sum(r for _, r in held)))
        return found

    def f1(self, labels: Labels) -> float:
        return float(np.mean([harmonic(p, r) for p, r in self.per_wheel(labels)]))

    def precision(self, labels: Labels) -> float:
        return float(np.mean([p for p, _ in self.per_wheel(labels)]))

    def recall(self, labels: Labels) -> float:
        return float(np.mean([r for _, r in self.per_wheel(labels)]))


def harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
