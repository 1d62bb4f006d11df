"""What transformers must be like for the models here, and what the seam makes of its versions."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from affectllm.errors import AffectError
from affectllm.models import load, load_shape
from affectllm.models.base import seam
from affectllm.models.base.tokens import add_token_types
from tests.clips import conversation, write_clip
from tests.contracts import Accepts, Attributes, Method, Names, Row, Text
from tests.tiny_models import TINY, need, save_tiny_affect, save_tiny_omni

BACKBONE, SHARED = "affectllm/models/base/backbone.py", "affectllm/training/grpo/shared.py"
AFFECT = "affectllm/models/families/affect/modeling_affect.py"
GENERATION = "transformers:GenerationMixin"
QWEN, QWEN3 = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl", "transformers.models.qwen3_vl.modeling_qwen3_vl"
GEMMA = "transformers.models.gemma4.modeling_gemma4"
BODY = ("input_ids", "attention_mask", "position_ids", "inputs_embeds", seam.CACHE)
ROWS: list[Row] = [
    Method(
        f"{GENERATION}._prepare_position_ids_for_generation", ("inputs_tensor", "model_kwargs"),
        f"{BACKBONE} and qwen_vl.py",
    ),
    Accepts(
        f"{GENERATION}.prepare_inputs_for_generation", ("input_ids", "is_first_iteration", "kwargs"),
        f"{AFFECT} and gemma4.py",
    ),
    Text(f"{GENERATION}._validate_model_kwargs", ("signature(self.forward)",), f"{AFFECT}, whose forward names both"),
    Method("transformers:PreTrainedModel._from_config", ("config",), "affectllm/models/__init__.py"),
    Method("transformers:PreTrainedModel._init_weights", ("module",), AFFECT),
    Names(
        "transformers:PreTrainedModel",
        ("_no_split_modules", "_skip_keys_device_placement", "_supports_sdpa", "_supports_flash_attn",
         "_supports_attention_backend", "_tied_weights_keys", "supports_gradient_checkpointing", "input_modalities",
         "set_attn_implementation", "base_model", "loss_function"),
        f"{AFFECT} and affectllm/training/spread.py",
    ),
    Text("transformers:PreTrainedModel.post_init", ("_skip_keys_device_placement.update",), AFFECT),
    Names("transformers:PreTrainedConfig", ("_attn_implementation", "get_text_config"), SHARED),
    Names("transformers.initialization:", ("normal_", "constant_", "copy_"), AFFECT),
    Method(
        "transformers.models.whisper.modeling_whisper:WhisperEncoderLayer.forward", ("hidden_states", "attention_mask"),
        "affectllm/models/families/affect/voice.py",
    ),
    Method("transformers:Cache.batch_select_indices", ("indices",), SHARED),
    Names("transformers:Cache", ("get_seq_length",), "affectllm/models/base/tokens.py"),
    Names("transformers.modeling_outputs:CausalLMOutputWithPast", (seam.CACHE,), AFFECT),
    Accepts("transformers:LlamaModel.forward", ("inputs_embeds", "attention_mask", "position_ids", seam.CACHE), AFFECT),
    Accepts(f"{QWEN}:Qwen2_5_VLModel.forward", (*BODY, "mm_token_type_ids"), "affectllm/models/base/tokens.py"),
    Accepts(f"{QWEN3}:Qwen3VLModel.forward", (*BODY, "mm_token_type_ids"), "affectllm/models/base/tokens.py"),
    Accepts(f"{GEMMA}:Gemma4Model.forward", (*BODY, "mm_token_type_ids"), "affectllm/models/base/tokens.py"),
    Method(f"{QWEN}:Qwen2_5_VLModel.get_video_features", ("pixel_values_videos", "video_grid_thw"), "qwen.py"),
    Method(f"{QWEN3}:Qwen3VLModel.get_video_features", ("pixel_values_videos", "video_grid_thw"), "qwen3_vl.py"),
    Names(f"{QWEN3}:BaseModelOutputWithDeepstackFeatures", ("pooler_output", "deepstack_features"), "qwen3_vl.py"),
    Method("transformers:Qwen3VLProcessor.replace_video_token", ("video_inputs", "video_idx"), "qwen3_vl.py"),
    Method("transformers:Gemma4Processor.replace_video_token", ("video_inputs", "video_idx"), "gemma4.py"),
    Method("transformers:Gemma4Processor.replace_audio_token", ("audio_inputs", "audio_idx"), "gemma4.py"),
    Accepts("transformers.video_utils:VideoMetadata", ("total_num_frames", "fps", "frames_indices"), "tokens.py"),
    Attributes(
        GENERATION, ("_prepare_position_ids_for_generation", "prepare_inputs_for_generation"),
        "qwen_vl.py and gemma4.py, which set them on an instance",
    ),
]  # fmt: skip
OMNI = "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni:Qwen2_5OmniThinkerModel"
OMNI_ROWS: list[Row] = [
    Accepts(f"{OMNI}.forward", (*BODY, "video_second_per_grid", "feature_attention_mask"), "qwen_omni.py"),
    Method(f"{OMNI}.get_video_features", ("pixel_values_videos", "video_grid_thw"), "qwen.py"),
    Method(f"{OMNI}.get_audio_features", ("input_features", "feature_attention_mask"), "qwen_omni.py"),
    Attributes(OMNI, ("visual", "audio_tower", "language_model"), "qwen.py and qwen_omni.py"),
]

TYPED = ("Qwen2.5-VL", "Qwen3-VL", "Gemma 4")
"""Families whose bodies want the kind of every token of a prompt."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.place} {type(row).__name__}")
def test_transformers_is_as_the_models_need_it(row: Row) -> None:
    change = row.change()
    assert change is None, change


