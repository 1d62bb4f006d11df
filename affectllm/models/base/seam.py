"""All code that depends on the version of transformers.

Tried with 5.17 to 5.24. The rest of the code asks here and checks no version itself; tests/models/test_seam.py says
what a new version has changed.
"""

import inspect
from dataclasses import fields
from typing import Any

import torch
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
    """The cache among the arguments of a forward, under either name. None if there is none."""
    return next((given[name] for name in CACHE_NAMES if given.get(name) is not None), None)


def older_than(version: str) -> bool:
    """Whether the installed transformers came out before this one."""
    return Version(INSTALLED) < Version(version)


def takes(module: nn.Module, name: str) -> bool:
    """Whether the forward of this module has an argument of this name."""
    return name in inspect.signature(type(module).forward).parameters


def video_options(processor: Any) -> dict[str, Any]:
    """What a processor passes to its video processor in every call. Until 5.22 that belongs to the class."""
    own = getattr(processor, "videos_kwargs", None)
    return processor.valid_processor_kwargs._defaults.get("videos_kwargs", {}) if own is None else own


def read_frames_alone(body: Any) -> None:
    """Make Gemma's body (until 5.22) read clips of different length, whose frames come one after the other.

    Until 5.18 it takes clips of one length only, then none at all in a forward, which forgets to hand on the counts of
    frames. The vision tower reads each frame alone: frames shown as videos of one frame give the same tokens.
    """
    stock = body.get_video_features
    counted = "num_frames_per_video" in inspect.signature(stock).parameters

    # Under the stock names, by which `generate` gives them.
    def get_video_features(pixel_values_videos: Tensor, video_position_ids: Tensor, **options: Any) -> Any:
        if counted:
            one = torch.ones(len(pixel_values_videos), dtype=torch.long)
            return stock(pixel_values_videos, video_position_ids, num_frames_per_video=one, **options)
        return stock(pixel_values_videos.unsqueeze(1), video_position_ids.unsqueeze(1), **options)

    body.get_video_features = get_video_features


def tell_masks(model: Any, kinds: Tensor | None) -> None:
    """Make masks that `generate` makes before a forward respect the kinds of tokens, which it drops until 5.22."""
    if older_than("5.23"):
        stock = type(model).create_masks_for_generate
        model.create_masks_for_generate = lambda **given: stock(**{**given, "mm_token_type_ids": kinds})
