"""A builder is a short story: what two of them need is in affectllm/data."""

import ast
from pathlib import Path

import pytest

BUILDERS = sorted((Path(__file__).parents[2] / "data_builders").glob("*.py"))
MOST = 80


def lines_of_logic(source: str) -> int:
    """Lines of functions that hold code: no docstring, comment, import or blank line."""
    tree, text = ast.parse(source), source.splitlines()
    inside: set[int] = set()
    aside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside.update(range(node.lineno, (node.end_lineno or 0) + 1))
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                aside.update(range(first.lineno, (first.end_lineno or 0) + 1))
        if isinstance(node, ast.Import | ast.ImportFrom):
            aside.update(range(node.lineno, (node.end_lineno or 0) + 1))
    return sum(bool(line := text[number - 1].strip()) and line[0] != "#" for number in inside - aside)


def test_code_is_counted_and_prose_is_not() -> None:
    assert lines_of_logic('X = 1\n\ndef f():\n    """Say."""\n    # why\n\n    import re\n    return X\n') == 2


@pytest.mark.parametrize("path", BUILDERS, ids=lambda path: path.stem)
def test_a_builder_has_few_lines_of_its_own_logic(path: Path) -> None:
    assert lines_of_logic(path.read_text(encoding="utf-8")) <= MOST
