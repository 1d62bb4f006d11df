"""Teach a video-audio-text model to say which emotions a person shows, and why, with LoRA.

    affectllm train sft --config train/configs/nano_sft.yaml --data data/conversations.jsonl --out runs/sft
    accelerate launch train/sft.py --config train/configs/qwen2_5_omni_7b_sft.yaml

The trainer is TRL's; what is ours is the collator, through which frames and sound reach the model. Killed at any
moment, the same command goes on from the last checkpoint.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectllm.options import command
from affectllm.training import run as runs
from affectllm.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trl import SFTTrainer

    from affectllm.records import Conversation
    from affectllm.training.plan import Work
    from affectllm.training.store import MediaStore


@dataclass(frozen=True, kw_only=True)
class SFT(Run):
    steps: int = 120
    """Optimiser steps."""
    batch: int = 8
    """Conversations a step and device."""
    rate: float = 3e-4
    """Peak learning rate: linear warm-up over a tenth of the steps, then linear decay."""
    rank: int = 16
    """Adapter rank: higher fits more and costs more memory."""
    dropout: float = 0.0
    """Share of adapter inputs dropped in training."""
    align_steps: int = 0
    """Warm-up steps of the fusion against word embeddings (composed models with media only)."""
    max_tokens: int = 4096
    """Longest conversation; a longer one is an error, since cutting would drop media or the answer's end."""


def main(run: SFT) -> None:
    from affectllm.models import load
    from affectllm.training.align import align_fusion
    from affectllm.training.callbacks import RunLog

    if run.dry_run:
        return runs.dry_run(run, run.rank, work_of(run), "SFTConfig")
    if runs.is_finished(run):
        return
    conversations = runs.read_split(run.data, run.split)
    backbone = load(run.model, dtype=run.dtype, trainable=True)
    store = runs.media_store(backbone, run)
    resume = runs.last_checkpoint(run.out)
    if run.align_steps and not resume:
        align_fusion(store, conversations, run.align_steps, run.seed)
    runs.add_lora(backbone, run.rank, run.dropout, run.seed)
    runs.show_plan(backbone, conversations, run, work_of(run))
    runs.score_labels_only()
    trainer = make_trainer(store, conversations, run)
    runs.watch(trainer, RunLog(run.out / "log.jsonl"))
    trainer.train(resume_from_checkpoint=resume)
    runs.save(trainer, backbone, run)


def work_of(run: SFT) -> "Work":
    from affectllm.training.plan import Work

    return Work(prompts=run.batch, answers=run.batch, answer_tokens=0)


def make_trainer(store: "MediaStore", conversations: "Sequence[Conversation]", run: SFT) -> "SFTTrainer":
    """TRL's trainer over our collator; its own data preparation, blind to video and audio, is skipped."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from affectllm.training.collator import ConversationCollator

    config = runs.trainer_config(
        SFTConfig,
        run,
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        learning_rate=run.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, run.steps // 10),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return SFTTrainer(
        model=store.backbone.model,
        args=config,
        train_dataset=Dataset.from_list(
            [{"conversation": conversation.model_dump_json()} for conversation in conversations]
        ),
        data_collator=ConversationCollator(store, run.max_tokens),
        processing_class=store.backbone.tokenizer,
    )


if __name__ == "__main__":
    command(main)
