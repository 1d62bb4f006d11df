"""TRL's GRPOTrainer made to see and hear: clips reach generation and every log-probability.

TRL 1.16 hands images, but neither video nor audio, to the forwards that compute log-probabilities, without an
error. A few overrides mend that; none copies TRL's long bodies. Prompts travel as conversation JSON; the media
of a row are found again by its index, which TRL shuffles and splits as it does every row tensor.

Two ways lead through a step. `rows` is TRL's: every completion is a row that reads its clip and its prompt.
`shared` reads them once a group (`training/shared.py`), with the same numbers.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor
from torch.utils.data import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from affectllm.errors import AffectError
from affectllm.models.backbone import Sample, join_media
from affectllm.models.generation import left_padded
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.training.counterfactual import influence
from affectllm.training.exact import compare, first_rows, made_anew, refuse_half, score_rows
from affectllm.training.grpo_log import Rollouts, blame
from affectllm.training.guidance import Guidance, supervised_loss
from affectllm.training.rollout import VLLMRollout
from affectllm.training.shared import SharedForward, group_rows, obstacle
from affectllm.training.spread import gather_to_generate, is_spread, reference_left_out
from affectllm.training.tuning import own_precision


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
    goes both ways, and a difference stops the run. `dynamic_sampling` is how often groups without a difference in
    reward are drawn anew, with other clips (DAPO, arXiv 2503.14476, section 3.2). `replay` and `sft_weight` bring in
    annotated answers (`training/guidance.py`). Completions and quarantined clips are written down in `folder`. With a
    `rollout` a server samples them (`training/rollout.py`), otherwise the model itself does.
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
        rollout: VLLMRollout | None = None,
        **kwargs: Any,
    ) -> None:
        self.store = store
        self.rollout = rollout
        self.guidance = Guidance(store.backbone, replay, sft_weight)
        self.rollouts = Rollouts(folder)
        self.dynamic_sampling = dynamic_sampling
        self._samples: dict[str, Sample] = {}
        self._generated: list[Sample] = []
        self._kept: dict[bool, list[Sample]] = {}
        self._active: list[Sample] = []
        self._rewards = torch.empty(0)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._check_exact = check_exact
        self._asked: dict[int, tuple[Sample, Conversation]] = {}
        reason = obstacle(store.backbone) if step == "shared" else None
        if reason:
            print(f"The step goes row by row: {store.backbone.name} cannot share prompts, {reason}.", file=sys.stderr)
        self.shared = SharedForward(store.backbone) if step == "shared" and not reason else None
        with own_precision(store.backbone, args):
            super().__init__(args=args, **kwargs)
        store.autocast, store.precision = self.accelerator.autocast, self.accelerator.mixed_precision
        if rollout:
            # Set behind TRL's own start, which would look for a vLLM in this environment: what is left of the option is
            # the correction for the difference between the sampler's probabilities and the trainer's.
            self.use_vllm = True
            # Now rather than when the first batch is due: an adapter that the server does not take ends the run here.
            rollout.upload(self.accelerator.unwrap_model(self.model), self.state.global_step)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> "EpochSampler":
        stock: Any = super()._get_train_sampler(dataset)
        return EpochSampler(
            stock.data_source, stock.mini_repeat_count, stock.batch_size, stock.repeat_count, stock.shuffle, stock.seed
        )

    @property
    def _group_size(self) -> int:
        return int(self.num_generations or 1)

    @property
    def _rows(self) -> Any:
        """The training data, as a sequence of rows."""
        return self.train_dataset

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self.shared and self.model.training and self._buffered_inputs is not before:
            self._buffered_inputs = regroup(self._buffered_inputs, self._kept[True])
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        self._generated = [self._samples[prompt] for prompt in prompts]
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
        if self.rollout:
            completions, log_probs = self._ask(self.rollout)
        else:
            gather_to_generate(self)
            # TRL passes tensors among the multimodal fields to `generate` as they are.
            media = {} if self.shared else join_media(self._generated)
            sharing = self.shared.one_prefill_a_prompt(self._generated) if self.shared else nullcontext()
            with self._clock("generation"), sharing:
                completions, log_probs = super()._generate_single_turn(
                    prompt_ids, None, media, num_generations, **kwargs
                )
        if self.model.training:
            self.guidance.put_in(self._generated, completions, self.max_completion_length)
            if log_probs is not None:
                for row, replayed in enumerate(self.guidance.replayed):
                    # Nobody sampled it, so there is nothing to correct for: TRL takes None for that.
                    log_probs[row] = [None] * len(completions[row]) if replayed else log_probs[row]
        return completions, log_probs

    def _ask(self, rollout: VLLMRollout) -> tuple[list[list[int]], list[list[float | None]]]:
        try:
            with self._clock("generation"):
                return rollout.sample(self, self._generated)
        except AffectError as error:
            raise AffectError(f"{error} {self._save_now()}") from error

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        output = self._roll_out(inputs)
        if training:
            records = self.rollouts.drawn
            for _ in range(self.dynamic_sampling):
                if not self._draw_anew(output, records):
                    break
            self.rollouts.write(records, self.accelerator)
        self._kept[training] = self._generated
        kept = [sample for samples in self._kept.values() for sample in samples]
        self.guidance.forget(kept)
        if self.shared:
            self.shared.forget(kept)
        output["media_row"] = torch.arange(len(inputs), device=self.accelerator.device)
        return output

    def _roll_out(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's generation and scoring, over clips that can be read."""
        with self._clock("media"):
            inputs = self._readable(inputs)
        output = super()._generate_and_score_completions(inputs)
        if self.rollout and self.vllm_importance_sampling_correction:
            mode = "train" if self.model.training else "eval"
            self.rollout.compare(self._metrics[mode]["sampling/sampling_logp_difference/mean"][-1])
        return output

    def _readable(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, those of clips that can no longer be read replaced by other rows of the data.

        TRL needs full groups, so a row cannot just be left out; the exchange is announced, counted and written down.
        """
        self._samples = {}
        if self.rollout:
            self.rollout.forget()
        other: dict[str, dict[str, Any]] = {}
        spare = iter(())
        for row in inputs:
            chosen = row
            while chosen["prompt"] not in self._samples and row["prompt"] not in other:
                try:
                    if chosen["id"] not in self.rollouts.quarantine.ids:
                        conversation = msgspec.json.decode(chosen["prompt"], type=Conversation)
                        read = self.store.encoded_sample if self.shared else self.store.sample
                        sample = self._samples[chosen["prompt"]] = read(conversation)
                        self.guidance.note(sample, conversation)
                        if self._check_exact:
                            self._asked[id(sample)] = (sample, conversation)
                        if self.rollout:
                            self.rollout.note(sample, conversation)
                        break
                except AffectError as error:
                    instead = "another clip takes its place"
                    self.rollouts.quarantine.add(conversation, str(error), instead, self.state.global_step + 1)
                # The generator that is saved with every checkpoint: a resumed run draws the same rows.
                spare = spare if chosen is not row else iter(torch.randperm(len(self._rows)).tolist())
                found = next(spare, None)
                if found is None:
                    raise AffectError(f"None of {len(self._rows)} clips can be read any more. Is the disk there?")
                chosen = self._rows[found]
            if chosen is not row:
                other[row["prompt"]] = chosen
        return [other.get(row["prompt"], row) for row in inputs]

    def _draw_anew(self, output: dict[str, Any], records: list[dict[str, Any]]) -> bool:
        """Replace groups of equal rewards by groups over other clips, in place; false when there are none.

        `records` are the completions to be written down, those of `output` first.
        """
        size, prompts = self._group_size, len(self._generated)
        if prompts % size:
            raise AffectError(
                f"Dynamic sampling needs whole groups on each process, but {prompts} rows are no multiple of --group "
                f"{size}."
            )
        dead = [i for i in range(prompts // size) if not alive([row["reward"] for row in records[i * size :][:size]])]
        # Every process draws as many groups as the one that needs most, since they wait for each other in TRL.
        wanted = int(self.accelerator.gather(torch.tensor([len(dead)], device=self.accelerator.device)).max())
        if not wanted:
            return False
        known, taken = self._generated, set(self._samples)
        order = (self._rows[i] for i in torch.randperm(len(self._rows)).tolist())
        fresh = list(islice((row for row in order if row["prompt"] not in taken), wanted))
        # Data of hardly more clips than a batch: the same clips are sampled once more.
        fresh += [self._rows[i % len(self._rows)] for i in range(wanted - len(fresh))]
        new = self._roll_out([row for row in fresh for _ in range(size)])
        drawn, self._generated = self._generated, known
        spare = self.rollouts.drawn
        good = [i for i in range(wanted) if alive([row["reward"] for row in spare[i * size :][:size]])]
        for old, group in zip(dead, good, strict=False):
            to, source = slice(old * size, (old + 1) * size), slice(group * size, (group + 1) * size)
            self._generated[to] = drawn[source]
            records[to], spare[source] = spare[source], records[to]
            for key, value in output.items():
                if value.ndim:
                    output[key] = put(value, to, new[key][source], left=key.startswith("prompt"), pad=self._pad(key))
        records += [{**row, "trained": False} for row in spare]
        self._metrics["train"]["drawn_anew"].append(wanted)
        tokens = output["completion_mask"].sum()
        output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
        return True

    def _pad(self, key: str) -> int:
        return self._tokenizer.pad_token_id if key in ("prompt_ids", "completion_ids") else 0

    def _total(self, rewards_per_function: Tensor) -> Tensor:
        """Weighted rewards (rows,) of (rows, functions); NaN where no function could tell."""
        total = (rewards_per_function * self.reward_weights.to(rewards_per_function.device)).nansum(1)
        return total.masked_fill(rewards_per_function.isnan().all(1), float("nan"))

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[str], completions: list[str], completion_ids_list: Any
    ) -> Tensor:
        with self._clock("rewards"):
            if any(getattr(function, "measured", None) == "influence" for function in self.reward_funcs):
                asked = [msgspec.json.decode(prompt, type=Conversation) for prompt in prompts]
                measured = influence(self.store, asked, completion_ids_list)
                inputs = [{**row, "influence": value} for row, value in zip(inputs, measured, strict=True)]
            try:
                self._rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            except Exception as error:
                saved = self._save_now()
                raise AffectError(f"{blame(self, inputs, prompts, completions, error)} {saved}") from error
        if self.model.training:
            first = self.accelerator.process_index * len(prompts)
            rows = slice(first, first + len(prompts))
            rewards = self._rewards[rows].tolist(), self._total(self._rewards)[rows].tolist()
            stats = self.rollouts.note(self, inputs, completions, completion_ids_list, *rewards)
            for name, value in stats.items():
                self._metrics["train"][name].append(value)
        return self._rewards

    def _save_now(self) -> str:
        """Write a checkpoint of the last whole step, where there is one to write; what was done, in words."""
        if not self.state.global_step or self.accelerator.num_processes > 1:
            return "The run goes on from its last checkpoint."
        self._save_checkpoint(self.model, trial=None)
        return f"The run is saved as of step {self.state.global_step}: mend it, and start the same command again."

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
            loss = loss + self.guidance.weight * self._supervised(model) / self.current_gradient_accumulation_steps
        return loss

    def _supervised(self, model: torch.nn.Module) -> Tensor:
        """The supervised loss on the annotated answers to `self._active`; 0 where none of them has one."""
        samples, answers, valid = self.guidance.annotated(self._active)
        if not samples:
            return torch.zeros((), device=self.accelerator.device)
        answers, valid = answers.to(self.accelerator.device), valid.to(self.accelerator.device)
        with self._clock("supervised"), self.accelerator.autocast():
            if self.shared:
                log_probs = self.shared.score(model, samples, answers, valid)[0]
            else:
                prompts, asked = left_padded(samples, self._tokenizer.pad_token_id)
                ids, mask = (
                    torch.cat([prompts.to(answers.device), answers], 1),
                    torch.cat([asked.to(valid.device), valid], 1),
                )
                log_probs = self._score_rows(model, samples, ids, mask, answers.shape[1])[0]
        loss = supervised_loss(log_probs, valid)
        self._metrics["train"]["sft_loss"].append(float(loss.detach()))
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
            return self._score(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss
            )

    def _score(
        self,
        model: torch.nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None,
        compute_entropy: bool,
        compute_aux_loss: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
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
                self._check_exact = not self._compare(model, samples, ids, mask, logits_to_keep)
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
        with self.accelerator.autocast():
            return score_rows(model, samples, ids, mask, keep, aux)

    def _compare(self, model: torch.nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int) -> bool:
        """Whether there was anything to compare both ways in; AffectError when they differ, see `training/exact.py`."""
        spread = is_spread(self)
        if spread:
            refuse_half(self.store)
            with self.accelerator.autocast():
                difference = compare(model, self.store.backbone, samples, ids, mask, keep, spread)
        else:
            rows = first_rows(samples, mask[:, -keep:])
            if not rows:
                return False
            own = made_anew(self.store, [samples[row] for row in rows], self._asked)
            model = self.accelerator.unwrap_model(model, keep_torch_compile=False)
            difference = compare(model, self.store.backbone, own, ids[rows], mask[rows], keep)
        self._asked.clear()
        print(f"Shared and row-by-row log-probabilities differ by at most {difference:.1e}.", file=sys.stderr)
        return True


def alive(rewards: Sequence[float | None]) -> bool:
    """Whether a group has a signal: rewards that differ.

    >>> alive([0.5, None, 0.5]), alive([0.5, 0.25])
    (False, True)
    """
    known = [reward for reward in rewards if reward is not None]
    return bool(known) and max(known) - min(known) > 1e-6


def put(into: Tensor, rows: slice, new: Tensor, left: bool, pad: int) -> Tensor:
    """`into` with these rows replaced; the narrower of both is padded to the wider, in front or at the end."""
    if into.ndim == 2:
        width = max(into.shape[1], new.shape[1])
        into, new = (
            torch.nn.functional.pad(t, (width - t.shape[1], 0) if left else (0, width - t.shape[1]), value=pad)
            for t in (into, new)
        )
    into = into.clone()
    into[rows] = new
    return into


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
