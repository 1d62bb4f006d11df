"""Weights that DeepSpeed or FSDP spread over processes: what they refuse, and how they come together again."""

import os
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments


def without_scalars(model: nn.Module, config: "TrainingArguments") -> None:
    """Give single numbers that learn a dimension while DeepSpeed or FSDP holds them: they take none without."""
    if config.deepspeed_plugin is not None or os.environ.get("ACCELERATE_USE_FSDP") == "true":
        for parameter in model.parameters():
            if parameter.ndim == 0:
                parameter.data = parameter.data.view(1)
                parameter.is_scalar = True  # type: ignore[attr-defined]


def weights_of(trainer: "Trainer") -> dict[str, Tensor]:
    """All weights, gathered from every process where they are spread, single numbers without a dimension again."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_spread(trainer) else model.state_dict()
    scalars = [name for name, parameter in model.named_parameters() if hasattr(parameter, "is_scalar")]
    return {**weights, **{name: weights[name].view(()) for name in scalars if name in weights}}


def is_spread(trainer: "Trainer") -> bool:
    """Whether each process holds a part of the weights only: FSDP, or ZeRO's third stage."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    return trainer.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)
