"""Does GRPO on the embedded model gain anything on held-out clips, over its start and over more supervised steps?

    python benchmarks/grpo_gain.py --data runs/quickstart/data --out runs/grpo_gain

The start is a supervised adapter stopped early, so that there is room above it. From it go, for every seed, GRPO runs
and supervised runs of about as many seconds of training, each at a constant setting that was fixed before any held-out
clip was scored. A line is one measure as JSON: `ours` is the mean over seeds behind the stage, `peer` the start (or the
supervised runs), `ratio` null, and `low` and `high` bound the paired difference at 95 % (clips resampled, the same ones
for all seeds and both sides). Killed at any moment, the same command goes on.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from affectllm import jsonl, vocabulary
from affectllm.demo.quickstart import config, stage
from affectllm.options import command
from affectllm.reports import runs as scored
from affectllm.scores import open_vocabulary, uncertainty
from affectllm.scores.metrics.wheels import f1_of_sums, wheel_sums
from affectllm.scores.uncertainty import Drawn

CLUES = ("clue_face", "clue_voice")


@dataclass(frozen=True)
class Gain:
    data: Path = Path("runs/quickstart/data")
    """Folder with conversations.jsonl of drawn clips: affectllm build synthetic."""
    out: Path = Path("runs/grpo_gain")
    """Folder for all runs."""
    start_steps: int = 30
    """Supervised steps of the start; the quickstart takes 80."""
    steps: int = 30
    """GRPO steps."""
    prompts: int = 4
    """Clips a GRPO step."""
    group: int = 8
    """Completions a clip."""
    rate: float = 1e-4
    """Learning rate of GRPO."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of GRPO and of the further supervised runs."""
    sft_seeds: tuple[int, ...] = (1,)
    """Seeds whose supervised run is made too."""


def main(run: Gain) -> None:
    data = run.data / "conversations.jsonl"
    sft = ("train", "sft", "--config", config("nano_sft.yaml"), "--data", data)
    stage(*sft, "--out", run.out / "start", "--steps", run.start_steps, "--seed", 7)
    answer(run, data, "start")
    for seed in run.seeds:
        stage(
            *("train", "grpo", "--config", config("nano_grpo.yaml"), "--model", run.out / "start", "--data", data),
            *("--out", run.out / f"grpo{seed}", "--steps", run.steps, "--prompts", run.prompts, "--group", run.group),
            *("--rate", run.rate, "--max-new-tokens", 64, "--seed", seed),
        )
        answer(run, data, f"grpo{seed}")
    for seed in run.sft_seeds:
        steps = round(grpo_seconds(run.out / f"grpo{seed}") / sft_seconds(run.out / "start") * run.start_steps)
        stage(
            *sft, "--model", run.out / "start", "--out", run.out / f"sft{seed}", "--steps", steps, "--seed", seed,
            *("--align-steps", 0, "--rate", 2e-4),
        )  # fmt: skip
        answer(run, data, f"sft{seed}")
    report(run)


def answer(run: Gain, data: Path, name: str) -> None:
    """Answers to the test clips, and their scores."""
    folder = run.out / "eval" / name
    stage("eval", "predict", "--model", run.out / name, "--data", data, "--out", folder)
    stage("eval", "score", folder / "answers.jsonl", "--gold", data, "--split", "test", "--out", folder)


def grpo_seconds(folder: Path) -> float:
    """Of all optimiser steps together."""
    return sum(row["seconds"]["step"] for row in jsonl.read_dicts(folder / "log.jsonl"))


def sft_seconds(folder: Path) -> float:
    """Of a run that was not interrupted."""
    return next(row["train_runtime"] for row in jsonl.read_dicts(folder / "log.jsonl") if "train_runtime" in row)


def report(run: Gain) -> None:
    start, grpo, sft = (
        [scored.read_run(name, run.out / "eval" / name) for name in names]
        for names in (["start"], [f"grpo{seed}" for seed in run.seeds], [f"sft{seed}" for seed in run.sft_seeds])
    )
    for name, ours, peer in (
        ("GRPO over its start", grpo, start),
        ("more SFT over its start", sft, start),
        ("GRPO over as much more SFT", grpo, sft),
    ):
        emit(f"grpo_gain/set F1, {name}", ours, peer, set_f1)
        for clue in CLUES:
            emit(f"grpo_gain/{clue}, {name}", ours, peer, lambda one, clue=clue: mean_of(one, clue))  # type: ignore[misc]


def set_f1(one: scored.Run) -> Drawn:
    said, gold = [score.said for score in one.scores.values()], [score.gold for score in one.scores.values()]
    sums = wheel_sums(open_vocabulary.overlaps(said, gold, vocabulary.load("affectllm-1")))
    return uncertainty.of_sums(sums, lambda drawn: f1_of_sums(drawn, "affectllm-1"))


def mean_of(one: scored.Run, name: str) -> Drawn:
    values = [score.values.get(name) for score in one.scores.values()]
    return uncertainty.of_sums(uncertainty.with_count([np.nan if value is None else value for value in values]))


def emit(
    name: str, ours: Sequence[scored.Run], peer: Sequence[scored.Run], statistic: Callable[[scored.Run], Drawn]
) -> None:
    clips = list(ours[0].scores)
    assert all(list(one.scores) == clips for one in (*ours, *peer)), "every run answers the same clips in one order"
    sides = [[statistic(one) for one in side] for side in (ours, peer)]
    found = uncertainty.difference(
        *[lambda counts, side=side: np.mean([f(counts) for f in side], 0) for side in sides], len(clips)
    )
    each = [[uncertainty.value_of(one, len(clips)) for one in side] for side in sides]
    line = {"name": name, "ours": round(fmean(each[0]), 4), "peer": round(fmean(each[1]), 4), "ratio": None}
    bounds = {"low": round(found.low, 4), "high": round(found.high, 4)}
    seeds = {"seeds": [round(value, 4) for value in each[0]]}
    print(json.dumps({**line, "unit": "score", "n": len(clips), **bounds, **seeds}), flush=True)


if __name__ == "__main__":
    command(main)
