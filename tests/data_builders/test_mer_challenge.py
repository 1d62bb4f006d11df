"""MER2025 and MER2026: tracks, joins on the name, clips in two files, candidates without labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.mer_challenge import MerChallenge, main

TABLES = {
    "2026/track1_train.csv": "name,discrete\na,Worried\nb,NA\n",
    "2026/track2_train_human.csv": 'name,openset\na,"shocked,care,serious"\n',
    "2026/track2_train_mercaptionplus.csv": 'name,openset\r\na,"[calm]"\r\nb,"[concern, pessimism]"\r\nc,[]\r\n',
    "2026/track1_track2_candidate.csv": "name\nx\ny\n",
    "2026/subtitle_chieng.csv": "\ufeffname,chinese,english\na,花开,Flowers open.\nx,走开,nan\n",
    "2025/track1_train_disdim.csv": "name,discrete,valence\na,happy,1.5\n",
    "2025/track3_train_mercaptionplus.csv": 'name,reason\nb,"He frowns, then sighs."\nc,Nothing moves.\nd, \n',
    "2025/track2_train_mercaptionplus.csv": 'name,openset\nb,"[concern]"\nc,[]\n',
    "2025/track_all_candidates.csv": "name\nx\n",
}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name, text in TABLES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path


def build(folders: Path, **options: Any) -> tuple[dict[str, Conversation], list[Rejected], dict[str, Any]]:
    main(MerChallenge(out=folders / "out", **options))
    rows = {row.id: row for row in jsonl.read(folders / "out" / "conversations.jsonl", Conversation)}
    lost = list(jsonl.read(folders / "out" / "rejected.jsonl", Rejected))
    return rows, lost, json.loads((folders / "out" / "manifest.json").read_text())


def text_of(row: Conversation) -> str:
    last = row.messages[0].content[-1]
    assert not isinstance(last, str)
    return last.text or ""


def test_track_1_asks_about_speakers_and_then_listeners(folders: Path) -> None:
    rows, (lost,), _ = build(folders, source=folders / "2026", track=1)
    assert (rows["a"].target.basic, rows["a"].person, rows["a"].subtitle) == ("worried", "the speaker", "Flowers open.")
    assert lost.reason.startswith("label 'NA' is not one of")
    asked, _, manifest = build(folders, source=folders / "2026", track=1, split="candidate")
    assert (asked["x"].person, asked["y"].person) == ("听话的人", "the listener")
    assert len(asked["x"].messages) == 1
    assert manifest["published_rows"] == {"track1_track2_candidate.csv": 20000}
    earlier, _, _ = build(folders, source=folders / "2025", track=1, split="candidate")
    assert earlier["x"].person == "the speaker"


def test_track_2_takes_a_clip_once_and_joins_descriptions(folders: Path) -> None:
    rows, lost, manifest = build(
        folders, source=folders / "2026", track=2, descriptions=folders / "2025", mode="think"
    )  # fmt: skip
    assert rows["a"].target.labels == ["shocked", "care", "serious"]
    assert rows["b"].messages[-1].content == (
        "<think>He frowns, then sighs.</think>\n<answer>concern, pessimism</answer>"
    )
    assert [(row.id, row.reason) for row in lost] == [
        ("a (track2_train_mercaptionplus)", "also in track2_train_human.csv"),
        ("c", "empty label set"),
    ]
    assert manifest["defects"] == {"no-description": ["a"], "no-subtitle": ["b"]}
    assert manifest["table_rows"] == {"track2_train_human.csv": 1, "track2_train_mercaptionplus.csv": 3}


def test_track_3_of_2025_teaches_descriptions(folders: Path) -> None:
    rows, (lost,), manifest = build(folders, source=folders / "2025", track=3)
    assert rows["b"].messages[-1].content == "<think>He frowns, then sighs.</think>\n<answer>concern</answer>"
    assert rows["c"].messages[-1].content == "Nothing moves."
    assert (lost.id, lost.reason) == ("d", "no description")
    assert manifest["defects"] == {"no-labels": ["c"]}


def test_what_is_not_there_is_named(folders: Path) -> None:
    (folders / "2026" / "track3_emoprefer.csv").write_text("name,a1,a2,preference\n")
    for source, track, split, said in (
        ("2026", 3, "train", "affectllm build emoprefer"),
        ("2025", 3, "test", "has no test split"),
        ("2025", 2, "test", "has none of track2_test.csv"),
    ):
        with pytest.raises(AffectError, match=said):
            build(folders, source=folders / source, track=track, split=split)
