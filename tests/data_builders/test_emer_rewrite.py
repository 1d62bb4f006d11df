"""HumanOmniV2's items: options become labels, and what does not agree is named or rejected."""

import json
from pathlib import Path
from typing import Any

from affectllm import jsonl
from affectllm.records import Conversation, Rejected
from data_builders.emer_rewrite import EmerRewrite, main

ITEM: dict[str, Any] = {
    "problem": "What does he show?",
    "problem_type": "emer_ov_mc",
    "options": ["A. Urgent", "B. Self-Pity", "C. Calm"],
    "solution": "<context>He sits.</context><think>His voice breaks.</think><answer>B,A</answer>",
    "answer": "B,A",
    "data_type": "video",
    "clean_list": ["Urgent", "Self-Pity"],
    "video": "MER24/sample_1.mp4",
    "path": "MER24/sample_1.mp4",
}


def build(tmp_path: Path, *items: Any, **options: Any) -> tuple[list[Conversation], list[Rejected], dict[str, Any]]:
    (tmp_path / "emer_rewrite.json").write_text(json.dumps(items))
    main(EmerRewrite(source=tmp_path, out=tmp_path / "out", **options))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    lost = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    return rows, lost, json.loads((tmp_path / "out" / "manifest.json").read_text())


def test_options_become_labels_and_the_question_stays(tmp_path: Path) -> None:
    (row, again), _, manifest = build(tmp_path, ITEM, ITEM | {"clean_list": ["Calm"]})
    assert (row.id, again.id) == ("sample_1", "sample_1_2")
    assert row.media.video == "MER24/sample_1.mp4"
    assert row.target.labels == ["self-pity", "urgent"]
    question = row.messages[0].content[-1]
    assert not isinstance(question, str)
    assert question.text is not None
    assert question.text.startswith("What does he show? Choose all that fit: urgent, self-pity, calm.")
    assert row.messages[1].content == (
        "<think>He sits.\nHis voice breaks.</think>\n<answer>self-pity, urgent</answer>"
    )  # fmt: skip
    assert manifest["defects"] == {"answer-differs-from-list": ["sample_1_2"]}


def test_what_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path) -> None:
    bad = [
        ITEM | {"answer": "F"},
        ITEM | {"options": ["Urgent"]},
        ITEM | {"solution": "He sits."},
        ITEM | {"problem_type": "other"},
        "words",
    ]
    rows, lost, _ = build(tmp_path, *bad)
    assert rows == []
    reasons = ["the answer 'F'", "an option", "the solution", "field 'problem_type'", "Expected `object`"]
    assert all(row.reason.startswith(reason) for row, reason in zip(lost, reasons, strict=True))


def test_clips_that_are_tested_on_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("name,openset\nsample_1,[sad]\n")
    rows, (lost,), _ = build(tmp_path, ITEM, exclude=(tmp_path / "test.csv",))
    assert rows == []
    assert lost.reason == "also in a file given with --exclude"


def test_the_real_items(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "humanomni_emer_rewrite" / "emer_rewrite.head10.json"
    main(EmerRewrite(source=source, out=tmp_path / "out"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    assert len(rows) == 10
    assert rows[0].target.labels == ["happy", "relaxed"]
