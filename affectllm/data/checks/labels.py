"""How labels are distributed, also over groups, and which labels a model's scores contradict."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation
from affectllm.vocabulary import lexicon

TAIL = 10
"""A label that occurs fewer times than this belongs to the long tail."""
FEWEST = 30
"""Number of rows from which a group's mix of labels is compared with the whole."""


def labels_of(row: Conversation) -> list[str]:
    """The open set, else the one label of a closed set, else the sentiment."""
    target = row.target
    return target.labels or [label for label in (target.basic, target.sentiment) if label][:1]


def describe(rows: Sequence[Conversation]) -> dict[str, Any]:
    """How often each label occurs, the long tail, and what our vocabulary does not map."""
    found = Counter(label for row in rows for label in row.target.labels)
    unmapped = Counter({label: n for label, n in found.items() if lexicon.resolve(label) is None})
    return {
        "distinct": len(found),
        "per_row": round(found.total() / len(rows), 2) if rows else 0.0,
        "empty_sets": sum(not row.target.labels for row in rows),
        "once": sum(n == 1 for n in found.values()),
        "tail": {"labels": len(rare(found)), "share": share(sum(rare(found).values()), found.total())},
        "most_frequent": dict(found.most_common(20)),
        "unmapped_share": share(unmapped.total(), found.total()),
        "unmapped": dict(unmapped.most_common(20)),
    }


def rare(found: Mapping[str, int]) -> dict[str, int]:
    """The long tail of a count of labels."""
    return {label: n for label, n in found.items() if n < TAIL}


def share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def by_split(rows: Iterable[Conversation]) -> dict[str, dict[str, Any]]:
    """The labels of each split, so that a shift between them shows.

    `tail_share` is the part of a split's labels that are rare in all rows together, `new` the part that train
    never has; it is None if there is no train split.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    sizes, empty = Counter[str](), Counter[str]()
    for row in rows:
        said = labels_of(row)
        sizes[row.split] += 1
        empty[row.split] += not said
        found[row.split].update(said)
    tail, trained = rare(sum(found.values(), Counter())), found.get("train", Counter[str]())
    return {
        split: {
            "rows": n,
            "empty_sets": empty[split],
            "tail_share": share(sum(found[split][label] for label in tail), found[split].total()),
            "new": share(sum(m for label, m in found[split].items() if label not in trained), found[split].total())
            if trained
            else None,
            "most_frequent": dict(found[split].most_common(12)),
        }
        for split, n in sizes.items()
    }


def groups(rows: Sequence[Conversation]) -> dict[str, dict[str, Any]]:
    """Balance over data sets, languages and persons: how many there are, the largest, and the one that is most unlike
    the whole in its labels (Jensen-Shannon divergence in bits, of groups of 30 rows or more)."""
    whole = Counter(label for row in rows for label in labels_of(row))
    kinds = {
        "dataset": [row.dataset for row in rows],
        "language": [row.language or "unknown" for row in rows],
        "person": [row.person or "" for row in rows],
    }
    found = {}
    for kind, names in kinds.items():
        sizes = Counter(name for name in names if name)
        if len(sizes) < 2:
            continue
        mixes: dict[str, Counter[str]] = defaultdict(Counter)
        for name, row in zip(names, rows, strict=True):
            mixes[name].update(labels_of(row))
        unlike = {name: divergence(mixes[name], whole) for name, n in sizes.items() if n >= FEWEST and mixes[name]}
        largest, n = sizes.most_common(1)[0]
        found[kind] = {
            "groups": len(sizes),
            "largest": {"name": largest, "rows": n, "share": share(n, sizes.total())},
            "most_unlike": dict(sorted(unlike.items(), key=lambda item: -item[1])[:5]),
        }
    return found


def divergence(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two counts, in bits (0..1).

    >>> divergence({"a": 1}, {"a": 2}), divergence({"a": 1}, {"b": 1})
    (0.0, 1.0)
    """
    names = list({**first, **second})
    p, q = (np.array([counts.get(name, 0) for name in names], float) for counts in (first, second))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    parts = [np.where(it > 0, it * np.log2(np.where(it > 0, it, 1) / middle), 0).sum() for it in (p, q)]
    return round(float(sum(parts)) / 2, 4)


class Doubt(NamedTuple):
    """A row whose label a model's scores contradict."""

    id: str
    given: str
    suggested: str
    confidence: float
    """Score of the given label, in 0..1."""
    margin: float
    """Score of the given label minus the best other one, in -1..1. The lowest come first."""


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """A model's probabilities by id and label, from lines {id, scores: {label: p}}; raises AffectError for others."""
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(jsonl.read_dicts(path), 1):
        name, given = row.get("id"), row.get("scores")
        if not isinstance(name, str) or not isinstance(given, dict):
            raise AffectError(f"{path}: record {number} must hold 'id' and 'scores', it holds {', '.join(row)}.")
        for label, value in given.items():
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise AffectError(f"{path}: '{name}' scores '{label}' {value!r}. Give probabilities of 0 to 1.")
        if name in found:
            raise AffectError(f"{path} holds scores of '{name}' twice. Keep one of them.")
        found[name] = given
    return found


def doubts(rows: Sequence[Conversation], scores: Mapping[str, Mapping[str, float]]) -> list[Doubt]:
    """Rows with one label that confident learning considers wrong, the most doubtful first.

    A label's threshold is the mean score that rows with this label give it. A row is suspect when the best of the
    labels that reach their threshold is not its own. Northcutt et al., arXiv 1911.00068, eqs. 1-2; ranked
    by normalised margin (section 3.2). Scores must be out of sample, or the model has learnt the errors.

    Raises AffectError when no scored row has exactly one label, or a row's scores leave out its label.
    """
    known = [(row, labels_of(row)[0]) for row in rows if row.id in scores and len(labels_of(row)) == 1]
    if not known:
        raise AffectError("No row with exactly one label has scores. Scores are lines {id, scores: {label: p}}.")
    for row, given in known:
        if given not in scores[row.id]:
            raise AffectError(f"The scores of '{row.id}' leave out its label '{given}'.")
    own = defaultdict(list)
    for row, given in known:
        own[given].append(scores[row.id][given])
    thresholds = {label: sum(values) / len(values) for label, values in own.items()}
    found = []
    for row, given in known:
        mine = scores[row.id]
        sure = [label for label in thresholds if mine.get(label, 0.0) >= thresholds[label]]
        best = max(sure, key=lambda label: mine.get(label, 0.0), default=given)
        if best != given:
            rival = max((value for label, value in mine.items() if label != given), default=0.0)
            found.append(Doubt(row.id, given, best, round(mine[given], 4), round(mine[given] - rival, 4)))
    return sorted(found, key=lambda doubt: doubt.margin)
