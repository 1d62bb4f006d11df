"""Teach a video-audio-text model to say which emotions a person shows, and why, with LoRA.

    affectllm train sft --config train/configs/nano_sft.yaml --data data/conversations.jsonl --out runs/sft
    accelerate launch train/sft.py --config train/configs/qwen2_5_omni_7b_sft.yaml

The trainer is TRL's; what is ours is the collator, through which frames and sound reach the model. Killed at any
moment, the same command goes on from the last checkpoint.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import jsonl
from affectllm.data.reading import media_root, read_split, with_absolute_paths
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.training import run as runs
from affectllm.training.run import Run
from affectllm.training.tuning import PARTS, Form, Tuning, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.order import Mix
    from affectllm.training.plan import Work
    from affectllm.training.sft import ClipSFTTrainer


@dataclass(frozen=True, kw_only=True)
class SFT(Run):
    also: tuple[Path, ...] = ()
    """More data sets to learn from beside --data; their clips lie under --media, or beside each file."""
    mix: tuple[float, ...] = ()
    """Shares of the samples that --data and each of --also give, e.g. 2 1; without it, by their sizes."""
    by_length: bool = True
    """Put conversations of like length into one batch, so that little of it is padding."""
    think_weight: float = 1.0
    """How much a token of the reasoning, up to </think>, counts in the loss."""
    answer_weight: float = 1.0
    """How much every other token of an answer counts in the loss."""
    steps: int = 120
    """Optimiser steps."""
    batch: int = 8
    """Conversations a step and device."""
    rate: float = 3e-4
    """Peak learning rate: linear warm-up over a tenth of the steps, then linear decay."""
    tune: Form = "lora"
    """lora; rslora scales by the root of the rank, for high ranks; dora learns length and direction apart (arXiv
    2402.09353); full trains the weights themselves and writes a whole model."""
    rank: int = 16
    """Adapter rank: higher fits more and costs more memory."""
    dropout: float = 0.0
    """Share of adapter inputs dropped in training."""
    train_vision: bool = False
    """Train the vision encoder whole."""
    train_audio: bool = False
    """Train the audio encoder whole."""
    train_projector: bool = False
    """Train what brings encoders to the language model's width whole; of composed models it always learns."""
    train_llm: bool = True
    """Train the language model: by an adapter, or itself with --tune full."""
    vision_rate: float | None = None
    """Peak learning rate of the vision encoder; without it, that of --rate."""
    audio_rate: float | None = None
    """Peak learning rate of the audio encoder; without it, that of --rate."""
    projector_rate: float | None = None
    """Peak learning rate of the projectors; without it, that of --rate."""
    align_steps: int = 0
    """Warm-up steps of the fusion against word embeddings (composed models with media only)."""
    dev_every: int = 0
    """Steps between scores on held-out clips (dev.jsonl): answers are generated, and set F1 and clues scored as `eval
    score` does; what is written is the best of them, and the last stays in last/. 0 scores none."""
    dev_split: str = "dev"
    """Which split of --data to score; never one that a result is reported on."""
    dev_limit: int | None = 200
    """Only the first so many of its clips."""
    dev_new_tokens: int = 256
    """Longest answer on a held-out clip."""
    patience: int = 0
    """Dev scores in a row without a better one that end the run; 0 runs all steps."""
    max_tokens: int = 4096
    """Longest conversation; a longer one is an error, since cutting would drop media or the answer's end."""


def main(run: SFT) -> None:
    from affectllm.training.align import align_fusion
    from affectllm.training.callbacks import RunLog
    from affectllm.training.dev import DevScore, take_best
    from affectllm.training.quarantine import Quarantine
    from affectllm.training.seam import score_labels_only
    from affectllm.training.spread import is_spread

    if run.dry_run:
        return runs.dry_run(
            run, run.rank, work_of(run), "SFTConfig", tuning_of(run), [row for rows in read_data(run) for row in rows]
        )
    if runs.is_finished(run):
        return
    data = read_data(run)
    conversations = [row for rows in data for row in rows]
    held_out = read_split(run.data, run.dev_split)[: run.dev_limit] if run.dev_every else []
    runs.trackers(run)
    backbone = runs.load_model(run)
    store = runs.media_store(backbone, run)
    resume = runs.last_checkpoint(run.out)
    if run.align_steps and not resume:
        align_fusion(store, conversations, run.align_steps, run.seed, Quarantine(run.out))
    prepare(backbone, tuning_of(run), run.seed)
    runs.show_plan(backbone, conversations, run, work_of(run))
    score_labels_only()
    trainer = make_trainer(store, conversations, run, mix_of(run, data))
    runs.watch(trainer, RunLog(run.out / "log.jsonl"))
    expected = store.expected_bytes(conversations)
    if expected > store.cache.max_bytes:
        print(
            f"The clips take about {expected / 2**30:.0f} GiB behind preprocessing, the cache keeps {run.cache_gib:g}: "
            "what falls out is read again each epoch. Raise --cache-gib.",
            file=sys.stderr,
        )
    if held_out and is_spread(trainer):
        raise AffectError(
            "--dev-every generates answers, which weights spread over processes do too slowly. Leave it out."
        )
    if held_out:
        trainer.add_callback(DevScore(store, held_out, run.out, run.dev_every, run.patience, run.dev_new_tokens))
    trainer.train(resume_from_checkpoint=resume)
    if held_out:
        trainer.accelerator.wait_for_everyone()
        take_best(backbone, run.out, trainer.accelerator.is_main_process)
    runs.save(trainer, backbone, run)
    lost = Quarantine(run.out)
    if lost.ids:
        print(
            f"{len(lost.ids)} conversations were left out, their clips could not be read: {lost.path}", file=sys.stderr
        )


