"""The metrics of `affectllm eval score` by name, each with its interval and what a constant answer gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affectllm import answers
from affectllm.errors import AffectError
from affectllm.scores import baselines, confusion, mer2024, sentiment, uncertainty
from affectllm.scores import open_vocabulary as ov
from affectllm.scores.open_vocabulary import GUARDED, Values
from affectllm.scores.tables import Row, Table
from affectllm.vocabulary import OURS, Wheels
from affectllm.vocabulary.mertools import split_list


class Said(NamedTuple):
    labels: list[str]
    failed: bool
    """True when text was there and no label could be read from it, or when the model gave an error."""


@dataclass(frozen=True)
class Case:
    """Predictions and gold of the clips to score, in the same order."""

    ids: list[str]
    said_rows: list[Row]
    gold_rows: list[Row]
    protocol: str
    wheels: Wheels | None
    level: str = "level1"
    assets: Path | None = None

    @cached_property
    def answers(self) -> list[Said]:
        return [read_answer(row, self.protocol) for row in self.said_rows]

    @property
    def said(self) -> list[list[str]]:
        return [answer.labels for answer in self.answers]

    @cached_property
    def gold(self) -> list[list[str]]:
        return [read_answer(row, self.protocol).labels for row in self.gold_rows]

    @property
    def gold_word(self) -> list[str]:
        """The one gold label of every clip, or an error that names the clip with none or several."""
        for name, labels in zip(self.ids, self.gold, strict=True):
            if len(labels) != 1:
                raise AffectError(f"This metric needs one gold label a clip; '{name}' has {len(labels)}: {labels}.")
        return [labels[0].strip().lower() for labels in self.gold]

    @property
    def on(self) -> Wheels:
        if self.wheels is None:
            raise AffectError("This metric needs --protocol, which names the emotion wheels.")
        return self.wheels


@dataclass(frozen=True)
class Result:
    """A number and what it takes to believe it; keys of the JSON object printed."""

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
    per_wheel: dict[str, dict[str, float]] | None = None
    constants: list[dict[str, Any]] | None = None
    """The best constant answer of every size 1..8."""
    random_baseline: float | None = None
    """The gold of another clip as answer, or a class drawn at gold frequencies."""


def read_answer(row: Row, protocol: str) -> Said:
    """Labels of a row. MERTools' protocols split an open set as the official code does; ours reads every spelling."""
    if row.error is not None:
        return Said([], True)
    if row.labels is not None:
        return Said(list(row.labels), False)
    if row.listed is not None:
        official = split_list(row.listed)
        if protocol != OURS or not official:
            return Said(official, False)
        parsed = answers.parse(row.listed)
        return Said(parsed.labels, parsed.status == "failed")
    if row.text is not None:
        parsed = answers.parse(row.text)
        return Said(parsed.labels, parsed.status == "failed")
    return Said([], False)


def make_case(
    said: Table,
    gold: Table,
    ids: Sequence[str],
    protocol: str,
    wheels: Wheels | None,
    level: str,
    assets: Path | None = None,
) -> Case:
    return Case(list(ids), [said[it] for it in ids], [gold[it] for it in ids], protocol, wheels, level, assets)


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


def score_mer2024(case: Case) -> Result:
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
    interval = uncertainty.bootstrap(columns, lambda sums: (sums[:, 0] + sums[:, 1]) / (2 * sums[:, 2]))
    return Result(
        value=(accuracy + recall) / 2,
        n=len(rows),
        low=interval.low,
        high=interval.high,
        # A constant answer was never grouped with each clip's gold by the chat model, so none can be scored.
        constant_baseline=None,
        parse_failures=count_failures(case),
        labels_per_clip=labels_per_clip(case),
        precision=accuracy,
        recall=recall,
    )


def score_ew(case: Case) -> Result:
    if case.protocol == "mer2024":
        return score_mer2024(case)
    wheels, level = case.on, case.level
    values = ov.overlaps(case.said, case.gold, wheels, level)
    constant = baselines.ConstantScore(case.gold, wheels, level)
    return wheel_result(
        case,
        values,
        lambda score: score.f1,
        lambda sums: f1_of_sums(sums, wheels.protocol),
        constant.f1,
    )


def score_hit_rate(case: Case) -> Result:
    gold = [[word] for word in case.gold_word]
    values = ov.overlaps(case.said, gold, case.on, case.level)
    constant = baselines.ConstantScore(gold, case.on, case.level)
    return wheel_result(
        case,
        values,
        lambda score: score.recall,
        lambda sums: wheel_means(sums, case.on.protocol)[:, :, 1].mean(1),
        constant.recall,
    )


def score_mscore(case: Case) -> Result:
    wheels = ov.among(case.on, sorted(set(case.gold_word)))
    gold = [[word] for word in case.gold_word]
    values = ov.overlaps(case.said, gold, wheels, case.level)
    constant = baselines.ConstantScore(gold, wheels, case.level)
    return wheel_result(
        case,
        values,
        lambda score: score.precision,
        lambda sums: wheel_means(sums, case.on.protocol)[:, :, 0].mean(1),
        lambda labels: float(np.mean([p for p, _ in constant.per_wheel(labels)])),
    )


