"""Qwen3-VL as a backbone: video and text; time is in the prompt as words, `<1.5 seconds>` before each grid step."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from affectllm.models.base import seam
from affectllm.models.base.backbone import TIMES, Look
from affectllm.models.base.family import Family
from affectllm.models.base.tokens import metadata
from affectllm.models.families.qwen_vl import QwenVLBackbone


def give_encoder_output(body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook of the body: encoded clips as what its own vision encoder would have given."""
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    tokens = kwargs.pop("video_tokens", None)
    if tokens is not None:
        last, *inner = tokens.to(body.device, body.dtype).split(body.config.text_config.hidden_size, -1)
        # One tensor a clip in the encoder's own output; the body joins them at once.
        parts: dict[str, Any] = {"pooler_output": (last,), "deepstack_features": [(states,) for states in inner]}
        output = BaseModelOutputWithDeepstackFeatures(**parts)
        kwargs["mm_encoder_outputs"] = {"video": output}
    return args, kwargs


FAMILY = Family(
    name="Qwen3-VL",
    types=("qwen3_vl",),
    model="transformers:Qwen3VLForConditionalGeneration",
    backbone="Qwen3VLBackbone",
    modalities=("video",),
    example="Qwen/Qwen3-VL-8B-Instruct",
)


class Qwen3VLBackbone(QwenVLBackbone):
    placed = staticmethod(give_encoder_output)

    def frozen_encoders(self) -> list[nn.Module]:
        # Without a place for the encoder's output (before transformers 5.18) it runs in every forward.
        return super().frozen_encoders() if seam.takes(self.core.model, "mm_encoder_outputs") else []

    def encode_video(self, patches: Tensor, grid: Tensor) -> Tensor:
        """The encoder's last states, and the inner ones that the language model's layers read."""
        found = self.core.model.get_video_features(patches, grid, return_dict=True)
        return torch.cat([torch.cat(states) for states in (found.pooler_output, *found.deepstack_features)], -1)

    def video(self, frames_THWC: np.ndarray, times_s: np.ndarray) -> dict[str, Tensor]:
        """Patches (patches, values), their grid (1, 3), and the frames' times (1, T) for the prompt."""
        return {**self.patches(frames_THWC), TIMES: torch.from_numpy(times_s)[None]}

    def pixels_left(self, clip: Look) -> float:
        """Size of a frame within the limits that this processor sets for all frames together."""
        size = self.frame_size
        pixels = min(max(self.num_frames * clip.width * clip.height, size["shortest_edge"]), size["longest_edge"])
        return pixels / self.num_frames

    def size_of(self, max_pixels: int) -> dict[str, int]:
        """This processor's limits hold for all frames together."""
        whole = self.num_frames * max_pixels
        return {"shortest_edge": min(self.frame_size["shortest_edge"], whole), "longest_edge": whole}

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        if "video_grid_thw" in media:
            prompt = prompt.replace(self.processor.video_token, self.timed_placeholders(media))
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def timed_placeholders(self, media: dict[str, Tensor]) -> str:
        """The processor's own text for a clip, with the clip's own times."""
        inputs = {"video_grid_thw": media["video_grid_thw"], "video_metadata": [metadata(media[TIMES][0])]}
        return self.processor.replace_video_token(inputs, 0)
