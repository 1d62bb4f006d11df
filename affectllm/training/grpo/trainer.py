"""TRL's GRPOTrainer with clips: media reach generation and every log-probability.

TRL 1.16 passes images, but neither video nor audio, to the forwards that compute log-probabilities, and raises no
error. A few overrides add them; none copies TRL's long methods. Prompts travel as conversation JSON. The media of a row
are found again by its index, which TRL shuffles and splits as it does every row tensor.

A step can be computed in two ways. `rows` is TRL's: every completion is a row that reads its clip and its prompt.
`shared` reads them once per group (`shared.py`), with the same numbers.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from trl import GRPOConfig, GRPOTrainer

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Sample, join_media
from affectllm.models.store import MediaStore
from affectllm.training.grpo.batch import EpochSampler, regroup
from affectllm.training.grpo.completion_log import CompletionLog
from affectllm.training.grpo.guidance import Guidance
from affectllm.training.grpo.log_probs import LogProbs
from affectllm.training.grpo.resampling import ClipReader, Draw, DynamicSampling
from affectllm.training.grpo.scoring import Paid, add_influence, blame, total
from affectllm.training.grpo.vllm_sampler import VLLMSampler
from affectllm.training.spread import gather_to_generate, is_spread, reference_left_out
from affectllm.training.tuning import own_precision


class ClipGRPOTrainer(GRPOTrainer):
    """GRPO over conversations with clips.

    `store` gives the media. `step` is "shared" or "rows". With `check_exact` the first batch is scored both ways, and
    a difference stops the run. `dynamic_sampling` is how often groups without a difference in reward are replaced by
    groups over other clips. `replay` and `sft_weight` use annotated answers (`guidance.py`). Completions and
    quarantined clips are written to `folder`. With a `sampler` a vLLM server draws the completions, otherwise the model
    itself does.
    """

    def __init__(
        self,
        *,
        args: GRPOConfig,
        store: MediaStore,
        folder: Path,
        step: str = "shared",
        check_exact: bool = False,
        dynamic_sampling: int = 0,
        replay: int = 0,
        sft_weight: float = 0.0,
        sampler: VLLMSampler | None = None,
        **kwargs: Any,
    ) -> None:
        with own_precision(store.backbone, args):
            super().__init__(args=args, **kwargs)
        store.autocast, store.precision = self.accelerator.autocast, self.accelerator.mixed_precision
        self.store = store
        self.sampler = sampler
        self.guidance = Guidance(store.backbone, replay, sft_weight)
        self.completion_log = CompletionLog(folder, store.backbone.tokenizer)
        self.log_probs = LogProbs(store, self.accelerator, step, check_exact, is_spread(self))
        rows: Any = self.train_dataset
        self.reader = ClipReader(rows, self.completion_log.quarantine)
        self.dynamic_sampling = DynamicSampling(dynamic_sampling, rows, int(self.num_generations or 1))
        # Training and evaluation are kept apart: an evaluation may run between the generation of a training batch and
        # its use.
        self._kept: dict[bool, list[Sample]] = {}
        self._generated: list[Sample] = []
        self._active: list[Sample] = []
        self._seconds: defaultdict[str, float] = defaultdict(float)
        if sampler:
            # This is set after TRL's own start, which would look for a vLLM in this environment. The option still turns
            # on the correction for the difference between the sampler's probabilities and the trainer's.
            self.use_vllm = True
            # This is done now and not with the first batch: an adapter that the server does not take ends the run here.
            sampler.upload(self.accelerator.unwrap_model(self.model), self.state.global_step)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        stock: Any = super()._get_train_sampler(dataset)
        return EpochSampler(
            stock.data_source, stock.mini_repeat_count, stock.batch_size, stock.repeat_count, stock.shuffle, stock.seed
        )

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self.log_probs.shared and self.model.training and self._buffered_inputs is not before:
            self._buffered_inputs = regroup(self._buffered_inputs, self._kept[True])
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        self._generated = [self.reader.samples[prompt] for prompt in prompts]
        # Until a slice of these rows is trained on, log-probabilities (old policy, reference) are those of these rows.
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
        if self.sampler:
            completions, log_probs = self._ask(self.sampler)
        else:
            gather_to_generate(self)
            shared = self.log_probs.shared
            # TRL passes tensors among the multimodal fields to `generate` as they are.
            media = {} if shared else join_media(self._generated)
            sharing = shared.one_prefill_a_prompt(self._generated) if shared else nullcontext()
            with self._clock("generation"), sharing:
                completions, log_probs = super()._generate_single_turn(
                    prompt_ids, None, media, num_generations, **kwargs
                )
        if self.model.training:
            self.guidance.replay_answers(self._generated, completions, log_probs, self.max_completion_length)
        return completions, log_probs

    def _ask(self, sampler: VLLMSampler) -> tuple[list[list[int]], list[list[float | None]]]:
        try:
            with self._clock("generation"):
                sampler.upload(self.accelerator.unwrap_model(self.model), self.state.global_step)
                return sampler.sample(self._generated)
        except AffectError as error:
            raise AffectError(f"{error} {self._save_now()}") from error

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        batch = self._draw(inputs)
        if training:
            for _ in range(self.dynamic_sampling.rounds):
                replaced = self.dynamic_sampling.replace_silent(
                    batch, self._draw, self.reader.samples, self.accelerator, self._tokenizer.pad_token_id
                )
                if not replaced:
                    break
                self._metrics["train"]["drawn_anew"].append(replaced)
                tokens = batch.output["completion_mask"].sum()
                batch.output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
            self.completion_log.write(batch.records, self.accelerator)
        self._kept[training] = batch.samples
        kept = [sample for samples in self._kept.values() for sample in samples]
        self.guidance.forget(kept)
        if self.log_probs.shared:
            self.log_probs.shared.forget(kept)
        batch.output["media_row"] = torch.arange(len(inputs), device=self.accelerator.device)
        return batch.output

    def _draw(self, inputs: list[dict[str, Any]]) -> Draw:
        """TRL's generation and scoring, over clips that can be read."""
        with self._clock("media"):
            read = self.store.encoded_sample if self.log_probs.shared else self.store.sample
            notes = [self.guidance.note, self.log_probs.note]
            if self.sampler:
                self.sampler.forget()
                notes.append(self.sampler.note)
            inputs = self.reader.read(inputs, read, notes, self.state.global_step + 1)
        output = super()._generate_and_score_completions(inputs)
        if self.sampler and self.vllm_importance_sampling_correction:
            mode = "train" if self.model.training else "eval"
            self.sampler.compare(self._metrics[mode]["sampling/sampling_logp_difference/mean"][-1])
        return Draw(output, self._generated, self.completion_log.drawn)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[str], completions: list[str], completion_ids_list: Any
    ) -> Tensor:
        with self._clock("rewards"):
            inputs = add_influence(self.reward_funcs, self.store, inputs, prompts, completion_ids_list)
            try:
                rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            except Exception as error:
                saved = self._save_now()
                given: dict[str, Any] = {"log_extra": self._log_completion_extra, "log_metric": self._log_metric}
                given["trainer_state"] = self.state
                functions = dict(zip(self.reward_func_names, self.reward_funcs, strict=True))
                raise AffectError(f"{blame(functions, given, inputs, completions, error)} {saved}") from error
        if self.model.training:
            first = self.accelerator.process_index * len(prompts)
            own = slice(first, first + len(prompts))
            paid = Paid(
                self.reward_func_names,
                rewards[own].tolist(),
                total(rewards, self.reward_weights)[own].tolist(),
                self._pending_extra_logs,
            )
            means = self.completion_log.record(
                self.state.global_step + 1, inputs, completions, completion_ids_list, self.guidance.replayed, paid
            )
            for name, value in means.items():
                self._metrics["train"][name].append(value)
        return rewards

    def _save_now(self) -> str:
        """Write a checkpoint of the last whole step, if there is one. Return a sentence that says what was done."""
        if not self.state.global_step or self.accelerator.num_processes > 1:
            return "The run goes on from its last checkpoint."
        self._save_checkpoint(self.model, trial=None)
        return f"The run is saved as of step {self.state.global_step}. Correct the cause, and repeat the command."

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with reference_left_out(self):
            super()._save(*args, **kwargs)

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - start

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        if self.model.training:
            logs |= {f"seconds/{stage}": seconds for stage, seconds in self._seconds.items()}
            self._seconds.clear()
        super().log(logs, start_time)

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Tensor:
        kept = self._kept[self.model.training]
        self._active = [kept[row] for row in inputs["media_row"].tolist()]
        loss = super()._compute_loss(model, inputs)
        if self.guidance.weight and self.model.training:
            with self._clock("supervised"):
                score = partial(self.log_probs.score_answers, model)
                supervised = self.guidance.supervised(self._active, score, self.accelerator.device)
            if supervised is not None:
                self._metrics["train"]["sft_loss"].append(float(supervised.detach()))
                loss = loss + self.guidance.weight * supervised / self.current_gradient_accumulation_steps
        return loss

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
        with self._clock("log_probs"):
            log_probs, entropies, auxiliary = self.log_probs.score(
                model, self._active, input_ids, attention_mask, logits_to_keep, batch_size, compute_aux_loss
            )
        return log_probs, entropies if compute_entropy else None, auxiliary
