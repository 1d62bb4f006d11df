"""What differs between versions of transformers, in one place.

Tried with 5.17 to 5.24. The rest of the code asks here and knows no version; tests/models/test_seam.py says what a new
version has changed.
"""

import inspect
from dataclasses import fields
from typing import Any

import transformers
from packaging.version import Version
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

INSTALLED = transformers.__version__
# Keys and values of the tokens read so far. 5.24 calls them `cache` in forwards, outputs and `generate`, and takes the
# older name with a warning until 5.40.
CACHE_NAMES = ("cache", "past_key_values")
CACHE = next(name for name in CACHE_NAMES if name in {field.name for field in fields(BaseModelOutputWithPast)})


def cache_in(given: dict[str, Any]) -> Any:
    """The cache among the arguments of a forward, under either name; None where there is none."""
    return next((given[name] for name in CACHE_NAMES if given.get(name) is not None), None)


def older_than(version: str) -> bool:
    """Whether the installed transformers came out before this one."""
    return Version(INSTALLED) < Version(version)


def takes(module: nn.Module, name: str) -> bool:
    """Whether the forward of this module has an argument of this name."""
    return name in inspect.signature(type(module).forward).parameters


def video_options(processor: Any) -> dict[str, Any]:
    """What a processor tells its video processor in every call. Until 5.22 that belongs to the class."""
    own = getattr(processor, "videos_kwargs", None)
    return processor.valid_processor_kwargs._defaults.get("videos_kwargs", {}) if own is None else own


def each_frame_a_video(body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook of Gemma's body until 5.18, which has no frame counts and so takes clips of one length only.

    The vision tower reads each frame alone: frames shown as videos of one frame give the same tokens.
    """
    for name in ("pixel_values_videos", "video_position_ids"):
        if kwargs.get(name) is not None:
            kwargs[name] = kwargs[name].unsqueeze(1)
    return args, kwargs


def tell_masks(model: Any, kinds: Tensor | None) -> None:
    """Let masks that `generate` makes ahead of a forward know the kinds of tokens, which it drops until 5.22."""
    if older_than("5.23"):
        stock = type(model).create_masks_for_generate
        model.create_masks_for_generate = lambda **given: stock(**{**given, "mm_token_type_ids": kinds})
