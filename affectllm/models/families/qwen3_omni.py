"""Qwen3-Omni's Thinker as a backbone: a mixture of experts with 13 audio tokens a second.

Adapters sit on the attention layers: the experts are fused tensors, not linear layers, and stay as they are.
"""

import re

from torch import Tensor, nn

from affectllm.models.base.family import Family
from affectllm.models.families.qwen_omni import QwenOmniBackbone

FAMILY = Family(
    name="Qwen3-Omni Thinker",
    types=("qwen3_omni_moe_thinker", "qwen3_omni_moe"),
    model="transformers:Qwen3OmniMoeThinkerForConditionalGeneration",
    backbone="Qwen3OmniBackbone",
    modalities=("video", "audio"),
    example="Qwen/Qwen3-Omni-30B-A3B-Instruct",
    # As for Qwen2.5-Omni.
    since="5.21",
)


class Qwen3OmniBackbone(QwenOmniBackbone):
    def adapter_targets(self) -> list[str]:
        # For a mixture of experts, PEFT takes a pattern apart into bare names such as "q_proj", which sit in the audio
        # encoder too, and adds the experts. Whole names are left as they are.
        return [name for name, _ in self.core.named_modules() if re.fullmatch(self.lora_targets, name)]

    def frozen_encoders(self) -> list[nn.Module]:
        # Its language model reads states of the vision encoder in several layers, not at the placeholders alone.
        return []

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        sound = {"audio": self.audio_tokens(media["input_features"].shape[-1])} if "input_features" in media else {}
        return super().encoder_rows(media) | sound

    def audio_tokens(self, frames: int) -> int:
        return audio_tokens(frames, self.core.config.audio_config.n_window)


def audio_tokens(frames: int, n_window: int = 50) -> int:
    """Number of tokens for a number of mel frames: the encoder reads windows of 2 x `n_window` frames, 13 tokens each.

    The rest, shorter than a window, passes three convolutions of stride 2.

    >>> audio_tokens(250)
    33
    """
    windows, rest = divmod(frames, 2 * n_window)
    for _ in range(3):
        rest = (rest + 1) // 2
    return 13 * windows + rest
