"""Sharpen a supervised adapter with GRPO: rewards are the evaluator's own scores.

    affectllm train grpo --config train/configs/nano_grpo.yaml --model runs/sft --data DATA --out runs/grpo
    accelerate launch train/grpo.py --config train/configs/qwen2_5_omni_7b_grpo.yaml

Trainer and algorithm are TRL's (DeepSeekMath, arXiv 2402.03300); what is ours lets clips reach every forward,
and the rewards. The reference of the KL term is the adapter the run starts from: without it the reasoning
degrades while the labels improve.
"""

import math
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from affectllm import jsonl
from affectllm.data.reading import read_split
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.training import run as runs
from affectllm.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trl import GRPOConfig

    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.grpo import ClipGRPOTrainer
    from affectllm.training.plan import Work
    from affectllm.training.rollout import VLLMRollout, VLLMServer


@dataclass(frozen=True, kw_only=True)
class GRPO(Run):
    rewards: str = "strict"
    """A preset (strict, affectgpt-r1, no-think), a YAML file of reward terms, or your own module:function."""
    clips: int | None = None
    """Learn from so many conversations of the split, drawn with the seed; without it, from all."""
    steps: int = 20
    """Optimiser steps."""
    prompts: int = 4
    """Clips a step and device."""
    group: int = 6
    """Completions sampled for each clip; their rewards are compared with each other."""
    rate: float = 1e-4
    """Learning rate, constant after the first step."""
    beta: float = 0.04
    """Weight of the KL divergence from the adapter the run starts from."""
    temperature: float = 1.0
    """Of sampling; 1 is the policy itself."""
    max_new_tokens: int = 64
    """Longest completion."""
    rank: int = 16
    """Adapter rank, when the model has no adapter yet."""
    grpo_step: Literal["shared", "rows"] = "shared"
    """shared reads clip and prompt once for all completions of a group, with the same numbers; rows does so once for
    each completion, as do models that cannot share."""
    rollout: Literal["transformers", "vllm-server"] = "transformers"
    """Who samples completions: the model that is trained, or a vLLM server on GPUs of its own, with the newest adapter
    and the same rewards (docs/grpo.md says how to start it)."""
    vllm_url: str = "http://127.0.0.1:8000"
    """Where that server answers; it must see --out under the same path."""
    check_exact: bool = False
    """Before the first step, score the first completions both ways, and stop when a log-probability differs by more
    than rounding (1e-4). It sees wrong positions and masks, exchanged rows and missing or outdated media, in every
    --dtype, since it computes in float32. It costs about one step row by row, and one weight more in memory."""
    dynamic_sampling: int = 0
    """How often, at most, groups whose rewards are all equal are replaced by groups over other clips; 0 keeps them."""
    replay: int = 0
    """Completions of each group that are the annotated answer in place of a sample; below --group."""
    sft_weight: float = 0.0
    """Weight of the supervised loss on the annotated answers to a step's clips, beside GRPO's; 0 adds none."""
    curriculum: Path | None = None
    """completions.jsonl of an earlier run: clips are learnt in order of their mean reward there, the easy ones first,
    those it does not hold last."""
    alarm_after: int = 5
    """Steps in a row in which no group's rewards differ, after which the log says so, with the likely cause."""
    dev_every: int = 0
    """Steps between scores on held-out clips (dev.jsonl); the adapter written is the best of them. 0 scores none."""
    dev_split: str = "dev"
    """Which split of the data to score; never one that a result is reported on."""
    dev_limit: int | None = 200
    """Only the first so many of its clips."""
    patience: int = 0
    """Dev scores in a row without a better one that end the run; 0 runs all steps."""


def main(run: GRPO) -> None:
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from affectllm import rewards
    from affectllm.training.dev import DevScore, take_best
    from affectllm.training.grpo_log import GRPOLog
    from affectllm.training.rollout import VLLMRollout
    from affectllm.training.seam import score_labels_only

    if run.group < 2:
        raise AffectError(f"--group {run.group}: GRPO compares the completions of a clip, so it needs at least 2.")
    if not 0 <= run.replay < run.group:
        raise AffectError(f"--replay {run.replay}: a group of {run.group} needs at least one sampled completion.")
    if run.dry_run:
        return runs.dry_run(run, run.rank, work_of(run), "GRPOConfig")
    if runs.is_finished(run):
        return
    conversations = draw(read_split(run.data, run.split), run)
    held_out = read_split(run.data, run.dev_split)[: run.dev_limit] if run.dev_every else []
    # Before the model is loaded: a wrong option, or a server that is not there, costs a second.
    functions = rewards.load(run.rewards)
    config = make_config(run, functions)
    server = connect(run, config) if run.rollout == "vllm-server" else None
    check_spread(run, config, functions, conversations)
    # What is left of DeepSpeed's third stage would load the model in parts; encoders are told apart by their weights.
    unset_hf_deepspeed_config()
    backbone = runs.load_model(run)
    store = runs.media_store(backbone, run)
    runs.add_lora(backbone, run.rank, 0.0, run.seed)
    runs.show_plan(backbone, conversations, run, work_of(run))
    score_labels_only()
    rollout = VLLMRollout(server, store, run.out / "rollout") if server else None
    trainer = make_trainer(store, conversations, run, rollout)
    runs.watch(trainer, GRPOLog(run.out, run.alarm_after))
    if held_out:
        trainer.add_callback(DevScore(store, held_out, run.out, run.dev_every, run.patience, run.max_new_tokens))
    trainer.train(resume_from_checkpoint=runs.last_checkpoint(run.out))
    if rollout:
        rollout.close()
    if held_out:
        trainer.accelerator.wait_for_everyone()
        take_best(backbone, run.out, trainer.accelerator.is_main_process)
    runs.save(trainer, backbone, run)


