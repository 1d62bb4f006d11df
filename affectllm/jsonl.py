"""JSON-lines files that survive a kill: appended whole, resumed by id, replaced atomically."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from affectllm.errors import AffectError
from affectllm.records import Record, problem_of

R = TypeVar("R", bound=Record)


def dumps(record: Record | dict[str, Any]) -> str:
    """One line of JSON without the newline. A record's unset fields are left out."""
    if isinstance(record, Record):
        return msgspec.json.encode(record).decode()
    return json.dumps(record, ensure_ascii=False)


def read_dicts(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, in order.

    Raises AffectError naming file and line when a line is not a JSON object.
    """
    return (parse(line, path, number) for number, line in read_lines(path))


def read(path: Path, record: type[R]) -> Iterator[R]:
    """The records of a JSON-lines file, each checked against its schema.

    Raises AffectError naming file, line and field of the first row that does not fit.
    """
    decoder = msgspec.json.Decoder(record)
    for number, line in read_lines(path):
        try:
            found = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = check(parse(line, path, number), record, path, number)
        yield found


def check(row: dict[str, Any], record: type[R], path: Path, number: int) -> R:
    """A row as a record; it was read by Python's parser, which also accepts NaN."""
    try:
        found = msgspec.convert(row, record)
        # Half a character can be read, but it cannot be written again.
        msgspec.json.encode(found)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise AffectError(f"{path}:{number} ({row.get('id', 'no id')}), {problem_of(error)}.") from error
    return found


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their 1-based numbers."""
    if not path.is_file():
        raise AffectError(f"No file {path}. Give the path of a JSON-lines file.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line


def parse(raw: bytes, path: Path, number: int) -> dict[str, Any]:
    """The object of one line."""
    try:
        line = raw.decode("utf-8")
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise AffectError(f"{path}:{number} holds byte 0x{raw[error.start]:02x}: not UTF-8.") from error
    except json.JSONDecodeError as error:
        raise AffectError(f"{path}:{number} is not JSON ({error.msg}): {line[:80]!r}") from error
    if not isinstance(row, dict):
        raise AffectError(f"{path}:{number} holds a {type(row).__name__}, an object was expected: {line[:80]!r}")
    return row


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new one, never a part."""
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise AffectError(f"Cannot write {path}: {error.strerror}. Choose another output folder.") from error


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step, indented so that people can read it."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write(path: Path, records: Iterable[Record | dict[str, Any]]) -> int:
    """Replace a JSON-lines file in one step; return the number of lines written."""
    lines = [dumps(record) + "\n" for record in records]
    write_text(path, "".join(lines))
    return len(lines)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, or say in one sentence why that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AffectError(f"Cannot create folder {path}: {error.strerror}. Choose another output folder.") from error


class Appender:
    """Appends records to a JSON-lines file and knows which ids are already there.

    A half-written last line, left by a kill, is cut off on opening; running the same command again
    therefore continues after the last whole record.

        with Appender(path) as out:
            for clip in clips:
                if clip.id not in out.done:
                    out.append(answer(clip))
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[str] = set()

    def __enter__(self) -> Self:
        make_folder(self.path.parent)
        try:
            if self.path.exists():
                cut_half_line(self.path)
                self.done = {id_of(row, self.path) for row in read_dicts(self.path)}
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise AffectError(
                f"Cannot append to {self.path}: {error.strerror}. Choose another output folder."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, record: Record) -> None:
        """Write one record (it must have an `id`) and hand it to the operating system at once."""
        self._file.write(dumps(record) + "\n")
        self._file.flush()
        self.done.add(str(record.id))  # type: ignore[attr-defined]


def id_of(row: dict[str, Any], path: Path) -> str:
    if "id" not in row:
        raise AffectError(f"{path} holds a row without 'id' and cannot be continued. Choose another output folder.")
    return str(row["id"])


def cut_half_line(path: Path) -> None:
    """Drop what follows the last newline."""
    with path.open("rb+") as file:
        whole = file.read()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            file.truncate(end)
