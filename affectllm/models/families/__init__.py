"""The families of models that can be trained, judged and shown: each file here that declares one is a family.

Reading what they declare loads neither torch nor transformers.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from affectllm.models.base.family import Family

FOLDER = Path(__file__).parent


def declared(folder: Path = FOLDER, package: str = __name__) -> Iterator[Family]:
    """The `FAMILY = Family(...)` of every file under a folder, in the order of their names; our own model is first."""
    for file in sorted(folder.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if "\nFAMILY = Family(" not in source:
            continue
        (call,) = (
            node.value
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAMILY"
        )
        assert isinstance(call, ast.Call)
        values = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        module = ".".join((package, *file.relative_to(folder).with_suffix("").parts))
        yield Family(**{**values, "backbone": f"{module}:{values['backbone']}"})


FAMILIES = tuple(declared())
