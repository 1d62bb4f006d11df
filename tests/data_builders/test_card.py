"""One builder for table-shaped data sets: every label form, every card, and what cannot be read."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.cards import Card, Found, Labels, Scale, all_cards, candidates, read_labels, scaled
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders import catalogue
from data_builders.card import CardBuild, main

NOT_ON_CARD = "label '7' is not one of the card's"
TABLES = {name: card for name, card in all_cards().items() if not card.builder}


@pytest.mark.parametrize(
    ("spec", "values", "found"),
    [
        ({"form": "word", "column": "c", "names": {"HAPPY": "joy"}}, {"c": "HAPPY"}, Found(["joy"])),
        ({"form": "word", "column": "c"}, {"c": ""}, Found([], "no label")),
        ({"form": "ids", "column": "c", "names": {"1": "b"}}, {"c": "7"}, Found([], NOT_ON_CARD)),
        ({"form": "list", "column": "c"}, {"c": "['joy', 'fear']"}, Found(["joy", "fear"])),
        ({"form": "ids", "column": "c", "names": {"2": "joy", "14": "fear"}}, {"c": "2,14"}, Found(["joy", "fear"])),
        ({"form": "flags", "columns": ["joy", "fear"]}, {"joy": "0", "fear": "1"}, Found(["fear"])),
        ({"form": "flags", "columns": ["joy"], "none": "neutral"}, {"joy": "0"}, Found(["neutral"])),
        ({"form": "levels", "columns": [*"abc"], "at_least": 2}, {"a": "2", "b": "3", "c": "1"}, Found(["b", "a"])),
    ],
)  # fmt: skip
def test_label_forms(spec: dict, values: dict, found: Found) -> None:
    assert read_labels(Labels(**spec), values) == found


def test_a_scale_ends_at_one() -> None:
    scale = Scale(column="v", low=-3, high=3)
    assert [scaled(scale, {"v": v}) for v in ("-3", "0", "1.5", "3")] == [-1, 0, 0.5, 1]
    with pytest.raises(AffectError, match="outside -3"):
        scaled(scale, {"v": "4"})


def table_of(card: Card) -> str:
    """Two rows in the card's own shape; the second has no label."""
    columns = card.header or list(dict.fromkeys([*card.needs(), "more"]))
    rows = [dict.fromkeys(columns, "x"), dict.fromkeys(columns, "y")]
    for row, level in zip(rows, ("3", "0"), strict=True):
        for column in card.labels.columns if card.labels else ():
            row[column] = level
    if card.labels and card.labels.column:
        rows[0][card.labels.column] = next(iter(card.labels.names))
        rows[1][card.labels.column] = ""
    for row in rows:
        row.update({card.valence.column: "1"} if card.valence else {})
        row.update({card.sentiment: "Positive"} if card.sentiment else {})
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, delimiter=card.delimiter)
    if not card.header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("name", TABLES)
def test_every_card_reads_a_table_of_its_shape(name: str, tmp_path: Path) -> None:
    card = TABLES[name]
    (tmp_path / "table.csv").write_bytes(table_of(card).encode())
    main(CardBuild(name=name, source=tmp_path / "table.csv", out=tmp_path / "out", split="test"))
    built = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    lost = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert len(built) + len(lost) == 2
    assert built[0].task == card.task
    assert built[0].messages[-1].role == "assistant"
    if card.labels:
        assert set(built[0].target.labels) <= set(candidates(card.labels)) | {
            label.lower() for label in card.labels.columns
        }
        assert [row.reason for row in lost] == ([] if card.labels.none else ["no label"])


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_column_is_named(name: str, tmp_path: Path) -> None:
    if TABLES[name].header:
        (tmp_path / "table.csv").write_text("one field only\n")
        wanted = "row 1 has 1 fields"
    else:
        (tmp_path / "table.csv").write_text("a,b\n1,2\n")
        wanted = re.escape(f"has no column '{TABLES[name].needs()[0]}'")
    with pytest.raises(AffectError, match=wanted):
        main(CardBuild(name=name, source=tmp_path / "table.csv", out=tmp_path / "out", split="test"))


def test_a_quotation_mark_in_a_tab_separated_file_is_a_sign(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text('"Well, he said\t17\tc1\nno"\t0,2\tc2\n')
    main(CardBuild(name="goemotions", source=tmp_path, out=tmp_path / "out"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    assert [(row.id, row.subtitle) for row in rows] == [("c1", '"Well, he said'), ("c2", 'no"')]
    assert [row.target.labels for row in rows] == [["joy"], ["admiration", "anger"]]
    assert {part.type for row in rows for part in row.messages[0].content if not isinstance(part, str)} == {"text"}


def test_splits_and_media(tmp_path: Path) -> None:
    (tmp_path / "label.csv").write_text(
        "video_id,clip_id,text,label,annotation,mode\nv,1,好,0.4,Positive,train\nv,2,不,-0.8,Negative,valid\n",
        encoding="utf-8",
    )
    (tmp_path / "media" / "v").mkdir(parents=True)
    (tmp_path / "media" / "v" / "2.mp4").touch()
    main(CardBuild(name="sims", source=tmp_path, out=tmp_path / "out", media=tmp_path / "media"))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert (row.id, row.split, row.media.video) == ("v_2", "val", "v/2.mp4")
    assert (row.target.valence, row.target.sentiment, row.messages[-1].content) == (-0.8, "negative", "-0.80")
    assert "no v/1.mp4" in lost.reason


@pytest.mark.parametrize(
    ("name", "message"),
    [("meld", "affectllm build meld"), ("nosuch", "No card 'nosuch'"), ("xed", "Cannot tell the split")],
)
def test_wrong_use_is_explained(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a\n")
    with pytest.raises(AffectError, match=message):
        main(CardBuild(name=name, source=tmp_path / "table.csv", out=tmp_path / "out"))


def test_the_list_names_task_licence_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogue.run(["--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["meld"]["command"] == "affectllm build meld"
    assert rows["goemotions"]["rows"] == {"train": 43410, "val": 5426, "test": 5427}
    assert all(row["licence"] and row["status"] in ("verified", "documented") for row in rows.values())
