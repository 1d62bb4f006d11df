"""What a run reports while it trains: progress with the time left, and one JSON line per logged step."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from affectllm import jsonl

LINE_EVERY_S = 15.0
SHOWN = ("loss", "reward", "kl", "mean_token_accuracy", "completions/mean_length")


class RunLog(TrainerCallback):
    """Appends every logged step to `log.jsonl`, and prints a line now and then where there is no terminal bar.

    A resumed run first cuts the steps after its checkpoint, which it is about to log again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = [path]
        """Files whose lines after the checkpoint are removed."""
        self._last: dict[str, Any] = {}
        self._start = self._printed = 0.0
        self._first_step = 0

    def line(self, step: int, logs: dict[str, Any]) -> dict[str, Any] | None:
        """What is written for a step. None writes nothing."""
        return {"step": step, **logs}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = self._printed = time.monotonic()
        self._first_step = state.global_step
        if state.is_world_process_zero:
            for path in self.cut:
                cut_after(path, state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        self._last = logs
        line = self.line(state.global_step, logs)
        if line is not None and state.is_world_process_zero:
            append(self.path, [line])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        done = state.global_step == state.max_steps
        if not state.is_world_process_zero or sys.stderr.isatty() or (now - self._printed < LINE_EVERY_S and not done):
            return
        left_s = (now - self._start) / (state.global_step - self._first_step) * (state.max_steps - state.global_step)
        numbers = "".join(f", {name} {self._last[name]:.3f}" for name in SHOWN if name in self._last)
        print(f"Step {state.global_step}/{state.max_steps}, {left_s:.0f} s left{numbers}", file=sys.stderr, flush=True)
        self._printed = now


def cut_after(path: Path, step: int) -> None:
    """Drop the lines of steps after `step`, and a half-written last line."""
    if path.is_file():
        jsonl.cut_half_line(path)
        rows = list(jsonl.read_dicts(path))
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            jsonl.write(path, kept)


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add lines at the end of a JSON-lines file."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(jsonl.dumps(row) + "\n" for row in rows)
