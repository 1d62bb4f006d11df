"""Files that survive a kill."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Answer, Conversation


def answer(name: str, text: str = "happy") -> Answer:
    return Answer(id=name, text=text, model="m", seconds=0.0, tokens=1, prompt_hash="p")


@given(cut=st.integers(0, 400))
def test_appending_resumes_behind_the_last_whole_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "answers.jsonl"
    whole = "".join(jsonl.dumps(answer(name, text="é\n\u2028")) + "\n" for name in "abc").encode()
    path.write_bytes(whole[:cut])
    with jsonl.Appender(path) as out:
        for name in "abc":
            if name not in out.done:
                out.append(answer(name, text="é\n\u2028"))
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a"}\n{"id": \n{"id": "c"}\n')
    with pytest.raises(AffectError, match=r"a\.jsonl:2 is not JSON"):
        list(jsonl.read_dicts(path))


def test_an_unknown_field_is_named_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "txt": "happy"}\n')
    with pytest.raises(AffectError, match=r"a\.jsonl:1 \(a\), .* unknown field `txt`"):
        list(jsonl.read(path, Answer))


def test_bytes_that_are_not_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "a"}\n\n{"id": "caf\xe9"}\n')
    with pytest.raises(AffectError, match=r"a\.jsonl:3 holds byte 0xe9"):
        list(jsonl.read_dicts(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'"caf\xe9"', "holds byte 0xe9"),
        (b'"half \\ud83d"', r"\(a\), it holds half a character"),
        (b"NaN", r"\(a\), field 'text': Expected `str`, got `float`"),
        (b'"', "is not JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(text: bytes, said: str, tmp_path: Path) -> None:
    rest = b', "model": "m", "seconds": 0.5, "tokens": 1, "prompt_hash": "p"}\n'
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "b", "text": "x"' + rest + b"\n" + b'{"id": "a", "text": ' + text + rest)
    rows = jsonl.read(path, Answer)
    assert next(rows).id == "b"
    with pytest.raises(AffectError, match=r"a\.jsonl:3 .*" + said):
        next(rows)


def test_numbers_that_are_none_are_read_as_python_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": "", "model": "m", "seconds": NaN, "tokens": 1, "prompt_hash": "p"}\n')
    (found,) = jsonl.read(path, Answer)
    assert math.isnan(found.seconds)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="No file"):
        list(jsonl.read(tmp_path / "none.jsonl", Conversation))


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    jsonl.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        jsonl.write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [item.name for item in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AffectError, match="Choose another output folder"):
        jsonl.write_text(tmp_path / "file" / "a.json", "x")


def test_appending_where_it_cannot_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with (
        pytest.raises(AffectError, match=r"Cannot append to .*folder\.jsonl"),
        jsonl.Appender(tmp_path / "folder.jsonl"),
    ):
        pass
    (tmp_path / "other.jsonl").write_text('{"name": "a"}\n')
    with (
        pytest.raises(AffectError, match=r"other\.jsonl holds a row without 'id'"),
        jsonl.Appender(tmp_path / "other.jsonl"),
    ):
        pass
    assert (tmp_path / "other.jsonl").read_text() == '{"name": "a"}\n'


def test_a_replaced_file_keeps_its_old_text_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(AffectError, match="Cannot write"):
        jsonl.write_text(tmp_path / "taken", "new")
    assert [item.name for item in tmp_path.iterdir()] == ["taken"]
