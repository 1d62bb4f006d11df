"""What a GRPO run writes down: `log.jsonl`, one step a line, and `completions.jsonl`, one completion a line.

Both are append-only; a resumed run cuts what was written behind its checkpoint, so that no step stands there twice.
docs/grpo.md explains every field.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from affectllm import answers
from affectllm.records import Conversation, Target
from affectllm.rewards import text_of
from affectllm.training.callbacks import RunLog, append
from affectllm.training.quarantine import Quarantine, clip_of

if TYPE_CHECKING:
    from accelerate import Accelerator

    from affectllm.training.grpo import ClipGRPOTrainer

LOG, COMPLETIONS = "log.jsonl", "completions.jsonl"
THINK_END = "</think>"


class Rollouts:
    """The completions of a run, as they are drawn, and the clips that could no longer be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: list[dict[str, Any]] = []
        """This process's completions of the last draw, in the order of its rows."""
        self.quarantine = Quarantine(folder)

    def note(
        self,
        trainer: "ClipGRPOTrainer",
        inputs: Sequence[dict[str, Any]],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        parts: Sequence[Sequence[float]],
        rewards: Sequence[float],
    ) -> dict[str, float]:
        """Put these completions in `drawn`; means over those that all processes sampled."""
        from accelerate.utils import gather_object

        names, extra, replayed = trainer.reward_func_names, trainer._pending_extra_logs, trainer.guidance.replayed
        tokenizer = trainer.store.backbone.tokenizer
        self.drawn = []
        known: dict[str, tuple[str, list[str], str]] = {}
        for i, row in enumerate(inputs):
            if row["prompt"] not in known:
                conversation = msgspec.json.decode(row["prompt"], type=Conversation)
                known[row["prompt"]] = (conversation.id, gold_of(conversation.target), clip_of(conversation))
            name, gold, clip = known[row["prompt"]]
            text = text_of(completions[i])
            read = answers.parse(text)
            thought = text[: text.find(THINK_END) + len(THINK_END)] if THINK_END in text else read.reasoning or ""
            think_tokens = len(tokenizer(thought, add_special_tokens=False)["input_ids"]) if thought else 0
            told = {
                column: plain(values[i])
                for column, values in extra.items()
                if len(values) == len(inputs) and isinstance(values[i], int | float)
            }
            self.drawn.append(
                {
                    "step": trainer.state.global_step + 1, "id": name, "clip": clip, "gold": gold, "text": text,
                    "reward": plain(rewards[i]), "parts": dict(zip(names, map(plain, parts[i]), strict=True)) | told,
                    "labels": read.labels, "status": read.status, "think_tokens": think_tokens,
                    "answer_tokens": max(0, len(completion_ids[i]) - think_tokens),
                    **({"replayed": True} if replayed[i] else {}),
                }
            )  # fmt: skip
        # What was replayed was not said by the policy.
        everywhere = [row for row in gather_object(self.drawn) if not row.get("replayed")]
        count = len(everywhere)
        return {
            "labels_per_answer": sum(len(row["labels"]) for row in everywhere) / count,
            "parse_rate": sum(row["status"] == "ok" for row in everywhere) / count,
            "think_tokens": sum(row["think_tokens"] for row in everywhere) / count,
            "answer_tokens": sum(row["answer_tokens"] for row in everywhere) / count,
            "constant_share": most_common_share(row["text"] for row in everywhere),
            "completion_tokens": float(sum(row["think_tokens"] + row["answer_tokens"] for row in everywhere)),
            "quarantined": float(len(self.quarantine.ids)),
        }

    def write(self, rows: list[dict[str, Any]], accelerator: "Accelerator") -> None:
        """Append completions of all processes."""
        from accelerate.utils import gather_object

        everywhere = gather_object(rows)
        if accelerator.is_main_process:
            append(self.folder / COMPLETIONS, everywhere)


def gold_of(target: Target) -> list[str]:
    return target.labels or [label for label in (target.basic, target.sentiment, target.preference) if label]


def plain(value: Any) -> Any:
    """JSON has no NaN: what no reward could tell becomes null."""
    return None if isinstance(value, float) and math.isnan(value) else value


def most_common_share(texts: Iterable[str]) -> float:
    """Share of the answer said most often.

    >>> most_common_share(["happy", "sad", "happy", "happy"])
    0.75
    """
    counts = Counter(texts).values()
    return max(counts) / sum(counts)


