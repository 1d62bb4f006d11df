"""Which weights learn, in which form, and how fast: adapters, whole parts of the model, or all of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from affectllm.errors import AffectError
from affectllm.precision import Mixed, full_name, mixed, widen
from affectllm.training.options import Adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import TrainingArguments

    from affectllm.models.base.backbone import Backbone

Form = Literal["lora", "rslora", "dora", "full"]
PARTS = ("vision", "audio", "projector", "llm")


@dataclass(frozen=True, kw_only=True)
class Tuning(Adapter):
    """Which weights learn, and in which form."""

    tune: Form = "lora"
    """lora trains a low-rank adapter; rslora scales it by the root of the rank, for high ranks; dora learns length and
    direction apart (arXiv 2402.09353); full trains the weights themselves and writes a whole model."""
    dropout: float = 0.0
    """Share of the adapter's inputs that is dropped in training."""
    train_vision: bool = False
    """Train all weights of the vision encoder."""
    train_audio: bool = False
    """Train all weights of the audio encoder."""
    train_projector: bool = False
    """Train all weights of the projectors, the layers between encoders and language model. The projectors of composed
    models always learn."""
    train_llm: bool = True
    """Train the language model: by an adapter, or its own weights with --tune full."""

    @property
    def whole(self) -> list[str]:
        """Parts that are trained whole."""
        chosen = [part for part in ("vision", "audio", "projector") if self.trains(part)]
        return [*chosen, "llm"] if self.train_llm and self.tune == "full" else chosen

    def trains(self, part: str) -> bool:
        return bool(getattr(self, f"train_{part}"))


def make_trainable(backbone: "Backbone", tuning: Tuning, seed: int) -> None:
    """Make the chosen weights trainable, with an adapter on the language model unless its own weights learn.

    An existing adapter is trained further as it is. Raises AffectError for what the model cannot learn.
    """
    from peft import PeftModel

    check(backbone, tuning)
    if tuning.tune == "full":
        if isinstance(backbone.model, PeftModel):
            raise AffectError(
                f"{backbone.name} comes with an adapter, and --tune full trains weights themselves. "
                "Merge it first: affectllm train merge."
            )
        for name, parameter in backbone.model.named_parameters():
            parameter.requires_grad_(part_of(backbone, name) in tuning.whole or is_extra(backbone, name))
    elif isinstance(backbone.model, PeftModel):
        if tuning.whole:
            raise AffectError(
                f"{backbone.name} keeps its own adapter, which holds no whole {' or '.join(tuning.whole)}. "
                "Merge it first (affectllm train merge), or leave the switches of those parts out."
            )
    else:
        add_adapter(backbone, tuning, seed)
    widen(parameter for parameter in backbone.model.parameters() if parameter.requires_grad)
    if isinstance(backbone.model, PeftModel):
        from affectllm.models.base.lora import make_lean

        keep_off_the_hub(backbone.model)
        make_lean(backbone.model)
    if not (tuning.train_vision or tuning.train_audio):
        begin_at_words(backbone.core)


def begin_at_words(core: Any) -> None:
    """Make gradients begin at the word embeddings when checkpointing asks for inputs with gradients.

    transformers would also give the patches of an image gradients: activations of frozen encoders would be kept, and
    used in the backward, for nothing.
    """

    def enable_input_require_grads() -> None:
        def begin(module: "nn.Module", args: Any, output: Any) -> None:
            output.requires_grad_(True)

        core._require_grads_hook = core.get_input_embeddings().register_forward_hook(begin)
        core._require_grads_hooks = [core._require_grads_hook]

    core.enable_input_require_grads = enable_input_require_grads


def keep_off_the_hub(model: "PeftModel") -> None:
    """Keep every save of the adapter, also by the trainer, from asking the hub for the base model's vocabulary size.

    PEFT does so to tell whether word embeddings must be saved too; those that learn are saved in any case.
    """
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)  # type: ignore[method-assign]


