"""Tables as data sets publish them, csv and JSON, read strictly: what is not as expected is an error with its place."""

import csv
import json
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from affectllm.errors import AffectError


class Row(NamedTuple):
    """One row of a table with its 1-based number, the header being row 0; or one item of a JSON file."""

    number: int
    values: dict[str, Any]


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",", header: Sequence[str] = ()) -> list[Row]:
    """The rows of a csv file as text, 'NA' and 'None' included as the words they are.

    `header` names the columns of a file without a header line. Raises AffectError for a missing file or column, a row
    of another length, and bytes that are not UTF-8 (a byte-order mark is allowed).
    """
    return list(stream_table(path, columns, delimiter, header))


def stream_table(
    path: Path, columns: Sequence[str], delimiter: str = ",", header: Sequence[str] = (), quoted: bool = True
) -> Iterator[Row]:
    """`read_table` a row at a time, for tables that need not fit in memory.

    Without `quoted` a quotation mark has no special meaning, as in most tab-separated files.
    """
    rows = csv.reader(read_lines(path), delimiter=delimiter, strict=True, quoting=0 if quoted else csv.QUOTE_NONE)
    number = 0
    try:
        seen = list(header) or next(rows, [])
        if missing := [column for column in columns if column not in seen]:
            raise AffectError(f"{path} has no column '{missing[0]}'. Columns there: {', '.join(seen) or 'none'}.")
        for number, fields in enumerate(filter(None, rows), 1):
            if len(fields) != len(seen):
                raise AffectError(f"{path}: row {number} has {len(fields)} fields, the header has {len(seen)}.")
            yield Row(number, dict(zip(seen, fields, strict=True)))
    except csv.Error as error:
        raise AffectError(f"{path}: row {number + 1} is not csv ({error}).") from error


def counted(rows: Iterable[Row], counts: MutableMapping[str, Any], key: str) -> Iterator[Row]:
    """The rows of a stream; `counts[key]` is their number when all have passed."""
    counts[key] = 0
    for row in rows:
        counts[key] += 1
        yield row


def columns_of(path: Path, delimiter: str = ",") -> list[str]:
    """The header of a csv file."""
    return next(csv.reader(read_lines(path), delimiter=delimiter), [])


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, as strict UTF-8; a wrong byte is named by its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield from file
    except OSError as error:
        raise AffectError(f"Cannot read {path}: {error.strerror}. Give the data set's file with --source.") from error
    except UnicodeDecodeError as error:
        number, byte = wrong_byte(path)
        raise AffectError(
            f"{path}: line {number} holds byte 0x{byte:02x}, which is not UTF-8. "
            f"If the file is Windows text, convert it: iconv -f cp1252 -t utf-8"
        ) from error


def wrong_byte(path: Path) -> tuple[int, int]:
    """Line and value of the first byte that is not UTF-8."""
    whole = path.read_bytes()
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError as error:
        return whole.count(b"\n", 0, error.start) + 1, whole[error.start]
    raise AffectError(f"{path} changed while it was read. Build again.")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises AffectError, with line and column, for text that is not JSON, and for an object that names a key twice, of
    which Python would silently keep the last one.
    """

    def keep_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise AffectError(f"{path} holds '{twice}' twice in one object. Keep one of them and build again.")
        return found

    try:
        return json.loads("".join(read_lines(path)), object_pairs_hook=keep_each)
    except json.JSONDecodeError as error:
        raise AffectError(
            f"{path}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}). Fetch the file again; some "
            f"copies were edited by hand."
        ) from error


def read_list(path: Path, of: str = "items") -> list[Any]:
    """The list that a JSON file holds; `of` names its items in the error."""
    found = read_json(path)
    if not isinstance(found, list):
        raise AffectError(f"{path} must hold a list of {of}, it holds a {type(found).__name__}.")
    return found


def read_object(path: Path, of: str) -> dict[str, Any]:
    """The object that a JSON file holds; `of` says in the error what it holds."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise AffectError(f"{path} must hold an object with {of}, it holds a {type(found).__name__}.")
    return found


def files_there(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of these names that the folder holds, in this order."""
    return [folder / name for name in names if (folder / name).is_file()]


def find_source(source: Path, names: Sequence[str]) -> Path:
    """The data set's file: `source` itself, or the one of `names` that the folder holds."""
    if source.is_dir():
        found = files_there(source, names)
        if not found:
            raise AffectError(f"{source} holds none of {', '.join(names)}. Give the file itself with --source.")
        return found[0]
    return source
