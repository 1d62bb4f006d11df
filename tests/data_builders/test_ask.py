"""The same annotations asked in another way: wordings, answers, what is hidden, and what the raters' labels become."""

import json
from pathlib import Path
from typing import Any

import pytest

from affectllm import building, jsonl
from affectllm.answers import read_distribution, read_numbers
from affectllm.data_builders import ask
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.prompts import compose, families
from affectllm.records import Annotation, Clip, Clues, Conversation, Meta, Rejected, Target, Turn
from affectllm.training.collator import IGNORED, ConversationCollator
from tests.clips import write_clip
from tests.tiny_models import save_tiny_affect

CLUES = Clues(visual=["a wide smile", "bright eyes"], audio=["warm"], text=["thank him"])


def row(name: str, text: str | None = "Hello there.", split: str = "train", **more: Any) -> Conversation:
    target = more.pop("target", Target(labels=["joy"], basic="joy"))
    fields = {"language": "en", "media": Clip(video=f"{name}.mp4"), "meta": Meta(licence="CC0-1.0"), **more}
    asked = Annotation(id=name, dataset="toy", split=split, subtitle=text, target=target, **fields)
    return compose(asked, "labels", "labels", 7)


def asked(folder: Path, rows: list[Conversation], *words: str) -> tuple[list[Conversation], list[Rejected]]:
    building.write(folder / "data", rows, sources=[], options={}, licence="CC0-1.0")
    ask.run([str(folder / "data"), "--out", str(folder / "out"), *words])
    found = list(jsonl.read(folder / "out" / "conversations.jsonl", Conversation))
    return found, list(jsonl.read(folder / "out" / "rejected.jsonl", Rejected))


def text_of(row: Conversation, turn: int = 0) -> str:
    content = row.messages[turn].content
    assert not isinstance(content, str)
    return content[-1].text or ""


def parts_of(row: Conversation, turn: int = 0) -> list[str]:
    content = row.messages[turn].content
    assert not isinstance(content, str)
    return [part.type for part in content[:-1]]


def test_every_family_has_several_wordings_in_both_languages() -> None:
    for task, wordings in families()["tasks"].items():
        for language in ("en", "zh"):
            few = {"sentiment", "valence", "preference"}
            assert len(wordings[language]) >= (1 if task in few else 2), (task, language)


def test_the_next_emotion_is_asked_without_the_utterance(tmp_path: Path) -> None:
    turns = [Turn(speaker="Ann", text="You won!")]
    rows = [row("d1_utt1", "I can't believe it.", person="Bob", context=turns), row("d1_utt0", person="Ann"), row("x")]
    (found,), lost = asked(tmp_path, rows, "--tasks", "next")
    assert "Bob" in text_of(found)
    assert "Ann: You won!" in text_of(found)
    assert "believe" not in text_of(found)
    assert parts_of(found) == []
    assert found.media == Clip()
    assert found.messages[1].content == "joy"
    assert [it.reason for it in lost] == ["no earlier turn", "nobody is named"]


def test_persons_listeners_and_viewers(tmp_path: Path) -> None:
    found, _ = asked(tmp_path, [row("a", person="the man on the left")], "--tasks", "person", "listener", "induced")
    assert [it.id for it in found] == ["a_person", "a_listener", "a_induced"]
    person, listener, induced = map(text_of, found)
    assert person.count("the man on the left") == 1
    assert "listen" in listener
    assert "feel" in induced or "evoke" in induced
    assert parts_of(found[0]) == ["video", "audio"]


def test_numbers_and_evidence(tmp_path: Path) -> None:
    target = Target(labels=["joy"], vad=(0.5, -0.25, 0.0), clues=CLUES)
    rows = [row("a", target=target), row("b")]
    (numbers, clues), lost = asked(tmp_path, rows, "--tasks", "vad", "clues")
    assert numbers.messages[1].content == "0.50, -0.25, 0.00"
    assert read_numbers("0.50, -0.25, 0.00") == [0.5, -0.25, 0.0]
    assert json.loads(str(clues.messages[1].content)) == CLUES.model_dump()
    assert [(it.id, it.reason) for it in lost] == [
        ("b_vad", "the annotation does not answer 'vad'"), ("b_clues", "the annotation does not answer 'clues'"),
    ]  # fmt: skip


