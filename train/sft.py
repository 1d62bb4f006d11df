"""Teach a video-audio-text model to say which emotions a person shows, and why, with LoRA.

    affectllm train sft --config train/configs/nano_sft.yaml --data data/conversations.jsonl --out runs/sft
    accelerate launch train/sft.py --config train/configs/qwen2_5_omni_7b_sft.yaml

The trainer is TRL's. Our collator passes frames and audio to the model. A run that was killed continues from its last
checkpoint when the same command is given again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import jsonl
from affectllm.data.reading import media_root, read_split, with_absolute_paths
from affectllm.errors import AffectError
from affectllm.options import command, flat
from affectllm.training import setup
from affectllm.training.options import Data, HeldOut, Model, Runtime
from affectllm.training.run_folder import RunFolder
from affectllm.training.tuning import PARTS, Tuning, make_trainable

if TYPE_CHECKING:
    from trl import SFTConfig

    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.collator import Weights
    from affectllm.training.order import BatchOrder, Mix
    from affectllm.training.sft import ClipSFTTrainer


@dataclass(frozen=True, kw_only=True)
class SFTData(Data):
    """The conversations to learn from, and what the model sees of their clips."""

    also: tuple[Path, ...] = ()
    """More data sets to learn from, in addition to --data. Their clips lie under --media, or next to each file."""
    mix: tuple[float, ...] = ()
    """Shares of the samples that --data and each of --also give, e.g. 2 1. By default shares follow the sizes."""
    by_length: bool = True
    """Put conversations of similar length into one batch, so that little of it is padding."""
    max_tokens: int = 4096
    """Longest conversation, in tokens. A longer one is an error, since cutting would drop media or the answer's end."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Steps, batches and learning rates."""

    steps: int = 120
    """Number of optimiser steps."""
    batch: int = 8
    """Conversations of a step on each device."""
    rate: float = 3e-4
    """Peak learning rate. It rises linearly over a tenth of the steps, then falls linearly to 0."""
    vision_rate: float | None = None
    """Peak learning rate of the vision encoder. By default it is that of --rate."""
    audio_rate: float | None = None
    """Peak learning rate of the audio encoder. By default it is that of --rate."""
    projector_rate: float | None = None
    """Peak learning rate of the projectors. By default it is that of --rate."""
    align_steps: int = 0
    """Steps of a warm-up that aligns media tokens with word embeddings (composed models with media only)."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How much each token of an answer counts."""

    think_weight: float = 1.0
    """Weight of each token of the reasoning, up to </think>."""
    answer_weight: float = 1.0
    """Weight of every other token of an answer."""


@dataclass(frozen=True, kw_only=True)
class SFTHeldOut(HeldOut):
    """Scores on held-out clips while the run trains (dev.jsonl). The best weights are written."""

    dev_new_tokens: int = 256
    """Longest answer on a held-out clip, in tokens."""


@dataclass(frozen=True, kw_only=True)
class SFT:
    data: SFTData
    model: Model
    tuning: Tuning
    optimisation: Optimisation
    loss: Loss
    held_out: SFTHeldOut
    runtime: Runtime


def main(options: SFT) -> None:
    from affectllm.training.align import align_fusion
    from affectllm.training.callbacks import RunLog
    from affectllm.training.config import check_trackers
    from affectllm.training.dev import score_held_out, take_best
    from affectllm.training.plan import Work
    from affectllm.training.quarantine import Quarantine
    from affectllm.training.seam import score_labels_only
    from affectllm.training.spread import make_ready

    data, model, runtime, steps = options.data, options.model, options.runtime, options.optimisation
    check_tuning(options.tuning, model.quantise)
    work = setup.complete(Work(steps.batch, steps.batch, 0), runtime.trainer, model.quantise)
    if runtime.dry_run:
        rows = [row for rows in read_data(data) for row in rows]
        return setup.dry_run("SFTConfig", rows, data, model, options.tuning, runtime, work)
    folder = RunFolder(flat(options))
    if folder.is_finished():
        return
    sets = read_data(data)
    conversations = [row for rows in sets for row in rows]
    held_out = options.held_out
    dev_rows = read_split(data.data, held_out.dev_split)[: held_out.dev_limit] if held_out.dev_every else []
    check_trackers(runtime.report_to)
    backbone = setup.load_model(model)
    store = setup.open_store(backbone, data, runtime.cache_gib)
    resume = folder.last_checkpoint()
    if steps.align_steps and not resume:
        align_fusion(store, conversations, steps.align_steps, runtime.seed, Quarantine(runtime.out))
    make_trainable(backbone, options.tuning, runtime.seed)
    setup.show_plan(backbone, conversations, data, work)
    score_labels_only()
    config = make_config(steps, options.loss, runtime, model.dtype)
    make_ready(store, conversations, config)
    order = make_order(store, conversations, mix_of(data, sets), data.by_length, steps.batch, runtime.seed, config)
    rates = rates_of(steps, options.tuning, store)
    trainer = make_trainer(store, conversations, config, order, rates, weights_of(options.loss), data, runtime.out)
    setup.watch(trainer, RunLog(runtime.out / "log.jsonl"))
    warn_of_a_small_cache(store, conversations)
    if dev_rows:
        score_held_out(trainer, store, dev_rows, runtime.out, held_out, held_out.dev_new_tokens)
    trainer.train(resume_from_checkpoint=resume)
    if dev_rows:
        trainer.accelerator.wait_for_everyone()
        take_best(backbone, runtime.out, trainer.accelerator.is_main_process)
    folder.save(trainer, backbone)
    lost = Quarantine(runtime.out)
    if lost.ids:
        print(
            f"{len(lost.ids)} conversations were left out, because their clips could not be read: {lost.path}",
            file=sys.stderr,
        )


