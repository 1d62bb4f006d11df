"""Base weights of the language model in 4 bits (QLoRA, arXiv 2305.14314); encoders and heads are never touched."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectllm.errors import AffectError

if TYPE_CHECKING:
    import torch


def nf4(kept: Sequence[str], dtype: "torch.dtype") -> Any:
    """transformers' options for NF4 with double quantisation, computing in `dtype`.

    `kept` are full paths of modules that stay as they are. Short names match no encoder, and the encoders would then
    be silently quantised.
    """
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise AffectError("--quantise needs bitsandbytes, which is not installed. Install it: pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(kept),
    )


def quantised(model: Any) -> list[str]:
    """Names of the modules whose weights are in 4 bits."""
    return [name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"]


def check(model: Any, name: str) -> None:
    """Raise AffectError if anything but the language model was quantised, or if nothing was."""
    found = quantised(model)
    others = [module for module in found if "language_model" not in module]
    if others:
        raise AffectError(f"4 bits reached {others[0]} of {name}, which is not part of its language model.")
    if not found:
        raise AffectError(f"No layer of {name} was quantised. Train without --quantise.")