def read_data(run: SFT) -> "list[list[Conversation]]":
    """The conversations of each data set; clips of --also are named from the root of --data, absolutely if need be."""
    data = [read_split(run.data, run.split)]
    for path in run.also:
        root = media_root(path, run.media).absolute()
        data.append([with_absolute_paths(row, root) for row in read_split(path, run.split)])
    return data


def mix_of(run: SFT, data: "list[list[Conversation]]") -> "Mix":
    """How often each data set's rows are taken. Raises AffectError for weights that fit no data set."""
    from affectllm.training.order import Mix

    if run.mix and (len(run.mix) != len(data) or min(run.mix) < 0 or max(run.mix) <= 0):
        raise AffectError(
            f"--mix {' '.join(map(str, run.mix))}: {len(data)} data sets (--data and --also) need as many shares, "
            "none below 0."
        )
    return Mix([i for i, rows in enumerate(data) for _ in rows], run.mix or [len(rows) for rows in data])


def tuning_of(run: SFT) -> Tuning:
    if run.tune == "full" and run.quantise:
        raise AffectError(
            "--tune full trains the weights themselves, which --quantise puts into 4 bits. Take one of them."
        )
    switches = {part: getattr(run, f"train_{part}") for part in PARTS}
    return Tuning(form=run.tune, rank=run.rank, dropout=run.dropout, **switches)


def rates_of(run: SFT, store: "MediaStore") -> dict[str, float]:
    """Learning rates of the parts that have their own; one for a part that does not learn is an error."""
    rates = {part: rate for part in PARTS[:3] if (rate := getattr(run, f"{part}_rate")) is not None}
    for part in rates:
        composed = part == "projector" and store.backbone.trained_modules
        if not (getattr(run, f"train_{part}") or composed):
            raise AffectError(f"--{part}-rate is given, but the {part} does not learn. Add --train-{part}.")
    return rates


def work_of(run: SFT) -> "Work":
    from affectllm.training.plan import Work

    return Work(prompts=run.batch, answers=run.batch, answer_tokens=0)


def make_trainer(
    store: "MediaStore", conversations: "Sequence[Conversation]", run: SFT, mix: "Mix | None" = None
) -> "ClipSFTTrainer":
    """TRL's trainer over our collator; its own data preparation, blind to video and audio, is skipped."""
    from datasets import Dataset
    from trl import SFTConfig

    from affectllm.training.collator import ConversationCollator, Weights
    from affectllm.training.order import BatchOrder, Mix
    from affectllm.training.quarantine import Quarantine
    from affectllm.training.sft import ClipSFTTrainer
    from affectllm.training.spread import make_ready

    config: Any = runs.trainer_config(
        SFTConfig,
        run,
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        learning_rate=run.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, run.steps // 10),
        max_length=None,
        logging_steps=1,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    if config.loss_type != "nll" and run.think_weight != run.answer_weight:
        raise AffectError("--think-weight and --answer-weight weigh log-likelihoods: leave out trainer.loss_type.")
    make_ready(store, conversations, config)
    order = BatchOrder(
        store.lengths(conversations) if run.by_length else [0] * len(conversations),
        mix or Mix([0] * len(conversations), [1]),
        run.batch,
        run.seed,
        run.by_length,
        config.world_size,
    )
    rows = Dataset.from_list([{"conversation": jsonl.dumps(row), "row": i} for i, row in enumerate(conversations)])
    weights = Weights(run.think_weight, run.answer_weight)
    trainer = ClipSFTTrainer(
        order=order,
        folder=run.out,
        backbone=store.backbone,
        rates=rates_of(run, store),
        model=store.backbone.model,
        args=config,
        train_dataset=rows,
        data_collator=ConversationCollator(store, run.max_tokens, weights, Quarantine(run.out), rows),
        processing_class=store.backbone.tokenizer,
    )
    store.autocast, store.precision = trainer.accelerator.autocast, trainer.accelerator.mixed_precision
    return trainer


if __name__ == "__main__":
    command(main)
