"""A metric's number with what is needed to judge it: interval, baselines, what was skipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectllm.scores.engine import uncertainty
from affectllm.scores.engine.case import Case
from affectllm.scores.engine.metric import Metric


@dataclass(frozen=True)
class Result:
    """A number and what is needed to judge it. The fields are the keys of the printed JSON object."""

    value: float
    n: int
    low: float
    high: float
    constant_baseline: dict[str, Any] | None
    parse_failures: int
    labels_per_clip: float
    skipped: dict[str, int] = field(default_factory=dict)
    precision: float | None = None
    recall: float | None = None
    per_wheel: Mapping[str, Mapping[str, float]] | None = None
    constants: list[dict[str, Any]] | None = None
    """Every constant answer that was tried. For open sets, the best one of every size 1..8."""
    random_baseline: float | None = None
    """Score of another clip's gold, of a class drawn at gold frequencies, or of another clip's reasoning."""
    ceiling: float | None = None
    """Score of one rater against the others."""


def evaluate(metric: Metric, case: Case, groups: Sequence[str] | None = None) -> Result:
    """A metric with its interval (over clips, or over `groups` of clips) and its baselines."""
    found = metric(case)
    low, high = uncertainty.interval(found.drawn, len(case.ids), groups)
    sign = -1 if metric.lower_is_better else 1
    known = [it for it in found.constants if it.value == it.value]
    best = max(known, key=lambda it: (sign * it.value, -len(it.labels)), default=None)
    return Result(
        value=uncertainty.value_of(found.drawn, len(case.ids)),
        n=found.n,
        low=low,
        high=high,
        constant_baseline=best._asdict() if best else None,
        parse_failures=case.failures if found.failures is None else found.failures,
        labels_per_clip=case.labels_per_clip,
        skipped=dict(found.skipped),
        precision=found.precision,
        recall=found.recall,
        per_wheel=found.per_wheel,
        constants=[it._asdict() for it in found.constants] or None,
        random_baseline=found.chance,
        ceiling=found.ceiling,
    )


def gain(metric: Metric, case: Case, against: Case, groups: Sequence[str] | None = None) -> uncertainty.Difference:
    """The paired difference of two models' answers to the same clips: the first minus the second."""
    return uncertainty.difference(metric(case).drawn, metric(against).drawn, len(case.ids), groups)
