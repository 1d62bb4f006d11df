"""`log.jsonl` of a GRPO run, one step per line, and the alarm when no group has a signal any more.

docs/grpo.md explains every field.
"""

import sys
from pathlib import Path
from typing import Any

from affectllm.training.callbacks import RunLog
from affectllm.training.grpo.completion_log import COMPLETIONS

LOG = "log.jsonl"


class StepLog(RunLog):
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
    """Why rewards do not differ, judged by the other numbers of the step, and what to do."""
    if line["reward"] is None:
        return "no reward applies to these clips. Check that the gold has what the rewards read."
    if line["truncated"] is not None and line["truncated"] > 0.9:
        return "nearly all completions are cut off before they end. Raise --max-new-tokens."
    if line["parse_rate"] == 0:
        return "no answer can be read. Train supervised for longer first, or look at completions.jsonl."
    if line["constant_share"] is not None and line["constant_share"] > 0.9:
        return "nearly all answers are the same. Raise --temperature or --beta, and lower --rate."
    if line["reward"] == 0:
        return "every completion earns 0. A gate of the rewards is never passed: see the parts in completions.jsonl."
    return "completions of a clip earn the same. Try --dynamic-sampling 3, a larger --group or harder clips."
