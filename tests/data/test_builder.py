"""What builders share: rows that cannot be used are rejected with the reason, clips and splits are found by name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.data.builder import (
    Build,
    Built,
    build,
    find_clip,
    item_of,
    need_clip,
    need_file,
    row_hash,
    rows_of,
    split_by_name,
    usable,
)
from affectllm.data.tables import Row
from affectllm.errors import AffectError
from affectllm.records import Rejected
from tests.clips import conversation


class Item(msgspec.Struct):
    emotion: str


def ask(name: str, row: Row) -> Built:
    item = item_of(row, Item)
    if item.emotion == "boredom":
        raise AffectError("no such emotion")
    yield conversation(name, [item.emotion])


def test_a_row_that_cannot_be_used_is_rejected_and_the_next_one_is_not() -> None:
    items: list[Any] = [{"emotion": "joy"}, {"emotion": "boredom"}, {"emotion": 3}, "joy", {"emotion": "fear"}]
    named = ((f"c{row.number}", row) for row in rows_of(items))
    first, *lost, last = usable(named, "1/1", Path("a.json"), ask)
    assert (first.id, last.id) == ("c1", "c5")
    assert [(row.id, row.reason, row.data) for row in lost if isinstance(row, Rejected)] == [
        ("c2", "no such emotion", {"emotion": "boredom"}),
        ("c3", "field 'emotion': Expected `str`, got `int`", {"emotion": 3}),
        ("c4", "Expected `object`, got `str`", {"value": "joy"}),
    ]


def test_an_object_with_one_key_value_is_read_as_an_object() -> None:
    class Valued(msgspec.Struct):
        value: int

    (row,) = rows_of([{"value": 3}])
    assert item_of(row, Valued) == Valued(3)


def test_rows_of_another_shard_are_not_looked_at() -> None:
    named = ((f"c{row.number}", row) for row in rows_of([{"emotion": "joy"}, None, {"emotion": "fear"}]))
    assert [row.id for row in usable(named, "1/2", Path("a.json"), ask)] == ["c1", "c3"]


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"published_rows": 2, "table_rows": 2}, ""),
        ({"published_rows": 3, "table_rows": 2}, "  note: 2 rows were read, 3 are published\n"),
        (
            {"published_rows": {"test": 5}, "table_rows": {"test": 2}},
            "  note: 2 rows of 'test' were read, 5 are published\n",
        ),
        ({"published_rows": None, "table_rows": 2}, ""),
    ],
)
def test_another_number_of_rows_than_published_is_said(
    tmp_path: Path, notes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Build(source=tmp_path / "a.csv", out=tmp_path / "out")
    build(run, [conversation("a", ["joy"])], sources=[], licence="CC0-1.0", notes=notes)
    assert capsys.readouterr().out == f"1 rows in, 1 conversations, 0 rejected -> {run.out}\n{said}"
    manifest = json.loads((run.out / "manifest.json").read_text())
    assert manifest["options"]["source"] == str(run.source)
    assert manifest["table_rows"] == notes["table_rows"]


def test_a_clip_is_found_by_its_first_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.avi").touch()
    clip = find_clip(tmp_path, "a")
    assert clip is not None
    assert (clip.video, clip.audio) == ("a.avi", None)
    assert find_clip(None, "b", (".wav",)) == need_clip(None, "b", (".wav",))
    assert find_clip(tmp_path, "b") is None
    for shown, said in ((None, "no clip b under"), ("x/b", "no clip x/b under"), ("", "no clip under")):
        with pytest.raises(AffectError, match=f"^{said} "):
            need_clip(tmp_path, "b", shown=shown)
    assert need_file(tmp_path, "a.avi") == need_file(None, "a.avi") == "a.avi"
    with pytest.raises(AffectError, match=r"^no image b\.png under"):
        need_file(tmp_path, "b.png", "image ")


def test_a_split_that_no_name_says_is_asked_for() -> None:
    splits = {"train": "train", "dev": "val", "test": "test"}
    assert split_by_name(Path("dev_sent_emo.csv"), splits, "{}*") == "val"
    with pytest.raises(AffectError, match=r"split of all\.csv. Give it with --split train, dev or test"):
        split_by_name(Path("all.csv"), splits, "*_{}*")


@given(st.dictionaries(st.text(max_size=4), st.none() | st.text(max_size=6) | st.lists(st.integers(), max_size=2)))
def test_a_row_is_named_by_its_sorted_content(values: dict[str, object]) -> None:
    named = hashlib.sha256(repr(sorted(values.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    assert row_hash(values) == named
