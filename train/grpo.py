"""Sharpen a supervised adapter with GRPO: rewards are the evaluator's own scores.

    affectllm train grpo --config train/configs/nano_grpo.yaml --model runs/sft --data DATA --out runs/grpo
    accelerate launch train/grpo.py --config train/configs/qwen2_5_omni_7b_grpo.yaml

Trainer and algorithm are TRL's (DeepSeekMath, arXiv 2402.03300). Our part passes clips to every forward, and computes
the rewards. The reference of the KL term is the adapter that the run starts from: without it the reasoning degrades
while the labels improve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectllm import jsonl
from affectllm.data.reading import read_split
from affectllm.errors import AffectError
from affectllm.options import command, flat
from affectllm.training import setup
from affectllm.training.options import Adapter, Data, HeldOut, Model, Runtime
from affectllm.training.run_folder import RunFolder
from affectllm.training.tuning import Tuning, make_trainable

if TYPE_CHECKING:
    from trl import GRPOConfig

    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.grpo.trainer import ClipGRPOTrainer
    from affectllm.training.grpo.vllm_sampler import VLLMSampler
    from affectllm.training.plan import Work


@dataclass(frozen=True, kw_only=True)
class GRPOData(Data):
    """The conversations to learn from, and what the model sees of their clips."""

    clips: int | None = None
    """Learn from this many conversations of the split, drawn with the seed. By default from all of them."""
    curriculum: Path | None = None
    """completions.jsonl of an earlier run. Clips are learnt in order of their mean reward there, the easy ones first;
    clips that it does not hold come last."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Steps, batches and learning rate."""

    steps: int = 20
    """Number of optimiser steps."""
    prompts: int = 4
    """Clips of a step on each device."""
    rate: float = 1e-4
    """Learning rate. It is constant after the first step."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are sampled."""

    group: int = 6
    """Completions sampled for each clip. Their rewards are compared with each other."""
    temperature: float = 1.0
    """Sampling temperature. 1 samples from the model as it is; lower values prefer likely tokens."""
    max_new_tokens: int = 64
    """Longest completion, in tokens."""
    rollout: Literal["transformers", "vllm-server"] = "transformers"
    """Who samples completions: the model that is trained, or a vLLM server on GPUs of its own, with the newest adapter
    and the same rewards (docs/grpo.md says how to start it)."""
    vllm_url: str = "http://127.0.0.1:8000"
    """Address of that server. It must see --out under the same path."""
    dynamic_sampling: int = 0
    """How often, at most, groups whose rewards are all equal are replaced by groups over other clips. 0 keeps them."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is rewarded, and what keeps the policy near its start and the annotated answers."""

    rewards: str = "strict"
    """A preset (strict, affectgpt-r1, no-think), a YAML file of reward terms, or your own module:function."""
    beta: float = 0.04
    """Weight of the KL divergence from the adapter that the run starts from."""
    replay: int = 0
    """Completions of each group that are the annotated answer in place of a sample. It must be below --group."""
    sft_weight: float = 0.0
    """Weight of the supervised loss on the annotated answers to a step's clips, added to GRPO's. 0 adds none."""
    alarm_after: int = 5
    """After this many steps in a row in which no group's rewards differ, the log says so, with the likely cause."""


@dataclass(frozen=True, kw_only=True)
class StepRuntime(Runtime):
    """How a step is computed, the run folder and logging. --trainer.KEY VALUE passes any other option to TRL."""

    grpo_step: Literal["shared", "rows"] = "shared"
    """shared reads clip and prompt once for all completions of a group, with the same numbers. rows reads them once for
    each completion, as models that cannot share always do."""
    check_exact: bool = False
    """Before the first step, score the first completions both ways, and stop when a log-probability differs by more
    than rounding (1e-4). The check finds wrong positions and masks, exchanged rows and missing or outdated media. It
    computes in float32 whatever --dtype is, and costs about one step row by row, and one weight more in memory."""


