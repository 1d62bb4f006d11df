"""OV-MERD: label sets with descriptions and subtitles joined on the clip's name."""

import json
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.ov_merd import OvMerd, main


def test_labels_descriptions_and_subtitles_are_joined(tmp_path: Path) -> None:
    (tmp_path / "ovlabel.csv").write_text("name,openset\na,\"['glad', 'shy']\"\nb,[]\n")
    (tmp_path / "why.csv").write_text("name,chinese,english\na,他笑。,Input: He smiles.\n", encoding="utf-8")
    (tmp_path / "said.csv").write_text("name,sentence\na,Thanks.\n")
    main(OvMerd(source=tmp_path, out=tmp_path / "out", reasons=tmp_path / "why.csv", subtitles=tmp_path / "said.csv"))
    (row,) = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    (lost,) = jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected)
    assert row.messages[-1].content == "<think>He smiles.</think>\n<answer>glad, shy</answer>"
    assert (row.subtitle, row.split, lost.id, lost.reason) == ("Thanks.", "test", "b", "no name or no labels")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["defects"] == {"leaked-prompt-prefix": ["a"]}


def test_a_file_without_descriptions_names_its_columns(tmp_path: Path) -> None:
    (tmp_path / "ovlabel.csv").write_text("name,openset\na,[glad]\n")
    with pytest.raises(
        AffectError, match=r"no text column\. Columns there: name, openset; wanted: one of reason, english"
    ):
        main(OvMerd(source=tmp_path, out=tmp_path / "out", reasons=tmp_path / "ovlabel.csv"))


def test_the_real_head(shared_data: Path, tmp_path: Path) -> None:
    main(OvMerd(source=shared_data / "ovmerd" / "check-openset.head25.csv", out=tmp_path))
    rows = list(jsonl.read(tmp_path / "conversations.jsonl", Conversation))
    assert len(rows) == 25
    assert rows[1].target.labels == ["excited", "joyful", "happy"]
