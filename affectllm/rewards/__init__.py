"""GRPO rewards: the evaluator's scores with TRL's signature."""

import importlib
from collections.abc import Callable
from typing import Any


def load(name: str) -> list[Callable[..., Any]]:
    module, _, function = name.partition(":")
    return [getattr(importlib.import_module(module), function)]
