"""What a run says while it trains: progress with the time left, and one JSON line a logged step."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LINE_EVERY_S = 15.0
SHOWN = ("loss", "reward", "kl", "mean_token_accuracy", "completions/mean_length")


class RunLog(TrainerCallback):
    """Appends every logged step to `log.jsonl`, and prints a line now and then where there is no terminal bar.

    A resumed run logs the steps behind its checkpoint again; the last line of a step is the one that counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: dict[str, Any] = {}
        self._start = self._printed = 0.0
        self._first_step = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = self._printed = time.monotonic()
        self._first_step = state.global_step

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        self._last = logs
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        done = state.global_step == state.max_steps
        if not state.is_world_process_zero or sys.stderr.isatty() or (now - self._printed < LINE_EVERY_S and not done):
            return
        left_s = (now - self._start) / (state.global_step - self._first_step) * (state.max_steps - state.global_step)
        numbers = "".join(f", {name} {self._last[name]:.3f}" for name in SHOWN if name in self._last)
        print(f"Step {state.global_step}/{state.max_steps}, {left_s:.0f} s left{numbers}", file=sys.stderr, flush=True)
        self._printed = now
