"""The options of `train sft` are handed on as groups and values: how often the whole object is passed is counted."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
# Half of the 30 that this very count found when all options were one flat list.
MOST = 15
# What is left: `flat` reads them for the record of the run, and passes them to `fields` and `getattr`.
TODAY = 3


class Place(NamedTuple):
    """A function in which a parameter or name holds the whole options object."""

    module: Path
    function: str
    name: str


class Passing(NamedTuple):
    place: Place
    line: int
    callee: str


def module_of(dotted: str, root: Path) -> Path | None:
    """The file of a module of this project, or None."""
    for prefix in ("affectllm.train.", "affectllm.eval.", "affectllm.data_builders.", "affectllm.demo."):
        if dotted.startswith(prefix):
            dotted = dotted.removeprefix("affectllm.")
    path = root / dotted.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imports_of(tree: ast.AST) -> dict[str, str]:
    """Every imported name of a file, late imports included, to its dotted place."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
    return found


def resolve(call: ast.Call, module: Path, tree: ast.Module, root: Path) -> tuple[Path, ast.FunctionDef] | None:
    """The function of this project that a call reaches, methods called on objects excepted."""
    words = ast.unparse(call.func).split(".")
    imported = imports_of(tree).get(words[0])
    dotted = ".".join([imported, *words[1:]]) if imported else None
    owner, name = (dotted.rpartition(".")[::2] if dotted else ("", words[0])) if len(words) < 3 else ("", "")
    file = module_of(owner, root) if dotted else module
    if file is None or not name:
        return None
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return file, node
        if isinstance(node, ast.ClassDef) and node.name == name:
            made = [it for it in node.body if isinstance(it, ast.FunctionDef) and it.name == "__init__"]
            return (file, made[0]) if made else None
    return None


def given(call: ast.Call, name: str) -> Iterator[int | str]:
    """The arguments, by place or keyword, in which this very name is passed."""
    for i, value in enumerate(call.args):
        if ast.unparse(value).lstrip("*") == name:
            yield i
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name) and keyword.value.id == name:
            yield keyword.arg or "**"


def names_of(function: ast.FunctionDef, name: str) -> set[str]:
    """The name and all names in the function that are assigned it."""
    found = {name}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in found:
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def passings(root: Path, script: str) -> list[Passing]:
    """Every call in the script, and in the functions that it passes its options to, that is passed the whole object."""
    module = root / script
    main = next(n for n in ast.parse(module.read_text("utf-8")).body if getattr(n, "name", "") == "main")
    assert isinstance(main, ast.FunctionDef)
    kind = ast.unparse(main.args.args[0].annotation or main)
    waiting = [
        Place(module, node.name, arg.arg)
        for node in ast.parse(module.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for arg in node.args.args
        if arg.annotation is not None and ast.unparse(arg.annotation).strip("'\"") == kind
    ]
    seen: set[Place] = set()
    found = []
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        tree = ast.parse(place.module.read_text("utf-8"))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == place.function]
        for function in functions:
            for name in names_of(function, place.name):
                for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                    for where in given(call, name):
                        found.append(Passing(place, call.lineno, ast.unparse(call.func)))
                        reached = resolve(call, place.module, tree, root)
                        if reached and (parameter := parameter_of(reached[1], where)):
                            waiting.append(Place(reached[0], reached[1].name, parameter))
    return found


def parameter_of(function: ast.FunctionDef, where: int | str) -> str | None:
    """What the function calls the argument that it is given there."""
    names = [arg.arg for arg in function.args.args if arg.arg != "self"]
    if isinstance(where, str):
        return where if where in [*names, *(arg.arg for arg in function.args.kwonlyargs)] else None
    return names[where] if where < len(names) else None


def test_the_options_of_sft_are_handed_on_as_groups() -> None:
    found = passings(ROOT, "train/sft.py")
    listed = "\n".join(f"{it.place.module.relative_to(ROOT)}:{it.line} {it.callee}" for it in found)
    assert 0 < len(found) <= TODAY < MOST, listed


@pytest.mark.parametrize("script", ["sft", "grpo", "dpo", "reward", "merge", "stages"])
def test_only_main_takes_all_options(script: str) -> None:
    body = ast.parse((ROOT / f"train/{script}.py").read_text("utf-8")).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    (main,) = [function for function in functions if function.name == "main"]
    kind = ast.unparse(main.args.args[0].annotation or main)
    for function in functions:
        kinds = [ast.unparse(arg.annotation).strip("'\"") for arg in function.args.args if arg.annotation]
        assert (kind in kinds) == (function is main), function.name


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("    return options.data.split\n", 0),
        ("    read(options)\n", 1),
        ("    read(x=options)\n    read(*options)\n", 2),
        ("    same = options\n    read(same)\n", 1),
        ("    helper(options)\n\ndef helper(run):\n    read(run)\n    read(run.data)\n", 2),
        ("    read(1)\n\ndef helper(made: Options):\n    read(made)\n", 1),
    ],
)
def test_what_is_counted(tmp_path: Path, body: str, count: int) -> None:
    (tmp_path / "script.py").write_text(f"def main(options: Options) -> None:\n{body}")
    assert len(passings(tmp_path, "script.py")) == count
