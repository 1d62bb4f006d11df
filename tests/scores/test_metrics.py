"""Every metric of `eval score`: its number inside its interval, and what a blind answer gets."""

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from affectllm import vocabulary
from affectllm.commands.cli import main
from affectllm.errors import AffectError
from affectllm.scores import registry
from affectllm.scores.engine.case import Case, make_case
from affectllm.scores.engine.evaluate import Result, evaluate
from affectllm.scores.engine.tables import Row
from affectllm.scores.engine.uncertainty import value_of_sums
from affectllm.scores.families import soft_labels

WORDS = ("happy", "sad", "angry")
TEXT = "<think>She has {2} and looks {0}.</think><answer>{3} (confidence: 0.{1})</answer>"
CLUES = {"visual": ["a wide smile"], "audio": ["a bright voice"], "text": ["the word great"]}
CLIPS = 60


def said_row(i: int) -> Row:
    random = Random(i)
    word, thought = random.choice(WORDS), random.choice(WORDS)
    cells = {
        "vad": [random.random(), random.random(), random.random()],
        "pairs": [[1, word, 1], [2, "sad", random.randint(1, 2)]],
        "choice": random.choice("ABC"),
        "truth": random.random() > 0.3,
        "preference": random.choice(["a1", "a2", "same"]),
        "scores": {"happy": random.random(), "sad": random.random()},
        "recognition": random.random(),
        "steps": [True, random.random() > 0.5],
        "rating": f"{random.randint(0, 4)}/4",
    }
    clue = random.choice(["a wide smile", "a bright voice", "the word great"])
    text = TEXT.format(thought, random.randint(1, 9), clue, word)
    return Row(labels=[word], text=text, value=round(random.gauss(0, 2), 2), cells=cells)


def gold_row(i: int) -> Row:
    random = Random(-i - 1)
    cells = {
        "vad": [random.random(), random.random(), random.random()],
        "pairs": [[1, random.choice(WORDS), 1], [2, "sad", 1]],
        "choice": random.choice("AB"),
        "options": 4,
        "truth": random.choice(["true", "false"]),
        "preference": random.choice(["a1", "a2", "same"]),
        "raters": [["happy"], ["happy", "sad"], [random.choice(WORDS)]],
        "clues": CLUES if i % 2 else {"visual": ["a deep frown"], "audio": [], "text": []},
        "tag": ["video", "audio", "consistent"][i % 3],
        "dialogue": f"d{i // 10}",
    }
    return Row(labels=[random.choice(WORDS[:2])], value=float(random.randint(-3, 3)), cells=cells)


def case(clips: int = CLIPS, suffix: bool = False, **options: Any) -> Case:
    names = [f"c{i}" for i in range(clips)]
    if suffix:
        names = [f"c{i // 2}{'_swap' * (i % 2)}" for i in range(clips)]
    said = {name: said_row(i) for i, name in enumerate(names)}
    gold = {name: gold_row(i) for i, name in enumerate(names)}
    return make_case(said, gold, names, wheels=vocabulary.load(), **options)


@cache
def result(name: str) -> Result:
    return evaluate(registry.load(name), case(suffix=name == "swap_consistency"))


@pytest.mark.parametrize("name", registry.known())
def test_a_number_its_interval_and_its_baseline(name: str) -> None:
    found = result(name)
    assert np.isfinite(found.value)
    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert 0 < found.n <= 2 * CLIPS
    # Ratings have no blind answer, a constant explanation is none, and Pearson's r of a constant is undefined.
    without = name.startswith("step_") or name in ("trigger_recall", "eea", "epc", "fcr", "label_overlap")
    assert without or name.endswith("corr") or found.constant_baseline is not None


