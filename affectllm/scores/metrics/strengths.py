"""Metrics of numbers: sentiment, valence-arousal-dominance, levels, and the distribution of raters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from affectllm.answers import read_distribution, read_number, read_numbers
from affectllm.errors import AffectError
from affectllm.scores import confusion, dimensional, sentiment, soft_labels
from affectllm.scores.baselines import Constant
from affectllm.scores.metrics.case import Case, Measured, Metric, Said, only
from affectllm.scores.tables import Row
from affectllm.scores.uncertainty import Drawn, Statistic, Values, of_sums, value_of, with_count

DIMENSIONS = ("valence", "arousal", "dominance")


def sign(case: Case) -> Measured:
    """MER-UniBench's rule: clips of gold 0 do not count, everything not positive is negative."""
    gold = [gold_value(row, name) for row, name in zip(case.gold_rows, case.ids, strict=True)]
    signs = [sign_of_row(row, said) for row, said in zip(case.said_rows, case.answers, strict=True)]
    columns = sentiment.unibench_columns([sign or 0.0 for sign in signs], gold)
    zeros = gold.count(0.0)
    return Measured(
        of_sums(columns, confusion.weighted_f1),
        n=len(gold) - zeros,
        constants=[
            Constant([word], sentiment.unibench([value] * len(gold), gold))
            for word, value in (("positive", 1.0), ("negative", -1.0))
        ],
        failures=sum(sign is None for sign in signs),
        skipped={"gold sentiment is 0": zeros} if zeros else {},
    )


def gold_value(row: Row, name: str) -> float:
    if row.value is not None:
        return row.value
    raise AffectError(f"This metric needs a gold valence or sentiment; clip '{name}' has none.")


def sign_of_row(row: Row, said: Said) -> float | None:
    """The sentiment said; None for a word that is no sentiment, which the published rule counts as neutral."""
    if row.value is not None:
        return row.value
    words = [label.strip().lower() for label in said.labels]
    return next((sentiment.SIGN[word] for word in words if word in sentiment.SIGN), None)


Score = Callable[[Values, Values, str], Drawn]
"""From numbers said, gold numbers and the scale."""


def strength(score: Score, lower_is_better: bool = False) -> Metric:
    """A score of predicted strengths; an answer without a number does not count, and the table says how many."""

    def metric(case: Case) -> Measured:
        gold = [gold_value(row, name) for row, name in zip(case.gold_rows, case.ids, strict=True)]
        said = [row.value if row.value is not None else read_number(row.text or "") for row in case.said_rows]
        return numbers(case, said, gold, score, lower_is_better)

    return metric


def dimension(name: str, score: Score, lower_is_better: bool = False) -> Metric:
    """A score of one dimension of `vad` triples; valence and arousal alone may also stand in fields of their name."""
    place = DIMENSIONS.index(name)

    def pick(cells: Any) -> float | None:
        if cells.get("vad"):
            return float(cells["vad"][place])
        return None if cells.get(name) in (None, "") else float(cells[name])

    def third(text: str | None) -> float | None:
        """This one of three numbers in an answer; no other count of numbers is a triple."""
        said = read_numbers(text or "")
        return said[place] if len(said) == len(DIMENSIONS) else None

    def metric(case: Case) -> Measured:
        gold = [pick(row.cells) for row in case.gold_rows]
        if None in gold:
            raise AffectError(f"Gold clip '{case.ids[gold.index(None)]}' has neither vad nor {name}.")
        said = [told if (told := pick(row.cells)) is not None else third(row.text) for row in case.said_rows]
        return numbers(case, said, [it for it in gold if it is not None], score, lower_is_better)

    return metric


def numbers(
    case: Case, said: Sequence[float | None], gold: Sequence[float], score: Score, lower_is_better: bool
) -> Measured:
    kept = [i for i, value in enumerate(said) if value is not None]
    if not kept:
        raise AffectError(f"None of the {len(said)} predictions holds a number.")
    felt = np.array([gold[i] for i in kept])
    named = np.array([said[i] for i in kept], float)
    tried = {"mean": felt.mean(), "median": np.median(felt), "0": 0.0, "maximum": felt.max(), "minimum": felt.min()}
    missing = len(said) - len(kept)
    return Measured(
        only(score(named, felt, case.scale), kept),
        n=len(kept),
        constants=[
            Constant([word], value_of(score(np.full(len(felt), value), felt, case.scale), len(felt)))
            for word, value in tried.items()
        ],
        chance=value_of(score(np.roll(felt, 1), felt, case.scale), len(felt)),
        failures=missing,
        skipped={"no number was said": missing} if missing else {},
        lower_is_better=lower_is_better,
    )


