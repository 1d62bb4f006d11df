"""Records are checked at the door and come back from a file as they were."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import jsonl, records
from affectllm.errors import AffectError
from affectllm.records import Answer, Clip, Conversation, Score
from tests.clips import conversation

KINDS = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records.Record)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_unknown_keys_are_forbidden_everywhere(kind: type[records.Record]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `no_such_key`"):
        msgspec.convert({"no_such_key": 1}, kind)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"task": "sing"}, "task"),
        ({"media": {"video": "a.mp4", "start_s": -1}}, "media.start_s"),
        ({"media": {"vide": "a.mp4"}}, "media': Object contains unknown field `vide`"),
        ({"target": {"labels": "happy"}}, "target.labels"),
        ({"target": {"labels": ["happy"], "vad": [0.1, 0.2]}}, "target.vad"),
        ({"messages": [{"role": "actor", "content": "x"}]}, r"messages\[0\].role"),
    ],
)
def test_a_wrong_field_is_named_with_its_row(change: dict[str, Any], field: str, tmp_path: Path) -> None:
    row = msgspec.to_builtins(conversation("clip0", ["happy"]))
    jsonl.write(tmp_path / "c.jsonl", [row, row | change])
    read = jsonl.read(tmp_path / "c.jsonl", Conversation)
    assert next(read).id == "clip0"
    with pytest.raises(AffectError, match=rf"c\.jsonl:2 .*field '{field}"):
        next(read)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Clip(video="a.mp4").video = "b.mp4"  # type: ignore[misc]


text = st.text(max_size=40)
labels = st.lists(text, max_size=4)
answers = st.builds(
    Answer,
    id=text,
    text=text,
    model=text,
    seconds=st.floats(0, 1e6),
    tokens=st.integers(0, 10_000),
    prompt_hash=text,
    error=st.none() | text,
)
scores = st.builds(
    Score,
    id=text,
    status=st.sampled_from(["ok", "recovered", "failed"]),
    said=labels,
    gold=labels,
    hits=labels,
    misses=labels,
    extras=labels,
    values=st.dictionaries(text, st.floats(0, 1), max_size=3),
    skipped=st.none() | text,
)


@given(st.lists(answers | scores, max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Answer | Score]) -> None:
    """Line separators, quotes and controls in foreign text included."""
    path = tmp_path_factory.mktemp("records") / "rows.jsonl"
    jsonl.write(path, rows)
    assert [msgspec.convert(read, type(row)) for row, read in zip(rows, jsonl.read_dicts(path), strict=True)] == rows
