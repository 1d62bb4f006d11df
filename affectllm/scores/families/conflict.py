"""What a model follows when face and voice disagree (CA-MER, MoSEAR 2025).

Every clip is tagged by which modality its gold emotion agrees with.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores.uncertainty import Statistic, Values, divide

Tag = Literal["video", "audio", "consistent"]
TAGS = ("video", "audio", "consistent")


class Conflict(NamedTuple):
    video: float
    """Mean value of the clips whose gold follows the picture."""
    audio: float
    """Mean value of the clips whose gold follows the sound."""
    consistent: float
    conflict: float
    """Mean of `video` and `audio`, so that neither subset's size decides."""
    gap: float
    """`consistent` less `conflict`: what disagreement costs."""
    preference: float
    """`video` less `audio`: above 0 the model trusts the picture more, in -1..1 for values in 0..1."""
    n: dict[str, int]


def score(values: Sequence[float], tags: Sequence[Tag]) -> Conflict:
    """From one value a clip (right or wrong, or a set F1) and the clips' tags; every tag must occur."""
    if len(values) != len(tags):
        raise AffectError(f"{len(values)} values for {len(tags)} tags; give one each.")
    counts = {tag: sum(own == tag for own in tags) for tag in TAGS}
    empty = [tag for tag, n in counts.items() if not n]
    if empty:
        raise AffectError(f"No clip is tagged {' or '.join(empty)}: the comparison needs all three.")
    sums = columns(values, tags).sum(0)[None]
    return Conflict(**{name: float(statistic(sums)[0]) for name, statistic in STATISTICS.items()}, n=counts)


def columns(values: Sequence[float] | Values, tags: Sequence[str]) -> Values:
    """One row a clip: its value in its tag's column, and 1 in its tag's count; shape (clips, 6)."""
    table = np.zeros((len(tags), 6))
    for row, value, tag in zip(table, values, tags, strict=True):
        if tag not in TAGS:
            raise AffectError(f"Unknown tag {tag!r}; known: {', '.join(TAGS)}.")
        row[TAGS.index(tag)], row[3 + TAGS.index(tag)] = value, 1
    return table


def subset(tag: str) -> Statistic:
    place = TAGS.index(tag)
    return lambda sums: divide(sums[:, place], sums[:, 3 + place])


def both(sums: Values) -> Values:
    return (subset("video")(sums) + subset("audio")(sums)) / 2


# By Conflict's fields.
STATISTICS: dict[str, Statistic] = {
    **{tag: subset(tag) for tag in TAGS},
    "conflict": both,
    "gap": lambda sums: subset("consistent")(sums) - both(sums),
    "preference": lambda sums: subset("video")(sums) - subset("audio")(sums),
}
