"""MELD: context from the past only, ids that are absent listed, oddities named, bad input refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.data.dialogues import seconds
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.meld import Meld, main

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
ROWS = [
    '1,"Hello, there.",Ann,joy,positive,0,0,1,1,"00:00:01,000","00:00:02,500"',
    '2,Go away.,Bob,anger,negative,0,1,1,1,"00:00:03,000","0:00:04,99"',
    '3,None,Ann and Bob,neutral,neutral,0,3,1,1,"00:00:05,000","00:00:05,100"',
    '4,Who?,Ann,surprise,negative,1,0,1,1,"00:00:09,000","00:00:08,000"',
]


def write_csv(path: Path, rows: Sequence[str] = ROWS, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path.write_bytes("\r\n".join([header, *rows, ""]).encode(encoding))
    return path


def build(source: Path, out: Path, **options: object) -> list[Conversation]:
    main(Meld(source=source, out=out, **options))  # type: ignore[arg-type]
    return list(jsonl.read(out / "conversations.jsonl", Conversation))


def test_rows_become_conversations(tmp_path: Path) -> None:
    rows = build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out")
    assert [row.id for row in rows] == ["val_dia0_utt0", "val_dia0_utt1", "val_dia0_utt3", "val_dia1_utt0"]
    assert rows[0].subtitle == "Hello, there."
    assert rows[1].messages[-1].content == "anger"
    # 'None' is what somebody says, not a missing value.
    assert rows[2].subtitle == "None"


def test_context_holds_earlier_utterances_only(tmp_path: Path) -> None:
    rows = build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out", window=1)
    assert [[turn.text for turn in row.context] for row in rows] == [[], ["Hello, there."], ["Go away."], []]


def test_oddities_are_listed(tmp_path: Path) -> None:
    build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows_in"] == manifest["rows_out"] == 4
    assert manifest["defects"]["utterance-absent"] == ["val_dia0_utt2"]
    assert manifest["defects"]["ends-before-it-starts"] == ["val_dia1_utt0"]
    assert manifest["defects"]["shorter-than-0.3-s"] == ["val_dia0_utt3"]
    assert manifest["defects"]["several-speakers"] == ["val_dia0_utt3"]


def test_a_missing_clip_is_rejected_with_its_reason(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "dia0_utt0.mp4").touch()
    rows = build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out", media=media, probe=False)
    rejected = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert [row.id for row in rows] == ["val_dia0_utt0"]
    assert [row.row for row in rejected] == [2, 3, 4]
    assert "dia0_utt1.mp4" in rejected[0].reason


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "dev_sent_emo.csv")
    build(source, tmp_path / "a")
    build(source, tmp_path / "b")
    assert (tmp_path / "a/conversations.jsonl").read_bytes() == (tmp_path / "b/conversations.jsonl").read_bytes()


def test_shards_are_parts_of_the_whole(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "dev_sent_emo.csv")
    whole = build(source, tmp_path / "whole")
    parts = [row for i in (1, 2) for row in build(source, tmp_path / f"part{i}", shard=f"{i}/2")]
    assert sorted(row.id for row in parts) == sorted(row.id for row in whole)
    assert {row.id: row for row in parts} == {row.id: row for row in whole}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"header": HEADER.replace("Emotion", "Feeling")}, "no column 'Emotion'"),
        (
            {"rows": ["1,caf\xe9,A,joy,positive,0,0,1,1,0:00:01,0:00:02"], "encoding": "cp1252"},
            "line 2 holds byte 0xe9",
        ),
        ({"rows": ["1,Hi,A,joy,positive,x,0,1,1,0:00:01,0:00:02"]}, "must be whole numbers, they are 'x' and '0'"),
        ({"rows": ["1,short"]}, "row 1 has 2 fields, the header has 11"),
    ],
)
def test_bad_tables_are_refused_and_leave_earlier_results(tmp_path: Path, content: dict, message: str) -> None:
    build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out")
    before = (tmp_path / "out" / "conversations.jsonl").read_bytes()
    with pytest.raises(AffectError, match=message):
        build(write_csv(tmp_path / "dev_sent_emo.csv", **content), tmp_path / "out")
    assert (tmp_path / "out" / "conversations.jsonl").read_bytes() == before


def test_an_out_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(AffectError, match="Cannot create folder"):
        build(write_csv(tmp_path / "dev_sent_emo.csv"), tmp_path / "out")


@pytest.mark.parametrize(
    ("time", "value"), [("00:01:02,500", 62.5), ("1:00:00,99", 3600.099), ("0:00:01.250", 1.25), ("x", None)]
)
def test_both_spellings_of_time(time: str, value: float | None) -> None:
    assert seconds(time) == value


def test_the_real_development_split(shared_data: Path, tmp_path: Path) -> None:
    rows = build(shared_data / "meld" / "dev_sent_emo.csv", tmp_path / "out", window=100)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(rows) == manifest["rows_out"] == 1109
    absent = ["val_dia49_utt4", "val_dia49_utt5", "val_dia66_utt9", "val_dia66_utt10"]
    assert manifest["defects"]["utterance-absent"] == absent
    by_dialogue: dict[str, list[Conversation]] = {}
    for row in rows:
        by_dialogue.setdefault(row.id.rpartition("_utt")[0], []).append(row)
    for turns in by_dialogue.values():
        for i, row in enumerate(sorted(turns, key=lambda row: int(row.id.rpartition("utt")[2]))):
            assert len(row.context) == i


def test_a_folder_gives_every_split_it_holds(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        write_csv(tmp_path / f"{split}_sent_emo.csv")
    rows = build(tmp_path, tmp_path / "out")
    assert {row.split for row in rows} == {"train", "val", "test"}
    assert len({row.id for row in rows}) == len(rows) == 12
    assert {row.split for row in build(tmp_path, tmp_path / "one", split="dev")} == {"val"}
    with pytest.raises(AffectError, match="add --split"):
        build(tmp_path, tmp_path / "out", media=tmp_path)


def test_dyadic_tables_keep_the_clips_of_the_full_set(tmp_path: Path) -> None:
    header = HEADER.removeprefix("Sr No.,") + ",Old_Dialogue_ID,Old_Utterance_ID"
    rows = [row.partition(",")[2] + ",110,7" for row in ROWS[:2]]
    write_csv(tmp_path / "dev_sent_emo_dya.csv", rows, header)
    built = build(tmp_path, tmp_path / "out", dyadic=True)
    assert [row.id for row in built] == ["valdya_dia0_utt0", "valdya_dia0_utt1"]
    assert built[0].media.video == "dia110_utt7.mp4"
    assert [turn.text for turn in built[1].context] == ["Hello, there."]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["published_rows"] == 1462
    # The clip is the one that the full data set lacks.
    assert "valdya_dia0_utt0" in manifest["defects"]["clip-missing-at-source"]
    with pytest.raises(AffectError, match=r"holds none of train_sent_emo\.csv"):
        build(tmp_path, tmp_path / "out")
