"""Benchmarks made for language models: their questions, options and triggers become conversations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from affectllm.scores import registry
from affectllm.scores.engine.case import make_case
from affectllm.scores.engine.evaluate import evaluate
from affectllm.scores.engine.tables import read_table
from data_builders.eibench import EIBench
from data_builders.eibench import main as build_eibench
from data_builders.mme_emotion import MMEEmotion
from data_builders.mme_emotion import main as build_mme
from data_builders.mtmeur import MTMEUR
from data_builders.mtmeur import main as build_mtmeur
from data_builders.vecbench import VECBench
from data_builders.vecbench import main as build_vecbench


def build(
    main: Callable[[Any], None], options: type[Any], source: Path, out: Path, **more: Any
) -> tuple[list[Conversation], list[Rejected]]:
    main(options(source=source, out=out, **more))
    rows = list(jsonl.read(out / "conversations.jsonl", Conversation))
    return rows, list(jsonl.read(out / "rejected.jsonl", Rejected))


def question(row: Conversation, turn: int = 0) -> str:
    content = row.messages[turn].content
    assert not isinstance(content, str)
    return content[-1].text or ""


def write_tasks(root: Path, **tasks: list[Any]) -> Path:
    for name, items in tasks.items():
        folder = root / name.replace("_", "-") / "question"
        folder.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps(items))
    return root


def test_mme_emotion_asks_each_task_in_its_own_way(tmp_path: Path) -> None:
    source = write_tasks(
        tmp_path / "set",
        ER_Lab=[{"video_id": "A/1.mp4", "label": "Excited", "label_set": ["Excited", "Anger"]}],
        ML_ER=[{"video_id": "B/1.mp4", "label": "happy,fear", "label_set": ["happy", "fear", "sad"]}],
        FG_ER=[{"video_id": "C/1.mp4", "label": "Doubt/Confusion;Fear", "label_set": ["Fear", "Doubt/Confusion"]}],
        SA=[{"video_id": "A/1.mp4", "label": "negative", "label_set": ["neutral", "negative", "positive"]}],
        IR=[{"video_id": "D/1.mkv", "label": "wishing", "label_set": ["neutral", "wishing"]}],
    )
    rows, lost = build(build_mme, MMEEmotion, source, tmp_path / "out")
    found = {row.id: row for row in rows}
    assert lost == []
    assert list(found) == ["ER_Lab/A/1.mp4", "FG_ER/C/1.mp4", "ML_ER/B/1.mp4", "SA/A/1.mp4", "IR/D/1.mkv"]
    assert found["ER_Lab/A/1.mp4"].target.basic == "excited"
    assert found["ML_ER/B/1.mp4"].target.labels == ["happy", "fear"]
    assert question(found["ML_ER/B/1.mp4"]).startswith(
        "Which emotions does the person show? Choose all that fit: happy, fear, sad."
    )
    assert found["FG_ER/C/1.mp4"].target.labels == ["doubt/confusion", "fear"]
    assert found["SA/A/1.mp4"].target.sentiment == "negative"
    intention = found["IR/D/1.mkv"]
    assert (intention.target.basic, intention.target.labels) == ("wishing", [])
    assert "intention" in question(intention)
    assert {row.split for row in rows} == {"test"}
    (one,), _ = build(build_mme, MMEEmotion, source, tmp_path / "one", tasks=("SA",))
    assert one.task == "sentiment"


def test_mme_emotion_rejects_what_cannot_be_asked(tmp_path: Path) -> None:
    source = write_tasks(
        tmp_path / "set",
        ER_Wild=[
            {"video_id": "1.mp4", "label": "joy", "label_set": ["anger", "fear"]},
            {"video_id": "2.mp4", "label": "anger,fear", "label_set": ["anger", "fear"]},
            {"video_id": "3.mp4", "label": "anger"},
        ],
    )
    rows, lost = build(build_mme, MMEEmotion, source, tmp_path / "out")
    assert rows == []
    assert [row.reason.partition(":")[0] for row in lost] == [
        "the label 'joy' is none of those to choose from",
        "2 labels where one is asked for",
        "Object missing required field `label_set`",
    ]
    with pytest.raises(AffectError, match=r"none of SA\.json"):
        build(build_mme, MMEEmotion, source, tmp_path / "none", tasks=("SA",))


VIDEO = {
    "video_path": "4985235.mp4",
    "questions": [
        {"question": "How does he feel?", "options": {"A": "Calm", "B": "Tense"}, "correct_answer": "B"},
        {"question": "And she?", "options": {"A": "Bored", "B": "Glad"}, "correct_answer": "a"},
        {"question": "Who leaves?", "options": {"A": "He", "B": "She"}, "correct_answer": "E"},
    ],
}


def test_mtmeur_puts_each_question_behind_the_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([[VIDEO]]))
    (first, second), (lost,) = build(build_mtmeur, MTMEUR, tmp_path, tmp_path / "out")
    assert lost.reason == "the right answer 'E' is none of A, B"
    assert [message.role for message in second.messages] == ["user", "assistant"] * 2
    assert [message.content for message in second.messages[1::2]] == ["B", "A"]
    assert question(first).startswith("How does he feel?\nA. Calm\nB. Tense\n")
    kinds = [[part.type for part in message.content] for message in second.messages[::2]]  # type: ignore[union-attr]
    assert kinds == [["video", "audio", "text"], ["text"]]
    alone = build(build_mtmeur, MTMEUR, tmp_path, tmp_path / "alone", history=False)[0][1]
    assert [part.type for part in alone.messages[0].content] == ["video", "audio", "text"]  # type: ignore[union-attr]
    assert len(alone.messages) == 2


def test_built_questions_are_scored_by_letter(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([VIDEO]))
    build(build_mtmeur, MTMEUR, tmp_path, tmp_path / "out")
    said = [{"id": "4985235_q1", "text": "The answer is B."}, {"id": "4985235_q2", "text": "A person looks glad, so B"}]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    said_table, gold = (read_table(str(tmp_path / name)) for name in ("said.jsonl", "out/conversations.jsonl"))
    found = evaluate(registry.load("mcq"), make_case(said_table, gold, list(gold)))
    assert (found.value, found.random_baseline, found.n) == (0.5, 0.5, 2)


def test_eibench_reads_both_parts(tmp_path: Path) -> None:
    (tmp_path / "basic_ground_truth.json").write_text(
        json.dumps({"a/1.jpg": "1. Radiant smile.\n2. The guitar", "a/2.jpg": "1. Rain.", "a/3.jpg": "nothing"})
    )
    (tmp_path / "user.jsonl").write_text(json.dumps({"a/1.jpg": "Why is she glad?"}) + "\n")
    rows, lost = build(build_eibench, EIBench, tmp_path, tmp_path / "out", questions=tmp_path / "user.jsonl")
    assert [question(row) for row in rows] == [
        "Why is she glad?", "What may have caused the emotion in this image? List the causes, numbered.",
    ]  # fmt: skip
    assert rows[0].messages[1].content == "1. Radiant smile\n2. The guitar"
    assert [row.meta.defects for row in rows] == [[], ["no-question"]]
    assert lost[0].reason == "no numbered triggers"
    both = [{"a/1.jpg": {"Why glad?": "1. Sun."}}, {"a/1.jpg": {"Why scared?": "1. Chainsaw."}}]
    (tmp_path / "ec_complex.jsonl").write_text("".join(json.dumps(line) + "\n" for line in both))
    rows, _ = build(build_eibench, EIBench, tmp_path / "ec_complex.jsonl", tmp_path / "complex")
    assert [(row.id, question(row)) for row in rows] == [("a/1.jpg", "Why glad?"), ("a/1.jpg#2", "Why scared?")]


def test_vecbench_takes_the_image_from_the_conversation(tmp_path: Path) -> None:
    def line(task: str, truth: str, candidates: list[str], content: Any) -> dict[str, Any]:
        return {
            "task": task, "ground_truth": truth, "candidates": candidates,
            "conversations": [{"role": "user", "content": content}],
        }  # fmt: skip

    image = [{"type": "image", "image": "FI/1.jpg"}, {"type": "text", "text": "Which?"}]
    lines = [
        line("FI-8", "Awe", ["Awe", "Fear"], image),
        line("FI-2", "positive", ["positive", "negative"], image),
        line("FI-8", "joy", ["awe", "fear"], image),
        line("FI-8", "awe", ["awe", "fear"], "Which?"),
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    rows, lost = build(build_vecbench, VECBench, tmp_path, tmp_path / "out")
    assert [(row.id, row.task, row.media.image) for row in rows] == [
        ("FI-8/1", "basic", "FI/1.jpg"), ("FI-2/1", "sentiment", "FI/1.jpg"),
    ]  # fmt: skip
    assert rows[0].target.basic == "awe"
    assert [row.reason for row in lost] == [
        "the label 'joy' is none of those to choose from", "no image in 'conversations'",
    ]  # fmt: skip
