"""Metrics of why and how sure: clues, explanation against answer, calibration, conflict, causes, rated steps."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from affectllm import answers
from affectllm.errors import AffectError
from affectllm.records import Clues
from affectllm.scores import baselines, calibration, cause, choice, conflict, consistency, steps
from affectllm.scores import open_vocabulary as ov
from affectllm.scores.baselines import Constant
from affectllm.scores.clues import clue_scores, overlap, partners
from affectllm.scores.metrics.case import Case, Measured, Metric, only
from affectllm.scores.tables import Row
from affectllm.scores.uncertainty import Values, mean_of, of_sums, value_of, with_count

if TYPE_CHECKING:
    from affectllm.scores.clue_vectors import ClueEncoder

NAN = float("nan")


def reasonings(case: Case) -> list[str]:
    """What each answer says beside its labels: a field of the row, the think text, the prose, or its clues."""
    rows = zip(case.said_rows, case.parsed, strict=True)
    return [str(row.cells.get("reasoning") or parsed.evidence) for row, parsed in rows]


def gold_clues(case: Case) -> list[Clues | None]:
    """The clue statements of every clip that has some; AffectError when none has."""
    found = [row.cells.get("clues") for row in case.gold_rows]
    if not any(found):
        raise AffectError("No gold clip has clues: rows need clues {visual, audio, text}, lists of statements.")
    return [msgspec.convert(it, Clues) if it else None for it in found]


def clues(modality: str) -> Metric:
    """Share of one modality's gold statements that the reasoning mentions; the floor pairs it with another clip."""

    def metric(case: Case) -> Measured:
        compare = by_meaning(case.clue_encoder).clue_scores if case.clue_encoder else clue_scores

        def value(text: str, gold: Clues) -> float:
            found = compare(text, gold)[modality]
            return NAN if found is None else found

        return clue_means(case, value)

    return metric


def clue_overlap(field: str) -> Metric:
    """Precision, recall or F over all modalities together; the floor pairs reasonings with another clip's clues."""

    def metric(case: Case) -> Measured:
        compare = by_meaning(case.clue_encoder).overlap if case.clue_encoder else overlap
        return clue_means(case, lambda text, gold: float(getattr(compare(text, gold), field)))

    return metric


@cache
def by_meaning(name: str) -> "ClueEncoder":
    from affectllm.scores.clue_vectors import ClueEncoder

    return ClueEncoder(name)


def clue_means(case: Case, value: Callable[[str, Clues], float]) -> Measured:
    gold, texts = gold_clues(case), reasonings(case)
    values = np.array([NAN if it is None else value(text, it) for text, it in zip(texts, gold, strict=True)])
    kept = np.flatnonzero(~np.isnan(values))
    floor = None
    if len(kept) > 1:
        other = partners(len(kept))
        floor = float(np.nanmean([value(texts[i], gold[kept[other[place]]]) for place, i in enumerate(kept)]))
    return Measured(
        of_sums(with_count(values)),
        n=len(kept),
        constants=[Constant([], 0.0)],
        chance=floor,
        failures=sum(not text for text in texts),
        skipped={"no gold clue": len(values) - len(kept)} if len(kept) < len(values) else {},
    )


def agreement(name: str) -> Metric:
    """Explanation, answer and gold compared on the wheels; chance pairs every answer with another clip's reasoning."""
    place = consistency.Consistency._fields.index(name)

    def metric(case: Case) -> Measured:
        thought = [answers.parse(text).labels for text in reasonings(case)]
        rows = list(zip(thought, case.said, case.gold, strict=True))
        values = [consistency.compare(*row, case.on)[place] for row in rows]

        def shuffled(order: Sequence[ov.Labels]) -> float:
            pairs = zip(order, case.said, case.gold, strict=True)
            return float(np.mean([consistency.compare(*row, case.on)[place] for row in pairs]))

        return Measured(
            of_sums(with_count(values)),
            n=len(values),
            chance=baselines.random_answers(thought, shuffled),
            failures=sum(not labels for labels in thought),
        )

    return metric


def is_right(case: Case) -> Values:
    """Whether each answer's first label shares a gold label's group on at least half of the wheels; 0 or 1."""
    return np.array(
        [
            float(bool(labels) and ov.shares_group(labels[0], gold, case.on, case.level))
            for labels, gold in zip(case.said, case.gold, strict=True)
        ]
    )


