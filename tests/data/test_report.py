"""Planted problems are found: repeated ids, text and clips in train and test, missing clips, unmapped words."""

import json
from pathlib import Path

import msgspec
import pytest

from affectllm import jsonl
from affectllm.commands import verbs
from affectllm.data.checks.leaks import text_key
from affectllm.data.report import check
from affectllm.errors import AffectError
from affectllm.records import Annotation, Clip, Conversation, Message, Meta, Target

SENTENCE = "I did not expect to see you here."


def row(name: str, split: str, subtitle: str, labels: list[str], clip: str | None = None) -> Conversation:
    annotation = Annotation(
        id=name, dataset="toy", split=split, media=Clip(video=clip), subtitle=subtitle, language="en",
        target=Target(labels=labels), meta=Meta(licence="CC0-1.0"),
    )  # fmt: skip
    messages = [Message(role="user", content="?"), Message(role="assistant", content=", ".join(labels))]
    return Conversation(**msgspec.structs.asdict(annotation), messages=messages, task="labels")


def write(folder: Path, rows: list[Conversation]) -> Path:
    jsonl.write(folder / "conversations.jsonl", rows)
    return folder


def test_sound_folders_have_no_problem(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [row("a1", "train", SENTENCE, ["happy"]), row("a2", "train", "Yes.", ["sad", "happy"])])
    b = write(tmp_path / "b", [row("b1", "test", "Yes.", [])])
    report = check([a, b])
    assert report["problems"] == {}
    assert report["folders"][str(a)]["splits"] == {"train": 2}
    assert report["labels"]["most_frequent"] == {"happy": 2, "sad": 1}
    assert (report["labels"]["per_row"], report["labels"]["once"], report["labels"]["empty_sets"]) == (1.0, 1, 1)


def test_leaks_by_id_and_text(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [row("a1", "train", SENTENCE, ["happy"]), row("a2", "train", "Yes.", ["qwertish"])])
    b = write(tmp_path / "b", [row("b1", "test", SENTENCE.upper() + "!", ["happy"]), row("a2", "test", "No.", [])])
    report = check([a, b])
    assert report["problems"] == {"id-used-twice": ["a2"], "text-in-train-and-test": ["a1 = b1"]}
    assert report["labels"]["unmapped"] == {"qwertish": 1}
    assert report["labels"]["unmapped_share"] == pytest.approx(1 / 3, abs=1e-4)


def test_clips_are_compared_by_content(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name, content in {"a.mp4": b"same", "b.mp4": b"same", "c.mp4": b"other"}.items():
        (media / name).write_bytes(content)
    rows = [
        row(f"id-{clip}", split, "", ["sad"], f"{clip}.mp4")
        for clip, split in zip("abcd", ["train", "test"] * 2, strict=True)
    ]
    report = check([write(tmp_path / "data", rows)], media)
    # They are no clips, which is said too.
    assert len(report["problems"].pop("clip-unreadable")) == 3
    assert report["problems"] == {"clip-missing": ["id-d: d.mp4"], "clip-in-train-and-test": ["id-a = id-b"]}


def test_a_size_that_differs_from_the_published_one_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [row("a1", "val", "", ["sad"])])
    jsonl.write_json(folder / "manifest.json", {"published_rows": 1109, "table_rows": 1})
    assert check([folder])["problems"]["published-size-differs"] == [f"{folder}: 1 rows, published 1109"]


def test_the_command_prints_json_and_says_by_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = write(tmp_path / "a", [row("a1", "train", SENTENCE, ["happy"])])
    leak = write(tmp_path / "b", [row("b1", "test", SENTENCE, ["happy"])])
    assert verbs.run("data", ["check", str(sound)]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert verbs.run("data", ["check", str(sound), str(leak), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == {"text-in-train-and-test": ["a1 = b1"]}


@pytest.mark.parametrize(
    ("words", "message"), [(["chek"], "No 'chek' under 'affectllm data'"), (["check"], "Name at least one folder")]
)
def test_wrong_words_are_explained(words: list[str], message: str) -> None:
    with pytest.raises(AffectError, match=message):
        verbs.run("data", words)


@pytest.mark.parametrize(
    ("text", "key"), [("Yes, sure.", ""), ("One two three four five six", "onetwothreefourfivesix"), (None, "")]
)
def test_short_texts_are_not_told_apart(text: str | None, key: str) -> None:
    assert text_key(text) == key


def test_the_real_development_split(shared_data: Path, tmp_path: Path) -> None:
    from data_builders.meld import Meld, main

    main(Meld(source=shared_data / "meld" / "dev_sent_emo.csv", out=tmp_path))
    report = check([tmp_path])
    assert report["problems"] == {}
    assert report["labels"]["unmapped"] == {}
    assert report["folders"][str(tmp_path)]["rows"] == 1109
