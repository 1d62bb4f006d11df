"""Rewards of completions: each reward's value, the weighted total, and which reward failed on which completion."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from torch import Tensor

from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.rewards import text_of
from affectllm.training.grpo.influence import influence


class Paid(NamedTuple):
    """The rewards of this process's completions, in their order."""

    names: Sequence[str]
    """Names of the reward functions."""
    parts: Sequence[Sequence[float]]
    """Each completion's value by every function. NaN if the function does not apply."""
    totals: Sequence[float]
    """Weighted sums."""
    extra: Mapping[str, Sequence[Any]]
    """Columns that the functions logged."""


def total(rewards_per_function: Tensor, weights: Tensor) -> Tensor:
    """Weighted rewards (rows,) of (rows, functions). NaN if no function applies."""
    summed = (rewards_per_function * weights.to(rewards_per_function.device)).nansum(1)
    return summed.masked_fill(rewards_per_function.isnan().all(1), float("nan"))


def needs_influence(functions: Sequence[Any]) -> bool:
    """Whether one of the rewards reads how much an answer depends on its clip (`influence.py`)."""
    return any(getattr(function, "measured", None) == "influence" for function in functions)


def add_influence(
    functions: Sequence[Any],
    store: MediaStore,
    inputs: Sequence[dict[str, Any]],
    prompts: Sequence[str],
    completion_ids: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """The rows with the column `influence`, if a reward reads it. Measuring takes two forwards per completion."""
    if not needs_influence(functions):
        return list(inputs)
    asked = [msgspec.json.decode(prompt, type=Conversation) for prompt in prompts]
    measured = influence(store, asked, completion_ids)
    return [{**row, "influence": value} for row, value in zip(inputs, measured, strict=True)]


def blame(
    functions: Mapping[str, Callable[..., Any]],
    given: Mapping[str, Any],
    inputs: Sequence[dict[str, Any]],
    completions: Sequence[Any],
    error: Exception,
) -> str:
    """Which reward failed on which completion, found by scoring one completion at a time.

    `given` are the arguments that TRL passes to every reward in addition to the columns of the data.
    """
    for name, function in functions.items():
        for row, completion in zip(inputs, completions, strict=True):
            columns: dict[str, Any] = {key: [value] for key, value in row.items() if key != "prompt"}
            try:
                function(prompts=[row["prompt"]], completions=[completion], completion_ids=[[]], **columns, **given)
            except Exception as cause:
                text = text_of(completion)
                return (
                    f"Reward '{name}' fails on '{row['id']}', completion {text[:200]!r}: "
                    f"{type(cause).__name__}: {cause}."
                )
    return f"The rewards fail: {type(error).__name__}: {error}."