def connect(run: GRPO, config: "GRPOConfig") -> "VLLMServer":
    """The server that samples; AffectError when it is none that this run can use."""
    from affectllm.training.rollout import VLLMServer, check_options

    check_options(config, run.quantise)
    return VLLMServer(run.vllm_url)


def check_spread(
    run: GRPO,
    config: "GRPOConfig",
    functions: "Sequence[Callable[..., Any]]",
    conversations: "Sequence[Conversation]",
) -> None:
    """Raise AffectError for options under which processes would read different numbers of batches on their own."""
    import torch

    from affectllm import precision
    from affectllm.training.spread import will_spread

    if not will_spread(config):
        return
    refused = {
        "--dev-every": bool(run.dev_every),
        "--rollout vllm-server": run.rollout == "vllm-server",
        "--check-exact in half precision": run.check_exact
        and run.grpo_step == "shared"
        and precision.choose(run.dtype) != torch.float32,
        "a reward of influence": any(getattr(function, "measured", None) == "influence" for function in functions),
        "--sft-weight over conversations without an answer": run.sft_weight > 0
        and any(conversation.messages[-1].role != "assistant" for conversation in conversations),
    }
    for option, given in refused.items():
        if given:
            raise AffectError(
                f"Weights spread over processes (FSDP, ZeRO-3) do not go with {option}: they are gathered by all "
                "processes together. Leave it out, or launch with train/accelerate/ddp.yaml."
            )


def draw(conversations: "list[Conversation]", run: GRPO) -> "list[Conversation]":
    """The clips that are learnt from, in the order of the data or of the curriculum."""
    if run.clips is not None and run.clips < len(conversations):
        chosen = sorted(random.Random(run.seed).sample(range(len(conversations)), run.clips))
        conversations = [conversations[i] for i in chosen]
    if run.curriculum is None:
        return conversations
    rewards = mean_rewards(run.curriculum)
    return sorted(conversations, key=lambda conversation: -rewards.get(conversation.id, -math.inf))


def mean_rewards(completions: Path) -> dict[str, float]:
    """Of each clip in the completions of an earlier run."""
    from affectllm import jsonl

    if not completions.is_file():
        raise AffectError(f"--curriculum {completions} is no file; it is the completions.jsonl of a GRPO run.")
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in jsonl.read_dicts(completions):
        if row.get("reward") is not None and not row.get("replayed"):
            found[row["id"]].append(row["reward"])
    return {name: fmean(values) for name, values in found.items()}


def work_of(run: GRPO) -> "Work":
    """A step's generation, its reference where there is one, and the forward that is trained on."""
    from affectllm.training.plan import Work

    answers = run.prompts * run.group
    return Work(
        prompts=run.prompts if run.grpo_step == "shared" else answers,
        answers=answers,
        answer_tokens=run.max_new_tokens,
        # With a server the old policy's log-probabilities take the place of generation.
        forwards=1 + bool(run.beta),
    )


def make_config(run: GRPO, functions: "Sequence[Callable[..., Any]]") -> "GRPOConfig":
    from trl import GRPOConfig

    config: Any = runs.trainer_config(
        GRPOConfig,
        run,
        reward_weights=[getattr(function, "weight", 1.0) for function in functions],
        max_steps=run.steps,
        per_device_train_batch_size=run.prompts * run.group,
        num_generations=run.group,
        max_completion_length=run.max_new_tokens,
        temperature=run.temperature,
        beta=run.beta,
        learning_rate=run.rate,
        lr_scheduler_type="constant",
        logging_steps=1,
        shuffle_dataset=run.curriculum is None,
    )
    batchwise = config.scale_rewards == "batch" or config.multi_objective_aggregation != "sum_then_normalize"
    if run.dynamic_sampling and batchwise:
        raise AffectError(
            "--dynamic-sampling exchanges groups behind the scoring of a batch, so advantages must not depend on the "
            "whole batch. Leave out trainer.scale_rewards: batch and trainer.multi_objective_aggregation."
        )
    return config


def make_trainer(
    store: "MediaStore", conversations: "Sequence[Conversation]", run: GRPO, rollout: "VLLMRollout | None" = None
) -> "ClipGRPOTrainer":
    from datasets import Dataset

    from affectllm import rewards
    from affectllm.training.grpo import ClipGRPOTrainer
    from affectllm.training.spread import make_ready

    functions = rewards.load(run.rewards)
    config: Any = make_config(run, functions)
    make_ready(store, conversations, config)
    config.generation_kwargs = {**store.backbone.suppressed(), **(config.generation_kwargs or {})}
    return ClipGRPOTrainer(
        model=store.backbone.model,
        args=config,
        reward_funcs=functions,
        train_dataset=Dataset.from_list([row_of(conversation) for conversation in conversations]),
        processing_class=store.backbone.tokenizer,
        store=store,
        folder=run.out,
        step=run.grpo_step,
        check_exact=run.check_exact,
        dynamic_sampling=run.dynamic_sampling,
        replay=run.replay,
        sft_weight=run.sft_weight,
        rollout=rollout,
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
