"""What the Qwen families share: frames as patches with their own times, and the kinds of tokens that M-RoPE reads.

Differences from the stock processor call, each with its reason:
- one clip per call, since the processor takes one frame rate per call and clips differ in length;
- seconds per grid step from the frames' own times, not from a nominal rate.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.models.base import seam, segments
from affectllm.models.base.backbone import Backbone, Look, Media


class QwenBackbone(Backbone):
    """Video of a Qwen model. A family adds its audio, or how it writes time into the prompt."""

    lora_targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    seconds_key: str
    """The forward's name for seconds per grid step."""

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        segments.use(self.towers())

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
            "pixel_values_videos": made["pixel_values_videos"].to(self.dtype),
            "video_grid_thw": made["video_grid_thw"],
        }

    @property
    def frame_size(self) -> dict[str, int]:
        """Smallest and largest number of pixels of a clip. The processor's setting overrides its video processor's."""
        return seam.video_options(self.processor).get("size") or dict(self.processor.video_processor.size)

    def set_pixels(self, max_pixels: int) -> None:
        least = (self.processor.video_processor.patch_size * self.processor.video_processor.merge_size) ** 2
        if max_pixels < least:
            raise AffectError(f"--max-pixels {max_pixels}: {self.name} makes a token of {least} pixels.")
        # The mapping is copied, since processors of one class share theirs.
        self.processor.videos_kwargs = {**seam.video_options(self.processor), "size": self.size_of(max_pixels)}

    def size_of(self, max_pixels: int) -> dict[str, int]:
        """The processor's limits for frames of at most `max_pixels` pixels each."""
        return {"shortest_edge": min(self.frame_size["shortest_edge"], max_pixels), "longest_edge": max_pixels}

    def video_tokens(self, media: dict[str, Tensor]) -> int:
        return int(media["video_grid_thw"].prod()) // self.processor.video_processor.merge_size**2

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        if "video_grid_thw" in media:
            video = self.processor.video_token
            prompt = prompt.replace(video, video * self.video_tokens(media))
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def media_tokens(self, used: Sequence[str], look: Callable[[], Look]) -> int:
        """The number by the pixels that the video processor leaves of the frames."""
        if "video" not in used:
            return 0
        processor = self.processor.video_processor
        steps = -(-self.num_frames // processor.temporal_patch_size)
        patch = processor.patch_size * processor.merge_size
        return round(steps * self.pixels_left(look()) / patch**2)

    def pixels_left(self, clip: Look) -> float:
        """Size of a frame within the limits that the processor sets for a frame."""
        size = self.frame_size
        return min(max(clip.width * clip.height, size["shortest_edge"]), size["longest_edge"])

    def towers(self) -> list[nn.Module]:
        """The encoders, as modules of the model's body."""
        return [self.core.model.visual]

    def frozen_encoders(self) -> list[nn.Module]:
        towers = self.towers()
        return [] if any(p.requires_grad for tower in towers for p in tower.parameters()) else towers

    def encode(self, media: dict[str, Tensor]) -> dict[str, Tensor]:
        """`video_tokens` (tokens, width) for `place_tokens` in the place of patches; positions still need the rest."""
        if "pixel_values_videos" not in media or not self.frozen_encoders():
            return media
        device = self.core.model.visual.device
        patches, grid = (media[name].to(device) for name in ("pixel_values_videos", "video_grid_thw"))
        rest = {name: tensor for name, tensor in media.items() if name != "pixel_values_videos"}
        with torch.no_grad(), self.computing():
            return {**rest, "video_tokens": self.encode_video(patches, grid)}

    def encode_video(self, patches: Tensor, grid: Tensor) -> Tensor:
        return torch.cat(self.core.model.get_video_features(patches, grid, return_dict=True).pooler_output)

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        return {"vision": len(media["pixel_values_videos"])} if "pixel_values_videos" in media else {}

    @property
    def fingerprint(self) -> str:
        options = [self.processor.video_processor.to_dict(), self.frame_size, self.num_frames, str(self.dtype)]
        extractor = getattr(self.processor, "feature_extractor", None)
        if extractor is not None:
            options.append(extractor.to_dict())
        return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]


def place_tokens(body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook of the body: it puts encoded media at their placeholders, as the body itself would."""
    names = {"video_tokens": "video_token_id", "audio_tokens": "audio_token_id"}
    given = {getattr(body.config, names[name]): kwargs.pop(name) for name in names if kwargs.get(name) is not None}
    if given:
        ids = kwargs["input_ids"]
        embeds = body.get_input_embeddings()(ids)
        for token, values in given.items():
            embeds = embeds.masked_scatter((ids == token)[..., None], values.to(embeds.device, embeds.dtype))
        kwargs["inputs_embeds"] = embeds
    return args, kwargs


def frame_step_s(times_s: np.ndarray) -> float:
    """Mean seconds between neighbouring frames; a single frame counts for one second.

    >>> frame_step_s(np.array([0.0, 0.5, 1.0]))
    0.5
    """
    return float(np.diff(times_s).mean()) if len(times_s) > 1 else 1.0
