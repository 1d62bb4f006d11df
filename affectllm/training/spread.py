"""Weights that DeepSpeed or FSDP spread over processes: what does not work with them, and how they are gathered.

Every process takes part whenever a layer's weights are gathered, so all of them must call the same layers in the same
order. Encoders that run once a clip, whenever a process first meets it, are therefore kept whole on each.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, used_modalities
from affectllm.records import Conversation

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

    from affectllm.models.store import MediaStore


def asked_for_fsdp() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def check_launch(config: "TrainingArguments") -> None:
    """Raise AffectError if accelerate would silently leave FSDP or DeepSpeed out, as it does on CPUs."""
    from accelerate.utils import DistributedType

    if asked_for_fsdp() and config.distributed_state.distributed_type in (
        DistributedType.NO,
        DistributedType.MULTI_CPU,
    ):
        raise AffectError(
            "This launch asks for FSDP, which accelerate takes up for several processes on accelerators only and "
            "leaves out on CPUs. Launch with train/accelerate/ddp.yaml."
        )
    if config.deepspeed and config.use_cpu:
        raise AffectError(
            "--trainer.deepspeed is left out on a CPU by accelerate. Leave the option out; one process may try it with "
            "--trainer.use_cpu false and DS_ACCELERATOR=cpu in its environment."
        )


def will_spread(config: "TrainingArguments") -> bool:
    """Whether each process will hold only a part of the weights, by the options, before there is a trainer."""
    return asked_for_fsdp() or (config.deepspeed_plugin is not None and config.deepspeed_plugin.zero_stage == 3)


def refuse(options: Mapping[str, bool]) -> None:
    """Raise AffectError for an option that does not work with spread weights."""
    for option, given in options.items():
        if given:
            raise AffectError(
                f"Weights spread over processes (FSDP, ZeRO-3) do not work with {option}: they are gathered by all "
                "processes together. Leave it out, or launch with train/accelerate/ddp.yaml."
            )


def is_spread(trainer: "Trainer") -> bool:
    """Whether each process holds only a part of the weights: under FSDP, or ZeRO's third stage."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    return trainer.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)


def make_ready(store: "MediaStore", conversations: Sequence[Conversation], config: "TrainingArguments") -> None:
    """Prepare a model for DeepSpeed or FSDP. For other launches, nothing is done."""
    if will_spread(config):
        check_media(store, conversations)
        keep_encoders_whole(store.backbone, config)
        name_layers(store.backbone.core)
    if will_spread(config) or config.deepspeed_plugin is not None:
        without_scalars(store.backbone)


def check_media(store: "MediaStore", conversations: Sequence[Conversation]) -> None:
    """Raise AffectError if batches would call different layers: processes would wait for each other for ever."""
    used = {tuple(used_modalities(conversation, store.modalities)) for conversation in conversations}
    # A fusion is gathered as a whole, whatever parts of a clip it gets.
    kinds = used if store.backbone.encoders_in_forward else {bool(kinds) for kinds in used}
    if len(kinds) > 1:
        found = ", ".join(sorted(" and ".join(names) or "text alone" for names in used))
        raise AffectError(
            f"Some conversations show the model other media than others ({found}), and weights that are spread over "
            "processes are gathered by all processes for the same media. Choose --modalities that all have, or launch "
            "with train/accelerate/ddp.yaml or train/deepspeed/zero2.json."
        )


def keep_encoders_whole(backbone: Backbone, config: "TrainingArguments") -> None:
    """Make encoders that run before forwards plain attributes: they are called as before, but are not spread."""
    core: nn.Module = backbone.core
    encoders = {id(encoder) for encoder in backbone.encoders_ahead()}
    for path, module in [(path, module) for path, module in core.named_modules() if id(module) in encoders]:
        owner, _, name = path.rpartition(".")
        del core.get_submodule(owner)._modules[name]
        # This bypasses nn.Module's own method, which would make it a part of the model again.
        object.__setattr__(core.get_submodule(owner), name, module.to(config.device))
        backbone.apart[path] = module


def name_layers(core: Any) -> None:
    """Of the layers that the model names as units, keep those that exist: FSDP refuses a name without a module."""
    found = {type(module).__name__ for module in core.modules()}
    core._no_split_modules = [name for name in core._no_split_modules or () if name in found]


def without_scalars(backbone: Backbone) -> None:
    """Give trained scalars a dimension while DeepSpeed or FSDP holds them: they take no scalars."""
    for name, parameter in backbone.model.named_parameters():
        if parameter.ndim == 0:
            parameter.data = parameter.data.view(1)
            backbone.scalars.append(name)


def gather_to_generate(trainer: "Trainer") -> None:
    """Make `generate` gather what FSDP spreads: FSDP itself does so only in `forward`, TRL only for ZeRO."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    model: Any = trainer.model_wrapped
    if trainer.is_fsdp_enabled and "generate" not in vars(model):
        register_fsdp_forward_method(model, "generate")


@contextmanager
def reference_left_out(trainer: "Trainer") -> Iterator[None]:
    """Write checkpoints without the adapter that a policy is compared with.

    A resumed run copies that from the adapter it starts from, as this one did. With it in the checkpoint, transformers
    until 5.22 loads the reference and forgets the policy; and under ZeRO-3 it gathers what learns and nothing else, and
    PEFT then misses the reference's weights.
    """
    adapters = getattr(trainer.model, "peft_config", {})
    reference = adapters.pop("ref", None)
    try:
        yield
    finally:
        if reference is not None:
            adapters["ref"] = reference


def weights_of(trainer: "Trainer", backbone: Backbone) -> dict[str, Tensor]:
    """All weights, gathered from every process if they are spread; scalars have no dimension again."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_spread(trainer) else model.state_dict()
    scalars = {name: weights[name].view(()) for name in backbone.scalars if name in weights}
    apart = {f"{path}.{name}": w for path, module in backbone.apart.items() for name, w in module.state_dict().items()}
    return {**weights, **scalars, **apart}
