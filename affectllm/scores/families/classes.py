"""One class per clip from a closed list: accuracy, mean recall and F1 of the confusion table.

The statistics are functions of one confusion table, or of thousands of resampled ones.

`columns` gives one row per clip, whose sum over clips is the flattened table (gold classes down, said classes across).
The functions take sums of shape (draws, classes * (classes + 1)): a table's last column counts answers of no class.
A class with neither gold nor answers counts nowhere, as in scikit-learn; a class without answers has precision 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectllm.errors import AffectError
from affectllm.scores.engine import baselines
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, divide, drawn_sums, value_of_sums

GOLD = "one label"
PREDICTIONS = "labels or text; the first counts"


def columns(said: Sequence[str], gold: Sequence[str], classes: Sequence[str]) -> Values:
    """One-hot cell of the confusion table per clip, shape (clips, classes * (classes + 1))."""
    number = {name: i for i, name in enumerate(classes)}
    width = len(classes) + 1
    table = np.zeros((len(gold), len(classes) * width))
    cells = [number[felt] * width + number.get(name, len(classes)) for name, felt in zip(said, gold, strict=True)]
    table[np.arange(len(gold)), cells] = 1
    return table


def tables(sums: Values) -> Values:
    """Sums as tables, shape (draws, classes, classes + 1)."""
    classes = int(np.sqrt(sums.shape[1] + 0.25) - 0.5 + 1e-9)
    return sums.reshape(len(sums), classes, classes + 1)


def class_f1(sums: Values) -> tuple[Values, Values, NDArray[np.bool_]]:
    """F1, gold count and whether a class occurs at all, each of shape (draws, classes)."""
    table = tables(sums)
    hits = np.einsum("dcc->dc", table[:, :, :-1])
    gold, said = table.sum(2), table.sum(1)[:, :-1]
    return 2 * hits / np.maximum(gold + said, 1), gold, gold + said > 0


def weighted_f1(sums: Values) -> Values:
    """F1 per class, weighted by how often the class is gold (scikit-learn's average='weighted')."""
    f1, gold, _ = class_f1(sums)
    return divide(np.sum(f1 * gold, 1), gold.sum(1))


def macro_f1(sums: Values) -> Values:
    """Mean F1 over the classes that occur in gold or answers."""
    f1, _, occurs = class_f1(sums)
    return divide(np.sum(f1 * occurs, 1), occurs.sum(1))


def accuracy(sums: Values) -> Values:
    """Share of clips whose class is said."""
    table = tables(sums)
    return divide(np.einsum("dcc->d", table[:, :, :-1]), table.sum((1, 2)))


def mean_recall(sums: Values) -> Values:
    """Mean recall over the classes that are gold somewhere."""
    table = tables(sums)
    gold = table.sum(2)
    recall = np.einsum("dcc->dc", table[:, :, :-1]) / np.maximum(gold, 1)
    return divide(np.sum(recall * (gold > 0), 1), (gold > 0).sum(1))


@metric("war", gold=GOLD, predictions=PREDICTIONS)
def war(case: Case) -> Measured:
    """Accuracy, also called weighted average recall: share of clips whose class is said."""
    return score_classes(case, accuracy)


@metric("uar", gold=GOLD, predictions=PREDICTIONS)
def uar(case: Case) -> Measured:
    """Unweighted average recall: mean recall over the classes that are gold somewhere."""
    return score_classes(case, mean_recall)


@metric("waf", gold=GOLD, predictions=PREDICTIONS)
def waf(case: Case) -> Measured:
    """Weighted average F1: F1 per class, weighted by how often the class is gold."""
    return score_classes(case, weighted_f1)


@metric("macro_f1", gold=GOLD, predictions=PREDICTIONS)
def mean_f1(case: Case) -> Measured:
    """Mean F1 over the classes that occur in gold or answers."""
    return score_classes(case, macro_f1)


def score_classes(case: Case, statistic: Statistic) -> Measured:
    """A statistic of the confusion table; of several labels said, the first is the answer."""
    gold = case.gold_word
    classes = sorted(case.classes or set(gold))
    if outside := set(gold) - set(classes):
        raise AffectError(f"Gold holds {sorted(outside)}, not among --classes {' '.join(classes)}.")

    def score(said: Sequence[str]) -> float:
        return value_of_sums(columns(said, gold, classes), statistic)

    said = [labels[0].strip().lower() if labels else "" for labels in case.said]
    return Measured(
        drawn_sums(columns(said, gold, classes), statistic),
        n=len(gold),
        constants=[Constant([name], score([name] * len(gold))) for name in classes],
        chance=baselines.random_answers([[word] for word in gold], lambda rows: score([row[0] for row in rows])),
    )