def wheel_result(
    case: Case,
    values: Values,
    pick: Callable[[ov.EW], float],
    statistic: uncertainty.Statistic,
    constant: Callable[[ov.Labels], float],
) -> Result:
    summary = ov.summarise(values, case.on, case.level)
    counted = int((~np.isnan(values[:, :, 1])).any(1).sum())
    interval = uncertainty.bootstrap(wheel_sums(values), statistic)
    constants = baselines.best_constants(case.gold, constant)
    top = baselines.best(constants)

    def shuffled(said: Sequence[ov.Labels]) -> float:
        return pick(ov.ew(said, case.gold, case.on, case.level))

    return Result(
        value=pick(summary),
        n=counted,
        low=interval.low,
        high=interval.high,
        constant_baseline=top._asdict() if top else None,
        parse_failures=count_failures(case),
        labels_per_clip=labels_per_clip(case),
        skipped={"no gold label stands on a wheel": len(values) - counted} if counted < len(values) else {},
        precision=summary.precision,
        recall=summary.recall,
        per_wheel={name: score._asdict() for name, score in summary.wheels.items()},
        constants=[it._asdict() for it in constants],
        random_baseline=baselines.random_answers(case.gold, shuffled),
    )


def score_sentiment(case: Case) -> Result:
    """MER-UniBench's rule: clips of gold 0 do not count, everything not positive is negative."""
    gold = [gold_value(row, name) for row, name in zip(case.gold_rows, case.ids, strict=True)]
    signs = [sign_of_row(row, said) for row, said in zip(case.said_rows, case.answers, strict=True)]
    columns = sentiment.unibench_columns([sign or 0.0 for sign in signs], gold)
    constants = {
        word: float(confusion.weighted_f1(sentiment.unibench_columns([sign] * len(gold), gold).sum(0)[None])[0])
        for word, sign in (("positive", 1.0), ("negative", -1.0))
    }
    zeros = gold.count(0.0)
    return table_result(
        case,
        columns,
        confusion.weighted_f1,
        constants,
        failures=sum(sign is None for sign in signs),
        skipped={"gold sentiment is 0": zeros} if zeros else {},
    )


def gold_value(row: Row, name: str) -> float:
    if row.value is not None:
        return row.value
    raise AffectError(f"Metric sentiment needs a gold valence or sentiment; clip '{name}' has none.")


def sign_of_row(row: Row, said: Said) -> float | None:
    """The sentiment said; None for a word that is no sentiment, which the published rule counts as neutral."""
    if row.value is not None:
        return row.value
    words = [label.strip().lower() for label in said.labels]
    return next((sentiment.SIGN[word] for word in words if word in sentiment.SIGN), None)


def score_classes(case: Case, statistic: Callable[[Values], Values]) -> Result:
    """Scores of a closed label set; of several labels said, the first is the answer."""
    gold = case.gold_word
    classes = sorted(set(gold))
    said = [labels[0].strip().lower() if labels else "" for labels in case.said]
    columns = confusion.columns(said, gold, classes)
    constants = {
        name: float(statistic(confusion.columns([name] * len(gold), gold, classes).sum(0)[None])[0]) for name in classes
    }

    def shuffled(answers: Sequence[ov.Labels]) -> float:
        table = confusion.columns([labels[0] for labels in answers], gold, classes)
        return float(statistic(table.sum(0)[None])[0])

    chance = baselines.random_answers([[word] for word in gold], shuffled)
    return table_result(case, columns, statistic, constants, failures=count_failures(case), chance=chance)


def table_result(
    case: Case,
    columns: Values,
    statistic: Callable[[Values], Values],
    constants: dict[str, float],
    failures: int,
    skipped: dict[str, int] | None = None,
    chance: float | None = None,
) -> Result:
    interval = uncertainty.bootstrap(columns, statistic)
    label, value = max(constants.items(), key=lambda item: item[1])
    return Result(
        value=float(statistic(columns.sum(0)[None])[0]),
        n=int(columns.sum()),
        low=interval.low,
        high=interval.high,
        constant_baseline={"labels": [label], "value": value},
        parse_failures=failures,
        labels_per_clip=labels_per_clip(case),
        skipped=skipped or {},
        random_baseline=chance,
    )


def count_failures(case: Case) -> int:
    return sum(answer.failed for answer in case.answers)


def labels_per_clip(case: Case) -> float:
    return float(np.mean([len(labels) for labels in case.said]))


METRICS: dict[str, Callable[[Case], Result]] = {
    "ew": score_ew,
    "hit_rate": score_hit_rate,
    "mscore": score_mscore,
    "sentiment": score_sentiment,
    "waf": lambda case: score_classes(case, confusion.weighted_f1),
    "war": lambda case: score_classes(case, confusion.accuracy),
    "uar": lambda case: score_classes(case, confusion.uar),
    "macro_f1": lambda case: score_classes(case, confusion.macro_f1),
}
NEED_WHEELS = ("ew", "hit_rate", "mscore")