@pytest.mark.parametrize("row", OMNI_ROWS, ids=lambda row: f"{row.place} {type(row).__name__}")
def test_the_thinker_is_as_its_backbone_needs_it(row: Row) -> None:
    need("Qwen2.5-Omni Thinker")
    change = row.change()
    assert change is None, change


def test_a_thinker_of_another_layout_is_refused_with_the_version_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_omni(tmp_path)
    monkeypatch.setattr(seam, "INSTALLED", "5.20.2")
    for read in (load, load_shape):
        with pytest.raises(AffectError, match=r"needs transformers 5\.21 or newer; installed is 5\.20\.2"):
            read(str(tmp_path))


class Body(torch.nn.Module):
    """A model's body that says which tokens it takes for a video."""

    config = SimpleNamespace(image_token_id=5, video_token_id=6)

    def forward(self, input_ids: torch.Tensor, mm_token_type_ids: Any = None, **cache: Any) -> Any:
        return None if mm_token_type_ids is None else mm_token_type_ids.tolist()


def filled(tokens: int) -> DynamicCache:
    """A cache of one layer that holds this many tokens."""
    cache = DynamicCache()
    if tokens:
        cache.update(torch.zeros(1, 1, tokens, 2), torch.zeros(1, 1, tokens, 2), 0)
    return cache


@pytest.mark.parametrize("name", seam.CACHE_NAMES)
def test_a_prompt_gets_token_types_and_a_decoding_step_does_not(name: str) -> None:
    body = Body()
    body.register_forward_pre_hook(add_token_types, with_kwargs=True)
    ids = torch.tensor([[7, 6, 5]])
    assert body(input_ids=ids, **{name: None}) == [[0, 2, 1]]
    assert body(input_ids=ids, **{name: filled(0)}) == [[0, 2, 1]]
    assert body(input_ids=ids, **{name: filled(3)}) is None


@pytest.mark.parametrize("family", TYPED)
def test_generation_types_the_prompt_alone_and_warns_of_no_old_name(family: str, tmp_path: Path) -> None:
    backbone = load(str(TINY[family](tmp_path / "model")), dtype="float32")
    write_clip(tmp_path / "clip.mp4", seconds=1.0)
    sample = backbone.sample(conversation("clip", ["happy"], parts=("video",)), tmp_path)
    seen: list[tuple[int, bool]] = []

    def watch(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append((kwargs["input_ids"].shape[1], kwargs.get("mm_token_type_ids") is not None))

    backbone.core.model.register_forward_pre_hook(watch, with_kwargs=True)
    backbone.core.generation_config.eos_token_id = None
    ids = torch.tensor([sample.prompt_ids])
    with warnings.catch_warnings():
        # Set after `load`, whose filters hide the old names that TRL still uses.
        warnings.simplefilter("error", FutureWarning)
        backbone.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False, **sample.media
        )
    assert seen == [(len(sample.prompt_ids), True), (1, False), (1, False)]


@pytest.fixture(scope="module")
def affect(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(str(save_tiny_affect(tmp_path_factory.mktemp("affect"))), dtype="float32").core.eval()


@pytest.mark.parametrize("name", seam.CACHE_NAMES)
def test_the_composed_model_takes_its_cache_under_either_name(affect: Any, name: str) -> None:
    ids = torch.tensor([[20, 21, 22, 23]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        whole = affect(input_ids=ids).logits[:, -1]
        read = affect(input_ids=ids[:, :-1], use_cache=True)
        step = affect(input_ids=ids[:, -1:], **{name: getattr(read, seam.CACHE)})
    torch.testing.assert_close(step.logits[:, -1], whole, atol=1e-5, rtol=1e-5)
    assert seam.cache_in(dict(step)).get_seq_length() == 4


def test_the_composed_models_cache_stays_where_it_is_on_several_devices(affect: Any) -> None:
    assert seam.CACHE in affect._skip_keys_device_placement