def moments(statistic: Statistic) -> Score:
    return lambda said, gold, scale: of_sums(dimensional.columns(said, gold), statistic)


def in_steps(name: str) -> Score:
    """Accuracy in 3, 5 or 7 classes, by MMSA's cuts for the scale."""

    def score(said: Values, gold: Values, scale: str) -> Drawn:
        if name == "acc7" and scale == "sims":
            raise AffectError("Acc-7 exists on the CMU scale only; SIMS has Acc-3 and Acc-5.")
        return of_sums(with_count(sentiment.right_in_steps(said, gold, name, scale).astype(float)))

    return score


def two_sides(statistic: Statistic) -> Score:
    """Negative against the rest, over all clips."""
    return lambda said, gold, scale: of_sums(
        sentiment.side_columns(*sentiment.nonnegative(said, gold, scale)), statistic
    )


def two_signs(statistic: Statistic) -> Score:
    """Negative against positive, over the clips whose gold is not 0."""
    return lambda said, gold, scale: of_sums(
        sentiment.side_columns(said > 0, gold > 0) * (gold != 0)[:, None], statistic
    )


def within(steps: int) -> Score:
    """Share of levels that are at most so many steps off."""
    return lambda said, gold, scale: of_sums(with_count((np.abs(np.round(said) - gold) <= steps).astype(float)))


def soft(name: str) -> Metric:
    """A score against the raters' distribution: gold `raters` (labels of each) or `distribution` {label: share}.

    Predictions hold a `distribution`, say one ('happy 0.6, sad 0.4'), or hold labels, which then share it evenly.
    """
    statistic = soft_labels.STATISTICS[name]

    def metric(case: Case) -> Measured:
        raters = [row.cells.get("raters") for row in case.gold_rows]
        spread = [row.cells.get("distribution") for row in case.gold_rows]
        if lost := [it for it, a, b in zip(case.ids, raters, spread, strict=True) if not a and not b]:
            raise AffectError(f"Gold clip '{lost[0]}' has neither raters nor a distribution.")
        votes = [[label for vote in its or () for label in vote] for its in raters]
        classes = list(case.classes) or sorted({label for it in (*votes, *(it or {} for it in spread)) for label in it})
        gold = np.stack([shares(it or vote, classes) for it, vote in zip(spread, votes, strict=True)])
        rows = zip(case.said_rows, case.said, strict=True)
        told = [row.cells.get("distribution") or read_distribution(row.text or "") or labels for row, labels in rows]
        said = np.stack([shares(it, classes) for it in told])
        mean = np.broadcast_to(gold.mean(0), gold.shape)
        several = [its for its in raters if its and len(its) > 1]
        ceiling = soft_labels.rater_ceiling(several, classes)._asdict()[name] if several else None
        return Measured(
            of_sums(soft_labels.columns(said, gold), statistic),
            n=len(gold),
            constants=[
                Constant(["mean distribution"], float(statistic(soft_labels.columns(mean, gold).mean(0)[None])[0]))
            ],
            chance=float(statistic(soft_labels.columns(np.roll(gold, 1, 0), gold).mean(0)[None])[0]),
            ceiling=ceiling,
            lower_is_better=name in ("js", "kl"),
        )

    return metric


def shares(given: Any, classes: Sequence[str]) -> Values:
    """A distribution over the classes and, last, over all other labels, where an answer without a label stands too."""
    weights = given if isinstance(given, dict) else {label: 1 / len(given) for label in given}
    row = np.zeros(len(classes) + 1)
    for label, weight in weights.items():
        row[classes.index(label) if label in classes else -1] += max(0.0, float(weight))
    if not row.sum():
        row[-1] = 1.0
    return row / row.sum()
