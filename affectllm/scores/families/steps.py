"""Step-rated reasoning (MME-Emotion): recognition, reasoning, and both together, from ratings that are in the rows.

The ratings come from people or a named judge; no rating, no score.
"""

from collections.abc import Callable, Sequence

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import drawn_mean

PREDICTIONS = "`recognition` in 0..1 and `steps`, a list of true or false"
READS = ("recognition", "steps")


@metric("step_recognition", gold="-", predictions=PREDICTIONS, reads=READS)
def step_recognition(case: Case) -> Measured:
    """Mean recognition score, in 0..1."""
    return score_steps(case, lambda recognition, right: recognition)


@metric("step_reasoning", gold="-", predictions=PREDICTIONS, reads=READS)
def step_reasoning(case: Case) -> Measured:
    """Mean share of reasoning steps rated right, in 0..1."""
    return score_steps(case, lambda recognition, right: right)


@metric("step_cot", gold="-", predictions=PREDICTIONS, reads=READS)
def step_cot(case: Case) -> Measured:
    """Mean over clips of (recognition + reasoning) / 2: a right answer with wrong steps is half right."""
    return score_steps(case, lambda recognition, right: (recognition + right) / 2)


def score_steps(case: Case, value: Callable[[float, float], float]) -> Measured:
    """Mean over the rated clips of a value of the recognition score and the share of right steps."""
    values = []
    for name, row in zip(case.ids, case.said_rows, strict=True):
        recognition, steps = row.cells.get("recognition"), row.cells.get("steps")
        if recognition is None or steps is None:
            values.append(np.nan)
            continue
        if not 0 <= recognition <= 1:
            raise AffectError(f"Recognition scores are in 0..1; '{name}' has {recognition}.")
        values.append(value(recognition, float(np.mean(steps)) if len(steps) else 0.0))
    return mean_of_ratings(values)


def mean_of_ratings(values: Sequence[float]) -> Measured:
    """The mean of what people or a judge rated; unrated items (nan) are not counted, and are reported."""
    unrated = sum(value != value for value in values)
    if unrated == len(values):
        raise AffectError(f"None of the {len(values)} rows holds a rating that can be read.")
    return Measured(
        drawn_mean(values),
        n=len(values) - unrated,
        failures=unrated,
        skipped={"no rating": unrated} if unrated else {},
    )
