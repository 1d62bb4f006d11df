"""Open-vocabulary metrics: the wheel score, hit rate and mscore, and MER2024's rule."""

from collections.abc import Callable, Sequence

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores import baselines, mer2024
from affectllm.scores import open_vocabulary as ov
from affectllm.scores.metrics.case import Case, Measured
from affectllm.scores.open_vocabulary import GUARDED, Values
from affectllm.scores.uncertainty import Statistic, of_sums


def wheel_sums(values: Values) -> Values:
    """Per clip and wheel: precision, recall and whether the clip counts; shape (clips, 3 * wheels)."""
    counted = ~np.isnan(values[:, :, 1])
    return np.concatenate([np.nan_to_num(values), counted[:, :, None]], 2).reshape(len(values), -1)


def wheel_means(sums: Values, protocol: str) -> Values:
    """Mean P and mean R per wheel from sums, shape (draws, wheels, 2)."""
    parts = sums.reshape(len(sums), -1, 3)
    means = np.divide(
        parts[:, :, :2], parts[:, :, 2:], out=np.full((*parts.shape[:2], 2), np.nan), where=parts[:, :, 2:] > 0
    )
    return np.nan_to_num(means) if protocol in GUARDED else means


def f1_of_sums(sums: Values, protocol: str) -> Values:
    """The wheel score of resampled clips."""
    p, r = np.moveaxis(wheel_means(sums, protocol), 2, 0)
    empty = np.where(np.isnan(p), np.nan, 0.0 if protocol in GUARDED else np.nan)
    return np.divide(2 * p * r, p + r, out=empty, where=p + r > 0).mean(1)


def mer2024_score(case: Case) -> Measured:
    """MER2024's rule: mean of mean accuracy and mean recall, synonyms from the stored groups of every clip."""
    if case.assets is None:
        raise AffectError("Protocol mer2024 needs --assets: the unpacked openset-synonym folder of MERTools' MER2024.")
    empty = [name for name, gold in zip(case.ids, case.gold, strict=True) if not gold]
    if empty:
        raise AffectError(f"Clip '{empty[0]}' has no gold label, for which MER2024's rule is not defined.")
    rows = [
        mer2024.overlap(said, gold, mer2024.read_groups(case.assets, name))
        for name, said, gold in zip(case.ids, case.said, case.gold, strict=True)
    ]
    columns = np.column_stack([np.asarray(rows, float), np.ones(len(rows))])
    accuracy, recall = (float(value) for value in columns[:, :2].mean(0))
    # A constant answer was never grouped with each clip's gold by the chat model, so none can be scored.
    return Measured(
        of_sums(columns, lambda sums: (sums[:, 0] + sums[:, 1]) / (2 * sums[:, 2])),
        n=len(rows),
        precision=accuracy,
        recall=recall,
    )


def ew(case: Case) -> Measured:
    if case.protocol == "mer2024":
        return mer2024_score(case)
    constant = baselines.ConstantScore(case.gold, case.on, case.level)
    values = ov.overlaps(case.said, case.gold, case.on, case.level)
    return measure(case, values, lambda sums: f1_of_sums(sums, case.on.protocol), constant.f1, lambda score: score.f1)


def hit_rate(case: Case) -> Measured:
    gold = [[word] for word in case.gold_word]
    constant = baselines.ConstantScore(gold, case.on, case.level)
    return measure(
        case,
        ov.overlaps(case.said, gold, case.on, case.level),
        lambda sums: wheel_means(sums, case.on.protocol)[:, :, 1].mean(1),
        constant.recall,
        lambda score: score.recall,
    )


def mscore(case: Case) -> Measured:
    wheels = ov.among(case.on, sorted(set(case.gold_word)))
    gold = [[word] for word in case.gold_word]
    constant = baselines.ConstantScore(gold, wheels, case.level)
    return measure(
        case,
        ov.overlaps(case.said, gold, wheels, case.level),
        lambda sums: wheel_means(sums, case.on.protocol)[:, :, 0].mean(1),
        lambda labels: float(np.mean([p for p, _ in constant.per_wheel(labels)])),
        lambda score: score.precision,
    )


def measure(
    case: Case,
    values: Values,
    statistic: Statistic,
    constant: Callable[[ov.Labels], float],
    pick: Callable[[ov.EW], float],
) -> Measured:
    summary = ov.summarise(values, case.on, case.level)
    counted = int((~np.isnan(values[:, :, 1])).any(1).sum())

    def shuffled(said: Sequence[ov.Labels]) -> float:
        return pick(ov.ew(said, case.gold, case.on, case.level))

    return Measured(
        of_sums(wheel_sums(values), statistic),
        n=counted,
        constants=baselines.best_constants(case.gold, constant),
        chance=baselines.random_answers(case.gold, shuffled),
        skipped={"no gold label stands on a wheel": len(values) - counted} if counted < len(values) else {},
        precision=summary.precision,
        recall=summary.recall,
        per_wheel={name: score._asdict() for name, score in summary.wheels.items()},
    )
