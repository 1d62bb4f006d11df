"""The same rewards in other trainers: each adapter has the form that the trainer calls.

ms-swift   orms["affect"] = swift_reward("strict")          with a column `target`
verl       custom_reward_function.path=this file, name=verl_score
EasyR1     worker.reward.reward_function=this file:easyr1_score
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from affectllm import rewards


def total(text: str, target: Any, functions: Sequence[Callable[..., Any]]) -> dict[str, float]:
    """Value of each term that applies, and their weighted sum as `overall`."""
    parts = {f.__name__: f(completions=[text], target=[target])[0] for f in functions}
    known = {name: value for name, value in parts.items() if value is not None}
    weights = {f.__name__: getattr(f, "weight", 1.0) for f in functions}
    return {**known, "overall": sum(weights[name] * value for name, value in known.items())}


@cache
def loaded(preset: str) -> tuple[Callable[..., Any], ...]:
    return tuple(rewards.load(preset))


def swift_reward(preset: str = "strict") -> type:
    """A reward class as ms-swift's plugins register it. It is called with completions and columns of the data set."""

    class AffectReward:
        def __call__(self, completions: Sequence[str], target: Sequence[Any], **columns: Any) -> list[float]:
            rows = zip(completions, target, strict=True)
            return [total(text, gold, loaded(preset))["overall"] for text, gold in rows]

    return AffectReward


def verl_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: dict[str, Any] | None = None
) -> float:
    """verl's signature; the preset may be named in `extra_info["rewards"]`."""
    return total(solution_str, ground_truth, loaded((extra_info or {}).get("rewards", "strict")))["overall"]


def easyr1_score(reward_inputs: Sequence[dict[str, Any]], rewards: str = "strict") -> list[dict[str, float]]:
    """EasyR1's batch signature: rows with `response` and `ground_truth` in, dictionaries with `overall` out."""
    return [total(row["response"], row["ground_truth"], loaded(rewards)) for row in reward_inputs]
