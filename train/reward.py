"""Teach a reward model how well a description fits a clip, from pairs of which people preferred one.

    affectllm build emoprefer --source preference_emoprefer.csv --media clips --out data/emoprefer --swap
    affectllm train reward --model runs/sft --data data/emoprefer/conversations.jsonl --out runs/reward
    affectllm eval prefer --model runs/reward --data data/emoprefer-test/conversations.jsonl --out runs/reward/test

Trainer and loss are TRL's (Bradley-Terry). A description's score is the logit of "yes" less that of "no" behind the
question whether it fits, so that the adapter written is loaded like any other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectllm import jsonl
from affectllm.data.reading import read_split
from affectllm.options import command
from affectllm.training import run as runs
from affectllm.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.plan import Work
    from affectllm.training.reward_model import ClipRewardTrainer


@dataclass(frozen=True, kw_only=True)
class Reward(Run):
    steps: int = 200
    """Optimiser steps."""
    batch: int = 4
    """Pairs a step and device; each is two rows."""
    rate: float = 5e-5
    """Peak learning rate: linear warm-up over a tenth of the steps, then linear decay."""
    rank: int = 16
    """Adapter rank, when the model has no adapter yet."""


def main(run: Reward) -> None:
    from affectllm.training.callbacks import RunLog
    from affectllm.training.dpo import decided_pairs

    if run.dry_run:
        return runs.dry_run(run, run.rank, work_of(run), "RewardConfig")
    if runs.is_finished(run):
        return
    pairs = decided_pairs(read_split(run.data, run.split))
    backbone = runs.load_model(run)
    store = runs.media_store(backbone, run)
    runs.add_lora(backbone, run.rank, 0.0, run.seed)
    runs.show_plan(backbone, pairs, run, work_of(run))
    trainer = make_trainer(store, pairs, run)
    runs.watch(trainer, RunLog(run.out / "log.jsonl"))
    trainer.train(resume_from_checkpoint=runs.last_checkpoint(run.out))
    runs.save(trainer, backbone, run)


def work_of(run: Reward) -> "Work":
    """Two rows a pair."""
    from affectllm.training.plan import Work

    return Work(prompts=2 * run.batch, answers=2 * run.batch, answer_tokens=1, forwards=1)


def make_trainer(store: "MediaStore", pairs: "Sequence[Conversation]", run: Reward) -> "ClipRewardTrainer":
    from datasets import Dataset
    from trl import RewardConfig

    from affectllm.training.reward_model import ClipRewardTrainer, FitCollator
    from affectllm.training.spread import make_ready
    from affectllm.training.tuning import own_precision

    config: Any = runs.trainer_config(
        RewardConfig,
        run,
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        learning_rate=run.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, run.steps // 10),
        max_length=None,
        remove_unused_columns=False,
    )
    make_ready(store, pairs, config)
    with own_precision(store.backbone, config):
        return ClipRewardTrainer(
            store.backbone.model,
            args=config,
            train_dataset=Dataset.from_list([{"conversation": jsonl.dumps(pair)} for pair in pairs]),
            data_collator=FitCollator(store),
            processing_class=store.backbone.tokenizer,
        )


if __name__ == "__main__":
    command(main)
