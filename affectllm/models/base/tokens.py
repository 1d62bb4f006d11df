"""Kinds and times of tokens, in the form that several families of transformers take."""

from typing import Any

from torch import Tensor, nn

from affectllm.models.base import seam


def token_types(config: Any, input_ids: Tensor) -> Tensor:
    """0 text, 1 image, 2 video for each token (B, L), as `mm_token_type_ids` wants them."""
    return (input_ids == config.image_token_id).int() + 2 * (input_ids == config.video_token_id).int()


def add_token_types(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook of a model's body: derives `mm_token_type_ids` from the ids.

    Without them M-RoPE silently falls back to text positions, and Gemma to one-way frames. They follow from the
    ids, so no trainer, collator or generation loop has to carry them. After the prompt only text is read.
    """
    past = seam.cache_in(kwargs)
    prompt = past is None or past.get_seq_length() == 0
    if prompt and kwargs.get("mm_token_type_ids") is None and kwargs.get("input_ids") is not None:
        kwargs["mm_token_type_ids"] = token_types(model.config, kwargs["input_ids"])
    return args, kwargs


def metadata(times_s: Tensor) -> Any:
    """Frames at these times in transformers' form: indices over a rate, here milliseconds."""
    from transformers.video_utils import VideoMetadata

    milliseconds = (times_s * 1000).round().long().tolist()
    return VideoMetadata(total_num_frames=milliseconds[-1] + 1, fps=1000.0, frames_indices=milliseconds)
