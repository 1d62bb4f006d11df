"""Teach which of two descriptions of a clip people prefer, with DPO.

    affectllm build emoprefer --source preference_emoprefer.csv --media clips --out data/emoprefer --swap
    affectllm train dpo --model runs/sft --data data/emoprefer/conversations.jsonl --out runs/judge

Trainer and loss are TRL's (DPO, arXiv 2305.18290). The preferred answer names the description people chose, the other
one its rival; every pair is there in both orders, so that the order says nothing. The reference is the adapter the run
starts from.
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
    from affectllm.training.dpo import ClipDPOTrainer
    from affectllm.training.plan import Work


@dataclass(frozen=True, kw_only=True)
class DPO(Run):
    steps: int = 200
    """Optimiser steps."""
    batch: int = 4
    """Pairs a step and device; each is two rows."""
    rate: float = 5e-5
    """Peak learning rate: linear warm-up over a tenth of the steps, then linear decay."""
    beta: float = 0.1
    """How strongly the policy is held to the adapter it starts from."""
    rank: int = 16
    """Adapter rank, when the model has no adapter yet."""
    max_tokens: int = 4096
    """Longest question with its answer; a longer one is an error, since cutting would drop media."""


def main(run: DPO) -> None:
    from affectllm.training.callbacks import RunLog
    from affectllm.training.dpo import decided_pairs
    from affectllm.training.seam import score_labels_only

    if run.dry_run:
        return runs.dry_run(run, run.rank, work_of(run), "DPOConfig")
    if runs.is_finished(run):
        return
    pairs = decided_pairs(read_split(run.data, run.split))
    backbone = runs.load_model(run)
    store = runs.media_store(backbone, run)
    runs.add_lora(backbone, run.rank, 0.0, run.seed)
    runs.show_plan(backbone, pairs, run, work_of(run))
    score_labels_only()
    trainer = make_trainer(store, pairs, run)
    runs.watch(trainer, RunLog(run.out / "log.jsonl"))
    trainer.train(resume_from_checkpoint=runs.last_checkpoint(run.out))
    runs.save(trainer, backbone, run)


def work_of(run: DPO) -> "Work":
    """Two rows a pair, for the policy and for the reference."""
    from affectllm.training.plan import Work

    return Work(prompts=2 * run.batch, answers=2 * run.batch, answer_tokens=4, forwards=1)


def make_trainer(store: "MediaStore", pairs: "Sequence[Conversation]", run: DPO) -> "ClipDPOTrainer":
    from datasets import Dataset
    from trl import DPOConfig

    from affectllm.training.dpo import ClipDPOTrainer, PairCollator
    from affectllm.training.spread import make_ready
    from affectllm.training.tuning import own_precision

    config: Any = runs.trainer_config(
        DPOConfig,
        run,
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        learning_rate=run.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, run.steps // 10),
        beta=run.beta,
        max_length=None,
    )
    make_ready(store, pairs, config)
    with own_precision(store.backbone, config):
        return ClipDPOTrainer(
            model=store.backbone.model,
            args=config,
            train_dataset=Dataset.from_list([{"conversation": jsonl.dumps(pair)} for pair in pairs]),
            data_collator=PairCollator(store, run.max_tokens),
            processing_class=store.backbone.tokenizer,
        )


if __name__ == "__main__":
    command(main)
