"""Tables are read strictly: what is not as expected is named with its place."""

from collections import Counter
from pathlib import Path

import pytest

from affectllm.data.tables import Row, counted, find_source, read_list, read_object, read_table
from affectllm.errors import AffectError


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfname,openset\r\na,NA\r\n")
    (row,) = read_table(path, ("name", "openset"))
    assert row == Row(1, {"name": "a", "openset": "NA"})


def test_a_folder_without_the_data_set_names_its_files(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match=r"holds none of a\.csv, b\.csv"):
        find_source(tmp_path, ["a.csv", "b.csv"])


def test_another_kind_of_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("[]")
    assert read_object(tmp_path / "a.json", "an entry per clip") == {}
    assert read_list(tmp_path / "b.json") == []
    with pytest.raises(AffectError, match=r"a\.json must hold a list of videos, it holds a dict"):
        read_list(tmp_path / "a.json", "videos")
    with pytest.raises(AffectError, match="must hold an object with an entry per clip, it holds a list"):
        read_object(tmp_path / "b.json", "an entry per clip")


def test_rows_are_counted_as_they_pass_and_none_is_zero() -> None:
    counts: Counter[str] = Counter()
    rows = [Row(1, {}), Row(2, {})]
    assert list(counted(rows, counts, "a")) == rows
    assert list(counted([], counts, "b")) == []
    assert counts == {"a": 2, "b": 0}
