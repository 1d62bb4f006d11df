"""Scores of a closed label set as functions of the confusion table, for one table or for thousands of resampled ones.

`columns` gives one row a clip, whose sum over clips is the flattened table (gold classes down, said classes across).
The functions take sums of shape (draws, classes * (classes + 1)): a table's last column counts answers of no class.
A class with neither gold nor answers counts nowhere, as in scikit-learn; a class without answers has precision 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


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
    """WAF: F1 per class, weighted by how often the class is gold (scikit-learn's average='weighted')."""
    f1, gold, _ = class_f1(sums)
    return over(np.sum(f1 * gold, 1), gold.sum(1))


def macro_f1(sums: Values) -> Values:
    """Mean F1 over the classes that occur in gold or answers."""
    f1, _, occurs = class_f1(sums)
    return over(np.sum(f1 * occurs, 1), occurs.sum(1))


def accuracy(sums: Values) -> Values:
    """WAR, accuracy: share of clips whose class is said."""
    table = tables(sums)
    return over(np.einsum("dcc->d", table[:, :, :-1]), table.sum((1, 2)))


def uar(sums: Values) -> Values:
    """UAR: mean recall over the classes that are gold somewhere."""
    table = tables(sums)
    gold = table.sum(2)
    recall = np.einsum("dcc->dc", table[:, :, :-1]) / np.maximum(gold, 1)
    return over(np.sum(recall * (gold > 0), 1), (gold > 0).sum(1))


def over(above: Values, below: NDArray[Any]) -> Values:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


STATISTICS: dict[str, Callable[[Values], Values]] = {
    "waf": weighted_f1,
    "war": accuracy,
    "uar": uar,
    "macro_f1": macro_f1,
}
