"""One place decides how a question is put."""

import json

import pytest

from affectllm.prompts import compose, families
from affectllm.records import Annotation, Clip, Clues, Meta, Part, Target, Turn


def annotation(**changes: object) -> Annotation:
    target = Target(
        labels=["happy", "relieved"], basic="joy", sentiment="positive", valence=0.5, description="She beams.",
        clues=Clues(visual=["a wide smile"], audio=["bright"]),
    )  # fmt: skip
    base = {"id": "clip1", "dataset": "toy", "split": "train", "media": Clip(video="clip1.mp4"), "language": "en"}
    return Annotation(**{**base, "target": target, "meta": Meta(licence="CC0-1.0"), **changes})  # type: ignore[arg-type]


def text_of(row: Annotation, **options: object) -> str:
    content = compose(row, **{"task": "labels", "mode": "labels", "seed": 1, **options}).messages[0].content  # type: ignore[arg-type]
    assert isinstance(content, list)
    return str(content[-1].text)


@pytest.mark.parametrize(
    ("task", "mode", "answer"),
    [
        ("labels", "labels", "happy, relieved"),
        ("labels", "think", "<think>She beams.</think>\n<answer>happy, relieved</answer>"),
        ("describe", "describe", "She beams."),
        ("basic", "labels", "joy"),
        ("sentiment", "labels", "positive"),
        ("valence", "labels", "0.50"),
    ],
)
def test_answers_by_task_and_mode(task: str, mode: str, answer: str) -> None:
    row = compose(annotation(), task=task, mode=mode, seed=1, candidates=("joy", "anger"))  # type: ignore[arg-type]
    assert row.messages[-1].content == answer


def test_json_answers_are_json() -> None:
    row = compose(annotation(), task="labels", mode="json", seed=1)
    assert json.loads(str(row.messages[-1].content))["clues"]["visual"] == ["a wide smile"]


def test_media_parts_come_first_and_in_order() -> None:
    content = compose(annotation(), task="labels", mode="labels", seed=1).messages[0].content
    assert [part.type for part in content if isinstance(part, Part)] == ["video", "audio", "text"]


def test_the_wording_depends_on_seed_and_id_alone() -> None:
    assert text_of(annotation()) == text_of(annotation(target=Target(labels=["sad"])))
    wordings = {text_of(annotation(id=f"clip{i}")) for i in range(30)}
    assert len(wordings) == len(families()["tasks"]["labels"]["en"])


def test_context_subtitle_and_person_precede_the_question() -> None:
    row = annotation(context=[Turn(speaker="Bob", text="Well?")], subtitle="I won!", person="Ann")
    lines = text_of(row).splitlines()
    assert lines[:3] == ["Earlier: Bob: Well?", "Subtitle: I won!", "The question is about Ann."]


def test_chinese_clips_are_asked_in_chinese() -> None:
    assert "情绪" in text_of(annotation(language="zh"))
    assert "emotion" in text_of(annotation(language="sw"))


def test_an_annotation_without_the_answer_has_no_assistant_turn() -> None:
    row = compose(annotation(target=Target()), task="labels", mode="think", seed=1)
    assert [message.role for message in row.messages] == ["user"]
