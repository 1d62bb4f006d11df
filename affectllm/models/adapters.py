"""Puts adapters onto models, without silently losing a weight; also adapters that other programs trained.

PEFT loads what fits and warns about the rest. Here a weight that the adapter lacks, or that the model has no place for,
is an error with its name. ms-swift and LLaMA-Factory train Qwen-Omni as a whole and name its layers
`thinker.model.layers`, and adapters of older transformers say `model.layers`; both are renamed to the places those
layers have today.
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.precision import widen

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
# Where a layer was, and where it is: applied to names without PEFT's prefix, in order.
MOVED = (
    (r"^thinker\.", ""),
    (r"^model\.layers\.", "model.language_model.layers."),
    (r"^(visual|audio_tower)\.", r"model.\1."),
)
LAYER = re.compile(r"^(.*\.layers\.)(\d+)(\..+)$")


def attach(model: nn.Module, folder: Path, trainable: bool = False) -> Any:
    """The model with the adapter of this folder around it, every weight in its place.

    Raises AffectError with the names of weights that are missing, or that the model has no place for.
    """
    import peft

    weights = read_weights(folder)
    config = peft.PeftConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    renamed = {rename(name): tensor for name, tensor in weights.items()}
    if renamed.keys() != weights.keys():
        # Patterns of the other program name modules that are elsewhere now; the names of the weights say which ones.
        targets = sorted({module_of(name) for name in renamed})
        check_layers(targets, folder)
        config.target_modules = targets
        config.exclude_modules = None
        places = dict(model.named_modules())
        unknown = [name for name in targets if name not in places]
        if unknown:
            raise AffectError(f"The adapter {folder} is for another model: no module {some(unknown)} here.")
    adapted = peft.get_peft_model(model, config)
    expected = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    report(folder, [name for name in expected if name not in renamed], "lacks", "Fetch it again, or train it anew.")
    extra = [name for name in renamed if name not in expected]
    report(folder, extra, "has no place here for", "Is it an adapter of this model?")
    for name, tensor in renamed.items():
        if tensor.shape != expected[name].shape:
            raise AffectError(
                f"The adapter {folder} is for a model of another size: {name} is {tuple(tensor.shape)}, "
                f"the model wants {tuple(expected[name].shape)}."
            )
    # This is done before the values are loaded: learnt weights would lose digits in the model's own precision.
    widen(weight for name, weight in adapted.named_parameters() if "lora_" in name or ".modules_to_save." in name)
    peft.set_peft_model_state_dict(adapted, renamed)
    return adapted if trainable else adapted.eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise AffectError(f"{folder} has no {WEIGHTS}. Adapters stored as .bin are not read: they can run code.")
    return load_file(folder / WEIGHTS)


def rename(name: str) -> str:
    """The name of an adapter's weight in today's models. A name that is right already stays.

    >>> rename("base_model.model.thinker.model.layers.0.self_attn.q_proj.lora_A.weight")
    'base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight'
    """
    plain = name.removeprefix(PREFIX)
    for old, new in MOVED:
        plain = re.sub(old, new, plain)
    return PREFIX + plain


def module_of(name: str) -> str:
    """The adapted module of a weight such as `...q_proj.lora_A.weight`."""
    return re.sub(r"\.(lora_[A-Za-z_]+)(\..*)?$", "", name.removeprefix(PREFIX))


def check_layers(targets: list[str], folder: Path) -> None:
    """Check that a kind of module with an adapter in one layer has it in all layers: a lost shard leaves a gap."""
    layers: dict[tuple[str, str], set[int]] = {}
    for target in targets:
        if found := LAYER.match(target):
            layers.setdefault((found[1], found[3]), set()).add(int(found[2]))
    depth = max((max(numbers) for numbers in layers.values()), default=-1) + 1
    holes = [
        f"{stem}{number}{kind}"
        for (stem, kind), numbers in layers.items()
        for number in range(depth)
        if number not in numbers
    ]
    report(folder, holes, "lacks", "Fetch it again, or train it anew.")


def report(folder: Path, names: list[str], what: str, then: str) -> None:
    if names:
        raise AffectError(f"The adapter {folder} {what} {len(names)} weights: {some(names)}. {then}")


def some(names: list[str], shown: int = 8) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