def calibrated(name: str) -> Metric:
    """Confidence against being right; answers without a confidence do not count, and the table says how many."""
    make = calibration.STATISTICS[name]

    def metric(case: Case) -> Measured:
        rows = zip(case.said_rows, case.parsed, strict=True)
        said = [row.cells.get("confidence", parsed.confidence) for row, parsed in rows]
        kept = [i for i, it in enumerate(said) if it is not None]
        if not kept:
            raise AffectError(f"None of the {len(said)} answers states a confidence, as 0.9, 90% or 9/10.")
        c, y = calibration.pair([said[i] for i in kept], is_right(case)[kept])
        always = np.full(len(kept), y.mean())
        silent = len(said) - len(kept)
        return Measured(
            only(make(c, y, 10), kept),
            n=len(kept),
            constants=[Constant([f"always {y.mean():.2f}"], value_of(make(always, y, 10), len(kept)))],
            failures=silent,
            skipped={"no confidence was stated": silent} if silent else {},
            lower_is_better=name != "auroc",
        )

    return metric


def conflicting(name: str) -> Metric:
    """What a model follows where face and voice disagree: gold `tag` video, audio or consistent; value is set F1."""

    def metric(case: Case) -> Measured:
        tags = case.wanted("tag", "which modality the gold emotion agrees with: video, audio or consistent")

        def columns(said: Sequence[ov.Labels]) -> Values:
            values = [ov.f1(a, b, case.on, case.level) for a, b in zip(said, case.gold, strict=True)]
            return conflict.columns(np.nan_to_num(values), tags)

        statistic = conflict.STATISTICS[name]
        found = baselines.best(
            baselines.best_constants(case.gold, baselines.ConstantScore(case.gold, case.on, case.level).f1)
        )
        words = found.labels if found else []
        constant = float(statistic(columns([words] * len(tags)).sum(0)[None])[0])
        return Measured(
            of_sums(columns(case.said), statistic),
            n=len(tags),
            constants=[Constant(words, constant)],
            lower_is_better=name == "gap",
        )

    return metric


def causes(name: str) -> Metric:
    """Emotion-cause pairs, one row a dialogue: `pairs` of (utterance, emotion, cause utterance) on both sides."""
    statistic = {"weighted_f1": cause.weighted_f1, "micro_f1": cause.micro_f1}[name]

    def metric(case: Case) -> Measured:
        gold = [read_pairs(it) for it in case.wanted("pairs", "emotion-cause pairs")]
        said = [read_pairs(row.cells["pairs"]) if "pairs" in row.cells else told(row) for row in case.said_rows]
        emotions = cause.emotions_of(dict(zip(case.ids, gold, strict=True)))
        own = cause.self_cause({str(i): [(u, e) for u, e, _ in its] for i, its in enumerate(gold)})
        baseline = cause.columns([own[str(i)] for i in range(len(gold))], gold, emotions).sum(0)[None]
        return Measured(
            of_sums(cause.columns([pairs or [] for pairs in said], gold, emotions), statistic),
            n=sum(len(set(its)) for its in gold),
            constants=[Constant(["self-cause of the gold emotions"], float(statistic(baseline)[0]))],
            failures=sum(pairs is None for pairs in said),
        )

    return metric


def told(row: Row) -> list[cause.Pair] | None:
    """The pairs in an answer's text."""
    return answers.read_pairs(row.text or "")


def read_pairs(given: Any) -> list[cause.Pair]:
    try:
        return [(int(utterance), str(emotion).strip().lower(), int(why)) for utterance, emotion, why in given]
    except (TypeError, ValueError) as error:
        raise AffectError(f"Pairs are [utterance, emotion, cause utterance] each, not {given!r}.") from error


def rated(name: str) -> Metric:
    """Step scores from given ratings: `recognition` in 0..1 and `steps`, a list of true or false."""

    def metric(case: Case) -> Measured:
        rows = [(row.cells.get("recognition"), row.cells.get("steps")) for row in case.said_rows]
        values = [NAN if None in row else getattr(steps.score([row[0]], [row[1]]), name) for row in rows]
        return given_ratings(values)

    return metric


def triggers(case: Case) -> Measured:
    """Recall of numbered triggers from a judge's `found / total`, in the field `rating` or the text."""
    values = []
    for row in case.said_rows:
        found, total = answers.read_rating(str(row.cells.get("rating", row.text or ""))) or (0.0, None)
        values.append(choice.trigger_recall([(found, total)]).recall if total else NAN)
    return given_ratings(values)


def given_ratings(values: Sequence[float]) -> Measured:
    """Means of what people or a judge rated; what nobody rated is not counted, and said."""
    unrated = sum(value != value for value in values)
    if unrated == len(values):
        raise AffectError(f"None of the {len(values)} rows holds a rating that can be read.")
    return Measured(
        of_sums(with_count(values), mean_of),
        n=len(values) - unrated,
        failures=unrated,
        skipped={"no rating": unrated} if unrated else {},
    )