def blame(
    trainer: "ClipGRPOTrainer",
    inputs: Sequence[dict[str, Any]],
    prompts: Sequence[str],
    completions: Sequence[Any],
    error: Exception,
) -> str:
    """Which reward failed on which completion, found by asking for one completion at a time."""
    functions: Sequence[Any] = trainer.reward_funcs
    for function, name in zip(functions, trainer.reward_func_names, strict=True):
        for row, completion in zip(inputs, completions, strict=True):
            columns: dict[str, Any] = {key: [value] for key, value in row.items() if key != "prompt"}
            columns |= {"log_extra": trainer._log_completion_extra, "log_metric": trainer._log_metric}
            columns["trainer_state"] = trainer.state
            try:
                function(prompts=[row["prompt"]], completions=[completion], completion_ids=[[]], **columns)
            except Exception as cause:
                said = text_of(completion)
                return (
                    f"Reward '{name}' fails on '{row['id']}', completion {said[:200]!r}: "
                    f"{type(cause).__name__}: {cause}."
                )
    return f"The rewards fail: {type(error).__name__}: {error}."


class GRPOLog(RunLog):
    """The run's log in the fields of docs/grpo.md, and an alarm when no group has a signal any more."""

    def __init__(self, folder: Path, alarm_after: int) -> None:
        super().__init__(folder / LOG)
        self.cut = [folder / LOG, folder / COMPLETIONS]
        self.alarm_after = alarm_after
        self._silent = 0

    def line(self, step: int, logs: dict[str, Any]) -> dict[str, Any] | None:
        if "reward" not in logs:
            return None
        line = step_line(step, logs)
        self._silent = self._silent + 1 if line["zero_std_share"] == 1 else 0
        if self.alarm_after and self._silent and self._silent % self.alarm_after == 0:
            line["alarm"] = f"No group had a difference in reward for {self._silent} steps: {likely_cause(line)}"
            print(f"Alarm at step {step}. {line['alarm']}", file=sys.stderr, flush=True)
        return line


def step_line(step: int, logs: dict[str, Any]) -> dict[str, Any]:
    """TRL's flat numbers as one line of log.jsonl."""
    parts = {
        name.split("/")[1]: value
        for name, value in logs.items()
        if name.startswith("rewards/") and name.endswith("/mean")
    }
    seconds = {name.split("/")[1]: value for name, value in logs.items() if name.startswith("seconds/")}
    seconds["step"] = logs.get("step_time")
    said, took = logs.get("completion_tokens"), seconds["step"]
    clipped = [value for name, value in logs.items() if name in ("clip_ratio/region_mean", "cispo_clip_ratio")]
    return {
        "step": step,
        "reward": logs["reward"],
        "reward_std": logs.get("reward_std"),
        "reward_parts": parts,
        "labels_per_answer": logs.get("labels_per_answer"),
        "think_tokens": logs.get("think_tokens"),
        "answer_tokens": logs.get("answer_tokens"),
        "kl": logs.get("kl"),
        "entropy": logs.get("entropy"),
        "zero_std_share": logs.get("frac_reward_zero_std"),
        "parse_rate": logs.get("parse_rate"),
        "constant_share": logs.get("constant_share"),
        "sampler_gap": logs.get("sampling/sampling_logp_difference/mean"),
        "clip_fraction": clipped[0] if clipped else None,
        "truncated": logs.get("completions/clipped_ratio"),
        "drawn_anew": logs.get("drawn_anew", 0),
        "quarantined": logs.get("quarantined", 0),
        "loss": logs.get("loss"),
        "sft_loss": logs.get("sft_loss"),
        "grad_norm": logs.get("grad_norm"),
        "learning_rate": logs.get("learning_rate"),
        "tokens": logs.get("num_tokens"),
        "tokens_per_s": said / took if said and took else None,
        "seconds": seconds,
    }


def likely_cause(line: dict[str, Any]) -> str:
    """Why rewards do not differ, by what else the step shows, with what to do."""
    if line["reward"] is None:
        return "no reward can tell anything about these clips. Does the gold have what the rewards read?"
    if line["truncated"] is not None and line["truncated"] > 0.9:
        return "nearly all completions are cut off before they end. Raise --max-new-tokens."
    if line["parse_rate"] == 0:
        return "no answer can be read. Train supervised for longer first, or look at completions.jsonl."
    if line["constant_share"] is not None and line["constant_share"] > 0.9:
        return "nearly all answers are the same. Raise --temperature or --beta, and lower --rate."
    if line["reward"] == 0:
        return "every completion earns 0. A gate of the rewards is never passed: see the parts in completions.jsonl."
    return "completions of a clip earn the same. Try --dynamic-sampling 3, a larger --group or harder clips."
