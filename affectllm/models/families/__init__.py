"""The families of models that can be trained, judged and shown here; importing this loads neither torch nor weights."""

from typing import NamedTuple


class Family(NamedTuple):
    """One row of `affectllm models list`."""

    name: str
    types: tuple[str, ...]
    """`model_type` in config.json of what can be loaded: the model itself, or a full checkpoint that holds it."""
    model: str
    """module:class that is loaded."""
    backbone: str
    """module:class around it."""
    modalities: tuple[str, ...]
    example: str
    """What --model may be."""
    untested: str
    """What no test of this project has run."""
    since: str = ""
    """The first transformers with its parts and its positions as they are needed here; empty where all tried ones have
    them so."""

    @property
    def tested(self) -> str:
        return "random instance of a few thousand parameters, built offline: tests/models/test_families.py"


HUB_WEIGHTS = "published weights"

FAMILIES = (
    Family(
        "AffectLLM",
        ("affectllm",),
        "affectllm.models.families.affect:AffectForConditionalGeneration",
        "affectllm.models.families.affect.backbone_affect:AffectBackbone",
        ("video", "audio"),
        "nano",
        "parts larger than those of the nano model",
    ),
    Family(
        "Qwen2.5-Omni Thinker",
        ("qwen2_5_omni_thinker", "qwen2_5_omni"),
        "transformers:Qwen2_5OmniThinkerForConditionalGeneration",
        "affectllm.models.families.qwen_omni:QwenOmniBackbone",
        ("video", "audio"),
        "Qwen/Qwen2.5-Omni-7B",
        HUB_WEIGHTS,
        # Before, the encoders were no part of the model's body, and no fused head of TRL could run it.
        since="5.21",
    ),
    Family(
        "Qwen3-Omni Thinker",
        ("qwen3_omni_moe_thinker", "qwen3_omni_moe"),
        "transformers:Qwen3OmniMoeThinkerForConditionalGeneration",
        "affectllm.models.families.qwen3_omni:Qwen3OmniBackbone",
        ("video", "audio"),
        "Qwen/Qwen3-Omni-30B-A3B-Instruct",
        HUB_WEIGHTS,
        since="5.21",
    ),
    Family(
        "Qwen2.5-VL",
        ("qwen2_5_vl",),
        "transformers:Qwen2_5_VLForConditionalGeneration",
        "affectllm.models.families.qwen_vl:QwenVLBackbone",
        ("video",),
        "Qwen/Qwen2.5-VL-7B-Instruct",
        HUB_WEIGHTS,
        # Before, grid steps of less than a second all stood at one time.
        since="5.18",
    ),
    Family(
        "Qwen3-VL",
        ("qwen3_vl",),
        "transformers:Qwen3VLForConditionalGeneration",
        "affectllm.models.families.qwen3_vl:Qwen3VLBackbone",
        ("video",),
        "Qwen/Qwen3-VL-8B-Instruct",
        HUB_WEIGHTS,
    ),
    Family(
        "Gemma 4",
        ("gemma4",),
        "transformers:Gemma4ForConditionalGeneration",
        "affectllm.models.families.gemma4:Gemma4Backbone",
        ("video", "audio"),
        "google/gemma-4-e2b-it",
        HUB_WEIGHTS,
    ),
)
