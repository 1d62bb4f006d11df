"""The open-vocabulary score of the MER2024 challenge: synonyms as a chat model grouped them, clip by clip.

Source: MERTools `MER2024/main-ov.py`. The groups are the organisers' stored replies of GPT-3.5, one `NAME.npy` a clip
that holds text such as "[['happy', 'joyful'], ['calm']]"; no model is asked here. A label counts as the first word of
its group, else as itself; nothing is dropped.
"""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affectllm.errors import AffectError
from affectllm.npz import read_npy
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.uncertainty import drawn_sums


class Overlap(NamedTuple):
    accuracy: float
    """|said & gold| / |said|; 0 for an empty answer."""
    recall: float
    """|said & gold| / |gold|"""


def overlap(said: Sequence[str], gold: Sequence[str], groups: Sequence[Sequence[str]]) -> Overlap:
    """Overlap of one clip. The score of the challenge is the mean of the two means over clips.

    >>> overlap(["joyful", "calm"], ["happy"], [["happy", "joyful"], ["calm"]])
    Overlap(accuracy=0.5, recall=1.0)
    """
    first = {word: group[0] for group in reversed(groups) for word in group}
    named = {first.get(label, label) for label in said}
    felt = {first.get(label, label) for label in gold}
    hits = len(named & felt)
    return Overlap(hits / len(named), hits / len(felt)) if named else Overlap(0.0, 0.0)


def read_groups(folder: Path, name: str) -> list[list[str]]:
    """The stored groups of one clip; AffectError when there are none or the text is no list of lists."""
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise AffectError(
            f"Protocol mer2024 needs the stored synonym groups of every clip; {path} is missing. "
            "Point --assets at the unpacked openset-synonym folder of MERTools' MER2024."
        )
    text = str(read_npy(path))
    try:
        groups = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise AffectError(f"{path} holds no list of word groups: {text[:80]!r}.") from error
    if not isinstance(groups, list) or not all(isinstance(group, list) and group for group in groups):
        raise AffectError(f"{path} must hold a list of non-empty lists of words, it holds {text[:80]!r}.")
    return [[str(word) for word in group] for group in groups]


def score_groups(case: Case) -> Measured:
    """The score of the challenge: mean of mean accuracy and mean recall on the stored groups of every clip."""
    if case.assets is None:
        raise AffectError("Protocol mer2024 needs --assets: the unpacked openset-synonym folder of MERTools' MER2024.")
    empty = [name for name, gold in zip(case.ids, case.gold, strict=True) if not gold]
    if empty:
        raise AffectError(f"Clip '{empty[0]}' has no gold label, for which MER2024's rule is not defined.")
    rows = [
        overlap(said, gold, read_groups(case.assets, name))
        for name, said, gold in zip(case.ids, case.said, case.gold, strict=True)
    ]
    columns = np.column_stack([np.asarray(rows, float), np.ones(len(rows))])
    accuracy, recall = (float(value) for value in columns[:, :2].mean(0))
    # A constant answer was never grouped with each clip's gold by the chat model, so none can be scored.
    return Measured(
        drawn_sums(columns, lambda sums: (sums[:, 0] + sums[:, 1]) / (2 * sums[:, 2])),
        n=len(rows),
        precision=accuracy,
        recall=recall,
    )
