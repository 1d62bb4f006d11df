"""Which of two descriptions do people prefer (EmoPrefer, MER2026 track 3)?"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, drawn_mean, drawn_sums, only, value_of_sums
from affectllm.scores.families import classes

GOLD = "`preference`: a1, a2 or same"
PREDICTIONS = "`preference` or text"
READS = ("preference",)
SWAPPED = {"a1": "a2", "a2": "a1", "same": "same"}
Rule = Literal["mer2026", "strict"]
"""How an answer `same` counts: `mer2026` as a1 (MERTools, utils/common.py), which rewards a model for not choosing;
`strict` as wrong."""


def columns(said: Sequence[str], gold: Sequence[str], rule: Rule) -> Values:
    """Rows of the two-class confusion table, one a clip whose gold is a1 or a2."""
    answers = ["a1" if a == "same" and rule == "mer2026" else a for a in said]
    return classes.columns(answers, gold, ("a1", "a2"))


@metric("preference_waf", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def preference_waf(case: Case) -> Measured:
    """Weighted F1 over a1 and a2; an answer `same` is wrong."""
    return score_preferences(case, classes.weighted_f1, "strict")


@metric("preference_accuracy", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def preference_accuracy(case: Case) -> Measured:
    """Accuracy over a1 and a2; an answer `same` is wrong."""
    return score_preferences(case, classes.accuracy, "strict")


@metric("preference_waf_mer2026", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def preference_waf_mer2026(case: Case) -> Measured:
    """Weighted F1 over a1 and a2 as published: an answer `same` counts as a1."""
    return score_preferences(case, classes.weighted_f1, "mer2026")


@metric("preference_accuracy_mer2026", gold=GOLD, predictions=PREDICTIONS, reads=READS)
def preference_accuracy_mer2026(case: Case) -> Measured:
    """Accuracy over a1 and a2 as published: an answer `same` counts as a1."""
    return score_preferences(case, classes.accuracy, "mer2026")


@metric("swap_consistency", gold="-", predictions="`preference` or text, ids X and X_swap", reads=READS)
def swap_consistency(case: Case) -> Measured:
    """Share of pairs whose answer follows the description when the two change places."""
    said = dict(zip(case.ids, chosen(case), strict=True))
    pairs = {name: f"{name}_swap" for name in case.ids if f"{name}_swap" in said}
    if not pairs:
        raise AffectError("No clip has a swapped copy: ids X and X_swap are needed, see `build emoprefer --swap`.")
    follows = [
        float(SWAPPED.get(said[pairs[name]] or "", "?") == said[name]) if name in pairs else np.nan for name in case.ids
    ]
    return Measured(
        drawn_mean(follows),
        n=len(pairs),
        constants=[Constant(["a1"], 0.0), Constant(["same"], 1.0)],
        failures=sum(it is None for it in said.values()),
    )


def score_preferences(case: Case, statistic: Statistic, rule: Rule) -> Measured:
    """A statistic of the choices between a1 and a2. Clips whose descriptions people found equally good do not count."""
    gold = case.gold_field("preference", "a1, a2 or same")
    said = chosen(case)
    kept = [i for i, it in enumerate(gold) if it != "same"]
    wanted = [gold[i] for i in kept]

    def constant(name: str) -> Constant:
        return Constant([name], value_of_sums(columns([name] * len(kept), wanted, rule), statistic))

    return Measured(
        only(drawn_sums(columns([said[i] or "" for i in kept], wanted, rule), statistic), kept),
        n=len(kept),
        constants=[constant("a1"), constant("a2")],
        failures=sum(it is None for it in said),
        skipped={"people found both equally good": len(gold) - len(kept)} if len(kept) < len(gold) else {},
    )


def chosen(case: Case) -> list[str | None]:
    """The preference of every answer, from its field or its text."""
    rows = zip(case.said_rows, case.parsed, strict=True)
    return [row.cells.get("preference") or parsed.preference for row, parsed in rows]
