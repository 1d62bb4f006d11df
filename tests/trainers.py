"""Trainers as the scripts make them, over models and rows that a test or a benchmark has made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectllm import rewards
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from train import dpo, grpo, sft

if TYPE_CHECKING:
    from affectllm.training.dpo import ClipDPOTrainer
    from affectllm.training.grpo.trainer import ClipGRPOTrainer
    from affectllm.training.sft import ClipSFTTrainer


def sft_trainer(store: MediaStore, rows: Sequence[Conversation], options: sft.SFT) -> "ClipSFTTrainer":
    from affectllm.training.order import Mix
    from affectllm.training.spread import make_ready

    data, steps, runtime = options.data, options.optimisation, options.runtime
    config = sft.make_config(steps, options.loss, runtime, options.model.dtype)
    make_ready(store, rows, config)
    mix = Mix([0] * len(rows), [1])
    order = sft.make_order(store, rows, mix, data.by_length, steps.batch, runtime.seed, config)
    rates = sft.rates_of(steps, options.tuning, store)
    return sft.make_trainer(store, rows, config, order, rates, sft.weights_of(options.loss), data, runtime.out)


def grpo_trainer(store: MediaStore, rows: Sequence[Conversation], options: grpo.GRPO) -> "ClipGRPOTrainer":
    functions = rewards.load(options.loss.rewards)
    config = grpo.make_config(
        options.optimisation, options.sampling, options.loss.beta, functions, options.runtime, options.model.dtype,
        options.data.curriculum,
    )  # fmt: skip
    return grpo.make_trainer(store, rows, config, functions, options.sampling, options.loss, options.runtime)


def dpo_trainer(store: MediaStore, rows: Sequence[Conversation], options: dpo.DPO) -> "ClipDPOTrainer":
    settings: list[Any] = [options.optimisation, options.loss, options.runtime, options.model.dtype]
    return dpo.make_trainer(store, rows, *settings, options.data.max_tokens)