def check(backbone: "Backbone", tuning: Tuning) -> None:
    if not tuning.train_llm and tuning.tune != "full":
        raise AffectError("Without the language model there is no adapter: --no-train-llm needs --tune full.")
    if not tuning.whole and tuning.tune == "full" and not backbone.trained_modules:
        raise AffectError("Nothing would learn: switch on one of --train-vision, -audio, -projector, -llm.")
    for part in ("vision", "audio"):
        if tuning.trains(part) and not backbone.encoders_in_forward:
            raise AffectError(
                f"The encoders of {backbone.name} run once a clip, ahead of training, and cannot learn. "
                f"Leave --train-{part} out."
            )
        if tuning.trains(part) and not list(modules_of(backbone, part)):
            raise AffectError(f"{backbone.name} has no {part} encoder to train. Leave --train-{part} out.")


def add_adapter(backbone: "Backbone", tuning: Tuning, seed: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    whole = [name for part in tuning.whole for name in modules_of(backbone, part)]
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=2 * tuning.rank,
        lora_dropout=tuning.dropout,
        use_rslora=tuning.tune == "rslora",
        use_dora=tuning.tune == "dora",
        target_modules=backbone.adapter_targets(),
        modules_to_save=[*backbone.trained_modules, *whole] or None,
        task_type="CAUSAL_LM",
        base_model_name_or_path=backbone.name,
    )
    backbone.model = get_peft_model(backbone.model, config)


@contextmanager
def own_precision(backbone: "Backbone", config: "TrainingArguments") -> Iterator[None]:
    """Keep the trained weights of a 4-bit model as they are while TRL makes its trainer.

    TRL turns them into bfloat16, in which small steps, and digits of what was learnt before, are lost. Raises
    AffectError when the trainer would compute in another precision than the model was loaded for.
    """
    computes: Mixed = "bf16" if config.bf16 else "fp16" if config.fp16 else "no"
    if computes != mixed(backbone.dtype):
        raise AffectError(
            f"{backbone.name} was loaded in {full_name(mixed(backbone.dtype))}, and its trainer would compute in "
            f"{full_name(computes)}. Give both the same --dtype."
        )
    kept = [(parameter, parameter.data) for parameter in backbone.model.parameters() if parameter.requires_grad]
    yield
    for parameter, values in kept:
        parameter.data = values.to(parameter.device)


def modules_of(backbone: "Backbone", part: str) -> Iterator[str]:
    """The largest modules that belong to this part only. Lists are entered, since PEFT wraps called modules."""
    import torch

    # The parts that are trained whole in any case.
    ours = backbone.trained_modules

    def descend(name: str, module: "nn.Module") -> Iterator[str]:
        owners = {part_of(backbone, f"{name}{inner}") for inner, _ in module.named_parameters()}
        if owners == {part} and not isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict):
            yield name.removesuffix(".")
        elif part in owners:
            for child, inner in module.named_children():
                yield from descend(f"{name}{child}.", inner)

    return (name for name in descend("", backbone.core) if not name.endswith(ours or ("\0",)))


def is_extra(backbone: "Backbone", name: str) -> bool:
    return any(f".{module}." in f".{name}" for module in backbone.trained_modules)


def part_of(backbone: "Backbone", name: str) -> str:
    """The part of the model that a parameter belongs to. What an adapter adds is a part of its own."""
    import re

    plain = name.removeprefix("base_model.model.")
    if "lora_" in plain:
        return "adapter"
    for wrapper in ("modules_to_save.default.", "original_module.", "base_layer."):
        plain = plain.replace(wrapper, "")
    return next((part for part, pattern in backbone.parts.items() if re.match(pattern, plain)), "other")


def split_by_rate(
    groups: list[dict[str, Any]], names: dict[int, str], backbone: "Backbone", rates: dict[str, float]
) -> list[dict[str, Any]]:
    """An optimiser's groups; parts that have their own learning rate are groups of their own.

    `names` gives the name of each parameter by its id; groups keep their order, so that a resumed run finds its states.
    """
    made = []
    for group in groups:
        for part in (None, *rates):
            chosen = [
                parameter
                for parameter in group["params"]
                if (owner := part_of(backbone, names[id(parameter)])) == part or (part is None and owner not in rates)
            ]
            if chosen:
                made.append({**group, "params": chosen, **({"lr": rates[part]} if part else {})})
    return made
