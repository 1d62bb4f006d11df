"""A JSON-lines file that is either complete or absent."""

import json
from pathlib import Path
from typing import Any

import msgspec

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Record


class Spool:
    """A JSON-lines file written under another name in constant memory, and renamed when it is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.lines = 0

    def __enter__(self) -> "Spool":
        jsonl.make_folder(self.path.parent)
        try:
            self._file = self.partial.open("wb")
        except OSError as error:
            raise AffectError(f"Cannot write in {self.path.parent}: {error.strerror}. Choose another --out.") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is not None:
            self.partial.unlink(missing_ok=True)

    def add(self, row: Record | dict[str, Any]) -> None:
        try:
            line = msgspec.json.encode(row)
        except UnicodeEncodeError:
            # Rejected rows may hold half a character, which can only be written as an escape.
            line = json.dumps(msgspec.to_builtins(row)).encode()
        self._file.write(line + b"\n")
        self.lines += 1

    def publish(self) -> None:
        """Put the file in its place."""
        self.partial.replace(self.path)
