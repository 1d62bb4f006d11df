"""The smaller score families: sums done by hand, the bugs of published evaluators, bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import vocabulary
from affectllm.errors import AffectError
from affectllm.scores import (
    calibration,
    cause,
    choice,
    conflict,
    consistency,
    dimensional,
    multi_label,
    preference,
    soft_labels,
    steps,
)

CLASSES = ("happy", "sad", "angry")


def test_label_sets_by_hand() -> None:
    found = multi_label.score([["happy", "sad"], ["sad"], []], [["happy"], ["angry"], []], CLASSES)
    assert found.micro_f1 == pytest.approx(2 * 1 / (3 + 2))
    assert found.macro_f1 == pytest.approx((1 + 0 + 0) / 3)
    assert found.sample_f1 == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found.jaccard == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found.hamming == pytest.approx(3 / 9)
    assert found.exact == pytest.approx(1 / 3)


def test_spurious_labels_lower_micro_f1() -> None:
    clean = multi_label.score([["happy"]], [["happy"]], CLASSES)
    noisy = multi_label.score([["happy", "blorp", "snarf"]], [["happy"]], CLASSES)
    assert (clean.micro_f1, noisy.micro_f1) == (1.0, pytest.approx(0.5))


def test_gold_outside_the_list_is_refused() -> None:
    with pytest.raises(AffectError, match=r"\['bored'\]"):
        multi_label.score([["happy"]], [["bored"]], CLASSES)


def test_average_precision_by_hand() -> None:
    gold = np.array([[1], [0], [1], [0]], bool)
    assert multi_label.mean_average_precision(np.array([[0.9], [0.8], [0.7], [0.1]]), gold) == pytest.approx(
        (1 + 2 / 3) / 2
    )
    # A constant score ranks nothing: its precision is the label's frequency.
    assert multi_label.mean_average_precision(np.full((4, 1), 0.5), gold) == pytest.approx(0.5)


def test_concordance_by_hand() -> None:
    found = dimensional.score([1, 2, 3], [2, 3, 4])
    assert found.ccc == pytest.approx(2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))
    assert (found.pearson, found.mae) == (pytest.approx(1.0), pytest.approx(1.0))
    assert dimensional.score([1, 1], [1, 1]).ccc == 1.0
    assert math.isnan(dimensional.score([1, 1], [1, 2]).pearson)
    assert dimensional.ordinal_accuracy([0, 2, 3], [0, 1, 0], within=1) == pytest.approx(2 / 3)
    with pytest.raises(AffectError, match="NaN at clip 2"):
        dimensional.score([1, float("nan")], [1, 2])


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20))
def test_concordance_is_bounded_and_symmetric(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    value = dimensional.score(a, b).ccc
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert value == pytest.approx(dimensional.score(b, a).ccc)


def test_soft_labels_by_hand() -> None:
    found = soft_labels.score([[1, 0]], [[0.5, 0.5]])
    assert found.soft_f1 == pytest.approx(0.5)
    assert found.js == pytest.approx(
        (math.log2(1 / 0.75) + 0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)) / 2
    )
    assert soft_labels.score([[0.3, 0.7]], [[0.3, 0.7]])[:3] == pytest.approx((0, 0, 1))


def test_raters_make_distributions_and_a_ceiling() -> None:
    votes = [[["happy"], ["happy"], ["sad"]], [["angry"], ["angry"]], [["sad"]]]
    assert soft_labels.from_raters(votes, CLASSES)[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    ceiling = soft_labels.rater_ceiling(votes, CLASSES)
    assert ceiling.n == 5
    # Clip 1: happy against (happy, sad) twice 0.5, sad against (happy, happy) 0; clip 2: 1 twice.
    assert ceiling.soft_f1 == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)


def test_all_wrong_at_full_confidence_is_an_error_of_one() -> None:
    found = calibration.score([1.0] * 4, [0] * 4)
    assert (found.ece, found.ece_equal_mass, found.brier) == (1.0, 1.0, 1.0)
    assert math.isnan(found.auroc)


def test_calibration_by_hand() -> None:
    found = calibration.score([0.9, 0.8, 0.3, 0.2], [1, 0, 1, 0])
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.7 + 0.2) / 4)
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.49 + 0.04) / 4)
    assert found.auroc == pytest.approx(3 / 4)
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert calibration.selective_accuracy([0.9, 0.8, 0.3, 0.2], [1, 0, 1, 0], 0.25) == 1.0
    assert calibration.score([0.5, 0.5], [1, 0]).auroc == 0.5
    with pytest.raises(AffectError, match=r"0\.\.1"):
        calibration.score([1.2], [1])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_calibration_is_bounded_and_ignores_order(rows: list[tuple[float, bool]], random: object) -> None:
    c, y = zip(*rows, strict=True)
    found = calibration.score(c, y)
    assert all(0 <= value <= 1 for value in (found.ece, found.ece_equal_mass, found.brier, found.aurc))
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = calibration.score(*zip(*shuffled, strict=True))
    assert (again.ece, again.brier, again.aurc) == pytest.approx((found.ece, found.brier, found.aurc))


def test_conflict_by_hand() -> None:
    found = conflict.score([1, 0, 0, 1, 1], ["video", "video", "audio", "consistent", "consistent"])
    assert (found.video, found.audio, found.conflict) == (0.5, 0.0, 0.25)
    assert (found.gap, found.preference) == (0.75, 0.5)
    with pytest.raises(AffectError, match="No clip is tagged audio"):
        conflict.score([1, 1], ["video", "consistent"])


def test_not_choosing_pays_under_the_published_rule_only() -> None:
    gold = ["a1", "a1", "a2", "same"]
    lazy = ["same"] * 4
    assert preference.score(lazy, gold, "mer2026").accuracy == pytest.approx(2 / 3)
    strict = preference.score(lazy, gold)
    assert (strict.accuracy, strict.waf, strict.skipped_same, strict.said_same) == (0, 0, 1, 3)
    assert preference.score(["a1", "a1", "a2", "a1"], gold).waf == 1.0


def test_always_saying_the_first_is_inconsistent() -> None:
    assert preference.swap_consistency(["a1", "a1"], ["a1", "a1"]) == 0
    assert preference.swap_consistency(["a1", "same"], ["a2", "same"]) == 1


def test_choices_by_hand() -> None:
    found = choice.multiple_choice(["D", "B,C", None], ["D", "C,B", "A"], [4, 4, 2])
    assert (found.accuracy, found.unread) == (pytest.approx(2 / 3), 1)
    assert found.chance == pytest.approx((1 / 4 + 0 + 1 / 2) / 3)
    assert choice.statements([True, True, None], [True, False, False]) == (pytest.approx(1 / 3), 0.5, 3)


def test_an_unread_rating_takes_over_no_other() -> None:
    assert choice.trigger_recall([(2, 5), None, (1, 2)]) == (pytest.approx((0.4 + 0.5) / 2), 2, 3)
    with pytest.raises(AffectError, match="Rating 1 says 6 of 5"):
        choice.trigger_recall([(6, 5)])


def test_cause_pairs_by_hand() -> None:
    gold = {"d": [(1, "joy", 1), (2, "joy", 1), (3, "anger", 2)]}
    said = {"d": [(1, "joy", 1), (3, "anger", 3)]}
    found = cause.score(said, gold)
    assert found.by_emotion == {"anger": 0.0, "joy": pytest.approx(2 / 3)}
    assert found.weighted_f1 == pytest.approx(2 / 3 * 2 / 3)
    assert found.micro_f1 == pytest.approx(2 * 1 / 5)
    baseline = cause.self_cause({"d": [(1, "joy"), (2, "joy"), (3, "anger"), (4, "neutral")]})
    assert baseline["d"] == [(1, "joy", 1), (2, "joy", 2), (3, "anger", 3)]
    with pytest.raises(AffectError, match="No answer for dialogue 'd'"):
        cause.score({}, gold)


def test_steps_by_hand() -> None:
    found = steps.score([1.0, 0.0, None], [[True, False], [], [True]])
    assert (found.recognition, found.reasoning, found.cot) == (0.5, 0.25, pytest.approx(0.375))
    assert (found.n, found.unrated) == (2, 1)


def test_consistency_by_hand() -> None:
    wheels = vocabulary.load()
    found = consistency.score(
        [["happy"], ["sad"], []], [["joyful"], ["angry"], ["sad"]], [["happy"], ["angry"], ["sad"]], wheels
    )
    assert found.eea == pytest.approx(1 / 3)
    assert found.fcr == pytest.approx(1 / 3)
    assert found.fcr <= min(found.eea, found.epc)
    assert found.silent == 1
