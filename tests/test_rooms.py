"""The house of docs/architecture.md: arrows between rooms go down, and no modules import each other in a circle."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("demo", "eval", "train", "data_builders")
FRONT_DOOR = {"affectllm", "affectllm.__main__"}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    named = ("affectllm", *parts) if parts[0] in SCRIPTS else parts
    return ".".join(named[:-1] if named[-1] == "__init__" else named)


FILES = {module_of(file): file for folder in ("affectllm", *SCRIPTS) for file in (ROOT / folder).rglob("*.py")}


def imports_of(module: str) -> Iterator[str]:
    """The project's modules that a module imports anywhere: late, and for types alone, counts too."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full in FILES or node.module in FILES:
                    yield full if full in FILES else node.module


ARROWS = {module: set(imports_of(module)) - {module} for module in FILES}


def room_of(module: str) -> str:
    return FILES[module].relative_to(ROOT).parent.as_posix()


def rooms() -> list[str]:
    """The rooms from top to bottom, as the table of the page lists them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([a-z_/]+)` \|", page, re.MULTILINE)


def test_the_table_holds_every_room_once() -> None:
    assert sorted(rooms()) == sorted({room_of(module) for module in FILES})


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_from_rooms_below_it(room: str) -> None:
    order = rooms()
    upward = [
        f"{module} imports {other}"
        for module in FILES
        if room_of(module) == room and module not in FRONT_DOOR
        for other in sorted(ARROWS[module])
        if room_of(other) != room and order.index(room_of(other)) < order.index(room)
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(ARROWS).prepare()
    except CycleError as error:
        pytest.fail(f"A circle of imports: {' <- '.join(error.args[1])}")


def test_scripts_of_different_folders_do_not_import_each_other() -> None:
    across = [
        f"{module} imports {other}"
        for module in FILES
        for other in ARROWS[module]
        if {room_of(module).partition("/")[0], room_of(other).partition("/")[0]} <= set(SCRIPTS)
        and room_of(module).partition("/")[0] != room_of(other).partition("/")[0]
    ]
    assert not across
