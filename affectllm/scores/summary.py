"""The scores of a whole run: answers.jsonl against conversations.jsonl, in total and for every clip."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from affectllm import answers
from affectllm.errors import AffectError
from affectllm.records import Answer, Conversation, Score
from affectllm.scores.engine import baselines, uncertainty
from affectllm.scores.engine.uncertainty import Values
from affectllm.scores.families import wheels as rule
from affectllm.scores.families.clues import clue_scores, shuffled_floor
from affectllm.scores.families.wheel_constants import ConstantScore
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.scores.families.wheels import NO_WHEEL, wheel_columns, wheel_f1, wheel_means
from affectllm.vocabulary import Wheels

NO_GOLD = "no gold label"


class Summary(NamedTuple):
    results: dict[str, Any]
    """The object of results.json."""
    scores: list[Score]
    """One score per clip, in gold order."""


def gold_labels(clip: Conversation) -> list[str]:
    """Open-vocabulary labels of a clip, or its one basic label."""
    return clip.target.labels or ([clip.target.basic] if clip.target.basic else [])


def summarise(said: Sequence[Answer], gold: Sequence[Conversation], wheels: Wheels, level: str = "level1") -> Summary:
    """Set F1 with interval and baselines, clue scores per modality, and a Score per clip.

    `said` and `gold` are in the same order. An answer with an error counts as empty. Clips without a gold label are
    skipped and counted. Raises AffectError when no clip has one.
    """
    scores = [score_clip(answer, clip, wheels, level) for answer, clip in zip(said, gold, strict=True)]
    kept = [score for score in scores if score.skipped is None]
    if not kept:
        raise AffectError(f"None of {len(gold)} gold clips has a label to score against. Is this the right file?")
    values = overlaps([score.said for score in kept], [score.gold for score in kept], wheels, level)
    constants = baselines.best_constants(
        [score.gold for score in kept], ConstantScore([score.gold for score in kept], wheels, level).f1
    )
    top = baselines.best(constants)
    results = set_scores(values, wheels, level) | {
        "clue_face": clip_mean(scores, "clue_face"),
        "clue_voice": clip_mean(scores, "clue_voice"),
        "clue_floor": clue_floor(said, gold),
        "parse_failures": sum(score.status == "failed" for score in scores),
        "errors": sum(answer.error is not None for answer in said),
        "labels_per_clip": float(np.mean([len(score.said) for score in kept])),
        "n": len(kept),
        "skipped": dict(Counter(score.skipped for score in scores if score.skipped is not None)),
        "protocol": wheels.protocol,
        "wheels_hash": wheels.hash,
        "level": level,
        "constant_baseline": top._asdict() if top else None,
        "constants": [it._asdict() for it in constants],
        "random_baseline": shuffled_f1(kept, wheels, level),
        "models": sorted({answer.model for answer in said}),
    }
    return Summary(results, scores)


def score_clip(answer: Answer, clip: Conversation, wheels: Wheels, level: str) -> Score:
    """The scores of one answer: words that hit a gold group on most wheels, gold words missed, other words said."""
    parsed = answers.parse(answer.text)
    said = [] if answer.error is not None else parsed.labels
    gold = gold_labels(clip)
    found = rule.overlap(said, gold, wheels, level)
    counted = [value for value in found if value.recall == value.recall]
    values = {"set_f1": rule.f1(said, gold, wheels, level)} if counted else {}
    if counted:
        values["precision"] = float(np.mean([value.precision for value in counted]))
        values["recall"] = float(np.mean([value.recall for value in counted]))
    return Score(
        id=clip.id,
        # An answer without a label has failed as an answer about emotions, even if a letter or a choice can be read.
        status=parsed.status if said else "failed",
        said=said,
        gold=gold,
        hits=[label for label in said if rule.shares_group(label, gold, wheels, level)],
        misses=[label for label in gold if not rule.shares_group(label, said, wheels, level)],
        extras=[label for label in said if not rule.shares_group(label, gold, wheels, level)],
        values=values | clue_values("" if answer.error is not None else parsed.evidence, clip),
        skipped=None if counted else NO_WHEEL if gold else NO_GOLD,
    )


def clue_values(reasoning: str, clip: Conversation) -> dict[str, float]:
    """Share of the clip's gold statements about face and voice that the reasoning mentions, where there are any."""
    if clip.target.clues is None:
        return {}
    found = clue_scores(reasoning, clip.target.clues)
    named = {"clue_face": found["visual"], "clue_voice": found["audio"]}
    return {name: value for name, value in named.items() if value is not None}


def clue_floor(said: Sequence[Answer], gold: Sequence[Conversation]) -> float | None:
    """The clue scores when every reasoning is compared with another clip's clues. None for fewer than two clips."""
    pairs = [(answer.text, clip.target.clues) for answer, clip in zip(said, gold, strict=True) if clip.target.clues]
    if len(pairs) < 2:
        return None
    return shuffled_floor([answers.parse(text).evidence for text, _ in pairs], [clues for _, clues in pairs])


def set_scores(values: Values, wheels: Wheels, level: str) -> dict[str, dict[str, float]]:
    """set_f1, precision and recall of a corpus, each with value, low, high and n."""
    summary = rule.corpus_score(values, wheels, level)
    sums = uncertainty.draw_sums(wheel_columns(values), None, uncertainty.DRAWS, 0)
    means = wheel_means(sums, wheels.protocol).mean(1)
    draws = {"set_f1": wheel_f1(sums, wheels.protocol), "precision": means[:, 0], "recall": means[:, 1]}
    points = {"set_f1": summary.f1, "precision": summary.precision, "recall": summary.recall}
    return {
        name: with_interval(points[name], uncertainty.percentiles(draws[name], 0.95), len(values)) for name in points
    }


def clip_mean(scores: Sequence[Score], name: str) -> dict[str, float] | None:
    """Mean of a per-clip value over the clips that have it. None if no clip has it."""
    values = [score.values[name] for score in scores if name in score.values]
    if not values:
        return None
    return with_interval(float(np.mean(values)), uncertainty.bootstrap(uncertainty.with_count(values)), len(values))


def with_interval(value: float, interval: uncertainty.Interval, n: int) -> dict[str, float]:
    return {"value": value, "low": interval.low, "high": interval.high, "n": n}


def shuffled_f1(scores: Sequence[Score], wheels: Wheels, level: str) -> float:
    gold = [score.gold for score in scores]
    return baselines.random_answers(gold, lambda said: rule.wheel_score(said, gold, wheels, level).f1)
