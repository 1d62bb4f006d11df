"""EMER: leaked prompts cut off and counted, clues split by modality, labels joined."""

import json
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.records import Conversation, Rejected
from data_builders.emer import Emer, clean, main, split_clues

REASON = (
    "Input: In the video, he frowns. His fists are clenched. In the audio, the voice is loud. "
    'In the text, he says ""Go!"".'
)


def test_a_leaked_prompt_is_cut_off_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "final-EMER-reason.csv"
    source.write_text(
        f'name,chinese,english\nclip1,在视频中，他皱眉。,"{REASON}"\nclip2,在视频中，她微笑。,\n', encoding="utf-8"
    )
    labels = tmp_path / "labels.csv"
    labels.write_text("name,openset\nclip1,\"['angry', 'not calm']\"\n")
    main(Emer(source=source, out=tmp_path / "out", labels=labels))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert row.target.description is not None
    assert row.target.description.startswith("In the video")
    assert row.target.labels == ["angry", "not calm"]
    assert row.subtitle == "Go!"
    assert manifest["defects"] == {"leaked-prompt-prefix": ["clip1"]}
    assert (lost.id, lost.reason) == ("clip2", "no en description")


def test_clues_are_split_by_modality() -> None:
    clues = split_clues("In the video, he frowns. His fists are clenched. In the audio, the voice is loud.")
    assert clues is not None
    assert clues.visual == ["In the video, he frowns.", "His fists are clenched."]
    assert clues.audio == ["In the audio, the voice is loud."]
    assert clues.text == []
    assert split_clues("He is sad.") is None


@pytest.mark.parametrize(
    ("text", "defects"),
    [("Input: He", ["leaked-prompt-prefix"]), ("He says 你好 today", ["mixed-language"]), ("He", [])],
)
def test_defects_are_named(text: str, defects: list[str]) -> None:
    assert clean(text, "en")[1] == defects


def test_the_real_heads(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "emer" / "final-EMER-reason.head25.csv"
    main(Emer(source=source, out=tmp_path / "out", labels=shared_data / "ovmerd" / "check-openset.head25.csv"))
    rows = list(jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(rows) == 25
    assert len(manifest["defects"]["leaked-prompt-prefix"]) == source.read_text(encoding="utf-8").count('"Input: ')
    assert not any((row.target.description or "").startswith("Input") for row in rows)
    assert all(row.target.clues and row.target.clues.visual and row.target.clues.audio for row in rows)
