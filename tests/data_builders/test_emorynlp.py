"""EmoryNLP: list-shaped speakers, numbers from one, context from the past of the same scene."""

import json
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation
from data_builders.emorynlp import EmoryNlp, main

HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time\n"
ROWS = [
    "Hi.,['Ann Lee'],Joyful,1,1,1,2,00:00:01.000,00:00:02.000",
    "Well?,\"['Ann Lee', 'Bob Ray']\",Mad,1,3,1,2,00:00:03.000,00:00:40.000",
    "New scene.,['Bob Ray'],Neutral,2,1,1,2,00:01:00.000,00:01:02.000",
]


def build(folder: Path, rows: list[str] = ROWS) -> list[Conversation]:
    (folder / "emorynlp_dev_final.csv").write_text(HEADER + "\n".join(rows) + "\n")
    main(EmoryNlp(source=folder, out=folder / "out"))
    return list(jsonl.read(folder / "out" / "conversations.jsonl", Conversation))


def test_rows_become_conversations(tmp_path: Path) -> None:
    rows = build(tmp_path)
    assert [row.id for row in rows] == ["val_sea1_ep2_sc1_utt1", "val_sea1_ep2_sc1_utt3", "val_sea1_ep2_sc2_utt1"]
    assert [row.target.basic for row in rows] == ["joyful", "mad", "neutral"]
    assert [len(row.context) for row in rows] == [0, 1, 0]
    assert rows[1].person == "Ann Lee and Bob Ray"
    defects = json.loads((tmp_path / "out" / "manifest.json").read_text())["defects"]
    assert defects == {
        "utterance-absent": ["val_sea1_ep2_sc1_utt2"],
        "longer-than-30-s": ["val_sea1_ep2_sc1_utt3"],
        "several-speakers": ["val_sea1_ep2_sc1_utt3"],
    }


def test_a_speaker_that_is_no_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="Row 1: Speaker must be a list"):
        build(tmp_path, [ROWS[0].replace("['Ann Lee']", "Ann Lee")])


def test_the_real_development_split(shared_data: Path, tmp_path: Path) -> None:
    main(EmoryNlp(source=shared_data / "meld" / "emorynlp_dev_final.csv", out=tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows_in"] == manifest["rows_out"] == 954
    assert len(manifest["defects"]["longer-than-30-s"]) == 7
    assert len(manifest["defects"]["several-speakers"]) == 4
