"""Every family and stage in half precision on random weights of a few thousand parameters.

These are checked: losses are numbers, the adapter has changed, another clip gives another answer's likelihood, the
two ways of GRPO agree, and merged weights answer as the adapter does.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.media.cache import FeatureCache
from affectllm.models import FAMILIES, load
from affectllm.models.base import seam
from affectllm.models.base.backbone import Backbone, Sample
from affectllm.models.base.generation import answer_log_probabilities
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.prompts import compose
from affectllm.records import Annotation, Answer, Clip, Conversation, Meta, Target
from affectllm.training.seam import score_labels_only
from affectllm.training.tuning import Tuning, make_trainable
from benchmarks.gpu_book import free
from benchmarks.gpu_omni import Bench
from benchmarks.grpo_step import greatest_difference
from eval.predict import Predict
from eval.predict import main as predict
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY
from tests.trainers import grpo_trainer
from train.dpo import DPO
from train.dpo import main as dpo
from train.grpo import GRPO
from train.grpo import main as grpo
from train.merge import Merge
from train.merge import main as merge
from train.sft import SFT
from train.sft import main as sft

ADAPTER = "adapter_model.safetensors"
VARIED = "benchmarks.grpo_step:different"


def main(bench: Bench) -> None:
    # A CPU has no float16 products to speak of, and tests of this script are to be short.
    chosen = ("Qwen2.5-Omni Thinker",) if bench.tiny else tuple(TINY)
    for dtype in ("bfloat16",) if bench.device == "cpu" else ("bfloat16", "float16"):
        for family in chosen:
            since = next(known.since for known in FAMILIES if known.name == family)
            if since and seam.older_than(since):
                bench.book.skip(f"{family} {dtype}", f"needs transformers {since}")
                continue
            folder = bench.folder / "families" / f"{dtype}-{family.replace(' ', '-')}"
            with bench.book.part(f"{family} {dtype}"):
                stages(bench, family, dtype, folder)


def stages(bench: Bench, family: str, dtype: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    model = str(TINY[family](folder / "model"))
    kinds = load(model, "float32").modalities
    # Clips of one length: their media then fit each other's prompts, so that they can be swapped.
    rows = [conversation(f"clip{i}", ["happy", "sad"][: i + 1], parts=kinds) for i in range(2)]
    test = [conversation(f"clip{i}", ["happy"], "test", kinds) for i in range(2)]
    for i in range(2):
        write_clip(folder / f"clip{i}.mp4", seed=i)
    data, pairs = folder / "conversations.jsonl", folder / "pairs.jsonl"
    jsonl.write(data, [*rows, *test])
    jsonl.write(pairs, [pair(i, swapped, kinds) for i in range(2) for swapped in (False, True)])
    common: dict[str, Any] = {"dtype": dtype, "modalities": kinds, "rate": 1e-2}
    if bench.tiny:
        common["frames"] = 2
    start = {"model": str(folder / "sft"), "data": data, "steps": 2}
    steps = {"prompts": 1, "group": 4, "max_new_tokens": 6, "rewards": VARIED}

    @contextmanager
    def stage(name: str, of: str = "sft") -> Iterator[dict[str, Any]]:
        """A part of the benchmark whose row says how long it took. What it finds is added to the row."""
        found: dict[str, Any] = {}
        with bench.book.part(f"{family} {dtype} {name}"):
            begun = time.perf_counter()
            yield found
            free()
            seconds = time.perf_counter() - begun
            bench.book.row(name, seconds, "s", 1, family=family, dtype=dtype, **found)

    with stage("sft") as found:
        sft(grouped(SFT, model=model, data=data, out=folder / "sft", steps=2, batch=2, **common))
        found |= learnt(folder / "sft")
    with stage("media") as found:
        found["difference"] = media_matter(str(folder / "sft"), dtype, folder, rows)
    with stage("grpo shared") as found:
        found["log_probability_difference"] = two_ways(folder, dtype, rows, kinds, steps)
        grpo(grouped(GRPO, out=folder / "shared", grpo_step="shared", check_exact=True, **start, **steps, **common))
        found |= learnt(folder / "shared", folder / "sft")
    with stage("grpo rows") as found:
        grpo(grouped(GRPO, out=folder / "rows", grpo_step="rows", **start, **steps, **common))
        found |= learnt(folder / "rows", folder / "sft")
    with stage("dpo") as found:
        dpo(
            grouped(
                DPO, out=folder / "dpo", batch=2, trainer={"logging_steps": 1}, **{**start, "data": pairs}, **common
            )
        )
        found |= learnt(folder / "dpo", folder / "sft")
    with stage("predict") as found:
        asked = {"modalities": kinds, "dtype": dtype, "max_new_tokens": 6}
        predict(grouped(Predict, model=str(folder / "sft"), data=data, out=folder / "answers", **asked))
        answers = list(jsonl.read(folder / "answers" / "answers.jsonl", Answer))
        expect(len(answers) == len(test) and not any(answer.error for answer in answers), f"answers: {answers}")
        found["answers"] = len(answers)
    with stage("merge") as found:
        merge(Merge(adapter=folder / "sft", out=folder / "merged", dtype=dtype))
        values = [likelihoods(load(str(folder / name), dtype), folder, rows[:1])[0] for name in ("sft", "merged")]
        expect(abs(values[0] - values[1]) < 0.1, f"the adapter gives {values[0]}, merged weights {values[1]}")
        found["difference"] = abs(values[0] - values[1])


def pair(number: int, swapped: bool, kinds: tuple[Any, ...]) -> Conversation:
    """A question which of two descriptions fits a clip."""
    choices = ("He smiles.", "He cries.")
    row = Annotation(
        id=f"clip{number}{'_swap' if swapped else ''}", dataset="drawn", split="train",
        media=Clip(video=f"clip{number}.mp4"), language="en", target=Target(preference="a2" if swapped else "a1"),
        meta=Meta(licence="CC0-1.0"),
    )  # fmt: skip
    asked = compose(row, task="preference", mode="labels", seed=7, choices=choices[::-1] if swapped else choices)
    return without(asked, kinds)


def without(asked: Conversation, kinds: tuple[Any, ...]) -> Conversation:
    """The question with those media parts alone that a family takes."""
    for message in asked.messages:
        if isinstance(message.content, list):
            message.content[:] = [part for part in message.content if part.type in ("text", *kinds)]
    return asked


def learnt(folder: Path, before: Path | None = None) -> dict[str, Any]:
    """Losses of a run that changed its adapter; an error for a loss that is no number, or weights that stayed."""
    log = json.loads((folder / "run.json").read_text())["log"]
    losses = [step["loss"] for step in log if "loss" in step]
    expect(bool(losses) and all(math.isfinite(loss) for loss in losses), f"losses: {losses}")
    after = load_file(folder / ADAPTER)
    expect(all(bool(weight.isfinite().all()) for weight in after.values()), "weights that are no numbers")
    if before is None:
        # An adapter begins with zeros in B.
        moved = max(float(weight.abs().max()) for name, weight in after.items() if "lora_B" in name)
    else:
        old = load_file(before / ADAPTER)
        moved = max(float((weight - old[name]).abs().max()) for name, weight in after.items())
    expect(moved > 0, "the adapter has not changed")
    return {"losses": losses, "adapter_moved": moved}


def likelihoods(backbone: Backbone, root: Path, rows: list[Conversation]) -> list[float]:
    """Log-probability of one answer to the first row's question, with the clip of each row in turn."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone.model.to(device).eval()
    samples = [backbone.sample(row, root) for row in rows]
    answer = backbone.answer_ids("happy")
    swapped = [Sample(samples[0].prompt_ids, sample.media) for sample in samples]
    return [answer_log_probabilities(backbone, [sample], [answer])[0] for sample in swapped]


