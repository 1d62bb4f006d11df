"""Commands that have verbs, `affectllm GROUP VERB ...`: each group is a module with a docstring and `VERBS`."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from affectllm.errors import AffectError, closest
from affectllm.options import parse

HELP = ("-h", "--help")
ALONE = ""
"""The verb of a group that is called without one, as in `affectllm vocab WORD`."""


class Verb(NamedTuple):
    options: type
    main: Callable[[Any], int | None]
    """The function that does it; its docstring is the help of the verb."""


def run(group: str, words: Sequence[str]) -> int:
    """Read the verb and its options, and run it. Raises AffectError for a verb that the group does not have."""
    module = importlib.import_module(f"affectllm.commands.{group}")
    verbs: dict[str, Verb] = module.VERBS
    if not words or words[0] in HELP:
        print((module.__doc__ or "").strip())
        return 0
    name = words[0] if words[0] in verbs else ALONE
    if name not in verbs:
        hint = closest(words[0], [*verbs])
        raise AffectError(f"No '{words[0]}' under 'affectllm {group}'.{hint} Known: {', '.join(verbs)}.")
    called = f"affectllm {group} {name}".rstrip()
    options: Any = parse(verbs[name].options, words[1:] if name else words, called, inspect.getdoc(verbs[name].main))
    return verbs[name].main(options) or 0
