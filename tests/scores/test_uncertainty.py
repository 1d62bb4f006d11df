"""Intervals of the real statistic, and what blind answers get."""

import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from affectllm import vocabulary
from affectllm.errors import AffectError
from affectllm.scores.engine import baselines, uncertainty
from affectllm.scores.engine.tables import sign_of
from affectllm.scores.families import classes, sentiment
from affectllm.scores.families import wheels as rule
from affectllm.scores.families.wheel_constants import ConstantScore
from affectllm.scores.families.wheel_tables import overlaps
from tests.scores.toys import value


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(1).random(5000)
    start = time.process_time()
    low, high = uncertainty.bootstrap(uncertainty.with_count(values))
    seconds = time.process_time() - start
    half = 1.96 * values.std() / math.sqrt(5000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 20)
    assert seconds < 5, "10,000 draws over 5,000 clips; under 1 s of a core"


def test_missing_values_leave_the_mean_alone() -> None:
    columns = uncertainty.with_count([1.0, math.nan, 1.0])
    assert uncertainty.bootstrap(columns) == (1.0, 1.0)
    assert columns.sum(0).tolist() == [2.0, 2.0]


def test_nothing_to_draw_from_is_nan() -> None:
    assert all(math.isnan(end) for end in uncertainty.bootstrap(np.zeros((0, 2))))
    assert all(math.isnan(end) for end in uncertainty.bootstrap(uncertainty.with_count([math.nan])))


def test_clips_of_one_dialogue_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(2).random(40), 25)
    dialogues = [f"dia{i // 25}" for i in range(1000)]
    narrow = uncertainty.bootstrap(uncertainty.with_count(values))
    wide = uncertainty.bootstrap(uncertainty.with_count(values), groups=dialogues)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(5, rel=0.15)


def test_the_same_seed_gives_the_same_interval() -> None:
    columns = uncertainty.with_count(np.arange(30.0))
    assert uncertainty.bootstrap(columns, seed=3) == uncertainty.bootstrap(columns, seed=3)
    assert uncertainty.bootstrap(columns, seed=3) != uncertainty.bootstrap(columns, seed=4)


def test_a_paired_difference_sees_what_overlapping_intervals_hide() -> None:
    random = np.random.default_rng(0)
    worse = random.random(500)
    better = worse + 0.02 + 0.01 * random.standard_normal(500)
    first, second = uncertainty.with_count(better), uncertainty.with_count(worse)
    assert uncertainty.bootstrap(first).low < uncertainty.bootstrap(second).high
    found = uncertainty.compare(first, second)
    assert found.value == pytest.approx((better - worse).mean())
    assert 0 < found.low < found.value < found.high
    assert found.p == pytest.approx(2 / 10_001)
    assert uncertainty.compare(first, first)[:3] == (0, 0, 0)
    assert uncertainty.compare(first, first).p == 1.0


def test_paired_models_need_the_same_clips() -> None:
    with pytest.raises(ValueError, match="same clips"):
        uncertainty.compare(np.ones((3, 2)), np.ones((4, 2)))


def test_wheel_sums_give_back_the_wheel_score() -> None:
    wheels = vocabulary.load()
    said, gold = [["happy", "sad"], [], ["angry"]], [["joyful"], ["sad"], ["mad", "afraid"]]
    values = overlaps(said, gold, wheels)
    sums = rule.wheel_columns(values).sum(0)[None]
    score = rule.wheel_score(said, gold, wheels)
    assert rule.wheel_f1(sums, wheels.protocol)[0] == pytest.approx(score.f1)
    assert rule.wheel_means(sums, wheels.protocol).mean(1)[0].tolist() == pytest.approx(list(score[1:3]))


def test_the_closed_form_of_a_constant_answer_is_its_score() -> None:
    wheels = vocabulary.load()
    gold = [["happy", "relieved"], ["sad"], ["angry", "sad", "hurt"], ["neutral"]]
    constant = ConstantScore(gold, wheels)
    for labels in (["happy"], ["sad", "angry"], ["nonsense"], [], ["happy", "sad", "angry", "neutral"]):
        score = rule.wheel_score([labels] * 4, gold, wheels)
        assert constant.f1(labels) == pytest.approx(score.f1)
        assert constant.recall(labels) == pytest.approx(score.recall)


CONSTANT = """
from affectllm import vocabulary
from affectllm.scores.families.wheel_constants import ConstantScore
gold = ["happy sad angry", "sad", "afraid happy", "surprised angry sad happy disgusted", "angry", "happy"]
gold = [words.split() for words in [*gold, "disgusted afraid sad"]]
print(repr(ConstantScore(gold, vocabulary.load()).f1(["happy", "sad", "angry", "afraid", "surprised", "disgusted"])))
"""


