"""TRL's GRPOTrainer made to see and hear: clips reach generation and every log-probability.

TRL 1.16 hands images, but neither video nor audio, to the forwards that compute log-probabilities, without an
error. Five overrides mend that; none copies TRL's long bodies. Prompts travel as conversation JSON; the media
of a row are found again by its index, which TRL shuffles and splits as it does every row tensor.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from affectllm.models.backbone import Sample, join_media
from affectllm.records import Conversation
from affectllm.training.store import MediaStore


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order that depends on seed and epoch alone.

    TRL draws each epoch's order from one running generator, which a resumed run starts anew: it would repeat the
    first epoch's order.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of every epoch, resumed or not."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class ClipGRPOTrainer(GRPOTrainer):
    """GRPO over conversations with clips.

    `store` gives the media; train and evaluation rows are kept apart, since an evaluation may run between the
    generation of a training batch and its use.
    """

    def __init__(self, *args: Any, store: MediaStore, **kwargs: Any) -> None:
        self.store = store
        self._generated: list[Sample] = []
        self._kept: dict[bool, list[Sample]] = {}
        self._active: list[Sample] = []
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> "EpochSampler":
        stock: Any = super()._get_train_sampler(dataset)
        return EpochSampler(
            stock.data_source, stock.mini_repeat_count, stock.batch_size, stock.repeat_count, stock.shuffle, stock.seed
        )

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        self._generated = [self.store.sample(Conversation.model_validate_json(prompt)) for prompt in prompts]
        # Until a slice of them is trained on, log-probabilities (old policy, reference) are of these rows.
        self._active = self._generated
        return [sample.prompt_ids for sample in self._generated], None, {}

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        **kwargs: Any,
    ) -> Any:
        # TRL passes tensors among the multimodal fields to `generate` as they are.
        return super()._generate_single_turn(prompt_ids, None, join_media(self._generated), num_generations, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        output = super()._generate_and_score_completions(inputs)
        self._kept[training] = self._generated
        output["media_row"] = torch.arange(len(inputs), device=self.accelerator.device)
        return output

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Tensor:
        kept = self._kept[self.model.training]
        self._active = [kept[row] for row in inputs["media_row"].tolist()]
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities (rows, logits_to_keep) of the completion tokens, with the media of `self._active`."""
        step = batch_size or len(input_ids)
        parts = []
        for start in range(0, len(input_ids), step):
            rows = slice(start, start + step)
            labels = input_ids[rows].masked_fill(attention_mask[rows] == 0, -100)
            labels[:, :-logits_to_keep] = -100
            media = {name: tensor.to(input_ids.device) for name, tensor in join_media(self._active[rows]).items()}
            router = {"output_router_logits": True} if compute_aux_loss else {}
            with self.accelerator.autocast():
                parts.append(
                    model(
                        input_ids=input_ids[rows],
                        attention_mask=attention_mask[rows],
                        labels=labels,
                        fused_lm_head=True,
                        **media,
                        **router,
                    )
                )
        log_probs = torch.cat([part.log_probs[:, -logits_to_keep:] for part in parts])
        entropies = torch.cat([part.entropy[:, -logits_to_keep:] for part in parts]) if compute_entropy else None
        auxiliary = torch.stack([part.aux_loss for part in parts]).mean() if compute_aux_loss else None
        return log_probs, entropies, auxiliary
