"""Which clips a run learns from, and in which order."""

import math
import random
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation


def draw(
    conversations: list[Conversation], clips: int | None, curriculum: Path | None, seed: int
) -> list[Conversation]:
    """The clips to learn from, in the order of the data or of the curriculum."""
    if clips is not None and clips < len(conversations):
        chosen = sorted(random.Random(seed).sample(range(len(conversations)), clips))
        conversations = [conversations[i] for i in chosen]
    if curriculum is None:
        return conversations
    rewards = mean_rewards(curriculum)
    return sorted(conversations, key=lambda conversation: -rewards.get(conversation.id, -math.inf))


def mean_rewards(completions: Path) -> dict[str, float]:
    """Mean reward of each clip in the completions of an earlier run."""
    if not completions.is_file():
        raise AffectError(f"--curriculum {completions} is not a file. Give the completions.jsonl of a GRPO run.")
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in jsonl.read_dicts(completions):
        if row.get("reward") is not None and not row.get("replayed"):
            found[row["id"]].append(row["reward"])
    return {name: fmean(values) for name, values in found.items()}
