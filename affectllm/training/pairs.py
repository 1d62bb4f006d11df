"""What DPO and the reward model have in common: a run over pairs of descriptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from affectllm import jsonl
from affectllm.data.reading import read_split
from affectllm.records import Conversation
from affectllm.training import setup
from affectllm.training.options import Adapter, Data, Model, Runtime
from affectllm.training.run_folder import RunFolder

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

    from affectllm.models.store import MediaStore
    from affectllm.training.plan import Work

Made = TypeVar("Made", bound="Trainer")


@dataclass(frozen=True, kw_only=True)
class PairOptimisation:
    """Steps, batches and learning rate."""

    steps: int = 200
    """Number of optimiser steps."""
    batch: int = 4
    """Pairs of a step on each device. Each pair is two rows."""
    rate: float = 5e-5
    """Peak learning rate. It rises linearly over a tenth of the steps, then falls linearly to 0."""


class PairStage(NamedTuple):
    """A run over pairs. `config` names TRL's options class of the stage."""

    config: str
    data: Data
    model: Model
    adapter: Adapter
    runtime: Runtime
    work: "Work"

    def train(
        self, folder: RunFolder, make_trainer: Callable[["MediaStore", Sequence[Conversation]], "Trainer"]
    ) -> None:
        """Train in this folder, or, with --dry-run, only print the plan."""
        from affectllm.training.callbacks import RunLog
        from affectllm.training.dpo import decided_pairs
        from affectllm.training.tuning import Tuning, make_trainable

        data, model, runtime = self.data, self.model, self.runtime
        tuning = Tuning(rank=self.adapter.rank)
        work = setup.complete(self.work, runtime.trainer, model.quantise)
        if runtime.dry_run:
            rows = read_split(data.data, data.split)
            return setup.dry_run(self.config, rows, data, model, tuning, runtime, work)
        if folder.is_finished():
            return
        pairs = decided_pairs(read_split(data.data, data.split))
        backbone = setup.load_model(model)
        store = setup.open_store(backbone, data, runtime.cache_gib)
        make_trainable(backbone, tuning, runtime.seed)
        setup.show_plan(backbone, pairs, data, work)
        trainer = make_trainer(store, pairs)
        setup.watch(trainer, RunLog(runtime.out / "log.jsonl"))
        trainer.train(resume_from_checkpoint=folder.last_checkpoint())
        folder.save(trainer, backbone)


def pair_config(
    kind: type["TrainingArguments"], optimisation: PairOptimisation, runtime: Runtime, dtype: str, **settings: Any
) -> Any:
    """TRL's config of a stage over pairs."""
    from affectllm.training.config import trainer_config

    return trainer_config(
        kind,
        runtime,
        dtype,
        max_steps=optimisation.steps,
        per_device_train_batch_size=optimisation.batch,
        learning_rate=optimisation.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, optimisation.steps // 10),
        max_length=None,
        **settings,
    )


def make_pair_trainer(
    kind: Callable[..., Made], store: "MediaStore", pairs: Sequence[Conversation], config: Any, collator: Any
) -> Made:
    """A trainer of this kind. The collator gives clips and answers to its forward."""
    from datasets import Dataset

    from affectllm.training.spread import make_ready
    from affectllm.training.tuning import own_precision

    make_ready(store, pairs, config)
    with own_precision(store.backbone, config):
        return kind(
            model=store.backbone.model,
            args=config,
            train_dataset=Dataset.from_list([{"conversation": jsonl.dumps(pair)} for pair in pairs]),
            data_collator=collator,
            processing_class=store.backbone.tokenizer,
        )
