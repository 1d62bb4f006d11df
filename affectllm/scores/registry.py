"""All metrics by name, found without importing those that are not asked for.

Declarations (`engine/metric.py`) are read from the source of the families; a family is imported when one of its metrics
is loaded. `python -m affectllm.scores.registry docs/scores/README.md` renews the table of metrics in the docs.
"""

import ast
import importlib
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from affectllm.errors import AffectError, closest
from affectllm.plugins import object_at
from affectllm.scores.engine.metric import Declaration, Metric

FAMILIES = "affectllm.scores.families"
TABLE_START = "<!-- metrics: written by affectllm.scores.registry -->"
TABLE_END = "<!-- end of metrics -->"
BAR = r"\|"


@cache
def declared() -> dict[str, dict[str, Declaration]]:
    """Family -> name -> declaration of every metric, read from the source without importing a family."""
    folder = sorted(files(FAMILIES).iterdir(), key=lambda file: file.name)
    sources = {file.name.removesuffix(".py"): file.read_text("utf-8") for file in folder if file.name[-3:] == ".py"}
    return {family: scan(source) for family, source in sources.items() if "\n@metric(" in source}


def scan(source: str) -> dict[str, Declaration]:
    """The metrics that a file declares."""
    body = ast.parse(source).body
    constants = {
        target.id: node.value
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def value(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(constants.get(node.id, node) if isinstance(node, ast.Name) else node)
        except ValueError as error:
            raise AffectError(
                f"@metric takes literals and constants of its own file, not '{ast.unparse(node)}' (line {node.lineno})."
            ) from error

    found = {}
    for node in body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "metric":
                words = {word.arg: value(word.value) for word in call.keywords if word.arg}
                about = (ast.get_docstring(node) or "").partition("\n")[0]
                name = str(value(call.args[0]))
                found[name] = Declaration(name=name, about=about, **words)
    return found


def known() -> dict[str, Declaration]:
    """Every metric by name."""
    return {name: it for metrics in declared().values() for name, it in metrics.items()}


def known_fields() -> set[str]:
    """Fields with which a row is valid for some metric although it holds neither labels nor text nor a value."""
    return {field for it in known().values() for field in it.fields}


def load(name: str) -> Metric:
    """A metric by its name, or a user's own as 'module:function'; imports the one file that holds it."""
    if ":" in name:
        return load_own(name)
    for family, metrics in declared().items():
        if name in metrics:
            module = importlib.import_module(f"{FAMILIES}.{family}")
            return next(it for it in vars(module).values() if isinstance(it, Metric) and it.name == name)
    raise AffectError(
        f"No metric '{name}'.{closest(name, known())} Known: {', '.join(known())}; or your own as module:function."
    )


def load_own(name: str) -> Metric:
    """The metric that a module of the user declares."""
    found = object_at(name, "--metric")
    if not isinstance(found, Metric):
        raise AffectError(f"--metric {name} is not a metric. Declare it as in docs/extend/metric.md.")
    return found


def help_text() -> str:
    """The help of `--metric`: what it takes, and the names of each family."""
    families = "; ".join(", ".join(metrics) for metrics in declared().values())
    return (
        "Metric to compute, or your own as module:function. Without it, the command prints the summary of a run. "
        f"Known: {families}. docs/scores/README.md says what each needs."
    )


def docs_table() -> str:
    """The table of all metrics in docs/scores/README.md."""
    lines = ["| family | metric | what it is | gold needs | predictions hold |", "| --- | --- | --- | --- | --- |"]
    for family, metrics in declared().items():
        for name, it in metrics.items():
            about = f"{it.about} Lower is better." if it.lower_is_better else it.about
            cells = (f"[{family}]({family}.md)", f"`{name}`", about, it.gold, it.predictions)
            lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)


def write_docs(page: Path) -> None:
    """Renew the table of a docs page. It is between two lines that name this module."""
    before, _, rest = page.read_text("utf-8").partition(TABLE_START)
    _, end, after = rest.partition(TABLE_END)
    if not end:
        raise AffectError(f"{page} has no lines '{TABLE_START}' and '{TABLE_END}' to write the table between.")
    page.write_text(f"{before}{TABLE_START}\n{docs_table()}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_docs(Path(sys.argv[1]))