def test_the_score_of_a_constant_is_the_same_in_every_process() -> None:
    """To the last digit, whatever order the sets of a process have."""
    found = {
        subprocess.run(
            [sys.executable, "-c", CONSTANT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "5")
    }
    assert len(found) == 1


def test_the_best_constant_of_each_size_by_hand() -> None:
    gold = [["happy"]] * 3 + [["sad"]] * 2 + [["angry"]]
    found = baselines.best_constants(gold, lambda labels: sum(it[0] in labels for it in gold) / 6)
    assert [(it.labels, it.value) for it in found] == [
        (["happy"], 0.5),
        (["happy", "sad"], pytest.approx(5 / 6)),
        (["happy", "sad", "angry"], 1.0),
    ]
    assert baselines.best(found) == found[2]
    assert baselines.best([]) is None


def test_an_exchange_corrects_a_greedy_start() -> None:
    # 'a' is best alone, but the best pair is 'b' and 'c'.
    worth = {("a",): 0.5, ("b",): 0.4, ("c",): 0.4, ("a", "b"): 0.6, ("a", "c"): 0.6, ("b", "c"): 0.9}
    found = baselines.best_constants([["a", "b", "c"]], lambda labels: worth.get(tuple(sorted(labels)), 0.1))
    assert sorted(found[1].labels) == ["b", "c"]


def test_shuffled_answers() -> None:
    gold = [["happy"]] * 50 + [["sad"]] * 50
    share = baselines.random_answers(
        gold, lambda said: float(np.mean([a == b for a, b in zip(said, gold, strict=True)]))
    )
    assert share == pytest.approx(0.5, abs=0.06)


def test_class_scores_by_hand() -> None:
    # Gold a a a b; said a a b b: recall 2/3 and 1; F1 0.8 and 2/3.
    sums = classes.columns(["a", "a", "b", "b"], ["a", "a", "a", "b"], ["a", "b"]).sum(0)[None]
    assert classes.accuracy(sums)[0] == 0.75
    assert classes.mean_recall(sums)[0] == pytest.approx(5 / 6)
    assert classes.macro_f1(sums)[0] == pytest.approx((0.8 + 2 / 3) / 2)
    assert classes.weighted_f1(sums)[0] == pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3)


def test_an_answer_outside_the_classes_costs_recall_and_is_no_class() -> None:
    sums = classes.columns(["a", "joy", ""], ["a", "a", "b"], ["a", "b"]).sum(0)[None]
    assert classes.accuracy(sums)[0] == pytest.approx(1 / 3)
    assert classes.macro_f1(sums)[0] == pytest.approx((2 / 3 + 0) / 2)


def test_the_published_sentiment_rule() -> None:
    # Gold 0 is out; 'neutral' and 'mixed' count as negative.
    said = [sign_of(word) for word in ("positive", "neutral", "mixed", "Positive ", "negative")]
    assert sentiment.unibench(said, [1, -1, -0.2, 0, -1]) == 1.0
    assert sentiment.unibench_columns(said, [1, -1, -0.2, 0, -1]).sum() == 4


def strengths(name: str, said: list[float], gold: list[float], scale: str = "cmu") -> float:
    """A metric of predicted sentiment strengths."""
    return value(name, [{"value": it} for it in said], [{"value": it} for it in gold], scale=scale)


def test_sentiment_strengths_by_hand() -> None:
    rows = [0.0, 1.4, -3.6, 2.5], [0.2, 1.0, -3.0, 0.0]
    assert strengths("acc2_nonnegative", *rows) == 1.0
    assert strengths("acc2", *rows) == pytest.approx(2 / 3)
    # Rounded after clipping: 0/0, 1/1, -3/-3, and 2 (half to even) against 0.
    assert [strengths(name, *rows) for name in ("acc7", "acc5", "acc3")] == [0.75, 0.75, 0.75]
    assert strengths("mae", *rows) == pytest.approx((0.2 + 0.4 + 0.6 + 2.5) / 4)
    assert math.isnan(strengths("corr", [1, 1], [0.5, 2]))
    assert strengths("acc3", [0.05, 0.5], [0.1, 1.0], "sims") == 1.0
    assert strengths("acc5", [0.05, 0.5], [0.1, 1.0], "sims") == 0.5
    with pytest.raises(AffectError, match="NaN"):
        strengths("mae", [math.nan], [1.0])
    with pytest.raises(AffectError, match="CMU scale only"):
        strengths("acc7", [0.5], [1.0], "sims")
