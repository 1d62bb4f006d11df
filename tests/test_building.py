"""Data folders are written whole or not at all."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from affectllm import building
from affectllm.errors import AffectError
from affectllm.records import Conversation
from tests.clips import conversation


def write(out: Path, rows: Iterator[Conversation] | list[Conversation]) -> building.Manifest:
    return building.write(out, rows, sources=[], options={}, licence="CC0-1.0")


def test_a_kill_half_way_leaves_the_earlier_folder(tmp_path: Path) -> None:
    write(tmp_path, [conversation("a", ["happy"])])
    before = (tmp_path / "conversations.jsonl").read_bytes()

    def dying() -> Iterator[Conversation]:
        yield conversation("b", ["sad"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, dying())
    assert (tmp_path / "conversations.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "conversations.jsonl",
        "manifest.json",
        "rejected.jsonl",
    ]


def test_an_id_may_occur_once(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="Two conversations would have the id 'a'"):
        write(tmp_path, [conversation("a", ["happy"]), conversation("a", ["sad"])])


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfname,openset\r\na,NA\r\n")
    (row,) = building.read_table(path, ("name", "openset"))
    assert row == building.Row(1, {"name": "a", "openset": "NA"})


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x", "1", "1/0"])
def test_impossible_shards_are_refused(shard: str) -> None:
    with pytest.raises(AffectError, match="must be i/n"):
        building.in_shard(1, shard)


def test_a_folder_without_the_data_set_names_its_files(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match=r"holds none of a\.csv, b\.csv"):
        building.find_source(tmp_path, ["a.csv", "b.csv"])


@pytest.mark.parametrize("after_s", [0.5, 0.8, 1.1])
def test_a_killed_build_leaves_the_earlier_folder_and_runs_again_identically(tmp_path: Path, after_s: float) -> None:
    rows = "".join(f'clip{i},"[happy, proud]"\n' for i in range(6000))
    (tmp_path / "labels.csv").write_text("name,openset\n" + rows)
    out = tmp_path / "out"
    write(out, [conversation("a", ["happy"])])
    before = (out / "conversations.jsonl").read_bytes()
    line = [sys.executable, "-m", "affectllm", "build", "mer-caption"]
    line += ["--source", str(tmp_path / "labels.csv"), "--out", str(out)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    time.sleep(after_s)
    process.kill()
    process.wait()
    left = (out / "conversations.jsonl").read_bytes()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    whole = (out / "conversations.jsonl").read_bytes()
    assert left in (before, whole)
    assert whole.count(b"\n") == 6000
    assert sorted(path.name for path in out.iterdir()) == ["conversations.jsonl", "manifest.json", "rejected.jsonl"]
