"""The composed model as a backbone: encoders are frozen, so a clip is encoded once and its features are kept."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Look, Media
from affectllm.models.base.family import Family

FAMILY = Family(
    name="AffectLLM",
    types=("affectllm",),
    model="affectllm.models.families.affect:AffectForConditionalGeneration",
    backbone="AffectBackbone",
    modalities=("video", "audio"),
    example="nano",
    untested="parts larger than those of the nano model",
)


class AffectBackbone(Backbone):
    lora_targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    trained_modules = ("fusion",)
    never_quantised = ("model.face_encoder", "model.voice_encoder", "model.fusion", "lm_head")
    encoders_in_forward = False
    parts = {
        "projector": r"model\.fusion\.",
        "vision": r"model\.face_encoder\.",
        "audio": r"model\.voice_encoder\.",
        "llm": r"model\.language_model\.|lm_head\.",
    }

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        super().__init__(model, processor, name)
        # They are frozen here rather than in the model, since loading weights creates new parameters.
        model.model.face_encoder.requires_grad_(False)
        model.model.voice_encoder.requires_grad_(False)

    @property
    def media_token_ids(self) -> list[int]:
        return self.core.config.media_token_ids

    @property
    def placeholders(self) -> dict[str, int]:
        config = self.core.config
        return {"video": config.face_token_id, "audio": config.voice_token_id, "fusion": config.fusion_token_id}

    @property
    def num_frames(self) -> int:
        return self.processor.feature_extractor.num_frames

    def set_frames(self, frames: int) -> None:
        if frames != self.num_frames:
            raise AffectError(
                f"{self.name} is made for {self.num_frames} frames: leave out --frames {frames}, or compose a model of "
                "as many with `affectllm models compose --num-frames`."
            )

    def preprocess(self, media: Media) -> dict[str, Tensor]:
        raw = self.processor.feature_extractor(
            videos=None if media.frames_THWC is None else [media.frames_THWC],
            audio=None if media.wave is None else [media.wave],
        )
        device = next(self.core.model.face_encoder.parameters()).device
        if device.type == "meta":
            # A plan from a config alone has no weights to encode with; a forward takes the raw inputs as well.
            return dict(raw)
        kept = {"prosody": raw.pop("prosody")} if "prosody" in raw else {}
        with self.computing():
            encoded = self.core.encode_media(**{name: tensor.to(device) for name, tensor in raw.items()})
        return {name: tensor.float().cpu() for name, tensor in {**encoded, **kept}.items()}

    def encoders_ahead(self) -> list[nn.Module]:
        return [self.core.model.face_encoder, self.core.model.voice_encoder]

    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        return self.tokenizer(self.processor.widen(prompt), add_special_tokens=False)["input_ids"]

    def media_tokens(self, used: Sequence[str], look: Callable[[], Look]) -> int:
        """The exact number of tokens: every clip takes the same."""
        extractor = self.processor.feature_extractor
        face, voice = extractor.face_tokens * ("video" in used), extractor.voice_tokens * ("audio" in used)
        return face + voice + extractor.fusion_tokens * bool(used)

    @property
    def fingerprint(self) -> str:
        """A key over the extractor's options, every weight of the two encoders, and the precision that they run in."""
        options = [self.processor.feature_extractor.to_dict(), str(self.dtype)]
        digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
        for encoder in (self.core.model.face_encoder, self.core.model.voice_encoder):
            for name, weight in encoder.state_dict().items():
                digest.update(name.encode())
                digest.update(weight.detach().to("cpu", torch.float32).numpy().tobytes())
        return digest.hexdigest()[:16]