def read_data(source: SFTData) -> "list[list[Conversation]]":
    """The conversations of each data set. The clips of --also get paths from the root of --data, or absolute ones."""
    sets = [read_split(source.data, source.split)]
    for path in source.also:
        root = media_root(path, source.media).absolute()
        sets.append([with_absolute_paths(row, root) for row in read_split(path, source.split)])
    return sets


def mix_of(source: SFTData, sets: "list[list[Conversation]]") -> "Mix":
    """How often each data set's rows are taken. Raises AffectError for shares that fit no data set."""
    from affectllm.training.order import Mix

    if source.mix and (len(source.mix) != len(sets) or min(source.mix) < 0 or max(source.mix) <= 0):
        raise AffectError(
            f"--mix {' '.join(map(str, source.mix))}: {len(sets)} data sets (--data and --also) need as many shares, "
            "none below 0."
        )
    return Mix([i for i, rows in enumerate(sets) for _ in rows], source.mix or [len(rows) for rows in sets])


def check_tuning(tuning: Tuning, quantise: bool) -> None:
    """Raise AffectError for weights that would have to learn and be packed into 4 bits."""
    if tuning.tune == "full" and quantise:
        raise AffectError(
            "--tune full trains the weights themselves, which --quantise puts into 4 bits. Use one or the other."
        )


def rates_of(optimisation: Optimisation, tuning: Tuning, store: "MediaStore") -> dict[str, float]:
    """Learning rates of the parts that have their own. Raises AffectError for a part that does not learn."""
    rates = {part: rate for part in PARTS[:3] if (rate := getattr(optimisation, f"{part}_rate")) is not None}
    for part in rates:
        composed = part == "projector" and store.backbone.trained_modules
        if not (tuning.trains(part) or composed):
            raise AffectError(f"--{part}-rate is given, but the {part} does not learn. Add --train-{part}.")
    return rates


def weights_of(loss: Loss) -> "Weights":
    from affectllm.training.collator import Weights

    return Weights(loss.think_weight, loss.answer_weight)


def warn_of_a_small_cache(store: "MediaStore", conversations: "Sequence[Conversation]") -> None:
    expected = store.expected_bytes(conversations)
    if expected > store.cache.max_bytes:
        print(
            f"The clips take about {expected / 2**30:.0f} GiB after preprocessing, and the cache keeps "
            f"{store.cache.max_bytes / 2**30:g}: the rest is read again each epoch. Raise --cache-gib.",
            file=sys.stderr,
        )


def make_config(optimisation: Optimisation, loss: Loss, runtime: Runtime, dtype: str) -> "SFTConfig":
    """TRL's config. Its own data preparation, which drops video and audio, is skipped."""
    from trl import SFTConfig

    from affectllm.training.config import trainer_config

    config: Any = trainer_config(
        SFTConfig,
        runtime,
        dtype,
        max_steps=optimisation.steps,
        per_device_train_batch_size=optimisation.batch,
        learning_rate=optimisation.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, optimisation.steps // 10),
        max_length=None,
        logging_steps=1,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    if config.loss_type != "nll" and loss.think_weight != loss.answer_weight:
        raise AffectError("--think-weight and --answer-weight weigh log-likelihoods: leave out trainer.loss_type.")
    return config


def make_order(
    store: "MediaStore",
    conversations: "Sequence[Conversation]",
    mix: "Mix",
    by_length: bool,
    batch: int,
    seed: int,
    config: "SFTConfig",
) -> "BatchOrder":
    """The order in which conversations are put into batches."""
    from affectllm.training.order import BatchOrder

    lengths = store.lengths(conversations) if by_length else [0] * len(conversations)
    return BatchOrder(lengths, mix, batch, seed, by_length, config.world_size)


def make_trainer(
    store: "MediaStore",
    conversations: "Sequence[Conversation]",
    config: "SFTConfig",
    order: "BatchOrder",
    rates: dict[str, float],
    weights: "Weights",
    source: SFTData,
    out: Path,
) -> "ClipSFTTrainer":
    """TRL's trainer over our collator."""
    from datasets import Dataset

    from affectllm.training.collator import ConversationCollator
    from affectllm.training.quarantine import Quarantine
    from affectllm.training.sft import ClipSFTTrainer

    rows = Dataset.from_list([{"conversation": jsonl.dumps(row), "row": i} for i, row in enumerate(conversations)])
    trainer = ClipSFTTrainer(
        order=order,
        folder=out,
        backbone=store.backbone,
        rates=rates,
        model=store.backbone.model,
        args=config,
        train_dataset=rows,
        data_collator=ConversationCollator(store, source.max_tokens, weights, Quarantine(out), rows),
        processing_class=store.backbone.tokenizer,
    )
    store.autocast, store.precision = trainer.accelerator.autocast, trainer.accelerator.mixed_precision
    return trainer


if __name__ == "__main__":
    command(main)
