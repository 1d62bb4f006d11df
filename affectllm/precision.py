"""The precision of a run: what frozen weights are stored in, and what forwards compute in. Only this file decides it.

`--dtype` names it. A trainer's bf16 and fp16 and accelerate's mixed_precision follow from it, and must not contradict
it. What learns stays float32 in every precision: in bfloat16, steps below 1/256 of a weight are lost.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectllm.errors import AffectError

if TYPE_CHECKING:
    import torch
    from torch import nn

Mixed = Literal["no", "bf16", "fp16"]
NATIVE = "AFFECTLLM_NATIVE_BFLOAT16"
NAMES = ("float32", "bfloat16", "float16")


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (Linux lists it; elsewhere the answer is no).

    The environment variable AFFECTLLM_NATIVE_BFLOAT16, 0 or 1, answers instead: it makes another CPU's `--dtype auto`
    run on this one. A CPU without the instructions computes the same numbers, but slowly.
    """
    given = os.environ.get(NATIVE)
    if given is not None:
        if given not in ("0", "1"):
            raise AffectError(f"{NATIVE}={given}: it is 0 or 1. Correct it, or unset it.")
        return given == "1"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def device() -> str:
    """Where a model runs on this machine: "cuda" where PyTorch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def named(dtype: str) -> "torch.dtype":
    """The torch dtype of this name."""
    import torch

    if dtype not in NAMES:
        raise AffectError(f"--dtype {dtype} is none of auto, {', '.join(NAMES)}.")
    return getattr(torch, dtype)


def choose(dtype: str) -> "torch.dtype":
    """The precision that a model runs in on this machine.

    "auto" is bfloat16 on a GPU that multiplies it, float16 on an older one; on a CPU bfloat16 where it is native, else
    float32. Raises AffectError for a precision that cannot work here.
    """
    import torch

    gpu = device() == "cuda"
    multiplies = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "auto":
        if gpu:
            return torch.bfloat16 if multiplies else torch.float16
        return torch.bfloat16 if native_bfloat16() else torch.float32
    chosen = named(dtype)
    if chosen == torch.float16 and not gpu:
        raise AffectError(
            "--dtype float16 needs a GPU: without one, its small range overflows and nothing gets faster. "
            "Use --dtype float32, or bfloat16."
        )
    if chosen == torch.bfloat16 and gpu and not multiplies:
        card = torch.cuda.get_device_name()
        raise AffectError(f"--dtype bfloat16: {card} does not multiply it. Use --dtype float16.")
    return chosen


def mixed(dtype: "torch.dtype") -> Mixed:
    """The name that accelerate has for forwards in this precision."""
    return {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[str(dtype).removeprefix("torch.")]  # type: ignore[return-value]


def settle(dtype: str, trainer: Mapping[str, Any], launch: Mapping[str, str] = os.environ) -> Mixed:
    """What a run of this --dtype computes in. `trainer` holds a trainer's own options, `launch` the environment.

    Raises AffectError when `trainer` or accelerate's launch asks for another precision: one of them would win silently.
    """
    chosen = mixed(choose(dtype))
    asked = f"--dtype {dtype}" if dtype != "auto" else f"--dtype auto, which is {full_name(chosen)} here,"
    for key in ("bf16", "fp16"):
        if key in trainer and bool(trainer[key]) != (chosen == key):
            said = str(trainer[key]).lower()
            raise AffectError(f"trainer.{key} is {said}, and {asked} says another precision. Leave trainer.{key} out.")
    launched = launch.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", chosen):
        raise AffectError(
            f"This launch says mixed_precision: {launched}, and {asked} says another precision. Launch with "
            "--mixed_precision no, or take mixed_precision out of the file: --dtype decides."
        )
    return chosen


def full_name(name: Mixed) -> str:
    return {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}[name]


def widen(parameters: "Iterable[nn.Parameter]") -> None:
    """Turn these weights into float32, in place: those that learn, or have learnt."""
    import torch

    for parameter in parameters:
        if parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
