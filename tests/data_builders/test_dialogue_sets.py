"""DailyDialog, EmotionLines and IEMOCAP, from files in their own shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders import dailydialog, emotionlines, iemocap


def read(out: Path) -> tuple[dict[str, Conversation], list[Rejected], dict[str, Any]]:
    rows = {row.id: row for row in jsonl.read(out / "conversations.jsonl", Conversation)}
    manifest = json.loads((out / "manifest.json").read_text())
    return rows, list(jsonl.read(out / "rejected.jsonl", Rejected)), manifest


def write_daily(folder: Path, split: str, texts: str, emotions: str) -> None:
    (folder / split / split).mkdir(parents=True)
    (folder / split / split / f"dialogues_{split}.txt").write_text(texts, encoding="utf-8")
    (folder / split / split / f"dialogues_emotion_{split}.txt").write_text(emotions)


def test_dailydialog_takes_turns_and_rejects_lines_that_do_not_fit(tmp_path: Path) -> None:
    write_daily(
        tmp_path,
        "train",
        "Say , Jim ? __eou__ You’re late . __eou__ None . __eou__\nOne __eou__ Two __eou__\nOdd __eou__\n",
        "0 1 4 \n0 \n9\n",
    )
    write_daily(tmp_path, "test", "Say , Jim ? __eou__ You’re late . __eou__ None . __eou__\n", "0 1 4\n")
    dailydialog.main(dailydialog.DailyDialog(source=tmp_path, out=tmp_path / "out", window=1))
    rows, lost, manifest = read(tmp_path / "out")
    assert [row.target.basic for row in rows.values()] == ["neutral", "anger", "happiness"] * 2
    last = rows["train_dia1_utt2"]
    assert (last.subtitle, last.person, last.media.video) == ("None .", "A", None)
    assert [(turn.speaker, turn.text) for turn in last.context] == [("B", "You’re late .")]
    assert [row.reason for row in lost] == ["2 utterances and the emotions '0'", "1 utterances and the emotions '9'"]
    assert len(manifest["defects"]["dialogue-in-two-splits"]) == 6
    with pytest.raises(AffectError, match="holds no dialogues_train"):
        dailydialog.main(dailydialog.DailyDialog(source=tmp_path, out=tmp_path / "out", split="validation"))


def test_dailydialog_files_of_other_lengths_are_refused(tmp_path: Path) -> None:
    write_daily(tmp_path, "train", "A __eou__\n", "0\n0\n")
    with pytest.raises(AffectError, match=r"has 1 lines, dialogues_emotion_train\.txt 2"):
        dailydialog.main(dailydialog.DailyDialog(source=tmp_path, out=tmp_path / "out"))


LINES = [
    {"speaker": "Chandler", "utterance": "My duties?  All right.", "emotion": "surprise", "annotation": "2000030"},
    {"speaker": "Joey", "utterance": "You\x92ll see.", "emotion": "non-neutral", "annotation": "2200001"},
    {"speaker": "Joey", "utterance": "NA", "emotion": "joy", "annotation": "3100000", "utterance_de": "NA"},
]


def test_emotionlines_majority_and_votes(tmp_path: Path) -> None:
    (tmp_path / "friends_train.json").write_text(json.dumps([LINES, [{"speaker": "A"}]]))
    (tmp_path / "friends_dev.json").write_text(json.dumps([LINES[:1]]))
    emotionlines.main(emotionlines.EmotionLines(source=tmp_path, out=tmp_path / "out"))
    rows, lost, manifest = read(tmp_path / "out")
    assert list(rows) == ["friends_train_dia1_utt0", "friends_train_dia1_utt2", "friends_val_dia1_utt0"]
    first = rows["friends_train_dia1_utt0"]
    assert first.target.raters == [["neutral"], ["neutral"], ["surprise"], ["surprise"], ["surprise"]]
    assert [turn.text for turn in rows["friends_train_dia1_utt2"].context] == [
        "My duties?  All right.",
        "You\x92ll see.",
    ]
    assert [(row.id, row.row) for row in lost] == [("friends_train_dia1_utt1", 1), ("friends_train_dia2", 2)]
    odd = ["friends_train_dia1_utt2"]
    assert manifest["defects"] == {"not-five-votes": odd, "emotion-without-most-votes": odd}
    voted = emotionlines.EmotionLines(source=tmp_path / "friends_train.json", out=tmp_path / "voted", target="voted")
    emotionlines.main(voted)
    rows, _, manifest = read(tmp_path / "voted")
    assert rows["friends_train_dia1_utt0"].messages[-1].content == "surprise, neutral"
    assert rows["friends_train_dia1_utt1"].target.labels == ["neutral", "joy", "disgust"]
    assert manifest["defects"]["control-characters"] == ["friends_train_dia1_utt1"]
    assert manifest["defects"]["not-five-votes"] == odd


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes05F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Frustration;\t(tired, bored)
C-F1:\tAnger;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[4.0000 - 6.0000]\tSes05F_impro01_M000\texc\t[5.5000, 4.0000, 3.0000]
C-E2:\tExcited;\t()

[9.0000 - 9.5000]\tSes05F_impro01_F001\txxx\t[2.0000, 3.0000, 3.0000]
[9.5000 - 9.9000]\tSes05F_impro01_F002\tfru\t[2.0000, 3.0000, 3.0000]
[9.9000 - 10.0000]\tSes05F_impro01_F003\tsad\t[2.0000, 3.0000, 3.0000]
"""
TRANSCRIPT = """Ses05F_impro01_M000 [004.0000-006.0000]: Next.
M: (walks off)
Ses05F_impro01_F000 [006.2901-008.2357]: Excuse me.
Ses05F_impro01_F001 [009.0000-009.5000]: Do you have your forms?
Ses05F_impro01_F002 [009.5000-009.9000]: Yeah.
"""


