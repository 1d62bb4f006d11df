"""Every data set that can be built: task, size, licence, and whether real files have been read.

affectllm build --list [--json]
"""

import json
from collections.abc import Sequence

from affectllm.cards import Card, all_cards

COLUMNS = ("name", "title", "task", "language", "rows", "status", "licence", "command")
STATUS = {"verified": "verified on real files", "documented": "from documentation"}
SHOWN = ("title", "task", "language", "licence", "status", "rows", "url", "citation", "files")
"""Of a card, in the JSON."""
WIDTH = 280
"""Of the table in a file or a pipe, where no row may be broken."""


def run(words: Sequence[str]) -> int:
    """Print the list, as a table or as JSON."""
    rows = [describe(name, card) for name, card in all_cards().items()]
    if "--json" in words:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None)
    for row in rows:
        table.add_row(*(shown(row, column) for column in COLUMNS))
    Console(width=None if Console().is_terminal else WIDTH, markup=False).print(table)
    return 0


def shown(row: dict, column: str) -> str:
    """A cell of the table."""
    if column == "rows":
        return f"{sum(row['rows'].values()):,}" if row["rows"] else "-"
    return STATUS[row["status"]] if column == "status" else row[column]


def describe(name: str, card: Card) -> dict:
    command = f"affectllm build {card.builder or name}"
    kept = {column: getattr(card, column) for column in SHOWN}
    return {"name": name, **kept, "command": command}
