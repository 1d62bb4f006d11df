"""What the Qwen families share: frames as patches with their own times, and the kinds of tokens that M-RoPE reads.

Differences from the stock processor call, each with its reason:
- one clip a call, since the processor knows one frame rate a call and clips differ in length;
- seconds per grid step from the frames' own times, not from a nominal rate.
"""

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

from affectllm.models.backbone import Backbone, Media


class QwenBackbone(Backbone):
    """Video of a Qwen model; a family adds its sound, or how it writes time into the prompt."""

    lora_targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    seconds_key: str
    """The forward's name for seconds per grid step."""

    @property
    def placeholders(self) -> dict[str, int]:
        return {"video": self.processor.video_token_id}

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        if media.frames_THWC is None or media.times_s is None:
            return {}
        return self.video(media.frames_THWC, media.times_s)

    def video(self, frames_THWC: np.ndarray, times_s: np.ndarray) -> dict[str, Tensor]:
        """`patches`, and seconds per grid step (1,) from the frames' own times."""
        step_s = self.processor.video_processor.temporal_patch_size * frame_step_s(times_s)
        return {**self.patches(frames_THWC), self.seconds_key: torch.tensor([step_s])}

    def patches(self, frames_THWC: np.ndarray) -> dict[str, Tensor]:
        """Patches (patches, values) and their grid (1, 3)."""
        frames = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)
        made = self.processor.video_processor(
            [frames], do_sample_frames=False, size=self.frame_size, return_tensors="pt"
        )
        return {
            "pixel_values_videos": made["pixel_values_videos"].to(self.core.dtype),
            "video_grid_thw": made["video_grid_thw"],
        }

    @property
    def frame_size(self) -> dict[str, int]:
        """Least and most pixels of a clip; what a processor sets beside its video processor's own size wins."""
        return self.processor.videos_kwargs.get("size") or dict(self.processor.video_processor.size)

    def video_tokens(self, media: dict[str, Tensor]) -> int:
        return int(media["video_grid_thw"].prod()) // self.processor.video_processor.merge_size**2

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        if "video_grid_thw" in media:
            video = self.processor.video_token
            prompt = prompt.replace(video, video * self.video_tokens(media))
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        return {"vision": len(media["pixel_values_videos"])} if "pixel_values_videos" in media else {}

    @property
    def fingerprint(self) -> str:
        options = [self.processor.video_processor.to_dict(), self.frame_size, self.num_frames, str(self.core.dtype)]
        extractor = getattr(self.processor, "feature_extractor", None)
        if extractor is not None:
            options.append(extractor.to_dict())
        return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]


def frame_step_s(times_s: np.ndarray) -> float:
    """Mean seconds between neighbouring frames; a single frame counts for one second.

    >>> frame_step_s(np.array([0.0, 0.5, 1.0]))
    0.5
    """
    return float(np.diff(times_s).mean()) if len(times_s) > 1 else 1.0
