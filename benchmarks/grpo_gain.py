"""Does GRPO on the embedded model gain anything on held-out clips, over its start and over more supervised steps?

    python benchmarks/grpo_gain.py --data runs/quickstart/data --out runs/grpo_gain

The start is a supervised adapter stopped early, so that it can be improved. It answers with reasoning or, if asked to,
with labels alone. For every seed, GRPO runs on one of these forms start from it, and so do supervised runs of about as
many seconds of training, each at a constant setting. Clues are scored on answers with reasoning, labels on the form
that was trained. A line is one measure as JSON: `ours` is the mean over seeds after the stage, `peer` the start (or the
supervised runs), `ratio` null, and `low` and `high` bound the paired difference at 95 % (clips resampled, the same ones
for all seeds and both sides). If it is killed, the same command continues.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from affectllm import jsonl, vocabulary
from affectllm.demo.quickstart import config, stage
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Conversation
from affectllm.reports import scored
from affectllm.scores.engine import uncertainty
from affectllm.scores.engine.uncertainty import Drawn
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.scores.families.wheels import wheel_columns, wheel_f1

CLUES = ("clue_face", "clue_voice")


@dataclass(frozen=True)
class Gain:
    data: Path = Path("runs/quickstart/data")
    """Folder with conversations.jsonl of drawn clips: affectllm build synthetic."""
    out: Path = Path("runs/grpo_gain")
    """Folder for all runs."""
    form: Literal["think", "labels"] = "think"
    """Form of the answers: with reasoning (rewards `strict`), or labels alone (`no-think`), which are shorter."""
    start_steps: int = 30
    """Number of supervised steps of the start."""
    steps: int = 20
    """Number of GRPO steps."""
    prompts: int = 4
    """Number of clips per GRPO step."""
    group: int = 8
    """Number of completions per clip."""
    rate: float = 2e-4
    """Learning rate of GRPO and of the further supervised runs."""
    sft_weight: float = 0.0
    """Weight of the supervised loss on a step's clips, added to GRPO's."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the GRPO runs."""
    sft_seeds: tuple[int, ...] = (1,)
    """Seeds of the further supervised runs. Without any, these are left out."""


def main(run: Gain) -> None:
    think, labels = run.data / "conversations.jsonl", run.out / "labels.jsonl"
    jsonl.write(labels, [ask_for_labels(row) for row in jsonl.read(think, Conversation)])
    sft = ("train", "sft", "--config", config("nano_sft.yaml"), "--data", think, "--also", labels, "--media", run.data)
    stage(*sft, "--out", run.out / "start", "--steps", run.start_steps, "--seed", 7)
    answer(run, "start")
    asked = ("--data", think, "--rewards", "strict", "--max-new-tokens", 64)
    if run.form == "labels":
        asked = ("--data", labels, "--rewards", "no-think", "--max-new-tokens", 16)
    for seed in run.seeds:
        stage(
            *("train", "grpo", "--config", config("nano_grpo.yaml"), "--model", run.out / "start", *asked),
            *("--media", run.data, "--out", run.out / f"grpo{seed}", "--steps", run.steps),
            *("--prompts", run.prompts, "--group", run.group, "--rate", run.rate, "--seed", seed),
            *("--sft-weight", run.sft_weight),
        )
        answer(run, f"grpo{seed}")
    for seed in run.sft_seeds:
        steps = round(grpo_seconds(run.out / f"grpo{seed}") / sft_seconds(run.out / "start") * run.start_steps)
        stage(
            *(*sft, "--model", run.out / "start", "--out", run.out / f"sft{seed}", "--steps", steps, "--seed", seed),
            *("--align-steps", 0, "--rate", run.rate),
        )
        answer(run, f"sft{seed}")
    report(run)


def ask_for_labels(row: Conversation) -> Conversation:
    """The same clip, asked for its labels alone."""
    annotation = {name: getattr(row, name) for name in Annotation.__struct_fields__}
    return compose(Annotation(**annotation | {"id": f"{row.id}_labels"}), "labels", "labels", seed=7)


def answer(run: Gain, name: str) -> None:
    """Answers to the test clips, and their scores: with reasoning, and in the form that is trained."""
    for form in dict.fromkeys(("think", run.form)):
        data = run.out / "labels.jsonl" if form == "labels" else run.data / "conversations.jsonl"
        folder = run.out / "eval" / f"{name}_{form}"
        asked = ("--model", run.out / name, "--data", data, "--media", run.data, "--out", folder)
        stage("eval", "predict", *asked, "--max-new-tokens", 64 if form == "think" else 16)
        stage("eval", "score", folder / "answers.jsonl", "--gold", data, "--split", "test", "--out", folder)


def grpo_seconds(folder: Path) -> float:
    """Seconds of all optimiser steps together."""
    return sum(row["seconds"]["step"] for row in jsonl.read_dicts(folder / "log.jsonl"))


def sft_seconds(folder: Path) -> float:
    """Seconds of a run that was not interrupted."""
    return next(row["train_runtime"] for row in jsonl.read_dicts(folder / "log.jsonl") if "train_runtime" in row)


def report(run: Gain) -> None:
    def read(names: Sequence[str], form: str) -> list[scored.ScoredRun]:
        return [scored.read_run(name, run.out / "eval" / f"{name}_{form}") for name in names]

    start, grpo, sft = ["start"], [f"grpo{seed}" for seed in run.seeds], [f"sft{seed}" for seed in run.sft_seeds]
    for name, ours, peer in (
        ("GRPO over its start", grpo, start),
        ("more SFT over its start", sft, start),
        ("GRPO over as much more SFT", grpo, sft),
    ):
        if not (ours and peer):
            continue
        emit(f"grpo_gain/{run.form}/set F1, {name}", read(ours, run.form), read(peer, run.form), set_f1)
        for clue in CLUES:
            emit(
                f"grpo_gain/{run.form}/{clue}, {name}", read(ours, "think"), read(peer, "think"), partial(mean_of, clue)
            )


def set_f1(one: scored.ScoredRun) -> Drawn:
    said, gold = [score.said for score in one.scores.values()], [score.gold for score in one.scores.values()]
    columns = wheel_columns(overlaps(said, gold, vocabulary.load("affectllm-1")))
    return uncertainty.drawn_sums(columns, lambda sums: wheel_f1(sums, "affectllm-1"))


def mean_of(name: str, one: scored.ScoredRun) -> Drawn:
    values = [score.values.get(name) for score in one.scores.values()]
    return uncertainty.drawn_mean([np.nan if value is None else value for value in values])


def emit(
    name: str,
    ours: Sequence[scored.ScoredRun],
    peer: Sequence[scored.ScoredRun],
    statistic: Callable[[scored.ScoredRun], Drawn],
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
