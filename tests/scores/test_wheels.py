"""The wheel score: sums by hand, properties, and every value of the golden file."""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectllm import vocabulary
from affectllm.scores import registry
from affectllm.scores.engine.case import Measured
from affectllm.scores.families import wheels as rule
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.vocabulary.wheels import Groups, Wheels
from tests.scores.toys import case as case_of
from tests.vocabulary.test_mertools import column_of

TOY = {
    "happy": ("joy", "joy"),
    "glad": ("joy", "joy"),
    "sad": ("grief", None),
    "angry": ("rage", "rage"),
    "afraid": (None, "fear"),
}
WORDS = [*TOY, "Happy ", "nonsense", "neutral"]


def toy(protocol: str, strict: bool = False) -> Wheels:
    """Two wheels of a few words; 'strict' makes unknown words groups of their own."""

    def find(label: str) -> Groups:
        groups = TOY.get(label, (None, None))
        return tuple(group or label for group in groups) if strict else groups

    return Wheels(protocol, ("a/level1", "b/level1"), "0" * 16, find)


SETS = st.lists(st.sampled_from(WORDS), max_size=5)
CORPUS = st.lists(st.tuples(SETS, SETS), min_size=1, max_size=12)


def test_overlap_by_hand() -> None:
    # Wheel a: said {joy, rage}, gold {joy, grief}. Wheel b: said {joy, rage}, gold {joy}.
    found = rule.overlap(["happy", "glad", "angry"], ["glad", "sad"], toy("mer2025"))
    assert found == [rule.Overlap(0.5, 0.5), rule.Overlap(0.5, 1.0)]


def test_nothing_said_scores_zero_and_stays() -> None:
    assert rule.overlap([], ["happy"], toy("mer2025")) == [rule.Overlap(0.0, 0.0)] * 2


def test_a_clip_is_skipped_on_the_wheel_that_lacks_its_gold_only() -> None:
    first, second = rule.overlap(["sad"], ["sad"], toy("mer2025"))
    assert first == (1.0, 1.0)
    assert math.isnan(second.precision)


def test_unknown_words_are_free_in_the_published_rule_and_cost_in_ours() -> None:
    said = ["happy", "nonsense", "blah"]
    assert rule.overlap(said, ["happy"], toy("mer2025"))[0].precision == 1.0
    assert rule.overlap(said, ["happy"], toy("affectllm-1", strict=True))[0].precision == pytest.approx(1 / 3)


def test_corpus_f_is_the_harmonic_mean_of_the_means() -> None:
    # P = (1/2 + 1)/2, R = (1 + 1/2)/2 on both wheels; the mean of per-clip F would be 2/3.
    said, gold = [["happy", "angry"], ["happy"]], [["happy"], ["happy", "angry"]]
    score = rule.wheel_score(said, gold, toy("mer2025"))
    assert score[:3] == (0.75, 0.75, 0.75)
    assert score.wheels["a/level1"] == rule.WheelScore(0.75, 0.75, 0.75, 2)


def test_what_is_0_by_0_is_nan_until_2025_and_0_after() -> None:
    assert math.isnan(rule.wheel_score([["angry"]], [["happy"]], toy("mer2025")).f1)
    assert rule.wheel_score([["angry"]], [["happy"]], toy("mer2026")).f1 == 0
    assert math.isnan(rule.wheel_score([["happy"]], [["neutral"]], toy("mer2025")).precision)
    assert rule.wheel_score([["happy"]], [["neutral"]], toy("mer2026"))[:3] == (0, 0, 0)
    assert rule.wheel_score([], [], toy("mer2026"))[:3] == (0, 0, 0)


def measure(name: str, said: Sequence[Sequence[str]], gold: Sequence[str], wheels: Wheels) -> Measured:
    """A metric of clips with one gold word."""
    return registry.load(name)(case_of(said, [[word] for word in gold], wheels=wheels))


def test_naming_everything_hits_everything() -> None:
    everything = [["happy", "sad", "angry", "afraid"]] * 3
    gold = ["happy", "sad", "neutral"]
    assert measure("hit_rate", everything, gold, toy("unibench")).recall == 1.0
    # Of the groups said, joy and grief are candidates on wheel a and only joy on b: (1/2 + 1) / 2.
    assert measure("mscore", everything, gold, toy("unibench")).precision == 0.75


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 predictions for 1"):
        overlaps([[], []], [[]], toy("mer2025"))


@settings(deadline=None, max_examples=60)
@given(CORPUS)
def test_many_at_once_equals_one_by_one(corpus: list[tuple[list[str], list[str]]]) -> None:
    for strict in (False, True):
        wheels = toy("mer2025", strict)
        said, gold = zip(*corpus, strict=True)
        single = [rule.overlap(*pair, wheels) for pair in corpus]
        np.testing.assert_array_equal(overlaps(said, gold, wheels), np.array(single))


