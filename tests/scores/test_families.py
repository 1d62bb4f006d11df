"""The score families through their metrics: sums done by hand, the bugs of published evaluators, bounds."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.errors import AffectError
from affectllm.scores import registry
from affectllm.scores.engine.case import make_case
from affectllm.scores.engine.uncertainty import value_of
from affectllm.scores.families import cause, soft_labels
from tests.scores.toys import measure, row, value

CLASSES = ("happy", "sad", "angry")
SET_SCORES = ("micro_f1", "macro_f1", "sample_f1", "jaccard", "hamming", "exact")


def test_label_sets_by_hand() -> None:
    said, gold = [["happy", "sad"], ["sad"], []], [["happy"], ["angry"], []]
    found = {name: value(f"multi_{name}", said, gold, classes=CLASSES) for name in SET_SCORES}
    assert found["micro_f1"] == pytest.approx(2 * 1 / (3 + 2))
    assert found["macro_f1"] == pytest.approx((1 + 0 + 0) / 3)
    assert found["sample_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["jaccard"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found["hamming"] == pytest.approx(3 / 9)
    assert found["exact"] == pytest.approx(1 / 3)


def test_spurious_labels_lower_micro_f1() -> None:
    clean = value("multi_micro_f1", [["happy"]], [["happy"]], classes=CLASSES)
    noisy = value("multi_micro_f1", [["happy", "blorp", "snarf"]], [["happy"]], classes=CLASSES)
    assert (clean, noisy) == (1.0, pytest.approx(0.5))


def test_gold_outside_the_list_is_refused() -> None:
    with pytest.raises(AffectError, match=r"\['bored'\]"):
        value("multi_micro_f1", [["happy"]], [["bored"]], classes=CLASSES)


def ranked(*scores: float) -> list[dict[str, Any]]:
    return [{"scores": {"happy": score}} for score in scores]


def test_average_precision_by_hand() -> None:
    gold = [["happy"], [], ["happy"], []]
    assert value("map", ranked(0.9, 0.8, 0.7, 0.1), gold) == pytest.approx((1 + 2 / 3) / 2)
    # A constant score ranks nothing: its precision is the label's frequency.
    assert value("map", ranked(0.5, 0.5, 0.5, 0.5), gold) == pytest.approx(0.5)


def rated(*values: float) -> list[dict[str, Any]]:
    return [{"value": it} for it in values]


def test_concordance_by_hand() -> None:
    said, gold = rated(1, 2, 3), rated(2, 3, 4)
    assert value("ccc", said, gold) == pytest.approx(2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))
    assert (value("corr", said, gold), value("mae", said, gold)) == (pytest.approx(1.0), pytest.approx(1.0))
    assert value("ccc", rated(1, 1), rated(1, 1)) == 1.0
    assert math.isnan(value("corr", rated(1, 1), rated(1, 2)))
    assert value("ordinal_within_1", rated(0, 2, 3), rated(0, 1, 0)) == pytest.approx(2 / 3)
    assert value("ordinal_accuracy", rated(0, 2, 3), rated(0, 1, 0)) == pytest.approx(1 / 3)
    with pytest.raises(AffectError, match="NaN at clip 2"):
        value("ccc", rated(1, float("nan")), rated(1, 2))


def test_every_dimension_is_its_own_place_of_the_triple() -> None:
    said = [{"vad": [1, 0, 5]}, {"vad": [2, 0, 5]}]
    gold = [{"vad": [1, 1, 1]}, {"vad": [4, 1, 1]}]
    errors = [value(f"{name}_mae", said, gold) for name in ("valence", "arousal", "dominance")]
    assert errors == [1.0, 1.0, 4.0]


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20))
def test_concordance_is_bounded_and_symmetric(pairs: list[tuple[float, float]]) -> None:
    a, b = (rated(*side) for side in zip(*pairs, strict=True))
    found = value("ccc", a, b)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(value("ccc", b, a))


def spread(**shares: float) -> list[dict[str, Any]]:
    return [{"distribution": shares}]


def test_soft_labels_by_hand() -> None:
    said, gold = spread(happy=1, sad=0), spread(happy=0.5, sad=0.5)
    assert value("soft_f1", said, gold) == pytest.approx(0.5)
    assert value("js", said, gold) == pytest.approx(
        (math.log2(1 / 0.75) + 0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)) / 2
    )
    same = spread(happy=0.3, sad=0.7)
    assert [value(name, same, same) for name in ("js", "kl", "soft_f1")] == pytest.approx([0, 0, 1])


def test_raters_make_distributions_and_a_ceiling() -> None:
    votes = [[["happy"], ["happy"], ["sad"]], [["angry"], ["angry"]], [["sad"]]]
    assert soft_labels.from_raters(votes, CLASSES)[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert len(soft_labels.rater_columns(votes, CLASSES)) == 5
    # Clip 1: happy against (happy, sad) twice 0.5, sad against (happy, happy) 0; clip 2: 1 twice.
    found = measure("soft_f1", [["happy"]] * 3, [{"raters": its} for its in votes], classes=CLASSES)
    assert found.ceiling == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)


def calibrated(name: str, confidence: tuple[float, ...], right: tuple[float | bool, ...]) -> float:
    """A calibration metric of answers that say 'happy', where 'happy' is gold or 'sad' is."""
    said = [{"labels": ["happy"], "confidence": it} for it in confidence]
    return value(name, said, [["happy"] if it else ["sad"] for it in right])


def test_all_wrong_at_full_confidence_is_an_error_of_one() -> None:
    found = [calibrated(name, (1.0,) * 4, (0,) * 4) for name in ("ece", "ece_equal_mass", "brier")]
    assert found == [1.0, 1.0, 1.0]
    assert math.isnan(calibrated("auroc", (1.0,) * 4, (0,) * 4))


def test_calibration_by_hand() -> None:
    rows = (0.9, 0.8, 0.3, 0.2), (1, 0, 1, 0)
    assert calibrated("ece", *rows) == pytest.approx((0.1 + 0.8 + 0.7 + 0.2) / 4)
    assert calibrated("brier", *rows) == pytest.approx((0.01 + 0.64 + 0.49 + 0.04) / 4)
    assert calibrated("auroc", *rows) == pytest.approx(3 / 4)
    assert calibrated("aurc", *rows) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert calibrated("auroc", (0.5, 0.5), (1, 0)) == 0.5
    with pytest.raises(AffectError, match=r"0\.\.1"):
        calibrated("ece", (1.2,), (1,))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_calibration_is_bounded_and_ignores_order(rows: list[tuple[float, bool]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    for name in ("ece", "ece_equal_mass", "brier", "aurc"):
        found = calibrated(name, *zip(*rows, strict=True))
        assert 0 <= found <= 1
        # Which of equal confidences comes first decides the bins of equal mass.
        if name != "ece_equal_mass":
            assert calibrated(name, *zip(*shuffled, strict=True)) == pytest.approx(found)


def test_conflict_by_hand() -> None:
    right = [1, 0, 0, 1, 1]
    gold = [{"labels": ["happy"], "tag": tag} for tag in ("video", "video", "audio", "consistent", "consistent")]
    said = [["happy"] if it else ["sad"] for it in right]
    found = {name: value(f"conflict_{name}", said, gold) for name in ("video", "audio", "gap", "preference")}
    assert (found["video"], found["audio"]) == (0.5, 0.0)
    # Agreement 1 less the mean of both subsets, 0.25.
    assert (found["gap"], found["preference"]) == (0.75, 0.5)
    without = [gold[0], gold[3]]
    with pytest.raises(AffectError, match="No clip is tagged audio"):
        value("conflict_gap", said[:2], without)
    assert value("conflict_video", said[:2], without) == 1.0


def preferences(*choices: str) -> list[dict[str, Any]]:
    return [{"preference": it} for it in choices]


def test_not_choosing_pays_under_the_published_rule_only() -> None:
    gold = preferences("a1", "a1", "a2", "same")
    lazy = preferences("same", "same", "same", "same")
    assert value("preference_accuracy_mer2026", lazy, gold) == pytest.approx(2 / 3)
    strict = measure("preference_accuracy", lazy, gold)
    assert (strict.n, strict.skipped) == (3, {"people found both equally good": 1})
    assert (value("preference_accuracy", lazy, gold), value("preference_waf", lazy, gold)) == (0, 0)
    assert value("preference_waf", preferences("a1", "a1", "a2", "a1"), gold) == 1.0


def swapped(first: str, second: str) -> float:
    """Swap consistency of one pair: what is said of the clip, and of its copy with both descriptions exchanged."""
    rows = {"X": row({"preference": first}), "X_swap": row({"preference": second})}
    return value_of(registry.load("swap_consistency")(make_case(rows, rows, list(rows))).drawn, 2)


def test_always_saying_the_first_is_inconsistent() -> None:
    assert swapped("a1", "a1") == 0
    assert (swapped("a1", "a2"), swapped("same", "same")) == (1, 1)


def test_choices_by_hand() -> None:
    gold = [{"choice": "D", "options": 4}, {"choice": "C,B", "options": 4}, {"choice": "A", "options": 2}]
    said = [{"choice": "D"}, {"choice": "B,C"}, {}]
    found = measure("mcq", said, gold)
    assert (value("mcq", said, gold), found.failures) == (pytest.approx(2 / 3), 1)
    assert found.chance == pytest.approx((1 / 4 + 0 + 1 / 2) / 3)
    truths, judged = [{"truth": it} for it in (True, False, False)], [{"truth": True}, {"truth": True}, {}]
    assert (value("statements", judged, truths), len(truths)) == (pytest.approx(1 / 3), 3)
    assert value("statements_balanced", judged, truths) == 0.5


def test_an_unread_rating_takes_over_no_other() -> None:
    said = [{"rating": "2/5"}, {"rating": "I cannot judge this."}, {"rating": "1/2"}]
    found = measure("trigger_recall", said, [{}] * 3)
    assert value("trigger_recall", said, [{}] * 3) == pytest.approx((0.4 + 0.5) / 2)
    assert (found.n, found.skipped) == (2, {"no rating": 1})
    with pytest.raises(AffectError, match="rating of '0' says 6 of 5"):
        value("trigger_recall", [{"rating": "6/5"}], [{}])


def test_cause_pairs_by_hand() -> None:
    gold = [{"pairs": [(1, "joy", 1), (2, "joy", 1), (3, "anger", 2)]}]
    said = [{"pairs": [(1, "joy", 1), (3, "anger", 3)]}]
    sums = cause.columns(said[0].values(), gold[0].values(), ["anger", "joy"]).sum(0)[None]
    assert cause.emotion_f1(sums)[0].tolist() == [0.0, pytest.approx(2 / 3)]
    assert value("cause_weighted_f1", said, gold) == pytest.approx(2 / 3 * 2 / 3)
    assert value("cause_micro_f1", said, gold) == pytest.approx(2 * 1 / 5)
    assert cause.self_cause(gold[0]["pairs"]) == [(1, "joy", 1), (2, "joy", 2), (3, "anger", 3)]
    with pytest.raises(AffectError, match="none with the emotion 'neutral'"):
        value("cause_micro_f1", said, [{"pairs": [(4, "neutral", 4)]}])


def test_steps_by_hand() -> None:
    said = [
        {"recognition": 1.0, "steps": [True, False]},
        {"recognition": 0.0, "steps": []},
        {"recognition": None, "steps": [True]},
    ]
    found = [value(f"step_{name}", said, [{}] * 3) for name in ("recognition", "reasoning", "cot")]
    assert found == [0.5, 0.25, pytest.approx(0.375)]
    measured = measure("step_cot", said, [{}] * 3)
    assert (measured.n, measured.skipped) == (2, {"no rating": 1})


def test_consistency_by_hand() -> None:
    said = [
        {"reasoning": "happy", "labels": ["joyful"]},
        {"reasoning": "sad", "labels": ["angry"]},
        {"reasoning": "", "labels": ["sad"]},
    ]
    gold = [["happy"], ["angry"], ["sad"]]
    eea, epc, fcr = (value(name, said, gold) for name in ("eea", "epc", "fcr"))
    assert eea == pytest.approx(1 / 3)
    assert fcr == pytest.approx(1 / 3)
    assert fcr <= min(eea, epc)
    assert measure("fcr", said, gold).failures == 1
