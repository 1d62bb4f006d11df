"""Rows that are deep in a JSON file: the path to them, and their cells as columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from affectllm.errors import AffectError


def walk(value: Any, way: str, bound: Mapping[str, str] | None = None) -> Iterator[tuple[dict[str, str], Any]]:
    """What a JSON value holds at the end of a path, with the keys on the path.

    >>> list(walk({"a": {"log": ["hm", "oh"]}}, "{dialogue}/log/{turn}"))
    [({'dialogue': 'a', 'turn': '0'}, 'hm'), ({'dialogue': 'a', 'turn': '1'}, 'oh')]
    """
    if not way:
        yield dict(bound or {}), value
        return
    step, _, rest = way.partition("/")
    if step.startswith("{") and isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk(child, rest, {**(bound or {}), step.strip("{}"): str(key)})
    elif isinstance(value, dict) and step in value:
        yield from walk(value[step], rest, bound)
    else:
        raise AffectError(f"no '{step}' {'in ' + '/'.join(bound.values()) if bound else 'at its top'}")


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """The cells of a JSON row. null is an empty cell.

    >>> flatten({"Text": "hm", "votes": [{"is": 1}, None]})
    {'Text': 'hm', 'votes.0.is': '1', 'votes.1': ''}
    """
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: cell for key, child in pairs for name, cell in flatten(child, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): "" if value is None else str(value)}