# Value and interval of `case()`.
NUMBERS = {
    "ece": (0.366667, 0.286625, 0.500000),
    "ece_equal_mass": (0.366667, 0.291667, 0.496667),
    "brier": (0.354667, 0.285829, 0.424167),
    "auroc": (0.431677, 0.269999, 0.598770),
    "aurc": (0.804030, 0.667501, 0.918501),
    "cause_weighted_f1": (0.421607, 0.338930, 0.503592),
    "cause_micro_f1": (0.416667, 0.333333, 0.500000),
    "mcq": (0.283333, 0.166667, 0.400000),
    "statements": (0.500000, 0.366667, 0.633333),
    "statements_balanced": (0.513393, 0.394726, 0.630090),
    "trigger_recall": (0.537500, 0.450000, 0.625000),
    "war": (0.233333, 0.133333, 0.350000),
    "uar": (0.223982, 0.124559, 0.331484),
    "waf": (0.283001, 0.159743, 0.405450),
    "macro_f1": (0.271595, 0.152885, 0.387433),
    "clue_visual": (0.066667, 0.016667, 0.133333),
    "clue_audio": (0.500000, 0.321429, 0.678571),
    "clue_text": (0.366667, 0.194444, 0.541667),
    "clue_precision": (0.318519, 0.237037, 0.400000),
    "clue_recall": (0.166667, 0.122222, 0.211111),
    "clue_f1": (0.217989, 0.161905, 0.273016),
    "conflict_video": (0.150000, 0.000000, 0.333333),
    "conflict_audio": (0.300000, 0.105263, 0.500000),
    "conflict_consistent": (0.250000, 0.062500, 0.450000),
    "conflict_gap": (0.025000, -0.196684, 0.255559),
    "conflict_preference": (-0.150000, -0.409091, 0.111905),
    "eea": (0.366667, 0.250000, 0.483333),
    "epc": (0.266667, 0.166667, 0.383333),
    "fcr": (0.083333, 0.016667, 0.166667),
    "label_overlap": (0.266667, 0.166667, 0.383333),
    "mae": (2.658833, 2.206333, 3.105667),
    "corr": (-0.092783, -0.302333, 0.127908),
    "ccc": (-0.091714, -0.293257, 0.124474),
    "ordinal_accuracy": (0.116667, 0.050000, 0.200000),
    "ordinal_within_1": (0.300000, 0.183333, 0.416667),
    "valence_ccc": (0.064957, -0.193444, 0.309979),
    "valence_corr": (0.065078, -0.197175, 0.316491),
    "valence_mae": (0.306899, 0.250744, 0.364203),
    "arousal_ccc": (0.112937, -0.142920, 0.346767),
    "arousal_corr": (0.113386, -0.147615, 0.354485),
    "arousal_mae": (0.320230, 0.268592, 0.376814),
    "dominance_ccc": (0.051315, -0.187613, 0.275979),
    "dominance_corr": (0.051862, -0.190991, 0.287541),
    "dominance_mae": (0.361727, 0.311601, 0.413559),
    "multi_micro_f1": (0.233333, 0.133333, 0.350000),
    "multi_macro_f1": (0.271595, 0.152885, 0.387433),
    "multi_sample_f1": (0.233333, 0.133333, 0.350000),
    "multi_jaccard": (0.233333, 0.133333, 0.350000),
    "multi_hamming": (0.766667, 0.650000, 0.866667),
    "multi_exact": (0.233333, 0.133333, 0.350000),
    "map": (0.552429, 0.489039, 0.657596),
    "preference_waf": (0.484516, 0.315828, 0.639561),
    "preference_accuracy": (0.400000, 0.250000, 0.552632),
    "preference_waf_mer2026": (0.565556, 0.401059, 0.721012),
    "preference_accuracy_mer2026": (0.575000, 0.421010, 0.725000),
    "swap_consistency": (0.433333, 0.258065, 0.617647),
    "sentiment": (0.527898, 0.395366, 0.660377),
    "acc2": (0.527273, 0.396226, 0.660377),
    "acc2_nonnegative": (0.550000, 0.416667, 0.683333),
    "f1": (0.527898, 0.395366, 0.660377),
    "f1_nonnegative": (0.553147, 0.429306, 0.682540),
    "acc3": (0.383333, 0.266667, 0.516667),
    "acc5": (0.200000, 0.100000, 0.316667),
    "acc7": (0.116667, 0.050000, 0.200000),
    "js": (0.519649, 0.455706, 0.588521),
    "kl": (25.673633, 23.839222, 27.624635),
    "soft_f1": (0.325000, 0.277708, 0.372222),
    "step_recognition": (0.403805, 0.331350, 0.476848),
    "step_reasoning": (0.750000, 0.683333, 0.808333),
    "step_cot": (0.576902, 0.533296, 0.621086),
    "ew": (0.233333, 0.133333, 0.350000),
    "hit_rate": (0.233333, 0.133333, 0.350000),
    "mscore": (0.233333, 0.133333, 0.350000),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_numbers_stay(name: str) -> None:
    found = result(name)
    assert (found.value, found.low, found.high) == pytest.approx(NUMBERS[name], abs=1e-6)


def test_raters_have_a_ceiling_and_unknown_labels_cost() -> None:
    found = evaluate(registry.load("soft_f1"), case())
    raters = [row.cells["raters"] for row in case().gold_rows]
    assert found.ceiling == pytest.approx(
        value_of_sums(soft_labels.rater_columns(raters, sorted(WORDS)), soft_labels.mean_overlap)
    )
    rows = {"a": Row(labels=["blorp"])}, {"a": Row(cells={"distribution": {"happy": 1.0}})}
    spoiled = make_case(*rows, ["a"])
    assert registry.load("soft_f1")(spoiled).drawn(np.ones((1, 1)))[0] == 0.0


def test_pairs_are_read_from_answers_too() -> None:
    gold = {name: Row(cells={"pairs": [[1, "joy", 1]]}) for name in "abc"}
    said = {"a": Row(text="1 joy 1; 2 anger 1"), "b": Row(text="I do not know."), "c": Row(text="none")}
    found = evaluate(registry.load("cause_micro_f1"), make_case(said, gold, list("abc")))
    assert (found.value, found.parse_failures) == (pytest.approx(2 * 1 / (2 + 3)), 1)


def test_clues_have_a_floor_from_other_clips() -> None:
    found = evaluate(registry.load("clue_visual"), case())
    assert found.random_baseline is not None
    assert 0 < found.value < 0.5
    assert found.n == CLIPS
    assert evaluate(registry.load("clue_audio"), case()).n == CLIPS // 2


def test_dialogues_are_drawn_whole() -> None:
    it = case()
    plain = evaluate(registry.load("war"), it)
    groups = it.clusters("dialogue")
    assert len(set(groups)) == 6
    clustered = evaluate(registry.load("war"), it, groups)
    assert (clustered.value, clustered.n) == (plain.value, plain.n)
    assert (clustered.low, clustered.high) != (plain.low, plain.high)
    assert it.clusters(r"^c(\d)")[:11] == [*"0123456789", "1"]
    with pytest.raises(AffectError, match="does not match the id 'c0'"):
        it.clusters("^(dia)")
    with pytest.raises(AffectError, match="No 'speaker' in gold clip 'c0'"):
        it.clusters("speaker")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mcq", "No 'choice' in gold clip 'a'"),
        ("conflict_gap", "No 'tag' in gold clip 'a'"),
        ("cause_micro_f1", "No 'pairs' in gold clip 'a'"),
        ("clue_f1", "No gold clip has clues"),
        ("soft_f1", "neither raters nor a distribution"),
        ("ece", "None of the 1 answers states a confidence"),
        ("valence_ccc", "neither vad nor valence"),
        ("mae", "needs a gold valence or sentiment"),
        ("swap_consistency", "X and X_swap"),
        ("trigger_recall", "None of the 1 rows holds a rating"),
        ("map", "No 'scores' in prediction 'a'"),
    ],
)
def test_what_a_metric_lacks_is_named(name: str, message: str) -> None:
    row = Row(labels=["happy"], text="happy")
    with pytest.raises(AffectError, match=message):
        registry.load(name)(make_case({"a": row}, {"a": row}, ["a"], wheels=vocabulary.load()))


def test_two_models_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"dia{i // 4}_utt{i % 4}", WORDS[i % 3]) for i in range(24)]
    for name, right in (("gold", 24), ("good", 20), ("poor", 8)):
        lines = [{"id": id_, "labels": [word if i < right else "calm"]} for i, (id_, word) in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["score", "good.jsonl", "--gold", "gold.jsonl", "--against", "poor.jsonl", "--metric", "war"]
    paths = [str(tmp_path / word) if word.endswith("jsonl") else word for word in words]
    with pytest.raises(SystemExit) as left:
        main(["eval", *paths, "--cluster", "^(.+)_utt", "--json"])
    assert left.value.code in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert found["value"] == pytest.approx(20 / 24)
    assert found["difference"]["value"] == pytest.approx(12 / 24)
    assert found["difference"]["low"] > 0
    assert found["clusters"] == 6


def test_the_best_constant_of_a_loss_is_the_lowest() -> None:
    found = evaluate(registry.load("multi_hamming"), case())
    assert found.constant_baseline is not None
    assert found.constants is not None
    assert found.constant_baseline["value"] == min(it["value"] for it in found.constants)
