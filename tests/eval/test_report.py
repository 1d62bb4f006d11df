"""From scored runs to a report; differences are paired and on shared clips."""

import json
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Answer
from affectllm.reports import scored
from eval.compare import Compare
from eval.compare import main as compare
from eval.report import Report
from eval.report import main as report
from eval.score import Options
from eval.score import main as score
from tests.clips import conversation

GOLD = [
    conversation(f"clip{i}", labels, split="test")
    for i, labels in enumerate([["happy"], ["sad"], ["angry", "sad"], ["neutral"]] * 5)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gold file and two scored runs: a perfect one, and one that says 'sad' to everything."""
    jsonl.write(tmp_path / "conversations.jsonl", GOLD)
    texts = {
        "oracle": [str(clip.messages[-1].content) for clip in GOLD],
        "sad": ["<script>alert(1)</script><think>It is sad.</think><answer>sad</answer>"] * len(GOLD),
    }
    for name, said in texts.items():
        answers = [
            Answer(id=clip.id, text=text, model=name, seconds=0, tokens=1, prompt_hash="p")
            for clip, text in zip(GOLD, said, strict=True)
        ]
        jsonl.write(tmp_path / name / "answers.jsonl", answers)
        score(
            Options(
                pred=str(tmp_path / name / "answers.jsonl"),
                gold=str(tmp_path / "conversations.jsonl"),
                out=tmp_path / name,
            )
        )
    return tmp_path


def test_the_report_holds_numbers_slices_and_examples(folder: Path) -> None:
    gold = folder / "conversations.jsonl"
    report(
        Report(runs=(f"sad={folder / 'sad'}", f"oracle={folder / 'oracle'}"), gold=gold, out=folder, note="Toy clips.")
    )
    results = json.loads((folder / "report.json").read_text("utf-8"))
    assert list(results) == ["sad", "oracle"]
    assert results["oracle"]["set_f1"]["value"] == pytest.approx(1.0)
    assert results["oracle"]["clue_face"] == pytest.approx(1.0)
    assert results["sad"]["set_f1"]["low"] <= results["sad"]["set_f1"]["value"] <= results["sad"]["set_f1"]["high"]
    assert {"set_f1", "clue_face", "clue_voice", "parse_failures", "labels_per_clip"} <= results["sad"].keys()
    page = (folder / "report.html").read_text("utf-8")
    assert "Toy clips." in page
    assert "oracle - sad" in page
    assert "several gold labels" in page
    # Answers are foreign text.
    assert "<script>" not in page
    assert "http" not in page
    assert "| oracle | 1.000 |" in (folder / "report.md").read_text("utf-8")
    assert r"\toprule" in (folder / "report.tex").read_text("utf-8")


def test_the_difference_is_paired(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(Compare(first=folder / "sad", second=folder / "oracle", json=True))
    found = json.loads(capsys.readouterr().out)
    one, two = (scored.read_run(name, folder / name) for name in ("sad", "oracle"))
    assert found["value"] == pytest.approx(two.results["set_f1"]["value"] - one.results["set_f1"]["value"])
    assert 0 < found["low"] <= found["value"] <= found["high"]
    compare(Compare(first=folder / "sad", second=folder / "sad", json=True))
    same = json.loads(capsys.readouterr().out)
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)


def test_only_shared_clips_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (folder / "sad" / "scores.jsonl").read_text().splitlines(keepends=True)
    (folder / "sad" / "scores.jsonl").write_text("".join(lines[:12]))
    compare(Compare(first=folder / "sad", second=folder / "oracle"))
    assert "n = 12\n8 clips are in one run only" in capsys.readouterr().out


def test_a_folder_that_was_not_scored_says_how(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="affectllm eval score --out"):
        scored.read_run("x", tmp_path)


def test_a_report_in_the_folder_of_its_run_keeps_the_scores(folder: Path) -> None:
    before = (folder / "sad" / "results.json").read_bytes()
    options = Report(runs=(str(folder / "sad"),), gold=folder / "conversations.jsonl", out=folder / "sad")
    report(options)
    first = (folder / "sad" / "report.json").read_bytes()
    report(options)
    assert (folder / "sad" / "results.json").read_bytes() == before
    assert (folder / "sad" / "report.json").read_bytes() == first


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ('{"metric": "ew", "value": 0.5}', "results.json holds the metric ew, not the summary of a run"),
        ('{"sft": {"set_f1": {"value": 1}}, "grpo": {"set_f1": {"value": 1}}}', "holds a report of sft, grpo, not"),
        ("{}", "results.json holds no summary of a run"),
        ("[]", "results.json holds no summary of a run"),
        ('{"set_f1": ', "results.json is not JSON"),
    ],
)
def test_results_of_another_kind_are_named(folder: Path, content: str, seen: str) -> None:
    (folder / "sad" / "results.json").write_text(content)
    with pytest.raises(AffectError, match=seen) as raised:
        scored.read_run("sad", folder / "sad")
    assert "affectllm eval score ANSWERS" in str(raised.value)


def test_a_report_is_refused_where_it_is_taken_for_results(folder: Path) -> None:
    report(Report(runs=(str(folder / "sad"),), gold=folder / "conversations.jsonl", out=folder))
    (folder / "report.json").replace(folder / "oracle" / "results.json")
    with pytest.raises(AffectError, match="holds a report of sad"):
        scored.read_run("oracle", folder / "oracle")
