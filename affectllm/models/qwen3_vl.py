"""Qwen3-VL as a backbone: video and text; time stands in the prompt as words, `<1.5 seconds>` before each grid step."""

import numpy as np
import torch
from torch import Tensor

from affectllm.models.backbone import TIMES
from affectllm.models.qwen_vl import QwenVLBackbone
from affectllm.models.tokens import metadata


class Qwen3VLBackbone(QwenVLBackbone):
    def video(self, frames_THWC: np.ndarray, times_s: np.ndarray) -> dict[str, Tensor]:
        """Patches (patches, values), their grid (1, 3), and the frames' times (1, T) for the prompt."""
        return {**self.patches(frames_THWC), TIMES: torch.from_numpy(times_s)[None]}

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        if "video_grid_thw" in media:
            prompt = prompt.replace(self.processor.video_token, self.timed_placeholders(media))
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def timed_placeholders(self, media: dict[str, Tensor]) -> str:
        """The processor's own text for a clip, with the clip's own times."""
        inputs = {"video_grid_thw": media["video_grid_thw"], "video_metadata": [metadata(media[TIMES][0])]}
        return self.processor.replace_video_token(inputs, 0)
