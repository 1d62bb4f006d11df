"""Data folders are written whole or not at all."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from affectllm import jsonl, options
from affectllm.data import folder
from affectllm.data.checks import media
from affectllm.data.tables import read_json
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected, Target
from data_builders import mer_caption
from tests.clips import conversation, write_clip


def write(out: Path, rows: Iterator[Conversation] | list[Conversation]) -> folder.Manifest:
    return folder.write(out, rows, sources=[], options={}, licence="CC0-1.0")


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


def test_a_conversation_that_could_not_be_read_again_is_rejected(tmp_path: Path) -> None:
    """A builder that hands on what a file holds, unchecked, loses the row and not the folder."""
    wrong = msgspec.structs.replace(conversation("b", ["sad"]), target=Target(labels=[3]))  # type: ignore[list-item]
    manifest = write(tmp_path, [conversation("a", ["happy"]), wrong])
    assert (manifest.rows_out, manifest.rejected) == (1, 1)
    (lost,) = jsonl.read(tmp_path / "rejected.jsonl", Rejected)
    assert (lost.id, lost.reason) == ("b", "field 'target.labels[0]': Expected `str`, got `int`")
    assert lost.data["target"]["labels"] == [3]


def test_half_a_character_costs_its_row_only(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(conversation("b", ["sad"]), subtitle="so \ud83d")
    manifest = write(tmp_path, [broken, conversation("a", ["happy"])])
    assert (manifest.rows_out, manifest.rejected) == (1, 1)
    (lost,) = jsonl.read_dicts(tmp_path / "rejected.jsonl")
    assert (lost["id"], lost["reason"]) == ("b", "it holds half a character, as of a broken emoji")
    assert lost["data"]["subtitle"] == "so \ud83d"


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
    # A kill between writing and renaming leaves a hidden partial file, which nothing reads.
    found = sorted(path.name for path in out.iterdir() if not path.name.endswith(".partial"))
    assert found == ["conversations.jsonl", "manifest.json", "rejected.jsonl"]


def build_with_clips(tmp_path: Path, *more: str) -> Path:
    """A build of four rows, of which one clip is sound, one silent, one cut off and one not there."""
    media = tmp_path / "media"
    if not media.is_dir():
        media.mkdir()
        write_clip(media / "a.mp4")
        write_clip(media / "b.mp4", audio=False)
        (media / "cut.mp4").write_bytes((media / "a.mp4").read_bytes()[:500])
        rows = "".join(f"{name},joy\n" for name in ("cut", "a", "gone", "b"))
        (tmp_path / "labels.csv").write_text("name,openset\n" + rows)
    words = ["--source", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "out"), "--media", str(media)]
    mer_caption.main(options.parse(mer_caption.MerCaption, [*words, *more]))
    return tmp_path / "out"


def test_rows_whose_clip_cannot_be_read_are_rejected(tmp_path: Path) -> None:
    out = build_with_clips(tmp_path)
    assert [row["id"] for row in jsonl.read_dicts(out / "conversations.jsonl")] == ["a", "b"]
    cut, gone = jsonl.read(out / "rejected.jsonl", Rejected)
    assert cut.id == "cut"
    assert cut.row is None
    assert cut.reason.startswith(f"Cannot read {tmp_path}/media/cut.mp4: its index")
    assert (gone.id, gone.row) == ("gone", 3)
    manifest = read_json(out / "manifest.json")
    assert (manifest["rows_in"], manifest["rows_out"], manifest["rejected"]) == (4, 2, 2)
    before = (out / "conversations.jsonl").read_bytes()
    build_with_clips(tmp_path)
    assert (out / "conversations.jsonl").read_bytes() == before
    build_with_clips(tmp_path, "--no-probe")
    assert [row["id"] for row in jsonl.read_dicts(out / "conversations.jsonl")] == ["cut", "a", "b"]


def test_a_build_killed_among_its_clips_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock, opened = media.probe_all, list[str]()

    def dying(root: Path, paths: list[str], verify: bool) -> Iterator[media.Probed]:
        for found in stock(root, paths, verify):
            opened.append(found.id)
            yield found
            if len(opened) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(media, "probe_all", dying)
    with pytest.raises(KeyboardInterrupt):
        build_with_clips(tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["media_probe.jsonl"]
    out = build_with_clips(tmp_path)
    # The sound clip is not opened again, the broken one is.
    assert opened == ["cut.mp4", "a.mp4", "cut.mp4", "b.mp4"]
    assert [row["id"] for row in jsonl.read_dicts(out / "conversations.jsonl")] == ["a", "b"]
