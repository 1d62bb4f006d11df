"""Gemma 4 as a backbone: native video and audio; in the prompt each frame comes after its minute and second."""

import hashlib
import json
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectllm.errors import AffectError
from affectllm.media.audio import RATE_HZ
from affectllm.models.base import seam
from affectllm.models.base.backbone import TIMES, Backbone, Look, Media
from affectllm.models.base.family import Family
from affectllm.models.base.tokens import add_token_types, metadata, token_types

FAMILY = Family(
    name="Gemma 4",
    types=("gemma4",),
    model="transformers:Gemma4ForConditionalGeneration",
    backbone="Gemma4Backbone",
    modalities=("video", "audio"),
    example="google/gemma-4-e2b-it",
)


class Gemma4Backbone(Backbone):
    modalities = FAMILY.modalities
    parts = {
        "projector": r"model\.embed_(vision|audio)\.",
        "vision": r"model\.vision_tower\.",
        "audio": r"model\.audio_tower\.",
        "llm": r"model\.language_model\.|lm_head\.",
    }
    never_quantised = (
        "model.vision_tower",
        "model.audio_tower",
        "model.embed_vision",
        "model.embed_audio",
        "lm_head",
    )
    lora_targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        # This is not a subclass, for the reason given in qwen_vl.py.
        model.model.register_forward_pre_hook(add_token_types, with_kwargs=True)
        self.counts_frames = not seam.older_than("5.23")
        if not self.counts_frames:
            seam.read_frames_alone(model.model)
        model.prepare_inputs_for_generation = MethodType(prepare_inputs, model)

    @property
    def placeholders(self) -> dict[str, int]:
        return {"video": self.processor.video_token_id, "audio": self.processor.audio_token_id}

    @property
    def media_token_ids(self) -> list[int]:
        p = self.processor
        marks = self.tokenizer.convert_tokens_to_ids([p.boi_token, p.eoi_token, p.boa_token, p.eoa_token])
        return [p.image_token_id, p.video_token_id, p.audio_token_id, *marks]

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        if media.frames_THWC is not None and media.times_s is not None:
            made |= self.video(media.frames_THWC, media.times_s)
        if media.wave is not None:
            made |= self.audio(media.wave)
        return made

    def video(self, frames_THWC: np.ndarray, times_s: np.ndarray) -> dict[str, Tensor]:
        """Patches (T, patches, values), places (T, patches, 2), times (1, T); the frame count (1,) if it is asked."""
        frames = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)
        made = self.processor.video_processor([frames], do_sample_frames=False, return_tensors="pt")
        # Until transformers 5.18 the number of clips, here 1, is the first dimension.
        patches, places = (made[name].flatten(0, -3) for name in ("pixel_values_videos", "video_position_ids"))
        return {
            "pixel_values_videos": patches.to(self.dtype),
            "video_position_ids": places,
            TIMES: torch.from_numpy(times_s)[None],
            **({"num_frames_per_video": torch.tensor([len(frames_THWC)])} if self.counts_frames else {}),
        }

    def audio(self, wave: np.ndarray) -> dict[str, Tensor]:
        """Mel features (1, frames, mels) and their mask (1, frames)."""
        longest_s = self.processor.audio_seq_length * self.processor.audio_ms_per_token / 1000
        if len(wave) > longest_s * RATE_HZ:
            # The extractor would silently cut off the rest.
            raise AffectError(
                f"{len(wave) / RATE_HZ:.1f} s of sound; {self.name} reads {longest_s:.0f} s. "
                "Cut the clip with start_s and end_s."
            )
        made = self.processor.feature_extractor([wave], sampling_rate=RATE_HZ, return_tensors="pt")
        return {
            "input_features": made["input_features"].to(self.dtype),
            "input_features_mask": made["input_features_mask"],
        }

    def media_tokens(self, used: Sequence[str], look: Callable[[], Look]) -> int:
        """Per frame the most that the processor allows, which most shapes nearly reach; audio by its seconds."""
        shown = self.num_frames * self.processor.video_processor.max_soft_tokens * ("video" in used)
        return shown + (round(look().sound_s * 1000 / self.processor.audio_ms_per_token) if "audio" in used else 0)

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        """Patches, padding included; audio frames after two convolutions of stride 2."""
        rows = {}
        if "pixel_values_videos" in media:
            rows["vision"] = media["pixel_values_videos"].shape[:2].numel()
        if "input_features" in media:
            rows["audio"] = media["input_features"].shape[1] // 4
        return rows

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        """The processor's own text for clip and sound, with the clip's own times."""
        p = self.processor
        if "video_position_ids" in media:
            places = media["video_position_ids"][0]
            patches = int((places != -1).all(-1).sum())
            inputs = {
                "num_soft_tokens_per_video": [patches // p.video_processor.pooling_kernel_size**2],
                "video_metadata": [metadata(media[TIMES][0])],
            }
            prompt = prompt.replace(p.video_token, p.replace_video_token(inputs, 0))
        if "input_features_mask" in media:
            prompt = prompt.replace(p.audio_token, p.replace_audio_token(media, 0))
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    @property
    def fingerprint(self) -> str:
        options = [part.to_dict() for part in (self.processor.video_processor, self.processor.feature_extractor)]
        options += [self.num_frames, str(self.dtype)]
        return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]


def prepare_inputs(model: Any, input_ids: Tensor, is_first_iteration: bool = False, **kwargs: Any) -> dict[str, Any]:
    """The stock inputs of `generate`, with the kind of every token of the prompt known.

    The larger sizes let the tokens of a frame attend to each other both ways; masks made ahead of the forward, as for
    a static cache, need the kinds here.
    """
    kinds = token_types(model.config, input_ids) if is_first_iteration else None
    seam.tell_masks(model, kinds)
    kwargs["mm_token_type_ids"] = kinds
    return type(model).prepare_inputs_for_generation(model, input_ids, is_first_iteration=is_first_iteration, **kwargs)
