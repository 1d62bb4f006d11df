"""EmoPrefer: pairs, their mirror images, ties, and pairs nobody has judged."""

import json
from pathlib import Path

from affectllm import jsonl
from affectllm.records import Conversation, Part, Rejected
from data_builders.emoprefer import EmoPrefer, main


def build(folder: Path, text: str, **options: bool) -> list[Conversation]:
    (folder / "pairs.csv").write_text(text)
    main(EmoPrefer(source=folder / "pairs.csv", out=folder / "out", **options))  # type: ignore[arg-type]
    return list(jsonl.read(folder / "out" / "conversations.jsonl", Conversation))


def question(row: Conversation) -> str:
    part = row.messages[0].content[-1]
    assert isinstance(part, Part)
    return str(part.text)


def test_pairs_and_their_mirror_images(tmp_path: Path) -> None:
    rows = build(tmp_path, "name,a1,a2,preference\nc,He {smiles}.,He cries.,a1\nc,One.,Two.,same\n", swap=True)
    assert [(row.id, row.target.preference) for row in rows] == [
        ("c", "a1"), ("c_swap", "a2"), ("c_2", "same"), ("c_2_swap", "same"),
    ]  # fmt: skip
    assert [row.messages[-1].content for row in rows] == ["a1", "a2", "same", "same"]
    assert question(rows[0]).index("He {smiles}.") < question(rows[0]).index("He cries.")
    assert question(rows[1]).index("He cries.") < question(rows[1]).index("He {smiles}.")
    defects = json.loads((tmp_path / "out" / "manifest.json").read_text())["defects"]
    assert defects == {"undecided": ["c_2", "c_2_swap"]}


def test_candidates_are_asked_without_an_answer(tmp_path: Path) -> None:
    (row,) = build(tmp_path, "name,a1,a2\nc,One.,Two.\n")
    assert [message.role for message in row.messages] == ["user"]


def test_what_cannot_be_used_is_rejected(tmp_path: Path) -> None:
    assert build(tmp_path, "name,a1,a2,preference\nc,,Two.,a1\nd,One.,Two.,a3\n") == []
    lost = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert [row.reason for row in lost] == ["a description is empty", "preference is 'a3', not a1, a2 or same"]


def test_the_real_head(shared_data: Path, tmp_path: Path) -> None:
    (source,) = (shared_data / "emoprefer").glob("*.csv")
    main(EmoPrefer(source=source, out=tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows_out"] == 20
    assert len(manifest["defects"]["undecided"]) == source.read_text(encoding="utf-8").count(",same\n")