def media_matter(model: str, dtype: str, root: Path, rows: list[Conversation]) -> float:
    """The change that another clip makes to an answer's log-probability. No change is an error."""
    values = likelihoods(load(model, dtype), root, rows)
    expect(all(math.isfinite(value) for value in values), f"log-probabilities: {values}")
    expect(values[0] != values[1], "another clip changes nothing")
    return abs(values[0] - values[1])


def two_ways(folder: Path, dtype: str, rows: list[Conversation], kinds: tuple[Any, ...], steps: Any) -> float | None:
    """Largest difference of a log-probability between a shared and a row-by-row forward; None if no model shares."""
    backbone = load(str(folder / "sft"), dtype, trainable=True)
    make_trainable(backbone, Tuning(rank=16), 7)
    store = MediaStore(backbone, folder, FeatureCache(folder / "cache"), kinds)
    options = grouped(GRPO, data=folder / "none", out=folder / "ways", dtype=dtype, steps=1, **steps)
    score_labels_only()
    trainer = grpo_trainer(store, rows, options)
    if trainer.log_probs.shared is None:
        return None
    difference = greatest_difference(trainer, rows, 4, 6)
    expect(difference < 0.25, f"sharing a prompt changes a log-probability by {difference}")
    return difference


def expect(holds: bool, otherwise: str) -> None:
    """As `assert`, which python -O would leave out."""
    if not holds:
        raise AssertionError(otherwise)
