"""Every metric of `eval score`: its family's own score, inside its interval, beside what a blind answer gets."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from affectllm import vocabulary
from affectllm.commands.cli import main
from affectllm.errors import AffectError
from affectllm.scores import (
    calibration,
    cause,
    conflict,
    consistency,
    dimensional,
    metrics,
    multi_label,
    preference,
    sentiment,
    soft_labels,
)
from affectllm.scores import open_vocabulary as ov
from affectllm.scores.tables import Row

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


def case(clips: int = CLIPS, suffix: bool = False, **options: Any) -> metrics.Case:
    names = [f"c{i}" for i in range(clips)]
    if suffix:
        names = [f"c{i // 2}{'_swap' * (i % 2)}" for i in range(clips)]
    said = {name: said_row(i) for i, name in enumerate(names)}
    gold = {name: gold_row(i) for i, name in enumerate(names)}
    return metrics.make_case(said, gold, names, wheels=vocabulary.load(), **options)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_number_its_interval_and_its_baseline(name: str) -> None:
    found = metrics.evaluate(metrics.METRICS[name], case(suffix=name == "swap_consistency"))
    assert np.isfinite(found.value)
    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert 0 < found.n <= 2 * CLIPS
    # Ratings have no blind answer, a constant explanation is none, and Pearson's r of a constant is undefined.
    without = name.startswith("step_") or name in ("trigger_recall", "eea", "epc", "fcr", "label_overlap")
    assert without or name.endswith("corr") or found.constant_baseline is not None


def value(name: str) -> float:
    return metrics.evaluate(metrics.METRICS[name], case()).value


def test_the_metric_is_its_familys_score() -> None:
    it = case()
    said, gold = it.said, it.gold
    sets = multi_label.score(said, gold, ["happy", "sad"])
    assert (value("multi_micro_f1"), value("multi_hamming")) == (
        pytest.approx(sets.micro_f1),
        pytest.approx(sets.hamming),
    )
    numbers = [row.value or 0.0 for row in it.said_rows], [row.value or 0.0 for row in it.gold_rows]
    strengths = sentiment.regression(*numbers)
    assert value("acc2") == pytest.approx(strengths.acc2_positive)
    assert value("f1_nonnegative") == pytest.approx(strengths.f1_nonnegative)
    assert (value("acc7"), value("mae")) == (pytest.approx(strengths.acc7), pytest.approx(strengths.mae))
    assert value("ccc") == pytest.approx(dimensional.score(*numbers).ccc)
    vad = dimensional.vad(*[[row.cells["vad"] for row in rows] for rows in (it.said_rows, it.gold_rows)])
    assert value("dominance_mae") == pytest.approx(vad["dominance"].mae)
    tags = [row.cells["tag"] for row in it.gold_rows]
    f1s = [ov.f1(a, b, it.on) for a, b in zip(said, gold, strict=True)]
    assert value("conflict_gap") == pytest.approx(conflict.score(f1s, tags).gap)
    choices = [[row.cells["preference"] for row in rows] for rows in (it.said_rows, it.gold_rows)]
    assert value("preference_waf_mer2026") == pytest.approx(preference.score(choices[0], choices[1], "mer2026").waf)
    pairs = [
        {name: [tuple(pair) for pair in row.cells["pairs"]] for name, row in zip(it.ids, rows, strict=True)}
        for rows in (it.said_rows, it.gold_rows)
    ]
    assert value("cause_weighted_f1") == pytest.approx(cause.score(*pairs).weighted_f1)
    thought = [[label for label in WORDS if label in (parsed.reasoning or "")] for parsed in it.parsed]
    assert value("fcr") == pytest.approx(consistency.score(thought, said, gold, it.on).fcr)
    confidence = [parsed.confidence or 0.0 for parsed in it.parsed]
    right = [float(a == b) for a, b in zip(said, gold, strict=True)]
    assert value("aurc") == pytest.approx(calibration.score(confidence, right).aurc)


def test_raters_have_a_ceiling_and_unknown_labels_cost() -> None:
    found = metrics.evaluate(metrics.METRICS["soft_f1"], case())
    raters = [row.cells["raters"] for row in case().gold_rows]
    assert found.ceiling == pytest.approx(soft_labels.rater_ceiling(raters, sorted(WORDS)).soft_f1)
    rows = {"a": Row(labels=["blorp"])}, {"a": Row(cells={"distribution": {"happy": 1.0}})}
    spoiled = metrics.make_case(*rows, ["a"])
    assert metrics.METRICS["soft_f1"](spoiled).drawn(np.ones((1, 1)))[0] == 0.0


def test_pairs_are_read_from_answers_too() -> None:
    gold = {name: Row(cells={"pairs": [[1, "joy", 1]]}) for name in "abc"}
    said = {"a": Row(text="1 joy 1; 2 anger 1"), "b": Row(text="I do not know."), "c": Row(text="none")}
    found = metrics.evaluate(metrics.METRICS["cause_micro_f1"], metrics.make_case(said, gold, list("abc")))
    assert (found.value, found.parse_failures) == (pytest.approx(2 * 1 / (2 + 3)), 1)


def test_clues_stand_beside_the_floor_of_other_clips() -> None:
    found = metrics.evaluate(metrics.METRICS["clue_visual"], case())
    assert found.random_baseline is not None
    assert 0 < found.value < 0.5
    assert found.n == CLIPS
    assert metrics.evaluate(metrics.METRICS["clue_audio"], case()).n == CLIPS // 2


def test_dialogues_are_drawn_whole() -> None:
    it = case()
    plain = metrics.evaluate(metrics.METRICS["war"], it)
    groups = it.clusters("dialogue")
    assert len(set(groups)) == 6
    clustered = metrics.evaluate(metrics.METRICS["war"], it, groups)
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
        metrics.METRICS[name](metrics.make_case({"a": row}, {"a": row}, ["a"], wheels=vocabulary.load()))


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
    found = metrics.evaluate(metrics.METRICS["multi_hamming"], case())
    assert found.constant_baseline is not None
    assert found.constants is not None
    assert found.constant_baseline["value"] == min(it["value"] for it in found.constants)
