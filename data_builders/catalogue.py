"""Every data set that can be built: task, size, licence, and whether real files have been read.

affectllm build --list [--json]
"""

import json
from collections.abc import Sequence

from affectllm.cards import Card, all_cards


def run(words: Sequence[str]) -> int:
    """Print the list, as a table or as JSON."""
    rows = [describe(name, card) for name, card in all_cards().items()]
    if "--json" in words:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("data set", "task", "language", "rows", "status", "licence", "command", box=None)
    for row in rows:
        size = f"{sum(row['rows'].values()):,}" if row["rows"] else "-"
        table.add_row(row["title"], row["task"], row["language"], size, row["status"], row["licence"], row["command"])
    Console(width=None if Console().is_terminal else 200).print(table)
    return 0


def describe(name: str, card: Card) -> dict:
    command = f"affectllm build {card.builder}" if card.builder else f"affectllm build card --name {name}"
    kept = card.model_dump(include={"title", "task", "language", "licence", "status", "rows", "url", "citation"})
    return {"name": name, **kept, "command": command}
