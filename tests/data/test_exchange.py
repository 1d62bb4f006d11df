"""Conversations leave for other trainers and come back."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from affectllm import jsonl
from affectllm.commands import verbs
from affectllm.data import folder as folders
from affectllm.errors import AffectError
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Rejected, Target
from tests.clips import conversation
from tests.fake_hub import serve


def built(folder: Path, *more: Conversation) -> list[Conversation]:
    """A data folder of two splits, one row in Chinese with sound of its own, one image."""
    rows = [
        row("a", "train", Clip(video="a.mp4")),
        row("b", "test", Clip(video="b.mp4", audio="b.wav"), language="zh", subtitle="你怎么来了？"),
        row("c", "train", Clip(image="c.jpg"), parts=("image",)),
        *more,
    ]
    folders.write(folder, rows, sources=[], options={}, licence="CC0-1.0")
    return rows


def row(name: str, split: str, clip: Clip, parts: tuple[str, ...] = ("video", "audio"), **more: Any) -> Conversation:
    target = more.pop("target", Target(labels=["happy", "relieved"], description="She laughs."))
    asked = Annotation(
        id=name, dataset="toy", split=split, media=clip, target=target, meta=Meta(licence="CC0-1.0"), **more
    )
    return compose(asked, "labels", "think", 7, parts=parts)


@pytest.mark.parametrize("form", ["parquet", "ms-swift", "llama-factory"])
def test_what_goes_out_comes_back(tmp_path: Path, form: str) -> None:
    rows = built(tmp_path / "data")
    verbs.run("data", ["export", str(tmp_path / "data"), "--to", form, "--out", str(tmp_path / "out")])
    files = sorted((tmp_path / "out").glob("**/t*.parquet" if form == "parquet" else "t*.jsonl"))
    assert [file.stem for file in files] == ["test", "train"]
    again = []
    for file in files:
        verbs.run("data", ["import", str(file), "--from", form, "--out", str(tmp_path / file.stem)])
        again += list(jsonl.read(tmp_path / file.stem / "conversations.jsonl", Conversation))
    assert {row.id: row for row in again} == {row.id: row for row in rows}


def test_tags_stand_for_paths(tmp_path: Path) -> None:
    built(tmp_path / "data")
    verbs.run(
        "data",
        ["export", str(tmp_path / "data"), "--to", "ms-swift", "--out", str(tmp_path / "out"), "--media", "/clips"],
    )
    first, image = jsonl.read_dicts(tmp_path / "out" / "train.jsonl")
    assert first["messages"][0]["content"].startswith("<video><audio>")
    assert (first["videos"], first["audios"], first["images"]) == (["/clips/a.mp4"], ["/clips/a.mp4"], [])
    assert first["messages"][1] == {"role": "assistant", "content": first["solution"]}
    assert first["solution"] == "<think>She laughs.</think>\n<answer>happy, relieved</answer>"
    assert (image["images"], image["videos"]) == (["/clips/c.jpg"], [])
    (own,) = jsonl.read_dicts(tmp_path / "out" / "test.jsonl")
    assert own["audios"] == ["/clips/b.wav"]


def test_llama_factory_is_told_what_the_columns_are(tmp_path: Path) -> None:
    built(tmp_path / "data")
    verbs.run("data", ["export", str(tmp_path / "data"), "--to", "llama-factory", "--out", str(tmp_path / "out")])
    told = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert told["train"]["file_name"] == "train.jsonl"
    columns = told["train"]["columns"]
    first = next(iter(jsonl.read_dicts(tmp_path / "out" / "train.jsonl")))
    assert set(columns.values()) <= set(first)


def test_the_parquet_files_load_as_a_data_set_with_its_card(tmp_path: Path) -> None:
    import datasets

    built(tmp_path / "data")
    verbs.run("data", ["export", str(tmp_path / "data"), "--to", "parquet", "--out", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    files = {it["split"]: str(tmp_path / "out" / it["path"]) for it in header["configs"][0]["data_files"]}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "test": 1}
    assert loaded["train"][0]["messages"][1]["role"] == "assistant"
    assert "| train | 2 |" in card
    assert header["license_name"] == "CC0-1.0"


def test_what_other_trainers_have_no_place_for_is_rejected(tmp_path: Path) -> None:
    silent = row("d", "train", Clip(video="d.mp4"), target=Target())
    cut = row("e", "train", Clip(video="e.mp4", start_s=1, end_s=2))
    tagged = row("f", "train", Clip(video="f.mp4"), subtitle="say <video>")
    deaf = row("g", "train", Clip(image="g.jpg"))
    built(tmp_path / "data", silent, cut, tagged, deaf)
    verbs.run("data", ["export", str(tmp_path / "data"), "--to", "ms-swift", "--out", str(tmp_path / "out")])
    lost = {it.id: it.reason for it in jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)}
    assert lost == {
        "d": "no answer to learn from",
        "e": "only some seconds of the clip are meant: cut the clip first",
        "f": "the text holds a media tag",
        "g": "the question shows video, of which the clip names no file",
    }


def test_rows_of_others_are_read_and_bad_ones_named(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<video>How does he feel?"}, {"role": "assistant", "content": "sad, tired"},
            ],
            "videos": ["v.mp4"],
        },
        {
            "conversations": [
                {"from": "human", "value": "<video>Describe."}, {"from": "gpt", "value": "He seems to be in a hurry."},
            ],
            "videos": ["w.mp4"],
        },
        {
            "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Before <image> after."},
                {"role": "assistant", "content": "Happy."},
            ],
            "images": ["x.jpg"], "videos": ["y.mp4"],
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "How?"}]},
                {"role": "assistant", "content": "calm"},
            ],
            "audios": ["z.wav"],
        },
        {"messages": [{"role": "user", "content": "<video>?"}], "videos": []},
        {"videos": ["x.mp4"]},
        {"messages": [{"role": "robot", "content": "?"}]},
        {"messages": ["?"]},
        {"messages": [{"role": "user", "content": "<image>"}], "images": [{"bytes": "AA"}]},
    ]  # fmt: skip
    path = tmp_path / "foreign.jsonl"
    path.write_text("".join(json.dumps(it) + "\n" for it in rows))
    verbs.run("data", ["import", str(path), "--from", "ms-swift", "--out", str(tmp_path / "out"), "--language", "en"])
    first, second, third, fourth = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    assert (first.target.labels, first.task, first.media.video) == (["sad", "tired"], "labels", "v.mp4")
    assert [part.type for part in first.messages[0].content] == ["video", "text"]  # type: ignore[union-attr]
    assert (second.task, second.target.description) == ("describe", "He seems to be in a hurry.")
    lost = [it.reason for it in jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)]
    assert lost[:2] == ["1 <video> tags, 0 paths in 'videos'", "no messages"]
    assert lost[2].startswith("field 'role'")
    assert lost[3:] == ["a message is '?', no object", "a medium is not given by its path"]
    # What stands between words stays there; what no tag names comes first.
    kinds = [(part.type, part.text) for part in third.messages[1].content]  # type: ignore[union-attr]
    assert kinds == [("video", None), ("text", "Before"), ("image", None), ("text", "after.")]
    assert third.media == Clip(video="y.mp4", image="x.jpg")
    assert (fourth.media, fourth.target.labels) == (Clip(audio="z.wav"), ["calm"])


def test_the_parquet_files_are_sent_without_what_was_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    jsonl.write(folder / "conversations.jsonl", [conversation("a", ["happy"])])
    with serve(monkeypatch) as hub:
        verbs.run("data", ["export", str(folder), "--to", "parquet", "--out", str(out), "--push", "me/data"])
    assert (hub.repositories[0]["type"], hub.repositories[0]["visibility"]) == ("dataset", "private")
    assert set(hub.files) == {"README.md", "data/train.parquet"}
    assert hub.files["data/train.parquet"] == (out / "data" / "train.parquet").read_bytes()


def test_only_parquet_is_pushed(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="--to parquet"):
        verbs.run("data", ["export", str(tmp_path), "--to", "ms-swift", "--out", str(tmp_path), "--push", "me/data"])
