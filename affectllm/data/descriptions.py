"""Texts of clips in tables of their own, joined on the clip's name: descriptions and sentences of the MER series."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from affectllm.data.tables import columns_of, stream_table
from affectllm.errors import AffectError

LEAKED = re.compile(r"^\s*(?:Input|Output|输入|输出)\s*[:：]\s*")


def read_column(path: Path, column: str) -> dict[str, str]:
    """A column by clip name. The last row that names a clip counts."""
    return {row.values["name"]: row.values[column] for row in stream_table(path, ("name", column))}


def read_first(paths: Iterable[Path], column: str) -> dict[str, str]:
    """A column of several files by clip name; the first row that names a clip counts."""
    found: dict[str, str] = {}
    for path in paths:
        for row in stream_table(path, ("name", column)):
            found.setdefault(row.values["name"].strip(), row.values[column])
    return found


def names_in(paths: Iterable[Path]) -> set[str]:
    """The clips that csv files name, such as those that must not be trained on."""
    return {row.values["name"] for path in paths for row in stream_table(path, ("name",))}


def read_texts(path: Path | None, columns: Sequence[str]) -> dict[str, str]:
    """The first of `columns` that is there and not empty, by clip name. Empty without a file."""
    if path is None:
        return {}
    if not set(columns) & set(seen := columns_of(path)):
        raise AffectError(
            f"{path} has no text column. Columns there: {', '.join(seen)}; wanted: one of {', '.join(columns)}."
        )
    return {
        row.values["name"]: next((text for c in columns if (text := row.values.get(c, "").strip())), "")
        for row in stream_table(path, ("name",))
    }


def without_leaked_prompt(text: str) -> tuple[str, list[str]]:
    """A description without the prompt's 'Input:' that some of EMER's cells begin with, and the defect if it did."""
    kept = LEAKED.sub("", text)
    return kept.strip(), ["leaked-prompt-prefix"] if kept != text else []
