"""TRL's GRPOTrainer made to see and hear: clips reach generation and every log-probability.

TRL 1.16 hands images, but neither video nor audio, to the forwards that compute log-probabilities, without an
error. A few overrides mend that; none copies TRL's long bodies. Prompts travel as conversation JSON; the media
of a row are found again by its index, which TRL shuffles and splits as it does every row tensor.

Two ways lead through a step. `rows` is TRL's: every completion is a row that reads its clip and its prompt.
`shared` reads them once a group (`training/shared.py`), with the same numbers.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from affectllm.errors import AffectError
from affectllm.models.backbone import Sample, join_media
from affectllm.records import Conversation
from affectllm.training.counterfactual import influence
from affectllm.training.shared import SharedForward, group_rows, obstacle
from affectllm.training.store import MediaStore

# Largest difference of a log-probability between the two ways. Below float32 rounding alone exceeds it.
EXACT, EXACT_HALF = 1e-4, 0.25


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
    generation of a training batch and its use. `step` is "shared" or "rows"; with `check_exact` the first batch
    goes both ways, and a difference stops the run.
    """

    def __init__(
        self, *args: Any, store: MediaStore, step: str = "shared", check_exact: bool = False, **kwargs: Any
    ) -> None:
        self.store = store
        self._generated: list[Sample] = []
        self._kept: dict[bool, list[Sample]] = {}
        self._active: list[Sample] = []
        self._check_exact = check_exact
        reason = obstacle(store.backbone) if step == "shared" else None
        if reason:
            print(f"The step goes row by row: {store.backbone.name} cannot share prompts, {reason}.", file=sys.stderr)
        self.shared = SharedForward(store.backbone) if step == "shared" and not reason else None
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> "EpochSampler":
        stock: Any = super()._get_train_sampler(dataset)
        return EpochSampler(
            stock.data_source, stock.mini_repeat_count, stock.batch_size, stock.repeat_count, stock.shuffle, stock.seed
        )

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self.shared and self.model.training and self._buffered_inputs is not before:
            self._buffered_inputs = regroup(self._buffered_inputs, self._kept[True])
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        known = {
            prompt: self.store.sample(Conversation.model_validate_json(prompt)) for prompt in dict.fromkeys(prompts)
        }
        self._generated = [known[prompt] for prompt in prompts]
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
        media = {} if self.shared else join_media(self._generated)
        with self.shared.one_prefill_a_prompt(self._generated) if self.shared else nullcontext():
            return super()._generate_single_turn(prompt_ids, None, media, num_generations, **kwargs)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[str], completions: list[Any], completion_ids: list[list[int]]
    ) -> Tensor:
        if any(getattr(function, "measured", None) == "influence" for function in self.reward_funcs):
            asked = [Conversation.model_validate_json(prompt) for prompt in prompts]
            measured = influence(self.store, asked, completion_ids)
            inputs = [{**row, "influence": value} for row, value in zip(inputs, measured, strict=True)]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        output = super()._generate_and_score_completions(inputs)
        self._kept[training] = self._generated
        if self.shared:
            self.shared.forget([sample for samples in self._kept.values() for sample in samples])
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
            samples, ids, mask = self._active[rows], input_ids[rows], attention_mask[rows]
            # The router's balance is a mean over tokens: it would be another one where a prompt counts once.
            if self.shared is None or compute_aux_loss:
                parts.append(self._score_rows(model, samples, ids, mask, logits_to_keep, compute_aux_loss))
                continue
            if self._check_exact:
                self._check_exact = False
                self._compare(model, samples, ids, mask, logits_to_keep)
            with self.accelerator.autocast():
                valid = mask[:, -logits_to_keep:]
                parts.append((*self.shared.score(model, samples, ids[:, -logits_to_keep:], valid), None))
        log_probs = torch.cat([part[0] for part in parts])
        entropies = torch.cat([part[1] for part in parts]) if compute_entropy else None
        auxiliary = torch.stack([part[2] for part in parts]).mean() if compute_aux_loss else None
        return log_probs, entropies, auxiliary

    def _score_rows(
        self, model: torch.nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, aux: bool = False
    ) -> tuple[Tensor, Any, Any]:
        """Log-probabilities, entropies (rows, keep) and the router's loss, every row with its clip and prompt."""
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, :-keep] = -100
        media = {name: tensor.to(ids.device) for name, tensor in join_media(samples).items()}
        router = {"output_router_logits": True} if aux else {}
        with self.accelerator.autocast():
            output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True, **media, **router)
        entropies = None if output.entropy is None else output.entropy[:, -keep:]
        return output.log_probs[:, -keep:], entropies, output.aux_loss

    def _compare(self, model: torch.nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int) -> None:
        """Raise AffectError when sharing prompts changes a log-probability of these rows."""
        assert self.shared is not None
        with torch.no_grad(), self.accelerator.autocast():
            one = self.shared.score(model, samples, ids[:, -keep:], mask[:, -keep:])[0]
            other = self._score_rows(model, samples, ids, mask, keep)[0]
        difference = float((one - other).abs().max())
        half = self.store.backbone.core.dtype != torch.float32 or self.args.bf16 or self.args.fp16
        limit = EXACT_HALF if half else EXACT
        if not difference <= limit:
            raise AffectError(
                f"Sharing prompts changes log-probabilities of {self.store.backbone.name} by up to {difference:.1e} "
                f"(allowed: {limit:.0e}). Train with: --grpo-step rows"
            )
        print(f"Shared and row-by-row log-probabilities differ by at most {difference:.1e}.", file=sys.stderr)


def regroup(batches: Sequence[dict[str, Any]], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """The same rows in as many micro-batches, the completions of one prompt together.

    TRL shuffles rows before it splits them, which would spread each prompt over all micro-batches; groups keep the
    order in which the shuffle first meets them.
    """
    order = torch.cat([batch["media_row"] for batch in batches]).tolist()
    of_row = group_rows(samples).of_row
    turn: dict[int, int] = {}
    for row in order:
        turn.setdefault(of_row[row], len(turn))
    places = torch.tensor(sorted(range(len(order)), key=lambda place: turn[of_row[order[place]]]))
    size = len(order) // len(batches)
    return [
        {
            key: value
            if value is None or value.ndim == 0
            else torch.cat([batch[key] for batch in batches])[places[i * size : (i + 1) * size].to(value.device)]
            for key, value in batches[0].items()
        }
        for i in range(len(batches))
    ]
