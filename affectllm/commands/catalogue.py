"""Every data set that can be built: task, size, licence, and whether real files have been read.

    affectllm build --list [--json]

Sets with a card come from data_builders/cards/, the others from the `DATA_SETS` of their builder.
"""

import importlib
import json
import pkgutil
from dataclasses import dataclass
from typing import Any, NamedTuple

from affectllm.data.data_sets import DataSet
from affectllm.data.dataset_cards import all_cards

BUILDERS = "affectllm.data_builders"
COLUMNS = ("name", "title", "task", "language", "rows", "status", "licence", "command")
STATUS = {"verified": "verified on real files", "documented": "from documentation"}
SHOWN = ("title", "task", "language", "licence", "status", "rows", "url", "citation", "files")
"""What the JSON says of a data set."""
WIDTH = 280
"""Width of the table in a file or a pipe, where no row may be broken."""


class Listed(NamedTuple):
    """A data set, and the word after `affectllm build` that builds it."""

    known: DataSet
    builder: str


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print one JSON array instead of a table."""


def main(options: List) -> None:
    rows = [describe(name, it) for name, it in all_sets().items()]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None)
    for row in rows:
        table.add_row(*(shown(row, column) for column in COLUMNS))
    Console(width=None if Console().is_terminal else WIDTH, markup=False).print(table)


def all_sets() -> dict[str, Listed]:
    """Every data set by name, in alphabetical order."""
    found = {name: Listed(card, name) for name, card in all_cards().items()}
    for script in pkgutil.iter_modules(importlib.import_module(BUILDERS).__path__):
        module = importlib.import_module(f"{BUILDERS}.{script.name}")
        command = script.name.replace("_", "-")
        found |= {name: Listed(known, command) for name, known in getattr(module, "DATA_SETS", {}).items()}
    return dict(sorted(found.items()))


def shown(row: dict[str, Any], column: str) -> str:
    """A cell of the table."""
    if column == "rows":
        return f"{sum(row['rows'].values()):,}" if row["rows"] else "-"
    return STATUS[row["status"]] if column == "status" else row[column]


def describe(name: str, listed: Listed) -> dict[str, Any]:
    """A data set as the JSON shows it."""
    kept = {column: getattr(listed.known, column) for column in SHOWN}
    return {"name": name, **kept, "command": f"affectllm build {listed.builder}"}