@dataclass(frozen=True, kw_only=True)
class GRPO:
    data: GRPOData
    model: Model
    adapter: Adapter
    optimisation: Optimisation
    sampling: Sampling
    loss: Loss
    held_out: HeldOut
    runtime: StepRuntime


def main(options: GRPO) -> None:
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from affectllm import rewards
    from affectllm.training.dev import score_held_out, take_best
    from affectllm.training.grpo.curriculum import draw
    from affectllm.training.grpo.step_log import StepLog
    from affectllm.training.grpo.vllm_sampler import VLLMSampler, connect
    from affectllm.training.seam import score_labels_only

    data, model, runtime, sampling, loss = options.data, options.model, options.runtime, options.sampling, options.loss
    check_group(sampling.group, loss.replay)
    tuning = Tuning(rank=options.adapter.rank)
    work = work_of(options.optimisation.prompts, sampling, loss.beta, runtime.grpo_step)
    work = setup.complete(work, runtime.trainer, model.quantise)
    if runtime.dry_run:
        rows = read_split(data.data, data.split)
        return setup.dry_run("GRPOConfig", rows, data, model, tuning, runtime, work)
    folder = RunFolder(flat(options))
    if folder.is_finished():
        return
    conversations = draw(read_split(data.data, data.split), data.clips, data.curriculum, runtime.seed)
    held_out = options.held_out
    dev_rows = read_split(data.data, held_out.dev_split)[: held_out.dev_limit] if held_out.dev_every else []
    # Before the model is loaded: a wrong option, or a server that is not there, costs a second.
    functions = rewards.load(loss.rewards)
    config = make_config(options.optimisation, sampling, loss.beta, functions, runtime, model.dtype, data.curriculum)
    server = connect(sampling.vllm_url, config, model.quantise) if sampling.rollout == "vllm-server" else None
    check_spread(config, functions, conversations, model.dtype, sampling, loss, held_out, runtime)
    # What is left of DeepSpeed's third stage would load the model in parts; encoders are recognised by their weights.
    unset_hf_deepspeed_config()
    backbone = setup.load_model(model)
    store = setup.open_store(backbone, data, runtime.cache_gib)
    make_trainable(backbone, tuning, runtime.seed)
    setup.show_plan(backbone, conversations, data, work)
    score_labels_only()
    sampler = VLLMSampler(server, store, runtime.out / "rollout", config) if server else None
    trainer = make_trainer(store, conversations, config, functions, sampling, loss, runtime, sampler)
    setup.watch(trainer, StepLog(runtime.out, loss.alarm_after))
    if dev_rows:
        score_held_out(trainer, store, dev_rows, runtime.out, held_out, sampling.max_new_tokens)
    trainer.train(resume_from_checkpoint=folder.last_checkpoint())
    if sampler:
        sampler.close()
    if dev_rows:
        trainer.accelerator.wait_for_everyone()
        take_best(backbone, runtime.out, trainer.accelerator.is_main_process)
    folder.save(trainer, backbone)


def check_group(group: int, replay: int) -> None:
    """Raise AffectError for groups in which there is nothing to compare."""
    if group < 2:
        raise AffectError(f"--group {group}: GRPO compares the completions of a clip, so it needs at least 2.")
    if not 0 <= replay < group:
        raise AffectError(f"--replay {replay}: a group of {group} needs at least one sampled completion.")


def check_spread(
    config: "GRPOConfig",
    functions: Sequence[Callable[..., Any]],
    conversations: "Sequence[Conversation]",
    dtype: str,
    sampling: Sampling,
    loss: Loss,
    held_out: HeldOut,
    runtime: StepRuntime,
) -> None:
    """Raise AffectError for options under which processes would read different numbers of batches on their own."""
    import torch

    from affectllm import precision
    from affectllm.training.grpo.scoring import needs_influence
    from affectllm.training.spread import refuse, will_spread

    if not will_spread(config):
        return
    refused = {
        "--dev-every": bool(held_out.dev_every),
        "--rollout vllm-server": sampling.rollout == "vllm-server",
        "--check-exact in half precision": runtime.check_exact
        and runtime.grpo_step == "shared"
        and precision.choose(dtype) != torch.float32,
        "a reward of influence": needs_influence(functions),
        "--sft-weight over conversations without an answer": loss.sft_weight > 0
        and any(conversation.messages[-1].role != "assistant" for conversation in conversations),
    }
    refuse(refused)


