"""Toy rows for scores, and the number that a metric gives for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from affectllm import vocabulary
from affectllm.scores import registry
from affectllm.scores.engine.case import Case, Measured, make_case
from affectllm.scores.engine.tables import Row
from affectllm.scores.engine.uncertainty import value_of

Rows = Sequence[Sequence[str] | Mapping[str, Any]]


def row(content: Sequence[str] | Mapping[str, Any]) -> Row:
    """A list of labels, or the fields of a row: labels, text, value and all others."""
    if not isinstance(content, Mapping):
        return Row(labels=list(content))
    return Row(labels=content.get("labels"), text=content.get("text"), value=content.get("value"), cells=content)


def case(said: Rows, gold: Rows, **options: Any) -> Case:
    """A case on our own wheels, with clips named '0', '1' ..."""
    said_rows, gold_rows = ({str(i): row(it) for i, it in enumerate(rows)} for rows in (said, gold))
    return make_case(said_rows, gold_rows, list(gold_rows), **{"wheels": vocabulary.load(), **options})


def measure(name: str, said: Rows, gold: Rows, **options: Any) -> Measured:
    return registry.load(name)(case(said, gold, **options))


def value(name: str, said: Rows, gold: Rows, **options: Any) -> float:
    """The number of a metric."""
    return value_of(measure(name, said, gold, **options).drawn, len(gold))
