"""Builders asked for other questions than their own (`--tasks`, `--target`), and their answers scored."""

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affectllm import jsonl
from affectllm.data.dataset_cards import read_card
from affectllm.records import Answer, Clip, Conversation, Rejected
from data_builders import dailydialog, emer, emorynlp, emotionlines, iemocap, meld, mer_challenge, merr, table
from eval.score import Options, main
from tests.data_builders.test_dialogue_sets import LINES, write_daily, write_iemocap


def read(out: Path) -> tuple[dict[str, Conversation], dict[str, str]]:
    """Conversations by id, and the reason of every rejected row."""
    rows = {row.id: row for row in jsonl.read(out / "conversations.jsonl", Conversation)}
    return rows, {row.id: row.reason for row in jsonl.read(out / "rejected.jsonl", Rejected)}


def question(row: Conversation, turn: int = 0) -> str:
    content = row.messages[turn].content
    assert not isinstance(content, str)
    return content[-1].text or ""


def answers_of(row: Conversation) -> list[Any]:
    return [message.content for message in row.messages if message.role == "assistant"]


def write_csv(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def scored(rows: dict[str, Conversation], out: Path, metric: str) -> float:
    """What the rows' own answers get."""
    said = [Answer(id=it.id, text=answers_of(it)[-1], model="gold", seconds=0, tokens=1, prompt_hash="x")
            for it in rows.values()]  # fmt: skip
    jsonl.write(out / "answers.jsonl", said)
    main(Options(str(out / "answers.jsonl"), str(out / "conversations.jsonl"), metric=metric, out=out))
    return float(json.loads((out / "results.json").read_text())["value"])


SAID = [("Joey", "Hi.", "neutral"), ("Ross", "You forgot it.", "anger"), ("Joey", "I am sorry.", "sadness")]


def test_meld_asks_for_persons_and_for_what_comes_next(tmp_path: Path) -> None:
    times = {"StartTime": "00:00:01,000", "EndTime": "00:00:02,000"}
    rows = [{"Utterance": text, "Speaker": who, "Emotion": emotion, "Sentiment": "neutral", "Dialogue_ID": 0,
             "Utterance_ID": i, **times} for i, (who, text, emotion) in enumerate(SAID)]  # fmt: skip
    source = write_csv(tmp_path / "dev_sent_emo.csv", *rows)
    meld.main(meld.Meld(source=source, out=tmp_path / "out", tasks=("next", "person")))
    found, lost = read(tmp_path / "out")
    ahead = found["val_dia0_utt2_next"]
    assert "You forgot it." in question(ahead)
    assert "sorry" not in question(ahead)
    assert "Joey" in question(ahead)
    assert question(ahead).endswith("Choose from: neutral, joy, sadness, anger, surprise, fear, disgust.")
    assert (ahead.media, ahead.subtitle, answers_of(ahead)) == (Clip(), None, ["sadness"])
    person = found["val_dia0_utt1_person"]
    assert question(person).count("Ross") == 1
    assert "You forgot it." in question(person)
    assert lost == {"val_dia0_utt0_next": "no earlier turn"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows_in"] == 3


def test_other_dialogue_sets_ask_for_what_comes_next(tmp_path: Path) -> None:
    write_daily(tmp_path / "daily", "train", "Say ? __eou__ Late . __eou__ None . __eou__\n", "0 1 4\n")
    dailydialog.main(dailydialog.DailyDialog(source=tmp_path / "daily", out=tmp_path / "a", tasks=("next",)))
    found, lost = read(tmp_path / "a")
    assert {name: answers_of(row) for name, row in found.items()} == {
        "train_dia1_utt1": ["anger"], "train_dia1_utt2": ["happiness"],
    }  # fmt: skip
    assert list(lost) == ["train_dia1_utt0"]
    rows = [{"Utterance": text, "Speaker": f"['{who}']", "Emotion": emotion, "Scene_ID": 1, "Utterance_ID": i,
             "Season": 1, "Episode": 1, "Start_Time": "00:00:01,000", "End_Time": "00:00:02,000"}
            for i, (who, text, emotion) in enumerate([("Ann", "No.", "Mad"), ("Bob", "Oh.", "Sad")], 1)]  # fmt: skip
    source = write_csv(tmp_path / "emorynlp_dev_final.csv", *rows)
    emorynlp.main(emorynlp.EmoryNlp(source=source, out=tmp_path / "b", tasks=("basic", "next")))
    found, _ = read(tmp_path / "b")
    assert list(found) == ["val_sea1_ep1_sc1_utt1_basic", "val_sea1_ep1_sc1_utt2_basic", "val_sea1_ep1_sc1_utt2_next"]
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["rows_in"] == 2


def test_iemocap_asks_for_vad_and_keeps_what_raters_disagree_on(tmp_path: Path) -> None:
    write_iemocap(tmp_path)
    path = tmp_path / "Session5/dialog/EmoEvaluation/Ses05F_impro01.txt"
    undecided = "[9.0000 - 9.5000]\tSes05F_impro01_F001\txxx\t[2.0000, 3.0000, 3.0000]\n"
    path.write_text(path.read_text().replace(undecided, undecided + "C-E1:\tAnger;\t()\nC-E2:\tExcited; Other;\t()\n"))
    iemocap.main(iemocap.Iemocap(source=tmp_path, out=tmp_path / "vad", tasks=("vad",), classes="six"))
    found, _ = read(tmp_path / "vad")
    assert answers_of(found["Ses05F_impro01_F000"]) == ["-0.25, -0.25, -0.25"]
    for metric in ("valence_mae", "arousal_mae", "dominance_mae"):
        # Answers have two digits.
        assert scored(found, tmp_path / "vad", metric) < 0.005
    iemocap.main(iemocap.Iemocap(source=tmp_path, out=tmp_path / "all", tasks=("labels",), target="all"))
    found, lost = read(tmp_path / "all")
    # Excitement counts as happiness among four classes, 'other' as none of them.
    assert answers_of(found["Ses05F_impro01_F001"]) == ["angry, happy"]
    assert answers_of(found["Ses05F_impro01_F000"]) == ["neutral"]
    assert lost["Ses05F_impro01_F002"] == "no labels of single raters"
    iemocap.main(iemocap.Iemocap(source=tmp_path, out=tmp_path / "one", target="majority"))
    assert read(tmp_path / "one")[1]["Ses05F_impro01_F001"] == "the raters tie: angry, happy"


def test_emotionlines_votes_become_shares_that_score(tmp_path: Path) -> None:
    (tmp_path / "friends_train.json").write_text(json.dumps([LINES]))
    run = emotionlines.EmotionLines(source=tmp_path, out=tmp_path / "out", target="distribution")
    emotionlines.main(run)
    found, _ = read(tmp_path / "out")
    assert answers_of(found["friends_train_dia1_utt0"]) == ["surprise 0.60, neutral 0.40"]
    assert scored(found, tmp_path / "out", "js") == pytest.approx(0, abs=1e-9)


FACES = {"neutral": 3, "happiness": 6, "surprise": 1, "sadness": 0, "anger": 0, "disgust": 0, "fear": 0, "contempt": 0}


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("majority", "happiness"),
        ("all", "happiness, neutral, surprise"),
        ("distribution", "happiness 0.60, neutral 0.30, surprise 0.10"),
    ],
)
def test_a_card_s_votes_become_targets(tmp_path: Path, target: Any, answer: str) -> None:
    blank = {"Usage": "Training", "Image name": "b.png", **dict.fromkeys(FACES, 0)}
    source = write_csv(tmp_path / "fer2013new.csv", {"Usage": "Training", "Image name": "a.png", **FACES}, blank)
    table.main(table.TableBuild(name="fer-plus", source=source, out=tmp_path / "out", target=target))
    found, lost = read(tmp_path / "out")
    assert [answers_of(row) for row in found.values()] == [[answer]]
    assert len(lost) == 1


