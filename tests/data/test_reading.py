"""A split of a folder, the root of its clips, and shards that are together the whole."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import jsonl
from affectllm.data.reading import in_shard, media_root, read_folder, read_split, take_shard, with_absolute_paths
from affectllm.errors import AffectError
from affectllm.records import Clip
from tests.clips import conversation


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x", "1", "1/0"])
def test_impossible_shards_are_refused(shard: str) -> None:
    with pytest.raises(AffectError, match="must be i/n"):
        in_shard(1, shard)


@given(st.integers(0, 20), st.integers(1, 5))
def test_shards_are_together_the_whole_and_both_ways_to_take_them_agree(rows: int, parts: int) -> None:
    numbers = range(1, rows + 1)
    shards = [take_shard(numbers, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(number for shard in shards for number in shard) == list(numbers)
    for part, shard in enumerate(shards, 1):
        assert list(shard) == [number for number in numbers if in_shard(number, f"{part}/{parts}")]


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    rows = [conversation("a", ["joy"]), conversation("b", ["fear"])]
    rows[1] = msgspec.structs.replace(rows[1], split="dev")
    jsonl.write(tmp_path / "conversations.jsonl", rows)
    assert read_folder(tmp_path) == rows
    assert read_split(tmp_path / "conversations.jsonl", "dev") == rows[1:]
    with pytest.raises(AffectError, match=f"no conversation of split 'val'. Splits there: dev, {rows[0].split}"):
        read_split(tmp_path / "conversations.jsonl", "val")


def test_paths_are_put_under_a_root_and_other_fields_stay() -> None:
    row = msgspec.structs.replace(conversation("a", ["joy"]), media=Clip(video="a.mp4", face="a.npy", end_s=2.0))
    found = with_absolute_paths(row, Path("/clips"))
    assert found.media == Clip(video="/clips/a.mp4", face="/clips/a.npy", end_s=2.0)
    assert msgspec.structs.replace(found, media=row.media) == row
    assert media_root(Path("/data/x/conversations.jsonl"), None) == Path("/data/x")
    assert media_root(Path("/data/x/conversations.jsonl"), Path("/clips")) == Path("/clips")
