"""What a model follows when face and voice disagree (CA-MER, MoSEAR 2025).

Every clip is tagged by which modality its gold emotion agrees with; its value is the set F1 of its answer.
"""

from collections.abc import Sequence

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores.engine import baselines
from affectllm.scores.engine.baselines import Constant, Labels
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, divide, drawn_sums, value_of_sums
from affectllm.scores.families import wheels
from affectllm.scores.families.wheel_constants import ConstantScore

GOLD = "labels and `tag`"
PREDICTIONS = "labels or text"
NEEDS = ("wheels",)
READS = ("tag",)
TAGS = ("video", "audio", "consistent")


def columns(values: Sequence[float] | Values, tags: Sequence[str]) -> Values:
    """One row a clip: its value in its tag's column, and 1 in its tag's count; shape (clips, 6)."""
    table = np.zeros((len(tags), 6))
    for row, value, tag in zip(table, values, tags, strict=True):
        if tag not in TAGS:
            raise AffectError(f"Unknown tag {tag!r}; known: {', '.join(TAGS)}.")
        row[TAGS.index(tag)], row[3 + TAGS.index(tag)] = value, 1
    return table


def subset(sums: Values, tag: str) -> Values:
    place = TAGS.index(tag)
    return divide(sums[:, place], sums[:, 3 + place])


@metric("conflict_video", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def conflict_video(case: Case) -> Measured:
    """Mean set F1 of the clips whose gold follows the picture."""
    return score_conflict(case, lambda sums: subset(sums, "video"), ["video"])


@metric("conflict_audio", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def conflict_audio(case: Case) -> Measured:
    """Mean set F1 of the clips whose gold follows the voice."""
    return score_conflict(case, lambda sums: subset(sums, "audio"), ["audio"])


@metric("conflict_consistent", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def conflict_consistent(case: Case) -> Measured:
    """Mean set F1 of the clips on which face and voice agree."""
    return score_conflict(case, lambda sums: subset(sums, "consistent"), ["consistent"])


@metric("conflict_gap", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS, lower_is_better=True)
def conflict_gap(case: Case) -> Measured:
    """`conflict_consistent` less the mean of `conflict_video` and `conflict_audio`: what disagreement costs."""

    def gap(sums: Values) -> Values:
        # Of the two means and not of all clips, so that neither subset's size decides.
        return subset(sums, "consistent") - (subset(sums, "video") + subset(sums, "audio")) / 2

    return score_conflict(case, gap, TAGS)


@metric("conflict_preference", gold=GOLD, predictions=PREDICTIONS, needs=NEEDS, reads=READS)
def conflict_preference(case: Case) -> Measured:
    """`conflict_video` less `conflict_audio`: above 0 the model trusts the picture more, in -1..1."""
    return score_conflict(case, lambda sums: subset(sums, "video") - subset(sums, "audio"), ["video", "audio"])


def score_conflict(case: Case, statistic: Statistic, compared: Sequence[str]) -> Measured:
    """A statistic of the clips' set F1 by their gold `tag`; each of the tags `compared` must occur."""
    tags = case.gold_field("tag", "which modality the gold emotion agrees with: video, audio or consistent")
    if empty := [tag for tag in compared if tag not in tags]:
        raise AffectError(f"No clip is tagged {' or '.join(empty)}: this metric needs {', '.join(compared)}.")

    def columns_of(said: Sequence[Labels]) -> Values:
        values = [wheels.f1(a, b, case.known_wheels, case.level) for a, b in zip(said, case.gold, strict=True)]
        return columns(np.nan_to_num(values), tags)

    constant = ConstantScore(case.gold, case.known_wheels, case.level)
    best = baselines.best(baselines.best_constants(case.gold, constant.f1))
    words = best.labels if best else []
    return Measured(
        drawn_sums(columns_of(case.said), statistic),
        n=len(tags),
        constants=[Constant(words, value_of_sums(columns_of([words] * len(tags)), statistic))],
    )
