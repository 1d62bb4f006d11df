"""One builder for table-shaped data sets: every label form, every card, and what cannot be read."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from affectllm import jsonl
from affectllm.commands import catalogue, cli
from affectllm.data.dataset_cards import Card, all_cards
from affectllm.data.label_forms import Found, Labels, Scale, candidates, read_labels, scaled
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.table import TableBuild, main

NOT_ON_CARD = "label '7' is not one of the card's"
TABLES = all_cards()


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
        ({"form": "flags", "columns": ["joy"], "none": "neutral"}, {"joy": ""}, Found([], "no label")),
        ({"form": "levels", "columns": [*"abc"], "at_least": 2}, {"a": "2", "b": "3", "c": "1"}, Found(["b", "a"])),
        ({"form": "list", "column": "c", "separator": ","}, {"c": "fear/scare, Joy"}, Found(["fear/scare", "joy"])),
    ],
)  # fmt: skip
def test_label_forms(spec: dict, values: dict, found: Found) -> None:
    assert read_labels(Labels(**spec), values) == found


def test_strengths_order_a_list() -> None:
    spec = Labels(form="list", column="c", strength="s")
    assert read_labels(spec, {"c": "joy, awe, fear", "s": "1,3,3"}).labels == ["awe", "fear", "joy"]
    with pytest.raises(AffectError, match="2 labels and 1 strengths"):
        read_labels(spec, {"c": "joy,fear", "s": "2"})


def test_raters_vote() -> None:
    spec = Labels(form="raters", columns=[*"abc"], separator=",", at_least=2)
    found = read_labels(spec, {"a": "joy", "b": "awe,joy", "c": "awe, fear"})
    assert found == Found(["joy", "awe"], "", [["joy"], ["awe", "joy"], ["awe", "fear"]])
    # One rater who says a label twice has one vote.
    assert read_labels(spec, {"a": "joy,joy", "b": "awe", "c": ""}).problem == "no label"
    named = Labels(form="raters", columns=[*"ab"], names={"J": "joy"})
    assert read_labels(named, {"a": "j", "b": "x"}).problem == "label 'x' is not one of the card's"


def test_a_scale_ends_at_one() -> None:
    scale = Scale(column="v", low=-3, high=3)
    assert [scaled(scale, {"v": v}) for v in ("-3", "0", "1.5", "3")] == [-1, 0, 0.5, 1]
    with pytest.raises(AffectError, match="outside -3"):
        scaled(scale, {"v": "4"})


def lay_out(card: Card, folder: Path) -> Path:
    """A data set in the card's own shape, made of its example rows, and what to give as the source."""
    rows = [example.row for example in card.example]
    if card.paths:
        for row in rows:
            touch(folder / row["path"])
        return folder
    path = touch(folder / next(iter(card.files), "table.csv"))
    if card.items:
        path.write_text(json.dumps(nest(card.items, rows)), encoding="utf-8")
    else:
        write_table(card, rows, path)
    for name, split in card.lists.files.items() if card.lists else ():
        value = rows[0][card.lists.column] if card.lists and split in ("train", "{split}/{part}/{place}") else "another"
        text = json.dumps({"train": {"one": [value]}}) if name.endswith(".json") else f"{value}\n"
        touch(folder / name).write_text(text, encoding="utf-8")
    return folder if card.files else path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_table(card: Card, rows: list[dict[str, str]], path: Path) -> None:
    columns = card.header or list(dict.fromkeys(name for row in rows for name in row))
    lines = [[row[name] for name in columns] for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        if card.quoted:
            csv.writer(file, delimiter=card.delimiter).writerows(lines if card.header else [columns, *lines])
        else:
            file.writelines(card.delimiter.join(line) + "\n" for line in (lines if card.header else [columns, *lines]))


def nest(way: str, rows: list[dict[str, str]]) -> Any:
    """The JSON that the rows were taken from: dotted columns lie one in the other, numbered ones in a list."""
    top: dict[str, Any] = {}
    for row in rows:
        for column in row.keys() - set(re.findall(r"{(\w+)}", way)):
            *steps, last = [*way.format(**row).split("/"), *column.split(".")]
            place = top
            for step in steps:
                place = place.setdefault(step, {})
            place[last] = row[column]
    return with_lists(top)


def with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(key.isdigit() for key in value):
        return [with_lists(value.get(str(i))) for i in range(max(map(int, value)) + 1)]
    return {key: with_lists(child) for key, child in value.items()}


@pytest.mark.parametrize("name", TABLES)
def test_every_card_builds_its_examples(name: str, tmp_path: Path) -> None:
    card = TABLES[name]
    assert card.example, "a card needs example rows"
    source = lay_out(card, tmp_path / "source")
    main(TableBuild(name=name, source=source, out=tmp_path / "out", split=None if card.files or card.paths else "test"))
    built = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    lost = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    wanted = [example for example in card.example if example.labels or example.valence is not None]
    assert [(r.target.labels, r.target.sentiment, r.target.valence, r.target.vad) for r in built] == [
        (example.labels, example.sentiment, example.valence, example.vad) for example in wanted
    ]
    assert len(lost) == len(card.example) - len(wanted)
    for row in built:
        assert row.task == card.task
        assert row.split in ("train", "val", "test", "all")
        assert row.messages[-1].role == "assistant"
        assert not card.labels or set(row.target.labels) <= set(candidates(card.labels))
        assert bool(row.subtitle) == bool(card.text)
        assert bool(row.media.video or row.media.audio or row.media.image) == bool(card.clip)


@pytest.mark.parametrize("name", [name for name, card in TABLES.items() if not (card.paths or card.items)])
def test_a_missing_column_is_named(name: str, tmp_path: Path) -> None:
    card = TABLES[name]
    if card.header:
        (tmp_path / "table.csv").write_text("one field only\n")
        wanted = "row 1 has 1 fields"
    else:
        (tmp_path / "table.csv").write_text("a,b\n1,2\n")
        wanted = re.escape(f"has no column '{card.needs[0]}'")
    with pytest.raises(AffectError, match=wanted):
        main(TableBuild(name=name, source=tmp_path / "table.csv", out=tmp_path / "out", split="test"))


def test_a_quotation_mark_in_a_tab_separated_file_is_a_sign(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text('"Well, he said\t17\tc1\nno"\t0,2\tc2\n')
    main(TableBuild(name="goemotions", source=tmp_path, out=tmp_path / "out"))
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
    main(TableBuild(name="sims", source=tmp_path, out=tmp_path / "out", media=tmp_path / "media", probe=False))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert (row.id, row.split, row.media.video) == ("v_2", "val", "v/2.mp4")
    assert (row.target.valence, row.target.sentiment, row.messages[-1].content) == (-0.8, "negative", "-0.80")
    assert "no v/1.mp4" in lost.reason


@pytest.mark.parametrize(
    ("name", "message"),
    [("meld", "No card 'meld'"), ("nosuch", "No card 'nosuch'"), ("xed", "Cannot tell the split")],
)
def test_wrong_use_is_explained(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a\n")
    with pytest.raises(AffectError, match=message):
        main(TableBuild(name=name, source=tmp_path / "table.csv", out=tmp_path / "out"))


def test_the_list_names_task_licence_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.main(catalogue.List(json=True))
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["meld"]["command"] == "affectllm build meld"
    assert rows["goemotions"]["rows"] == {"train": 43410, "val": 5426, "test": 5427}
    assert all(row["licence"] and row["status"] in ("verified", "documented") for row in rows.values())


def test_a_card_is_built_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lay_out(TABLES["goemotions"], tmp_path / "source")
    with pytest.raises(SystemExit) as end:
        cli.main(["build", "goemotions", "--source", str(source), "--out", str(tmp_path / "out")])
    assert not end.value.code
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    assert [row.dataset for row in rows] == ["goemotions", "goemotions"]
    assert "2 rows of 'train' were read, 43410 are published" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["table_rows"] == {"train": 2}
    with pytest.raises(SystemExit):
        cli.main(["build", "goemotion"])
    assert "Perhaps you meant 'goemotions'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["build", "human-ov"])
    assert "affectllm build mer-caption --help" in capsys.readouterr().err


def test_a_dialogue_gives_earlier_turns_only(tmp_path: Path) -> None:
    turns = ["Hello.", "What can I do?", "A taxi!", "Where to?", "Home. At last!"]
    log = [{"text": text, "emotion": [] if i % 2 else [{}, {}, {}, {"emotion": i}]} for i, text in enumerate(turns)]
    (tmp_path / "emowoz-dialmage.json").write_text(json.dumps({"D1": {"log": log}, "D2": {"log": log[:1]}}))
    (tmp_path / "data-split.json").write_text(json.dumps({"dev": {"dialmage": ["D1"]}}))
    main(TableBuild(name="emowoz", source=tmp_path, out=tmp_path / "out", window=3, shard="2/2"))
    rows = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert [(row.row, row.reason) for row in rows] == [
        (2, "no 'emotion.3.emotion'"),
        (4, "no 'emotion.3.emotion'"),
        (6, "'D2' stands in no list of a split"),
    ]
    main(
        TableBuild(name="emowoz", source=tmp_path / "emowoz-dialmage.json", out=tmp_path / "out", window=3, shard="1/2")
    )
    *_, last = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    assert (last.id, last.split, last.person, last.target.basic) == ("D1_4", "val", "user", "abusive")
    assert [(turn.speaker, turn.text) for turn in last.context] == [
        ("system", "What can I do?"),
        ("user", "A taxi!"),
        ("system", "Where to?"),
    ]


def test_a_json_file_of_another_shape_is_explained(tmp_path: Path) -> None:
    (tmp_path / "annotation.json").write_text(json.dumps({"film": {"scene": {"lines": []}}}))
    touch(tmp_path / "splitInfo" / "movie_list_train.txt")
    touch(tmp_path / "splitInfo" / "movie_list_val.txt")
    touch(tmp_path / "splitInfo" / "movie_list_test.txt")
    with pytest.raises(AffectError, match=r"annotation.json has no 'Dialog' in film/scene"):
        main(TableBuild(name="m3ed", source=tmp_path, out=tmp_path / "out"))


def test_a_file_name_that_does_not_fit_is_rejected(tmp_path: Path) -> None:
    for name in ("a/03a01Wa.wav", "03a01Xa.wav", "noise.wav", "03a09Wa.wav", "LICENCE.md", ".03a02Wa.wav"):
        touch(tmp_path / "wav" / name)
    main(TableBuild(name="emodb", source=tmp_path / "wav", out=tmp_path / "out", split="test"))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    assert (row.id, row.split, row.media.audio, row.target.basic) == ("03a01Wa", "test", "a/03a01Wa.wav", "anger")
    lost = {row.id: row.reason for row in jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)}
    assert lost == {
        "03a01Xa": "label 'X' is not one of the card's",
        "03a09Wa": "text 'a09' is not one of the card's",
        "noise.wav": "the file's name does not fit the card",
    }
    with pytest.raises(AffectError, match="is not a folder"):
        main(TableBuild(name="emodb", source=tmp_path / "wav" / "noise.wav", out=tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AffectError, match="holds no picture, sound or video"):
        main(TableBuild(name="emodb", source=tmp_path / "empty", out=tmp_path / "out"))


def test_emodb_as_its_authors_give_it(shared_data: Path, tmp_path: Path) -> None:
    main(TableBuild(name="emodb", source=shared_data / "clips_emodb", out=tmp_path / "out"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    assert not list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert {row.id: row.target.basic for row in rows} == {
        "03a01Fa": "happiness",
        "03a01Nc": "neutral",
        "03a01Wa": "anger",
        "08a01Ab": "fear",
        "08a01Lc": "boredom",
        "09a01Ea": "disgust",
        "16a01Tb": "sadness",
    }
    assert {(row.language, row.subtitle) for row in rows} == {("de", "Der Lappen liegt auf dem Eisschrank.")}


def test_language_and_split_come_from_the_path(tmp_path: Path) -> None:
    card = TABLES["ethioemo"]
    for name in ("test/tir.csv", "dev/orm.csv"):
        write_table(card, [example.row for example in card.example], touch(tmp_path / name))
    main(TableBuild(name="ethioemo", source=tmp_path, out=tmp_path / "out"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    assert [(row.id, row.language) for row in rows] == [
        ("val_orm_1", "om"),
        ("val_orm_2", "om"),
        ("test_tir_1", "ti"),
        ("test_tir_2", "ti"),
    ]
    main(TableBuild(name="ethioemo", source=tmp_path / "test" / "tir.csv", out=tmp_path / "one"))
    assert {row.split for row in jsonl.read(tmp_path / "one" / "conversations.jsonl", Conversation)} == {"test"}


def test_folders_before_a_picture_are_dropped(tmp_path: Path) -> None:
    main(TableBuild(name="findingemo", source=lay_out(TABLES["findingemo"], tmp_path), out=tmp_path / "out"))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    assert row.media.image == "crowd cheering/a.jpg"


def test_the_table_says_what_each_data_set_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.main(catalogue.List())
    lines = capsys.readouterr().out.splitlines()
    (emodb,) = [line for line in lines if line.split()[:1] == ["emodb"]]
    assert "verified on real files" in emodb
    assert "535" in emodb
    assert "CC0" in emodb
    assert len([line for line in lines if line.strip()]) == len(catalogue.all_sets()) + 1


def test_the_documentation_says_what_every_card_rests_on() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", text))
    assert set(all_cards()) - named == set()
