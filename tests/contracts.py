"""What this project leans on inside other libraries, as rows of a table that say what a new version has changed."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def found_at(place: str) -> Any:
    """The object at module:name.name, or None where there is none."""
    module, _, names = place.partition(":")
    try:
        thing = importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    for name in filter(None, names.split(".")):
        thing = getattr(thing, name, None)
    return thing


def library(place: str) -> str:
    """Name and version of the library of a place: 'trl 1.16.0'."""
    name = place.partition(":")[0].partition(".")[0]
    return f"{name} {importlib.import_module(name).__version__}"


def gone(row: Any) -> str:
    return f"{library(row.place)}: {row.place} is gone; {row.user} needs it."


def first_lost(row: Any, wanted: tuple[str, ...], found: Collection[str], what: str) -> str | None:
    """The sentence about the first of the names wanted that is not found."""
    lost = [name for name in wanted if name not in found]
    return f"{library(row.place)}: {row.place} lost {what} '{lost[0]}'; {row.user} needs it." if lost else None


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]


class Method(NamedTuple):
    """A method or function that is overridden, or called."""

    place: str
    takes: tuple[str, ...]
    """Its first parameters, in order."""
    user: str
    ours: str = ""
    """module:name of what stands in its place: it must take all that the stock one takes."""

    def change(self) -> str | None:
        stock = found_at(self.place)
        if stock is None:
            return gone(self)
        known = [one for one in parameters(stock) if one.kind not in ANY]
        names = [one.name for one in known]
        if lost := first_lost(self, self.takes, names, "parameter"):
            return lost
        for i, name in enumerate(self.takes):
            if names[i] != name:
                return (
                    f"{library(self.place)}: parameter '{name}' of {self.place} moved from place {i + 1} to "
                    f"{names.index(name) + 1}; {self.user} gives it by its place."
                )
        return self.not_taken(known) if self.ours else None

    def not_taken(self, known: list[inspect.Parameter]) -> str | None:
        own = parameters(found_at(self.ours))
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in own):
            return None
        for one in known:
            if one.name not in [mine.name for mine in own]:
                return (
                    f"{library(self.place)}: {self.place} has a new parameter '{one.name}', which {self.user} does "
                    "not take."
                )
        return None


class Accepts(NamedTuple):
    """Parameters given by name, in any order."""

    place: str
    takes: tuple[str, ...]
    user: str

    def change(self) -> str | None:
        stock = found_at(self.place)
        if stock is None:
            return gone(self)
        names = [one.name for one in parameters(stock)]
        return first_lost(self, self.takes, names, "parameter")


class Names(NamedTuple):
    """Names that a module, a class or an output has."""

    place: str
    names: tuple[str, ...]
    user: str

    def change(self) -> str | None:
        thing = found_at(self.place)
        if thing is None:
            return gone(self)
        return first_lost(self, self.names, {*dir(thing), *getattr(thing, "__dataclass_fields__", {})}, "name")


class Attributes(NamedTuple):
    """Attributes that instances of a class get in its methods, or in those of its bases."""

    place: str
    names: tuple[str, ...]
    user: str

    def change(self) -> str | None:
        kind = found_at(self.place)
        if kind is None:
            return gone(self)
        used = {
            node.attr
            for base in kind.__mro__[:-1]
            # Generic is written in C from Python 3.12 on.
            if base.__module__ != "typing"
            for node in ast.walk(tree_of(base))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }
        return first_lost(self, self.names, used, "attribute")


class Text(NamedTuple):
    """Keys and values that are written out in the source of a place."""

    place: str
    texts: tuple[str, ...]
    user: str

    def change(self) -> str | None:
        thing = found_at(self.place)
        if thing is None:
            return gone(self)
        source = inspect.getsource(thing)
        return first_lost(self, self.texts, [text for text in self.texts if text in source], "text")


class Gives(NamedTuple):
    """How many values a method gives, by what its class makes of them."""

    place: str
    values: int
    user: str

    def change(self) -> str | None:
        owner, _, name = self.place.rpartition(".")
        kind = found_at(owner)
        if kind is None or not hasattr(kind, name):
            return gone(self)
        counts = [
            len(node.targets[0].elts)
            for node in ast.walk(tree_of(kind))
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr == name
            and isinstance(node.targets[0], ast.Tuple)
        ]
        if counts and all(count == self.values for count in counts):
            return None
        return f"{library(self.place)}: {self.place} gives {counts or 'no'} values, not {self.values} ({self.user})."


def tree_of(kind: type) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(kind)))


Row = Method | Accepts | Names | Attributes | Text | Gives
