"""Step-rated reasoning (MME-Emotion): recognition, reasoning, and both together, from ratings that are given.

The ratings come from people or a named judge; no rating, no score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from affectllm.errors import AffectError


class Steps(NamedTuple):
    recognition: float
    """Mean recognition score, in 0..1."""
    reasoning: float
    """Mean share of reasoning steps rated right, in 0..1."""
    cot: float
    """(recognition + reasoning) / 2 a clip, mean over clips: a right answer with wrong steps is half right."""
    steps: float
    """Mean number of steps."""
    n: int
    unrated: int
    """Clips without a rating: not in any mean."""


def score(recognition: Sequence[float | None], ratings: Sequence[Sequence[bool] | None]) -> Steps:
    """One recognition score and the ratings of the answer's steps for every clip; None where nobody rated it."""
    if len(recognition) != len(ratings):
        raise AffectError(f"{len(recognition)} recognition scores for {len(ratings)} rated answers; give one each.")
    rated = [(r, s) for r, s in zip(recognition, ratings, strict=True) if r is not None and s is not None]
    if not rated:
        raise AffectError("No clip is rated: there is no step score.")
    if any(not 0 <= r <= 1 for r, _ in rated):
        raise AffectError("Recognition scores lie in 0..1.")
    shares = [float(np.mean(steps)) if len(steps) else 0.0 for _, steps in rated]
    found = [r for r, _ in rated]
    return Steps(
        recognition=float(np.mean(found)),
        reasoning=float(np.mean(shares)),
        cot=float(np.mean([(a + b) / 2 for a, b in zip(found, shares, strict=True)])),
        steps=float(np.mean([len(steps) for _, steps in rated])),
        n=len(rated),
        unrated=len(ratings) - len(rated),
    )
