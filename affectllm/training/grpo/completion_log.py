"""`completions.jsonl` of a GRPO run, one completion per line; docs/grpo.md explains every field.

The file only grows. A resumed run cuts what was written after its checkpoint, so that no step is there twice.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from affectllm import answers
from affectllm.answers import THINK_END
from affectllm.records import Conversation, Target
from affectllm.rewards import text_of
from affectllm.training.callbacks import append
from affectllm.training.grpo.scoring import Paid
from affectllm.training.quarantine import Quarantine, clip_path

if TYPE_CHECKING:
    from accelerate import Accelerator

COMPLETIONS = "completions.jsonl"


class CompletionLog:
    """The completions of a run, as they are drawn, and the clips that could no longer be read."""

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.drawn: list[dict[str, Any]] = []
        """This process's completions of the last draw, in the order of its rows."""
        self.quarantine = Quarantine(folder)

    def record(
        self,
        step: int,
        rows: Sequence[dict[str, Any]],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        replayed: Sequence[bool],
        paid: Paid,
    ) -> dict[str, float]:
        """Put these completions in `drawn`. Return means over those that the policy sampled, on all processes."""
        from accelerate.utils import gather_object

        self.drawn = []
        known: dict[str, tuple[str, list[str], str]] = {}
        for i, row in enumerate(rows):
            if row["prompt"] not in known:
                conversation = msgspec.json.decode(row["prompt"], type=Conversation)
                known[row["prompt"]] = (conversation.id, gold_labels(conversation.target), clip_path(conversation))
            name, gold, clip = known[row["prompt"]]
            text = text_of(completions[i])
            read = answers.parse(text)
            thought = text[: text.find(THINK_END) + len(THINK_END)] if THINK_END in text else read.reasoning or ""
            think_tokens = len(self.tokenizer(thought, add_special_tokens=False)["input_ids"]) if thought else 0
            self.drawn.append(
                {
                    "step": step, "id": name, "clip": clip, "gold": gold, "text": text,
                    "reward": plain(paid.totals[i]), "parts": parts_of(paid, i),
                    "labels": read.labels, "status": read.status, "think_tokens": think_tokens,
                    "answer_tokens": max(0, len(completion_ids[i]) - think_tokens),
                    **({"replayed": True} if replayed[i] else {}),
                }
            )  # fmt: skip
        # Replayed answers do not come from the policy.
        sampled = [row for row in gather_object(self.drawn) if not row.get("replayed")]
        return {**means(sampled), "quarantined": float(len(self.quarantine.ids))}

    def write(self, rows: list[dict[str, Any]], accelerator: "Accelerator") -> None:
        """Append completions of all processes."""
        from accelerate.utils import gather_object

        everywhere = gather_object(rows)
        if accelerator.is_main_process:
            append(self.folder / COMPLETIONS, everywhere)


def means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What log.jsonl says about the completions of a step."""
    count = len(rows)
    return {
        "labels_per_answer": sum(len(row["labels"]) for row in rows) / count,
        "parse_rate": sum(row["status"] == "ok" for row in rows) / count,
        "think_tokens": sum(row["think_tokens"] for row in rows) / count,
        "answer_tokens": sum(row["answer_tokens"] for row in rows) / count,
        "constant_share": most_common_share(row["text"] for row in rows),
        "completion_tokens": float(sum(row["think_tokens"] + row["answer_tokens"] for row in rows)),
    }


def parts_of(paid: Paid, i: int) -> dict[str, Any]:
    """Every reward of one completion, with the numbers that the rewards logged for it."""
    extra = {
        column: plain(values[i])
        for column, values in paid.extra.items()
        if len(values) == len(paid.totals) and isinstance(values[i], int | float)
    }
    return dict(zip(paid.names, map(plain, paid.parts[i]), strict=True)) | extra


def gold_labels(target: Target) -> list[str]:
    return target.labels or [label for label in (target.basic, target.sentiment, target.preference) if label]


def plain(value: Any) -> Any:
    """JSON has no NaN: null means that no reward applies."""
    return None if isinstance(value, float) and math.isnan(value) else value


def most_common_share(texts: Iterable[str]) -> float:
    """Share of the most frequent answer.

    >>> most_common_share(["happy", "sad", "happy", "happy"])
    0.75
    """
    counts = Counter(texts).values()
    return max(counts) / sum(counts)