def test_a_card_s_raters_speak_for_themselves(tmp_path: Path) -> None:
    """What the card leaves out, since fewer than two raters agree, is kept with all that they said."""
    columns = [f"annotator_0{i}" for i in range(1, 6)]
    cells = dict(zip(columns, ["기쁨", "슬픔", "", "", ""], strict=True))
    path = tmp_path / "KPoEM_line_dataset_v4.tsv"
    path.write_text("\t".join(["text", *cells]) + "\n" + "\t".join(["봄", *cells.values()]) + "\n", encoding="utf-8")
    table.main(table.TableBuild(name="kpoem", source=path, out=tmp_path / "out"))
    assert not read(tmp_path / "out")[0]
    table.main(table.TableBuild(name="kpoem", source=path, out=tmp_path / "out", target="all"))
    found, _ = read(tmp_path / "out")
    assert [row.target.labels for row in found.values()] == [["joy", "sadness"]]


def test_a_card_asks_for_vad_and_says_what_it_cannot_ask(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "emobank.csv", {"id": "e1", "split": "dev", "V": 4, "A": 3, "D": 2, "text": "Nice."})
    run = table.TableBuild(name="emobank", source=source, out=tmp_path / "out", tasks=("vad", "basic", "next"))
    table.main(run)
    found, lost = read(tmp_path / "out")
    assert answers_of(found["e1_vad"]) == ["0.50, 0.00, -0.50"]
    assert lost == {"e1_basic": "the annotation does not answer 'basic'", "e1_next": "nobody is named"}


