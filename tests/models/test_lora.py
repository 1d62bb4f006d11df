"""LoRA layers in half precision give what PEFT's give, and leave float32 to PEFT."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from affectllm.models.base.lora import LeanLinear, make_lean


def adapted(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 24, dtype=dtype))
    made = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["0"], init_lora_weights=False))
    assert made.base_model.model[0].lora_A["default"].weight.dtype == torch.float32
    return made


@pytest.mark.parametrize("around", ["autocast", "nothing"])
def test_outputs_and_gradients_are_those_of_peft_but_for_rounding(around: str) -> None:
    model = adapted(torch.bfloat16)
    x = torch.randn(3, 5, 32, dtype=torch.bfloat16)
    found = []
    for lean in (False, True):
        if lean:
            make_lean(model)
        layer = model.base_model.model[0]
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if around == "autocast" else nullcontext():
            output = model(x)
        output.float().square().sum().backward()
        found.append((output.detach().float(), layer.lora_A["default"].weight.grad.clone()))
        assert layer.lora_A["default"].weight.grad.dtype == torch.float32
    assert isinstance(model.base_model.model[0], LeanLinear)
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02 * float(theirs.abs().max()))


def test_in_float32_it_is_peft_and_the_layer_is_computed_once() -> None:
    model = adapted(torch.float32)
    x = torch.randn(2, 32)
    wanted = model(x)
    make_lean(model)
    calls = []
    model.base_model.model[0].base_layer.register_forward_hook(lambda *_: calls.append(1))
    assert model(x).equal(wanted)
    assert len(calls) == 1


def test_what_is_merged_or_switched_off_is_left_to_peft() -> None:
    model = adapted(torch.bfloat16)
    make_lean(model)
    x = torch.randn(2, 32, dtype=torch.bfloat16)
    layer = model.base_model.model[0]
    with model.disable_adapter():
        assert model(x).equal(layer.base_layer(x))
    kept = model(x).float()
    model.merge_adapter()
    torch.testing.assert_close(model(x).float(), kept, rtol=0.05, atol=0.05)
