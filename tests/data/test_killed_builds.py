"""A build that is killed leaves what was there, and run again gives what it would have given."""

import hashlib
import random
from pathlib import Path

import pytest

from affectllm.data.spool import Spool
from affectllm.records import Conversation, Rejected
from data_builders.mer_caption import MerCaption, main

ROWS = 4000


class Killed(BaseException):
    """Stops a build without any handler of errors seeing it."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "labels.csv"
    rows = "".join(f'clip{i},"[joy, fear{i % 7}]"\n' if i % 50 else f"clip{i},[]\n" for i in range(ROWS))
    path.write_text("name,openset\n" + rows)
    return path


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.json*")}


def test_a_build_stopped_anywhere_is_run_again_to_the_same_bytes(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(MerCaption(source=table, out=tmp_path / "out"))
    before = hashes(tmp_path / "out")
    add, rng = Spool.add, random.Random(7)
    for _ in range(5):
        left = rng.randrange(ROWS)

        def add_until(spool: Spool, row: Conversation | Rejected) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            add(spool, row)

        monkeypatch.setattr(Spool, "add", add_until)
        with pytest.raises(Killed):
            main(MerCaption(source=table, out=tmp_path / "out", seed=8))
        assert hashes(tmp_path / "out") == before
    monkeypatch.undo()
    main(MerCaption(source=table, out=tmp_path / "out", seed=8))
    again = hashes(tmp_path / "out")
    main(MerCaption(source=table, out=tmp_path / "out", seed=8))
    assert again == hashes(tmp_path / "out") != before


def test_shards_together_are_the_whole(table: Path, tmp_path: Path) -> None:
    main(MerCaption(source=table, out=tmp_path / "whole"))
    parts: list[str] = []
    for i in range(1, 4):
        main(MerCaption(source=table, out=tmp_path / "part", shard=f"{i}/3"))
        parts += (tmp_path / "part" / "conversations.jsonl").read_text().splitlines()
    assert sorted(parts) == sorted((tmp_path / "whole" / "conversations.jsonl").read_text().splitlines())