def write_iemocap(root: Path) -> None:
    dialog = root / "Session5" / "dialog"
    for folder, text in (("EmoEvaluation", EVALUATION), ("transcriptions", TRANSCRIPT)):
        (dialog / folder).mkdir(parents=True)
        (dialog / folder / "Ses05F_impro01.txt").write_text(
            text, newline="\r\n" if folder == "transcriptions" else "\n"
        )
        (dialog / folder / "._Ses05F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")


def test_iemocap_classes_raters_and_times(tmp_path: Path) -> None:
    write_iemocap(tmp_path)
    iemocap.main(iemocap.Iemocap(source=tmp_path, out=tmp_path / "out"))
    rows, lost, manifest = read(tmp_path / "out")
    woman, man = rows["Ses05F_impro01_F000"], rows["Ses05F_impro01_M000"]
    assert woman.target.raters == [["neutral"], ["neutral", "frustrated"]]
    assert (woman.target.vad, woman.target.valence) == ((-0.25, -0.25, -0.25), -0.25)
    assert (woman.media.video, woman.media.start_s, woman.media.end_s) == (
        "Session5/dialog/avi/DivX/Ses05F_impro01.avi", 6.2901, 8.2357,
    )  # fmt: skip
    # The man speaks first, though he is listed later.
    assert [(turn.speaker, turn.text) for turn in woman.context] == [("the man", "Next.")]
    assert (man.target.basic, man.context, man.split) == ("happy", [], "test")
    assert manifest["defects"] == {"rating-beyond-scale": ["Ses05F_impro01_M000"]}
    assert [row.reason for row in lost] == [
        "the raters did not agree (xxx)",
        "frustrated is not one of the four classes",
        "no line in the transcription",
    ]


def test_iemocap_sounds_and_six_classes(tmp_path: Path) -> None:
    write_iemocap(tmp_path)
    sounds = tmp_path / "Session5" / "sentences" / "wav" / "Ses05F_impro01"
    sounds.mkdir(parents=True)
    (sounds / "Ses05F_impro01_M000.wav").touch()
    iemocap.main(
        iemocap.Iemocap(
            source=tmp_path, out=tmp_path / "out", media=tmp_path, probe=False, clips="audio", classes="six"
        )
    )
    rows, lost, _ = read(tmp_path / "out")
    assert list(rows) == ["Ses05F_impro01_M000"]
    assert rows["Ses05F_impro01_M000"].target.basic == "excited"
    assert rows["Ses05F_impro01_M000"].media.audio == "Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_M000.wav"
    assert sum(row.reason.startswith("no clip") for row in lost) == 2


def test_iemocap_lines_that_are_no_summary_are_refused(tmp_path: Path) -> None:
    write_iemocap(tmp_path)
    path = tmp_path / "Session5" / "dialog" / "EmoEvaluation" / "Ses05F_impro01.txt"
    path.write_text("[1.0 - 2.0]\tSes05F_impro01_F000\tneu\n")
    with pytest.raises(AffectError, match="line 1 is not a summary"):
        iemocap.main(iemocap.Iemocap(source=tmp_path, out=tmp_path / "out"))
    with pytest.raises(AffectError, match="has no Session"):
        iemocap.main(iemocap.Iemocap(source=tmp_path / "Session5", out=tmp_path / "out"))
