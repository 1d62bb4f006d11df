"""MER-Caption(+): every spelling of a label set, joined descriptions and subtitles, clips held out."""

import json
import re
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.mer_caption import MerCaption, main

OPENSETS = {
    "a": ('"[worry, hope]"', ["worry", "hope"]),
    "b": ("\"['angry', 'sad']\"", ["angry", "sad"]),
    "c": ('"shocked,caring"', ["shocked", "caring"]),
    "d": ("neutral", ["neutral"]),
    "e": ('"[fear of others\' views, lack_of_concern]"', ["fear of others' views", "lack of concern"]),
}


def write_tables(folder: Path) -> None:
    rows = "".join(f"{name},{cell}\n" for name, (cell, _) in OPENSETS.items())
    (folder / "labels.csv").write_text("name,openset\n" + rows + "f,[]\n")
    (folder / "reasons.csv").write_text(
        'name,reason\na,"In the video, she bites her lip."\nf,"In the video, he waits."\n'
    )
    (folder / "subtitles.csv").write_text(
        "name,chinese,english\na,花开,Flowers open.\nb,走开,\nc,,\n", encoding="utf-8"
    )
    (folder / "human.csv").write_text("name,openset\nd,neutral\n")


def test_spellings_joins_and_held_out_clips(tmp_path: Path) -> None:
    write_tables(tmp_path)
    main(
        MerCaption(
            source=tmp_path / "labels.csv", out=tmp_path / "out", reasons=tmp_path / "reasons.csv",
            subtitles=tmp_path / "subtitles.csv", exclude=(tmp_path / "human.csv",),
        )
    )  # fmt: skip
    rows = {row.id: row for row in jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)}
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert (lost.id, lost.reason) == ("d", "also in a file given with --exclude")
    assert {name: row.target.labels for name, row in rows.items() if name != "f"} == {
        name: labels for name, (_, labels) in OPENSETS.items() if name != "d"
    }
    assert (
        rows["a"].messages[-1].content
        == "<think>In the video, she bites her lip.</think>\n<answer>worry, hope</answer>"
    )
    assert rows["b"].messages[-1].content == "angry, sad"
    # An empty label set is not 'neutral': the clip teaches its description only.
    assert rows["f"].messages[-1].content == "In the video, he waits."
    assert (rows["a"].language, rows["b"].language, rows["b"].subtitle) == ("en", "zh", "走开")
    defects = json.loads((tmp_path / "out" / "manifest.json").read_text())["defects"]
    assert defects["chinese-subtitle-used"] == ["b"]
    assert defects["no-labels"] == ["f"]


def test_an_empty_set_without_description_is_rejected(tmp_path: Path) -> None:
    write_tables(tmp_path)
    main(MerCaption(source=tmp_path / "labels.csv", out=tmp_path / "out"))
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert (lost.id, lost.reason) == ("f", "empty label set and no description")


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "subtitles.csv").write_text("name,words\na,b\n")
    with pytest.raises(AffectError, match="no text column"):
        main(MerCaption(source=tmp_path / "labels.csv", out=tmp_path / "out", subtitles=tmp_path / "subtitles.csv"))


def test_real_spellings(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "mercaption_samples" / "openset_strings.txt").read_text(encoding="utf-8").splitlines()
    rows = "".join(f'clip{i},"{line}"\n' for i, line in enumerate(lines) if line.strip())
    (tmp_path / "labels.csv").write_text("name,openset\n" + rows, encoding="utf-8")
    main(MerCaption(source=tmp_path / "labels.csv", out=tmp_path / "out"))
    built = {row.id: row.target.labels for row in jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)}
    for i, line in enumerate(lines):
        if line.strip():
            # A slash separates labels too, and an underscore stands for a space.
            assert built[f"clip{i}"] == [part.strip() for part in re.split("[,/]", line.strip("[] ").replace("_", " "))]


@pytest.mark.parametrize(("name", "published"), [("track2_train_human", 1532), ("labels", None)])
def test_a_table_of_another_length_than_published_is_said(
    name: str, published: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / f"{name}.csv"
    source.write_text("name,openset\na,happy\nb,sad\n")
    main(MerCaption(source=source, out=tmp_path / "out", shard="1/2"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["table_rows"], manifest["published_rows"], manifest["rows_in"]) == (2, published, 1)
    assert ("2 rows were read" in capsys.readouterr().out) == (published is not None)
