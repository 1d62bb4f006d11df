"""Models by name: `nano` (embedded), a local folder, a hub name, or the folder of an adapter trained here."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import precision, versions
from affectllm.errors import AffectError, missing_package
from affectllm.models.families import FAMILIES, Family

if TYPE_CHECKING:
    import torch

    from affectllm.models.base.backbone import Backbone

ADAPTER_CONFIG = "adapter_config.json"
VIEW = "view.json"
"""Frames and pixels that a model was trained with, where they are not the family's own."""


def load(
    name: str,
    dtype: str = "auto",
    *,
    trainable: bool = False,
    quantise: bool = False,
    frames: int | None = None,
    max_pixels: int | None = None,
) -> "Backbone":
    """A backbone that is ready to answer or to be trained.

    `name` is "nano", a model folder, a hub name, or an adapter folder (its base model is found in it).
    `dtype` is float32, bfloat16, float16 or "auto" (`affectllm.precision.choose`).
    `quantise` puts the language model's layers into 4 bits, for training an adapter on them. `frames` of a clip and
    `max_pixels` of a frame are those that an adapter was trained with, unless others are given.
    Raises AffectError when the name leads nowhere or the family is not supported.
    """
    # This is printed before the imports, where a version that was not tried may fail.
    versions.say_outside()
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise missing_package("Loading a model", "train") from error

    quiet()
    adapter = Path(name) if (Path(name) / ADAPTER_CONFIG).is_file() else None
    base = base_of(adapter) if adapter else name
    backbone = load_base(base, precision.choose(dtype), quantise)
    if adapter is not None:
        from affectllm.models.adapters import attach

        backbone.model = attach(backbone.model, adapter, trainable)
        if not trainable:
            # Merged into the weights, the adapter costs no products of its own for every token answered.
            backbone.model = backbone.model.merge_and_unload()
    look_at(backbone, name, frames, max_pixels)
    return backbone


def base_of(adapter: Path) -> str:
    """Name of the model that an adapter's folder was trained on."""
    return json.loads((adapter / ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"]


def look_at(backbone: "Backbone", name: str, frames: int | None, max_pixels: int | None) -> None:
    """Frames and pixels as they are given, else as the folder of the model or adapter says."""
    path = Path(name) / VIEW
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    given = {"frames": frames, "max_pixels": max_pixels}
    backbone.look_at(**{**kept, **{key: value for key, value in given.items() if value is not None}})


def load_shape(name: str, dtype: str = "auto", frames: int | None = None, max_pixels: int | None = None) -> "Backbone":
    """A backbone without weights, on the meta device, from a config and the processor's files alone.

    It takes everything that `load` takes. Its parameters can be counted and it makes prompts, but it cannot run.
    """
    versions.say_outside()
    import peft
    import torch

    quiet()
    adapter = Path(name) if (Path(name) / ADAPTER_CONFIG).is_file() else None
    base = base_of(adapter) if adapter else name
    folder = find(base)
    family = family_of(folder, base)
    kind = imported(family.model)
    # Made before: it runs, with weights of its own where it finds faces.
    processor = processor_of(folder, base)
    with torch.device("meta"):
        model = kind._from_config(kind.config_class.from_pretrained(folder), dtype=precision.choose(dtype))
        backbone = imported(family.backbone)(model, processor, base)
        if adapter is not None:
            config = peft.PeftConfig.from_pretrained(str(adapter))
            config.inference_mode = False
            backbone.model = peft.get_peft_model(model, config)
    look_at(backbone, name, frames, max_pixels)
    return backbone


def quiet() -> None:
    """Without bars and notices of the libraries while weights load: a user can do nothing about them."""
    import warnings

    versions.say_outside()
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # Old names of options that TRL still passes to transformers, and our own name of the base model in adapters.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    warnings.filterwarnings("ignore", message="Could not find a config file in")
    warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")


def load_base(name: str, dtype: "torch.dtype | str", quantise: bool = False) -> "Backbone":
    """A model without an adapter, by the `model_type` of its config; `dtype` "auto" is that of its files."""
    folder = find(name)
    family = family_of(folder, name)
    wrap, options = imported(family.backbone), {}
    if quantise:
        from affectllm.models.base import quantise as bits

        options["quantization_config"] = bits.nf4(
            wrap.never_quantised, precision.choose("auto") if isinstance(dtype, str) else dtype
        )
    model = imported(family.model).from_pretrained(folder, dtype=dtype, **options)
    if quantise:
        bits.check(model, name)
    return wrap(model, processor_of(folder, name), name)


def family_of(folder: str, name: str) -> Family:
    """Raises AffectError, which names the known families, for a model of another family."""
    from transformers import AutoConfig

    import affectllm.models.families.affect  # noqa: F401  (makes the composed model known to the Auto classes)

    try:
        found = AutoConfig.from_pretrained(folder).model_type
    except (OSError, ValueError) as error:
        # Errors of the hub have many lines; the first one says what is wrong.
        raise AffectError(f"Model {name} cannot be read: {first_line(error)}") from error
    for family in FAMILIES:
        if found in family.types:
            check_layout(family, name)
            return family
    known = ", ".join(f"{family.types[0]} ({family.name})" for family in FAMILIES)
    raise AffectError(f"Model {name} is of the family '{found}', which is not supported. Supported: {known}.")


def check_layout(family: Family, name: str) -> None:
    """Raise AffectError if the installed transformers is too old for this family."""
    from affectllm.models.base import seam

    if family.since and seam.older_than(family.since):
        raise AffectError(
            f"Model {name} is a {family.name}, which needs transformers {family.since} or newer; installed is "
            f"{seam.INSTALLED}. Install it: pip install -U 'transformers>={family.since}'"
        )


def processor_of(folder: str, name: str) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise AffectError(
            f"Model {name} comes without its processor files (tokenizer, chat template, preprocessor config), which "
            f"belong next to its weights: {first_line(error)}"
        ) from error


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def imported(place: str) -> Any:
    """The object at module:name."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def find(name: str) -> str:
    """Where a model's files are: the cache for "nano", else the folder or hub name itself."""
    if name == "nano":
        from affectllm.models import nano

        return str(nano.require())
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise AffectError(f"No model folder {name}. Give 'nano', a folder with config.json, or a hub name.")
    return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
