"""TRL's SFTTrainer over clips: own order of rows, weighted tokens, learning rates by part, clear errors.

The training itself is TRL's. The overrides decide the order of rows, how much a token counts, and what a run says
when it cannot continue.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor
from torch.utils.data import Dataset
from trl import SFTConfig, SFTTrainer

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone
from affectllm.records import Conversation
from affectllm.training.collator import ROW, WEIGHTS
from affectllm.training.order import BatchOrder
from affectllm.training.tuning import own_precision, split_by_rate

FAILED = "failed_batch.json"


class ClipSFTTrainer(SFTTrainer):
    """`rates` names the parts (vision, audio, projector, llm) whose learning rate is not the common one.

    `order` gives the rows of each epoch. A loss that is not a number stops the run, and its batch is written down in
    `folder`.
    """

    def __init__(
        self,
        *,
        args: SFTConfig,
        backbone: Backbone,
        rates: dict[str, float],
        order: BatchOrder,
        folder: Path,
        **kwargs: Any,
    ) -> None:
        self.backbone = backbone
        self.rates = rates
        self.order = order
        self.folder = folder
        with own_precision(backbone, args):
            super().__init__(args=args, **kwargs)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> BatchOrder:
        return self.order

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh and self.rates:
            learning: Any = self.model if model is None else model
            names = {id(parameter): name for name, parameter in learning.named_parameters()}
            # The scheduler, made after this, takes each group's rate for its peak.
            optimizer.param_groups[:] = split_by_rate(optimizer.param_groups, names, self.backbone, self.rates)
        return optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """What the loss is divided by: the number of labels, or the sum of their weights."""
        if not batch_samples or WEIGHTS not in batch_samples[0]:
            return super()._get_num_items_in_batch(batch_samples, device)
        # The first token of a row is predicted by none.
        total = torch.stack([batch[WEIGHTS][:, 1:].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        try:
            return super().training_step(model, inputs, num_items_in_batch)
        except torch.OutOfMemoryError as error:
            raise AffectError(self.too_large(inputs)) from error

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        rows, weights = inputs.pop(ROW, None), inputs.pop(WEIGHTS, None)
        mask = inputs["attention_mask"]
        self._metrics["train" if model.training else "eval"]["padding"].append(1 - float(mask.float().mean()))
        forward = model if weights is None else weighted(model, weights)
        found = super().compute_loss(forward, inputs, return_outputs, num_items_in_batch)
        loss = found[0] if return_outputs else found
        if rows is not None and not torch.isfinite(loss):
            raise AffectError(self.not_a_number(rows, loss.item(), mask))
        return found

    def not_a_number(self, rows: Tensor, loss: float, mask: Tensor) -> str:
        """Write the batch down; return the text of the error."""
        known: Any = self.train_dataset
        ids = [msgspec.json.decode(known[row]["conversation"], type=Conversation).id for row in rows.tolist()]
        path = self.folder / FAILED
        step = self.state.global_step + 1
        jsonl.write_json(path, {"step": step, "loss": str(loss), "ids": ids, "tokens": mask.sum(1).tolist()})
        return (
            f"The loss of step {step} is {loss}. Its conversations are in {path}: {', '.join(ids[:8])}. Look at "
            "these rows; or lower --rate, or train in another --dtype (float16 overflows first)."
        )

    def too_large(self, inputs: dict[str, Any]) -> str:
        rows, tokens = inputs["input_ids"].shape
        clips = f"{self.backbone.num_frames} frames a clip"
        if "video_grid_thw" in inputs:
            patch = self.backbone.processor.video_processor.patch_size
            clips += f" of up to {int(inputs['video_grid_thw'][:, 1:].prod(1).max()) * patch**2} pixels"
        checkpointing = "" if self.args.gradient_checkpointing else " --trainer.gradient_checkpointing true,"
        return (
            f"Out of memory at step {self.state.global_step + 1}: a batch of {rows} conversations of up to {tokens} "
            f"tokens, {clips}. In this order:{checkpointing} --batch {max(1, rows // 2)} with "
            f"--trainer.gradient_accumulation_steps {2 * self.args.gradient_accumulation_steps}, --quantise, fewer "
            "--frames or --max-pixels (which begin another run). The run goes on from its last checkpoint."
        )


def weighted(model: Callable[..., Any], weights: Tensor) -> Callable[..., Any]:
    """The model with each label's log-probability multiplied by its weight: what TRL sums up is then weighted."""

    def forward(**inputs: Any) -> Any:
        output = model(**inputs)
        if getattr(output, "log_probs", None) is not None:
            output.log_probs = output.log_probs * weights[:, 1:]
        return output

    return forward