def work_of(prompts: int, sampling: Sampling, beta: float, step: str) -> "Work":
    """A step's generation, its reference where there is one, and the forward that is trained on."""
    from affectllm.training.plan import Work

    answers = prompts * sampling.group
    return Work(
        prompts=prompts if step == "shared" else answers,
        answers=answers,
        answer_tokens=sampling.max_new_tokens,
        # With a server the old policy's log-probabilities take the place of generation.
        forwards=1 + bool(beta),
    )


def make_config(
    optimisation: Optimisation,
    sampling: Sampling,
    beta: float,
    functions: Sequence[Callable[..., Any]],
    runtime: Runtime,
    dtype: str,
    curriculum: Path | None = None,
) -> "GRPOConfig":
    """TRL's config. Raises AffectError for options that do not go together."""
    from trl import GRPOConfig

    from affectllm.training.config import trainer_config

    config: Any = trainer_config(
        GRPOConfig,
        runtime,
        dtype,
        reward_weights=[getattr(function, "weight", 1.0) for function in functions],
        max_steps=optimisation.steps,
        per_device_train_batch_size=optimisation.prompts * sampling.group,
        num_generations=sampling.group,
        max_completion_length=sampling.max_new_tokens,
        temperature=sampling.temperature,
        beta=beta,
        learning_rate=optimisation.rate,
        lr_scheduler_type="constant",
        logging_steps=1,
        shuffle_dataset=curriculum is None,
    )
    batchwise = config.scale_rewards == "batch" or config.multi_objective_aggregation != "sum_then_normalize"
    if sampling.dynamic_sampling and batchwise:
        raise AffectError(
            "--dynamic-sampling replaces groups after a batch was scored, so advantages must not depend on the "
            "whole batch. Leave out trainer.scale_rewards: batch and trainer.multi_objective_aggregation."
        )
    return config


def make_trainer(
    store: "MediaStore",
    conversations: "Sequence[Conversation]",
    config: "GRPOConfig",
    functions: Sequence[Callable[..., Any]],
    sampling: Sampling,
    loss: Loss,
    runtime: StepRuntime,
    sampler: "VLLMSampler | None" = None,
) -> "ClipGRPOTrainer":
    from datasets import Dataset

    from affectllm.training.grpo.trainer import ClipGRPOTrainer
    from affectllm.training.spread import make_ready

    make_ready(store, conversations, config)
    asked: Any = config.generation_kwargs or {}
    config.generation_kwargs = {**store.backbone.suppressed(), **asked}
    return ClipGRPOTrainer(
        model=store.backbone.model,
        args=config,
        reward_funcs=list(functions),
        train_dataset=Dataset.from_list([row_of(conversation) for conversation in conversations]),
        processing_class=store.backbone.tokenizer,
        store=store,
        folder=runtime.out,
        step=runtime.grpo_step,
        check_exact=runtime.check_exact,
        dynamic_sampling=sampling.dynamic_sampling,
        replay=loss.replay,
        sft_weight=loss.sft_weight,
        sampler=sampler,
    )


def row_of(conversation: "Conversation") -> dict[str, Any]:
    """The prompt and the gold that rewards read, as JSON, since Arrow would fill missing keys with None."""
    return {
        "prompt": jsonl.dumps(conversation),
        "id": conversation.id,
        "target": jsonl.dumps(conversation.target),
    }


if __name__ == "__main__":
    command(main)
