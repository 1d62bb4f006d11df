"""Qwen2.5-VL as a backbone: video and text; temporal positions follow each clip's own frame times."""

from types import MethodType
from typing import Any

import torch
from torch import Tensor

from affectllm.models.base.family import Family
from affectllm.models.base.tokens import add_token_types, token_types
from affectllm.models.families.qwen import QwenBackbone, place_tokens

FAMILY = Family(
    name="Qwen2.5-VL",
    types=("qwen2_5_vl",),
    model="transformers:Qwen2_5_VLForConditionalGeneration",
    backbone="QwenVLBackbone",
    modalities=("video",),
    example="Qwen/Qwen2.5-VL-7B-Instruct",
    # Before, grid steps of less than a second all had one time.
    since="5.18",
)


class QwenVLBackbone(QwenBackbone):
    modalities = FAMILY.modalities
    vllm_names = {name: name for name in ("model.language_model.", "model.visual.", "lm_head.")}
    seconds_key = "second_per_grid_ts"
    placed = staticmethod(place_tokens)
    """How encoded media enter the forward."""

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        # This is not a subclass: transformers renames old checkpoint keys for its own classes only, and a subclass
        # would silently keep random weights.
        model.model.register_forward_pre_hook(self.placed, with_kwargs=True)
        model.model.register_forward_pre_hook(add_token_types, with_kwargs=True)
        model._prepare_position_ids_for_generation = MethodType(prepare_positions, model)

    @property
    def media_token_ids(self) -> list[int]:
        config = self.core.config
        marks = [config.vision_start_token_id, config.vision_end_token_id]
        return [config.image_token_id, config.video_token_id, *marks]


def prepare_positions(model: Any, inputs_tensor: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
    """The stock positions of `generate`, with the kind of every token known."""
    if inputs_tensor.dtype in (torch.int, torch.long):
        model_kwargs = {**model_kwargs, "mm_token_type_ids": token_types(model.config, inputs_tensor)}
    return type(model)._prepare_position_ids_for_generation(model, inputs_tensor, model_kwargs)
