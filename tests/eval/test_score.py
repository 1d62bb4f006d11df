"""`affectllm eval score` and `eval baseline` on toy files, on bad ones, and against published numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectllm import jsonl
from affectllm.commands.cli import main
from affectllm.records import Answer, Clues, Conversation, Message, Meta, Score, Target
from tests.vocabulary.mertools_assets import write_tables

GOLD = "name,openset\na,\"['happy', 'glad']\"\nb,['sad']\n"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as left:
        main(["eval", *map(str, words)])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def score(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, "score", *words, "--json")
    assert code == 0, err
    return json.loads(out)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def box(value: object) -> Any:
    found = np.empty((), object)
    found[()] = value
    return found


def test_every_key_that_makes_a_number_believable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.csv", GOLD)
    found = score(capsys, gold, "--gold", gold, "--metric", "ew", "--out", tmp_path / "out")
    assert (found["value"], found["low"], found["high"], found["n"]) == (1.0, 1.0, 1.0, 2)
    assert {"metric", "protocol", "precision", "recall", "skipped", "parse_failures", "per_wheel"} <= set(found)
    assert found["labels_per_clip"] == 1.5
    assert 0 < found["constant_baseline"]["value"] < 1
    assert len(found["wheels_hash"]) == 16
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


@pytest.mark.parametrize("kind", ["openset.npz", "reason.npz", "labels.jsonl", "text.jsonl", "reason.csv"])
def test_all_kinds_of_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    gold, path = write(tmp_path / "gold.csv", GOLD), tmp_path / kind
    reasons = {"a": "The character's emotional state is happy, glad.", "b": "The character's emotional state is sad."}
    if kind == "openset.npz":
        np.savez(path, filenames=["a", "b"], fileitems=["[happy, glad]", "[sad]"])
    elif kind == "reason.npz":
        np.savez(path, name2reason=box(reasons))
    elif kind == "labels.jsonl":
        write(path, '{"id": "a", "labels": ["happy", "glad"]}\n{"id": "b", "labels": ["sad"]}\n')
    elif kind == "text.jsonl":
        write(path, '{"id": "a", "text": "Happy, glad"}\n{"id": "b", "text": "Sad."}\n')
    else:
        write(path, "name,reason\n" + "".join(f'{name},"{text}"\n' for name, text in reasons.items()))
    found = score(capsys, path, "--gold", gold, "--metric", "ew")
    assert (found["value"], found["parse_failures"]) == (1.0, 0)


def test_a_corpus_inside_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "meld-process"
    folder.mkdir()
    np.savez(folder / "label.npz", test_corpus=box({"a": {"emo": 1, "val": -10}, "b": {"emo": 3, "val": -10}}))
    pred = write(tmp_path / "pred.jsonl", '{"id": "a", "labels": ["joy"]}\n{"id": "b", "labels": ["anger"]}\n')
    found = score(capsys, pred, "--gold", f"{folder / 'label.npz'}:test_corpus", "--metric", "war")
    assert (found["value"], found["n"]) == (0.5, 2)
    code, _, err = run(capsys, "score", pred, "--gold", folder / "label.npz", "--metric", "war")
    assert code == 2
    assert "label.npz:test_corpus" in err


def test_a_gold_clip_without_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.csv", GOLD)
    pred = write(tmp_path / "pred.jsonl", '{"id": "a", "labels": ["happy"]}\n{"id": "z", "labels": ["sad"]}\n')
    code, _, err = run(capsys, "score", pred, "--gold", gold, "--metric", "ew")
    assert code == 2
    assert "1 of 2 gold clips have no prediction, e.g. b" in err
    found = score(capsys, pred, "--gold", gold, "--metric", "ew", "--only-predicted")
    assert (found["n"], found["skipped"]) == (1, {"no prediction": 1})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", '{"id": "a", "labels": []}\n{"id": "a", "labels": []}\n', "'a' occurs twice"),
        ("p.jsonl", '{"id": "a", "emotion": []}\n', "labels, text"),
        # What another metric reads is no answer to this one.
        ("p.jsonl", '{"id": "a", "choice": "B"}\n', "labels, text"),
        ("p.jsonl", '{"labels": ["sad"]}\n', "has no id"),
        ("p.csv", "name,mood\na,sad\n", "openset"),
        ("p.csv", "name,valence\na,nan\n", "is nan"),
        ("p.csv", "name,valence\na,much\n", "not a number"),
        ("p.csv", "name,openset\n", "no rows"),
        ("p.txt", "a", "no known kind"),
        ("p.npz", "PK half", "not a whole"),
        ("p.jsonl", '{"id": "other", "labels": []}\n', "have no prediction"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    gold, pred = write(tmp_path / "gold.csv", GOLD), write(tmp_path / name, text)
    code, _, err = run(capsys, "score", pred, "--gold", gold, "--metric", "ew")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_unknown_names_are_answered_with_the_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.csv", GOLD)
    assert "hit_rate" in run(capsys, "score", gold, "--gold", gold, "--metric", "f2")[2]
    assert "--metric" in run(capsys, "score", gold, "--gold", gold)[2]
    assert "needs one gold label" in run(capsys, "score", gold, "--gold", gold, "--metric", "hit_rate")[2]
    err = run(capsys, "score", gold, "--gold", gold, "--metric", "ew", "--protocol", "mer2025")[2]
    assert "--assets" in err


def test_an_undefined_number_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.csv", "name,openset\na,[happy]\n")
    pred = write(tmp_path / "pred.csv", "name,openset\na,[sad]\n")
    assets = write_tables(tmp_path / "assets")
    found = score(capsys, pred, "--gold", gold, "--metric", "ew", "--protocol", "mer2025", "--assets", assets)
    assert found["value"] is None
    assert found["precision"] == 0


def clip(name: str, split: str, labels: list[str], clues: Clues | None = None) -> Conversation:
    return Conversation(
        id=name,
        dataset="toy",
        split=split,
        target=Target(labels=labels, clues=clues),
        meta=Meta(licence="none"),
        messages=[Message(role="user", content="?")],
        task="labels",
    )


def answer(name: str, text: str, error: str | None = None) -> Answer:
    return Answer(id=name, text=text, model="toy", seconds=0, tokens=0, prompt_hash="", error=error)


def test_the_summary_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [
        clip("a", "test", ["happy"], Clues(visual=["a wide smile"])),
        clip("b", "test", ["sad"]),
        clip("c", "test", []),
        clip("d", "train", ["angry"]),
    ]
    said = [
        answer("a", "<think>She has a wide smile.</think><answer>happy</answer>"),
        answer("b", "", "unreadable clip"),
        answer("c", "happy"),
    ]
    jsonl.write(tmp_path / "gold.jsonl", clips)
    jsonl.write(tmp_path / "answers.jsonl", said)
    words = (tmp_path / "answers.jsonl", "--gold", tmp_path / "gold.jsonl", "--split", "test", "--out", tmp_path)
    found = score(capsys, *words)
    assert (found["set_f1"]["value"], found["precision"]["value"], found["n"]) == (0.5, 0.5, 2)
    assert found["clue_face"]["value"] == 1.0
    assert "clue_voice" not in found or found["clue_voice"] is None
    assert (found["parse_failures"], found["errors"]) == (1, 1)
    assert found["skipped"] == {"no gold label": 1}
    first, second, third = jsonl.read(tmp_path / "scores.jsonl", Score)
    assert (first.hits, first.values["set_f1"]) == (["happy"], 1.0)
    assert (second.misses, second.status) == (["sad"], "failed")
    assert third.skipped == "no gold label"
    assert "set_f1" in run(capsys, "score", *words)[1]


def test_the_constant_answer_of_the_training_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [clip(f"t{i}", "train", ["angry"]) for i in range(3)] + [clip("x", "test", ["happy"])]
    jsonl.write(tmp_path / "gold.jsonl", clips)
    words = ("--train", tmp_path / "gold.jsonl", "--gold", tmp_path / "gold.jsonl", "--out", tmp_path / "c")
    assert run(capsys, "baseline", *words)[0] == 0
    (only,) = jsonl.read(tmp_path / "c" / "answers.jsonl", Answer)
    assert (only.id, only.text, only.model) == ("x", "angry", "constant")
    assert "Splits there: test, train" in run(capsys, "baseline", *words, "--split", "dev")[2]


def test_affectgpt_on_meld_scores_as_published(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pred,) = (shared_data / "affectgpt_unibench" / "results-meld").glob("*-openset.npz")
    labels = shared_data / "merbench_labels" / "meld-process" / "label.npz"
    found = score(
        capsys,
        *(pred, "--gold", f"{labels}:test_corpus", "--protocol", "unibench", "--metric", "hit_rate"),
        *("--assets", shared_data / "emotion_wheel" / "mer2025"),
    )
    assert round(100 * found["value"], 2) == 55.65
    assert [wheel["n"] for wheel in found["per_wheel"].values()] == [1354, 1354, 1286, 1354, 1005]
    # Published: naming the basic words scores 100.
    assert found["constant_baseline"]["value"] == 1.0


def test_affectgpt_on_sims_scores_as_published(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pred,) = (shared_data / "affectgpt_unibench" / "results-sims").glob("*-openset-sentiment.npz")
    labels = shared_data / "merbench_labels" / "sims-process" / "label.npz"
    gold = f"{labels}:test_corpus"
    found = score(capsys, pred, "--gold", gold, "--protocol", "unibench", "--metric", "sentiment")
    assert round(100 * found["value"], 2) == 88.49
    assert (found["n"], found["skipped"]) == (388, {"gold sentiment is 0": 69})
