"""TRL's SFTTrainer with a learning rate for each part of the model."""

from typing import Any

import torch
from trl import SFTTrainer

from affectllm.models.backbone import Backbone
from affectllm.training.tuning import split_by_rate


class PartSFTTrainer(SFTTrainer):
    """`rates` names the parts (vision, audio, projector, llm) whose learning rate is not the common one."""

    def __init__(self, *args: Any, backbone: Backbone, rates: dict[str, float], **kwargs: Any) -> None:
        self.backbone = backbone
        self.rates = rates
        super().__init__(*args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh and self.rates:
            learning: Any = self.model if model is None else model
            names = {id(parameter): name for name, parameter in learning.named_parameters()}
            # The scheduler, made behind this, takes each group's rate for its peak.
            optimizer.param_groups[:] = split_by_rate(optimizer.param_groups, names, self.backbone, self.rates)
        return optimizer