def test_progressive_questions_lead_from_evidence_to_emotion(tmp_path: Path) -> None:
    half = Target(labels=["joy"], clues=Clues(audio=["warm"]))
    rows = [row("a", target=Target(labels=["joy"], clues=CLUES)), row("b", target=half), row("c")]
    (whole, part), (lost,) = asked(tmp_path, rows, "--tasks", "progressive")
    assert [message.content for message in whole.messages[1::2]] == [
        "a wide smile; bright eyes",
        "warm",
        "thank him",
        "joy",
    ]
    assert [parts_of(whole, turn) for turn in (0, 2)] == [["video", "audio"], []]
    assert "Hello there." in text_of(whole)
    assert [message.content for message in part.messages[1::2]] == ["warm", "joy"]
    assert lost.id == "c"


def test_every_answer_of_a_progressive_conversation_is_learnt(tmp_path: Path) -> None:
    rows = [row("a", target=Target(labels=["joy"], clues=CLUES))]
    (whole,), _ = asked(tmp_path, rows, "--tasks", "progressive")
    write_clip(tmp_path / "a.mp4")
    backbone = load(str(save_tiny_affect(tmp_path / "model")), dtype="float32")
    from affectllm.media.cache import FeatureCache
    from affectllm.training.store import MediaStore

    store = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"))
    batch = ConversationCollator(store)([{"conversation": whole.model_dump_json()}])
    learnt = backbone.tokenizer.decode(batch["labels"][0][batch["labels"][0] != IGNORED])
    end = backbone.tokenizer.eos_token
    assert learnt == f"a wide smile; bright eyes{end}warm{end}thank him{end}joy{end}"


VOTES = Target(labels=["joy"], raters=[["joy"], ["sad"], ["joy", "calm"]])


def test_raters_become_a_majority_all_or_shares(tmp_path: Path) -> None:
    tied = Target(labels=["joy"], raters=[["joy"], ["sad"]])
    rows = [row("a", target=VOTES), row("b", target=tied), row("c")]
    (one,), lost = asked(tmp_path, rows, "--tasks", "basic", "--target", "majority")
    assert one.messages[1].content == "joy"
    assert [it.reason for it in lost] == ["the raters tie: joy, sad", "no labels of single raters"]
    found, _ = asked(tmp_path, rows, "--tasks", "labels", "--target", "all")
    assert [it.messages[1].content for it in found] == ["joy, sad, calm", "joy, sad"]
    found, _ = asked(tmp_path, rows, "--tasks", "distribution", "--target", "distribution")
    assert found[0].target.distribution == {"joy": 0.5, "sad": 0.25, "calm": 0.25}
    answer = str(found[0].messages[1].content)
    assert answer == "joy 0.50, sad 0.25, calm 0.25"
    assert read_distribution(answer) == found[0].target.distribution
    assert "joy, sad, calm" in text_of(found[0])


def test_definitions_name_what_is_to_be_chosen(tmp_path: Path) -> None:
    rows = [row("a"), row("b", target=Target(basic="anger")), row("c", target=Target(basic="qwertz"))]
    found, _ = asked(tmp_path, rows, "--tasks", "basic", "--definitions")
    lines = text_of(found[0]).splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["joy", "anger", "Subtitle"]


def test_demonstrations_are_alike_and_of_other_dialogues_and_words(tmp_path: Path) -> None:
    rows = [
        row("d1_utt0", "I really love this old song"),
        row("d1_utt1", "I love this old song too"),
        row("d2_utt0", "I really love this old song!"),
        row("d3_utt0", "We love this song", target=Target(labels=["sad"], basic="sad")),
        row("d4_utt0", "The train leaves at nine"),
        row("d5_utt0", "I love that old song", split="test"),
    ]
    found, _ = asked(tmp_path, rows, "--tasks", "basic", "--demonstrations", "2")
    first, *_, held_out = map(text_of, found)
    # Its own dialogue and its own words are out: the song of d3 is likest, and stands last.
    assert [line for line in first.splitlines() if line.startswith("Example")] == [
        "Example: The train leaves at nine -> joy", "Example: We love this song -> sad",
    ]  # fmt: skip
    assert held_out.splitlines()[1].startswith("Example: I")
    assert not any("I love that old song ->" in text_of(it) for it in found)
    with pytest.raises(AffectError, match="too few to demonstrate"):
        asked(tmp_path, rows[4:], "--tasks", "basic", "--demonstrations", "3")


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    rows = [row(f"r{i}") for i in range(20)]
    asked(tmp_path, rows, "--tasks", "listener", "induced")
    first = (tmp_path / "out" / "conversations.jsonl").read_bytes()
    asked(tmp_path, rows, "--tasks", "listener", "induced")
    assert (tmp_path / "out" / "conversations.jsonl").read_bytes() == first
    assert len({text_of(it) for it in jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)}) == 4