def test_readers_are_asked_what_they_feel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_csv(tmp_path / "emobank.csv", {"id": "e1", "split": "dev", "V": 4, "A": 3, "D": 2, "text": "Nice."})
    own = msgspec.structs.replace(read_card("emobank"), perspective="induced")
    monkeypatch.setattr(table, "read_card", lambda name: own)
    table.main(table.TableBuild(name="emobank", source=source, out=tmp_path / "out"))
    (row,) = read(tmp_path / "out")[0].values()
    assert row.perspective == "induced"
    assert "audience" in question(row) or "people feel" in question(row)
    table.main(table.TableBuild(name="emobank", source=source, out=tmp_path / "out", perspective="expressed"))
    (row,) = read(tmp_path / "out")[0].values()
    assert "the person" in question(row)


def test_the_listener_is_asked_for_in_mer2026(tmp_path: Path) -> None:
    write_csv(tmp_path / "track1_track2_candidate.csv", {"name": "c1"})
    write_csv(tmp_path / "track1_train.csv", {"name": "t1", "discrete": "happy"})
    asked: dict[str, Any] = {"source": tmp_path, "track": 1, "tasks": ("listener",)}
    mer_challenge.main(mer_challenge.MerChallenge(out=tmp_path / "test", split="candidate", **asked))
    (row,) = read(tmp_path / "test")[0].values()
    assert "listen" in question(row) or "倾听" in question(row)
    assert "neutral, angry, happy, sad, worried, surprise" in question(row)
    assert answers_of(row) == []
    mer_challenge.main(mer_challenge.MerChallenge(out=tmp_path / "train", **asked))
    assert read(tmp_path / "train") == ({}, {"t1": "its labels are not those of the listener"})


REASON = "In the video, she smiles. In the audio, her voice is warm. In the text, she thanks him."


def test_emer_and_merr_lead_from_evidence_to_emotion(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "final-EMER-reason.csv", {"name": "s1", "chinese": "", "english": REASON})
    labels = write_csv(tmp_path / "check-openset.csv", {"name": "s1", "openset": "[happy, grateful]"})
    run = emer.Emer(source=source, labels=labels, out=tmp_path / "out", tasks=("clues", "progressive"))
    emer.main(run)
    found, _ = read(tmp_path / "out")
    assert answers_of(found["s1_progressive"]) == [
        "In the video, she smiles.", "In the audio, her voice is warm.", "In the text, she thanks him.",
        "happy, grateful",
    ]  # fmt: skip
    clues = {"s1_clues": found["s1_clues"]}
    jsonl.write(tmp_path / "out" / "conversations.jsonl", clues.values())
    assert scored(clues, tmp_path / "out", "clue_recall") == 1
    item = {"smp_reason_caption": "He frowns and shouts.", "pseu_emotion": "angry", "visual_prior_list": ["a frown"]}
    (tmp_path / "MERR_fine_grained.json").write_text(json.dumps({"m1": item, "m2": {"caption": "He talks."}}))
    merr.main(merr.Merr(source=tmp_path, out=tmp_path / "merr", tasks=("progressive",)))
    found, lost = read(tmp_path / "merr")
    assert answers_of(found["m1"]) == ["a frown.", "angry"]
    assert lost == {"m2": "no evidence or no labels"}