@settings(deadline=None, max_examples=60)
@given(CORPUS)
def test_scores_are_bounded_and_order_and_duplicates_do_not_matter(corpus: list[tuple[list[str], list[str]]]) -> None:
    wheels = toy("mer2026")
    said, gold = zip(*corpus, strict=True)
    score = rule.wheel_score(said, gold, wheels)
    assert all(0 <= value <= 1 for value in score[:3])
    turned = rule.wheel_score(
        [[*reversed(words), *words] for words in said], [[*words, *words] for words in gold], wheels
    )
    assert turned == score
    backward = rule.wheel_score(said[::-1], gold[::-1], wheels)
    assert backward[:3] == pytest.approx(score[:3])


@settings(deadline=None, max_examples=60)
@given(SETS, SETS)
def test_strict_is_never_above_lenient_in_precision(said: list[str], gold: list[str]) -> None:
    lenient, strict = toy("mer2026"), toy("affectllm-1", strict=True)
    for free, paid in zip(rule.overlap(said, gold, lenient), rule.overlap(said, gold, strict), strict=True):
        known = all(group is not None for label in gold for group in lenient.groups(label))
        if known and free.recall == free.recall:
            assert paid.precision <= free.precision
            assert paid.recall == free.recall


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), min_size=1, max_size=8))
def test_gold_itself_scores_one(gold: list[list[str]]) -> None:
    assert rule.wheel_score(gold, gold, toy("affectllm-1", strict=True))[:3] == pytest.approx((1, 1, 1))


def test_our_vocabulary_scores_neutral_and_lets_nothing_pass_for_free() -> None:
    wheels = vocabulary.load()
    assert rule.wheel_score([["neutral"]], [["neutral"]], wheels).f1 == 1.0
    assert rule.f1(["happy", "qwertz"], ["happy"], wheels) == pytest.approx(2 / 3)


@cache
def golden(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "golden_wheel.json").read_text())


@cache
def official(folder: Path, year: str) -> Wheels:
    return vocabulary.load(year.lower(), folder / "emotion_wheel" / year.lower())


def same(found: tuple[float, ...], expected: list[float | None]) -> bool:
    """Equal to the last digit; the golden file writes nan as null."""
    pairs = zip(found, expected, strict=True)
    return all(math.isnan(value) if wanted is None else value == wanted for value, wanted in pairs)


@pytest.mark.parametrize("year", ["MER2025", "MER2026"])
def test_every_golden_case(shared_data: Path, year: str) -> None:
    wheels = official(shared_data, year)
    for case in golden(shared_data)["cases"]:
        for metric, expected in case["scores"][year].items():
            if metric.startswith("wheel_metric_calculation"):
                found = rule.wheel_score([case["pred"]], [case["gold"]], wheels, metric[-len("level1") :])[:3]
                assert same(found, expected), (case["id"], metric)
                continue
            (one,) = rule.overlap(case["pred"], case["gold"], wheels, column_of(metric))
            assert same(one, [expected["p"], expected["r"]]), (case["id"], metric)
            if expected["counted"]:
                assert rule.harmonic(*one) == expected["f1"]


@pytest.mark.parametrize("year", ["MER2025", "MER2026"])
def test_every_golden_batch(shared_data: Path, year: str) -> None:
    wheels = official(shared_data, year)
    cases = {case["id"]: case for case in golden(shared_data)["cases"]}
    for batch in golden(shared_data)["batches"]:
        gold = [cases[it]["gold"] for it in batch["ids"]]
        fixed = batch["pred_override"]
        said = [cases[it]["pred"] if fixed is None else fixed for it in batch["ids"]]
        for level in ("level1", "level2"):
            expected = batch[year][f"wheel_metric_calculation_{level}"]
            assert same(rule.wheel_score(said, gold, wheels, level)[:3], expected), (batch["name"], level)
        for metric, expected in batch[year]["per_metric"].items():
            (score,) = rule.wheel_score(said, gold, wheels, column_of(metric)).wheels.values()
            assert (score.n, score.precision, score.recall) == (expected["n_counted"], expected["p"], expected["r"])
            assert (0.0 if math.isnan(score.f1) else score.f1) == expected["f1"], (batch["name"], metric)


def test_every_golden_hit_rate(shared_data: Path) -> None:
    wheels, hits = official(shared_data, "MER2025"), golden(shared_data)["hitrate_unibench"]
    for case in hits["cases"]:
        rate = measure("hit_rate", [case["pred"]], [case["gold_onehot"]], wheels)
        companion = measure("mscore", [case["pred"]], [case["gold_onehot"]], wheels)
        assert rate.per_wheel is not None
        assert companion.per_wheel is not None
        for metric, expected in case["per_wheel"].items():
            column = column_of(metric)
            if expected is not None and expected["hit"] is not None:
                assert rate.per_wheel[column]["recall"] == expected["hit"]
                assert companion.per_wheel[column]["precision"] == expected["mscore_single"]
            else:
                assert rate.per_wheel[column]["n"] == 0
    said, gold = [case["pred"] for case in hits["cases"]], [case["gold_onehot"] for case in hits["cases"]]
    both = [measure("hit_rate", said, gold, wheels).recall, measure("mscore", said, gold, wheels).precision]
    assert both == hits["batch_all"]["hitrate_metric_calculation"]
