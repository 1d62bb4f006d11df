"""LoRA layers in half precision without float32 copies of their inputs.

PEFT turns a layer's input into the precision of the adapter, float32, and under autocast torch turns it back: two
passes over the largest tensors of a step, and one more tensor kept for the backward of each layer. Then the product
with B, its scaling and the sum are a pass each. Here the adapter's weights are cast, which are small, and product,
scaling and sum are one. Weights that learn stay float32, and so do their gradients and what the optimiser adds up.
"""

from typing import Any, cast

import torch
from peft.tuners.lora import layer as lora
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)


class LeanLinear(lora.Linear):
    """PEFT's layer with another forward in half precision; all else, merging included, is PEFT's."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or not self.plain() or self.computes_in(x) not in HALF:
            return super().forward(x, *args, **kwargs)
        result = self.base_layer(x)
        (name,) = self.active_adapters
        # A layer is called rather than its weight read wherever hooks may gather it.
        sides: tuple[Any, Any] = (self.lora_A, self.lora_B)
        down, up = (side[name].weight.to(result.dtype) for side in sides)
        hidden = nn.functional.linear(self.lora_dropout[name](x.to(result.dtype)), down)
        flat = torch.addmm(result.flatten(0, -2), hidden.flatten(0, -2), up.t(), alpha=self.scaling[name])
        return flat.view(result.shape)

    def computes_in(self, x: Tensor) -> torch.dtype:
        """The precision of the layer's own product."""
        kind, weight = x.device.type, cast("Tensor", self.get_base_layer().weight)
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype

    def plain(self) -> bool:
        """One adapter of the plain form, whole on this device, that is neither merged nor switched off."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return False
        name = self.active_adapters[0]
        if name not in self.lora_A or name in self.lora_variant or self.lora_bias.get(name):
            return False
        # ZeRO-3 leaves an empty weight here until the module itself is called.
        return not hasattr(self.lora_A[name].weight, "ds_id")


def make_lean(model: nn.Module) -> None:
    """Give the model's LoRA layers this forward, in place."""
    for module in model.modules():
        # Layers of other kinds (4 bits, embeddings) have their own forward.
        if type(module) is lora.Linear:
            module.__class__ = LeanLinear
