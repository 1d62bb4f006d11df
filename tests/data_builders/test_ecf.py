"""ECF: both subtasks become pairs that the score reads as they are."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.prompts import short_answer
from affectllm.records import Conversation, Rejected, Target
from data_builders.ecf import EMOTIONS, Dialogue, Ecf, main, read_pairs
from tests.scores.toys import value as score_rows

SAID = [("Ann", "Buzz him in .", "neutral"), ("Bob", "You {came} !", "joy"), ("Ann", "Not you .", "anger")]


def dialogue(number: int, pairs: Any, end: str = "00:07:44.880") -> dict[str, Any]:
    """A dialogue in subtask 2's own shape."""
    turns = [
        {
            "utterance_ID": i, "text": text, "speaker": speaker, "emotion": emotion,
            "video_source": ["S01E01", "00:07:40.335", end], "video_name": f"dia{number}utt{i}.mp4",
        }
        for i, (speaker, text, emotion) in enumerate(SAID, 1)
    ]  # fmt: skip
    return {"conversation_ID": number, "conversation": turns, "emotion-cause_pairs": pairs}


def build(tmp_path: Path, items: Any) -> tuple[list[Conversation], list[Rejected]]:
    (tmp_path / "Subtask_2_train.json").write_text(json.dumps(items, indent=4))
    main(Ecf(source=tmp_path, out=tmp_path / "out"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    return rows, list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))


def test_pairs_of_both_subtasks_feed_the_score(tmp_path: Path) -> None:
    spans = [["2_joy", "1_Buzz him in ."], ["2_joy", "1_him"], ["2_joy", "2_You {came} !"], ["3_anger", "2_You_came"]]
    rows, _ = build(tmp_path, [dialogue(1, spans), dialogue(2, [["2_joy", "3"]]), dialogue(3, [])])
    assert [row.target.pairs for row in rows] == [
        [(2, "joy", 1), (2, "joy", 2), (3, "anger", 2)],
        [(2, "joy", 3)],
        [],
    ]
    assert rows[0].messages[1].content == "2 joy 1; 2 joy 2; 3 anger 2"
    assert rows[2].messages[1].content == "none"
    part = rows[0].messages[0].content[0]
    assert not isinstance(part, str)
    assert (part.text or "").startswith("1. Ann: Buzz him in .\n2. Bob: You {came} !\n3. Ann: Not you .\n")
    assert rows[1].meta.defects == ["cause-comes-later", "emotion-without-cause"]
    gold = [{"pairs": row.target.pairs or []} for row in rows]
    assert [score_rows(f"cause_{name}_f1", gold, gold) for name in ("weighted", "micro")] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([["4_joy", "1"]], "does not name utterances"),
        ([["joy", "1"]], "does not name utterances"),
        ([["1_neutral", "1"]], "the emotion is not one of"),
        ([["2_joy"]], "'emotion-cause_pairs[0]'"),
    ],
)
def test_pairs_that_do_not_fit_reject_the_dialogue(tmp_path: Path, pairs: Any, said: str) -> None:
    rows, (lost,) = build(tmp_path, [dialogue(7, pairs)])
    assert rows == []
    assert said in lost.reason
    assert (lost.id, lost.data["emotion-cause_pairs"]) == ("dia7", pairs)


def test_oddities_are_named(tmp_path: Path) -> None:
    long = dialogue(1, [["1_joy", "1"]], end="00:09:00.000")
    unlabelled = dialogue(2, [])
    del unlabelled["emotion-cause_pairs"]
    gap = dialogue(3, [])
    gap["conversation"].pop(0)
    rows, lost = build(tmp_path, [long, unlabelled, gap])
    assert rows[0].meta.defects == ["emotion-without-cause", "longer-than-30-s", "pair-names-other-emotion"]
    assert (rows[1].target.pairs, len(rows[1].messages), rows[1].meta.defects) == (None, 1, ["no-pairs"])
    assert lost[0].reason == "utterances are not numbered 1 to 2"


def test_a_split_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "dialogues.json").write_text("[]")
    with pytest.raises(AffectError, match="Cannot tell the split"):
        main(Ecf(source=tmp_path / "dialogues.json", out=tmp_path / "out"))


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(EMOTIONS), st.integers(1, 3)), unique=True))
def test_every_pair_comes_back_once(pairs: list[tuple[int, str, int]]) -> None:
    written = [[f"{effect}_{emotion}", str(reason)] for effect, emotion, reason in pairs]
    found, _ = read_pairs(msgspec.convert(dialogue(1, written + written), Dialogue))
    assert found == pairs
    assert short_answer(Target(pairs=found), "cause").count(";") == max(len(pairs) - 1, 0)
