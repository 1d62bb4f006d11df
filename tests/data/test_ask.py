"""The same annotations asked in another way: wordings, answers, what is hidden, and what the raters' labels become."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import jsonl
from affectllm.answers import parse, read_distribution, read_numbers
from affectllm.commands import verbs
from affectllm.data import folder as folders
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.prompts import compose, demonstrations, families
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
    folders.write(folder / "data", rows, sources=[], options={}, licence="CC0-1.0")
    verbs.run("data", ["ask", str(folder / "data"), "--out", str(folder / "out"), *words])
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
    found = families()
    for part in ("tasks", "induced", "steps"):
        for task, wordings in found[part].items():
            few = part == "tasks" and task in {"sentiment", "valence", "preference"}
            for language in ("en", "zh"):
                assert len(set(wordings[language])) >= (1 if few else 2), (task, language)


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


def test_persons_and_the_labels_to_choose_from(tmp_path: Path) -> None:
    rows = [row("a", person="the man on the left"), row("b", person="Ann", target=Target(labels=["calm", "sad"]))]
    (one, several), _ = asked(tmp_path, rows, "--tasks", "person", "--classes", "joy", "sad", "calm")
    assert text_of(one).count("the man on the left") == 1
    assert text_of(one).endswith("Choose from: joy, sad, calm.")
    assert parts_of(one) == ["video", "audio"]
    assert several.messages[1].content == "calm, sad"


def test_a_speaker_s_labels_are_not_given_to_the_listener(tmp_path: Path) -> None:
    rows = [row("a", person="the speaker"), row("b", person="the listener"), row("c", target=Target())]
    (known, open_), (lost,) = asked(tmp_path, rows, "--tasks", "listener")
    assert (lost.id, lost.reason) == ("a", "its labels are not those of the listener")
    assert [message.role for message in known.messages] == ["user", "assistant"]
    assert "listen" in text_of(known)
    # MER2026's test clips: the question stands, the answer is for the model to find.
    assert [message.role for message in open_.messages] == ["user"]


@pytest.mark.parametrize("task", ["labels", "basic", "sentiment", "valence", "vad", "describe"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_felt_by_viewers_is_asked_in_other_words(task: Any, language: str) -> None:
    target = Target(
        labels=["joy"], basic="joy", sentiment="positive", valence=0.1, vad=(0.1, 0, 0), description="Warm."
    )
    shown = Annotation(id="a", dataset="toy", split="train", language=language, target=target, meta=Meta(licence="CC0"))
    felt = msgspec.structs.replace(shown, perspective="induced")
    mode: Any = "describe" if task == "describe" else "labels"
    expressed, induced = (compose(it, task, mode, 7, parts=(), candidates=["joy"]) for it in (shown, felt))
    assert text_of(expressed) != text_of(induced)
    assert expressed.messages[1] == induced.messages[1]
    assert induced.perspective == "induced"
    with pytest.raises(AffectError, match="No wording of task 'listener'"):
        compose(felt, "listener", "labels", 7)


def test_numbers_and_evidence(tmp_path: Path) -> None:
    target = Target(labels=["joy"], vad=(0.5, -0.25, 0.0), clues=CLUES)
    rows = [row("a", target=target), row("b")]
    (numbers, clues), lost = asked(tmp_path, rows, "--tasks", "vad", "clues")
    assert numbers.messages[1].content == "0.50, -0.25, 0.00"
    assert read_numbers("0.50, -0.25, 0.00") == [0.5, -0.25, 0.0]
    answer = str(clues.messages[1].content)
    assert json.loads(answer) == msgspec.structs.asdict(CLUES)
    assert (parse(answer).clues, parse(answer).status) == (CLUES, "ok")
    assert parse(answer).evidence == "a wide smile. bright eyes. warm. thank him"
    assert [(it.id, it.reason) for it in lost] == [
        ("b_vad", "the annotation does not answer 'vad'"), ("b_clues", "the annotation does not answer 'clues'"),
    ]  # fmt: skip


def test_progressive_questions_lead_from_evidence_to_emotion(tmp_path: Path) -> None:
    half = Target(labels=["joy"], clues=Clues(audio=["warm"]))
    rows = [row("a", target=Target(labels=["joy"], clues=CLUES)), row("b", target=half), row("c")]
    (whole, part), (lost,) = asked(tmp_path, rows, "--tasks", "progressive")
    assert [message.content for message in whole.messages[1::2]] == [
        "a wide smile. bright eyes.",
        "warm.",
        "thank him.",
        "joy",
    ]
    assert [parts_of(whole, turn) for turn in (0, 2)] == [["video", "audio"], []]
    assert "Hello there." in text_of(whole)
    assert [message.content for message in part.messages[1::2]] == ["warm.", "joy"]
    assert (lost.id, lost.reason) == ("c", "no evidence or no labels")
    described = row("d", target=Target(labels=["joy"], description="He beams and thanks them."))
    (found,), _ = asked(tmp_path, [described], "--tasks", "progressive", "--mode", "think")
    assert [message.content for message in found.messages[1::2]] == [
        "He beams and thanks them.", "<think>He beams and thanks them.</think>\n<answer>joy</answer>",
    ]  # fmt: skip


def test_every_answer_of_a_progressive_conversation_is_learnt(tmp_path: Path) -> None:
    rows = [row("a", target=Target(labels=["joy"], clues=CLUES))]
    (whole,), _ = asked(tmp_path, rows, "--tasks", "progressive")
    write_clip(tmp_path / "a.mp4")
    backbone = load(str(save_tiny_affect(tmp_path / "model")), dtype="float32")
    from affectllm.media.cache import FeatureCache
    from affectllm.models.store import MediaStore

    store = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"))
    batch = ConversationCollator(store)([{"conversation": jsonl.dumps(whole)}])
    learnt = backbone.tokenizer.decode(batch["labels"][0][batch["labels"][0] != IGNORED])
    end = backbone.tokenizer.eos_token
    assert learnt == f"a wide smile. bright eyes.{end}warm.{end}thank him.{end}joy{end}"


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
    assert "calm, joy, sad" in text_of(found[0])


def test_definitions_name_what_is_to_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("a"), row("b", target=Target(basic="anger")), row("c", target=Target(basic="qwertz"))]
    found, _ = asked(tmp_path, rows, "--tasks", "basic", "--definitions")
    lines = text_of(found[0]).splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["anger", "joy", "Subtitle"]
    assert "no definition of qwertz" in capsys.readouterr().out


TALK = [Turn(speaker="Ann", text="Hm.")]


def test_demonstrations_are_alike_and_of_other_dialogues_and_words(tmp_path: Path) -> None:
    rows = [
        row("d1_utt0", "I really love this old song"),
        row("d1_utt1", "I love this old song too", context=TALK),
        row("d2_utt0", "I really love this old song!"),
        row("d3_utt0", "We love this song", target=Target(labels=["sad"], basic="sad")),
        row("d4_utt0", "This train leaves at nine"),
        row("d6_utt0", "Goodbye"),
        row("d5_utt0", "I love that old song", split="test"),
    ]
    found, _ = asked(tmp_path, rows, "--tasks", "basic", "--demonstrations", "3")
    first, *_, apart, held_out = map(text_of, found)
    # Its own dialogue and its own words are out: the song of d3 is likest, and stands last; d6 shares no word.
    assert [line for line in first.splitlines() if line.startswith("Example")] == [
        "Example: This train leaves at nine -> joy", "Example: We love this song -> sad",
    ]  # fmt: skip
    assert "Example" not in apart
    assert [line for line in held_out.splitlines() if line.startswith("Example")] == [
        "Example: We love this song -> sad", "Example: I love this old song too -> joy",
        "Example: I really love this old song -> joy",
    ]  # fmt: skip
    assert not any("I love that old song ->" in text_of(it) for it in found)
    with pytest.raises(AffectError, match="too few to demonstrate"):
        asked(tmp_path, rows[4:], "--tasks", "basic", "--demonstrations", "3")
    with pytest.raises(AffectError, match="must not show"):
        asked(tmp_path, rows, "--tasks", "next", "--demonstrations", "3")
    with pytest.raises(AffectError, match="must have one group"):
        asked(tmp_path, rows, "--tasks", "basic", "--demonstrations", "1", "--dialogue", "_utt")


def test_numbers_in_ids_name_a_dialogue_only_where_there_are_dialogues(tmp_path: Path) -> None:
    rows = [row("train_1", "I love this song"), row("train_2", "We love this song")]
    found, _ = asked(tmp_path, rows, "--tasks", "basic", "--demonstrations", "1")
    assert text_of(found[0]).startswith("Example: We love")
    found, _ = asked(tmp_path, [*rows, row("train_3", context=TALK)], "--tasks", "basic", "--demonstrations", "1")
    assert "Example" not in text_of(found[0])


@pytest.mark.parametrize(
    ("name", "dialogue"),
    [
        ("val_dia0_utt3", "val_dia0"),
        ("train_sea1_ep2_sc3_utt4", "train_sea1_ep2_sc3"),
        ("Ses01F_script02_1_M003", "Ses01F_script02_1"),
        ("film_4_A_17", "film_4"),
        ("MUL0003_12", "MUL0003"),
    ],
)
def test_our_ids_name_their_dialogues(name: str, dialogue: str) -> None:
    found = re.match(demonstrations.DIALOGUE, name)
    assert found
    assert found[1] == dialogue


@given(values=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=1, max_size=9), count=st.integers(1, 10))
def test_the_highest_are_those_of_a_full_sort(values: list[float], count: int) -> None:
    wanted = [i for i in sorted(range(len(values)), key=lambda i: -values[i]) if values[i] > 0]
    assert demonstrations.highest(np.array(values), count) == wanted[:count]


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    rows = [row(f"r{i}") for i in range(20)]
    asked(tmp_path, rows, "--tasks", "labels", "describe", "--mode", "think")
    first = (tmp_path / "out" / "conversations.jsonl").read_bytes()
    asked(tmp_path, rows, "--tasks", "labels", "describe", "--mode", "think")
    assert (tmp_path / "out" / "conversations.jsonl").read_bytes() == first
    assert len({text_of(it) for it in jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)}) == 6
