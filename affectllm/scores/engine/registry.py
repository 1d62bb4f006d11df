"""How a metric is declared, and how it is found by name without importing the others.

    @metric("ece", gold="labels", predictions="text with a confidence", needs=("wheels",), reads=("confidence",))
    def ece(case: Case) -> Measured:
        \"\"\"Expected calibration error over bins of equal width.\"\"\"

Names, needed fields, the help of `--metric` and the table in docs/scores/README.md are read from these declarations.
They are read from the source of the families, so that no family is imported before its metric is asked for.
"""

import ast
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from affectllm.errors import AffectError

if TYPE_CHECKING:
    from affectllm.scores.engine.case import Case, Measured

FAMILIES = "affectllm.scores.families"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of a metric before it is computed."""

    name: str
    about: str
    """First line of the function's docstring."""
    gold: str
    """What a gold row needs, as the table in the docs says it."""
    predictions: str
    """What a prediction holds, as the table in the docs says it."""
    needs: tuple[str, ...] = ()
    """'wheels' for a metric that compares words on the emotion wheels of --protocol."""
    reads: tuple[str, ...] = ()
    """Fields of rows that it reads in addition to labels, text and value."""
    lower_is_better: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields with which a row is valid that holds neither labels nor text nor a value."""
        return () if "wheels" in self.needs else self.reads


@dataclass(frozen=True, kw_only=True)
class Metric(Declaration):
    """A declared metric; call it with a case."""

    compute: "Callable[[Case], Measured]"

    def __call__(self, case: "Case") -> "Measured":
        return self.compute(case)


def metric(
    name: str,
    *,
    gold: str,
    predictions: str,
    needs: Sequence[str] = (),
    reads: Sequence[str] = (),
    lower_is_better: bool = False,
) -> "Callable[[Callable[[Case], Measured]], Metric]":
    """Declare the function below as the metric `name`. In a family, arguments are literals or constants of its file."""
    if isinstance(needs, str) or isinstance(reads, str):
        raise AffectError(f"Metric '{name}': needs and reads are tuples of words, as reads=('confidence',).")

    def declare(compute: "Callable[[Case], Measured]") -> Metric:
        about = (compute.__doc__ or "").strip().partition("\n")[0]
        if not about:
            raise AffectError(f"Metric '{name}' has no docstring. Its first line tells a user what the number means.")
        return Metric(
            name=name, about=about, gold=gold, predictions=predictions, needs=tuple(needs), reads=tuple(reads),
            lower_is_better=lower_is_better, compute=compute,
        )  # fmt: skip

    return declare


@cache
def declared() -> dict[str, dict[str, Declaration]]:
    """Family -> name -> declaration of every metric, read from the source without importing a family."""
    folder = sorted(files(FAMILIES).iterdir(), key=lambda file: file.name)
    found = {file.name.removesuffix(".py"): scan(file.read_text("utf-8")) for file in folder if file.name[-3:] == ".py"}
    return {family: metrics for family, metrics in found.items() if metrics}


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
        return ast.literal_eval(constants.get(node.id, node) if isinstance(node, ast.Name) else node)

    found = {}
    for node in body:
        for call in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
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
    near = difflib.get_close_matches(name, known(), n=1)
    hint = f" Perhaps you meant '{near[0]}'." if near else ""
    raise AffectError(f"No metric '{name}'.{hint} Known: {', '.join(known())}; or your own as module:function.")


def load_own(name: str) -> Metric:
    """The metric that a module of the user declares; the current folder is searched too."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise
        raise AffectError(f"--metric {name}: no module '{module}' in this folder or in the environment.") from error
    if not isinstance(found, Metric):
        raise AffectError(f"--metric {name}: '{function}' is no metric. Declare it as in docs/extend/metric.md.")
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
    lines = ["| metric | what it is | gold needs | predictions hold |", "| --- | --- | --- | --- |"]
    for family, metrics in declared().items():
        lines.append(f"| **[{family}]({family}.md)** | | | |")
        for name, it in metrics.items():
            lower = " Lower is better." if it.lower_is_better else ""
            lines.append(f"| `{name}` | {it.about}{lower} | {it.gold} | {it.predictions} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(docs_table(), end="")
