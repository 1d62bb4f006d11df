"""Random models of a few thousand parameters, built offline: the real classes, without the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END, START = "<|im_end|>", "<|im_start|>"


def byte_tokenizer(special: list[str], **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer of 256 bytes and the special tokens given; `named` become attributes such as video_token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(special + alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token="<|endoftext|>",
        padding_side="left",
        extra_special_tokens=named or special,
    )


def save_tiny_affect(folder: Path, seed: int = 0, image: dict[str, Any] | None = None, **parts: Any) -> Path:
    """A composed model of the embedded one's class, saved as a folder; `parts` go into its config."""
    from transformers import LlamaConfig, WhisperConfig

    from affectllm.models.families.affect import (
        AffectConfig,
        AffectFeatureExtractor,
        AffectForConditionalGeneration,
        AffectProcessor,
    )
    from affectllm.models.families.affect.processing_affect import FACE, FUSION, VOICE

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, FACE, VOICE, FUSION])
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    audio = WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80)
    ids = tokenizer.convert_tokens_to_ids([FACE, VOICE, FUSION])
    config = AffectConfig(
        text_config=text.to_dict(),
        fusion_size=16,
        fusion_heads=2,
        face_token_id=ids[0],
        voice_token_id=ids[1],
        fusion_token_id=ids[2],
        eos_token_id=2,
        pad_token_id=0,
        **{"audio_config": audio.to_dict(), **parts},
    )
    torch.manual_seed(seed)
    model = AffectForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    AffectProcessor(AffectFeatureExtractor.of(config, image), tokenizer).save_pretrained(folder)
    return folder


OMNI_TOKENS = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
OMNI_TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['content'] is string -%}{{ m['content'] }}{%- else -%}{%- for c in m['content'] -%}"
    "{%- if c['type'] == 'image' -%}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{%- elif c['type'] == 'video' -%}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{%- elif c['type'] == 'audio' -%}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{%- else -%}{{ c['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def need(name: str) -> None:
    """Skip a test of a family that the installed transformers has in another form."""
    from affectllm.models import FAMILIES
    from affectllm.models.base import seam

    since = next(family.since for family in FAMILIES if family.name == name)
    if since and seam.older_than(since):
        pytest.skip(f"{name} needs transformers {since}")


def save_tiny_omni(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """A Qwen2.5-Omni Thinker with random weights, saved as a folder."""
    need("Qwen2.5-Omni Thinker")
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *OMNI_TOKENS.values()], **OMNI_TOKENS)
    torch.manual_seed(seed)
    model = Qwen2_5OmniThinkerForConditionalGeneration(tiny_omni_config(tokenizer, hidden))
    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}),
        video_processor=Qwen2VLVideoProcessor(
            size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}, cap_pixels_per_frame=True
        ),
        feature_extractor=WhisperFeatureExtractor(feature_size=16, chunk_length=30, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=OMNI_TEMPLATE,
    )
    return save(model, processor, folder)


def save(model: Any, processor: Any, folder: Path) -> Path:
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_omni_config(tokenizer: PreTrainedTokenizerFast, hidden: int) -> Any:
    from transformers import Qwen2_5OmniThinkerConfig

    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5OmniThinkerConfig(
        text_config=tiny_text(tokenizer, hidden),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 56,
            "out_hidden_size": hidden,
            "fullatt_block_indexes": [1],
        },
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "d_model": 32,
            "max_source_positions": 1500,
            "n_window": 50,
            "output_dim": hidden,
        },
        audio_token_index=ids("<|AUDIO|>"),
        image_token_index=ids("<|IMAGE|>"),
        video_token_index=ids("<|VIDEO|>"),
        audio_start_token_id=ids("<|audio_bos|>"),
        audio_end_token_id=ids("<|audio_eos|>"),
        user_token_id=ids("u"),
    )
    config.vision_start_token_id, config.vision_end_token_id = ids("<|vision_bos|>"), ids("<|vision_eos|>")
    return config


def tiny_text(tokenizer: PreTrainedTokenizerFast, hidden: int = 32, **more: Any) -> dict[str, Any]:
    """A language model of two layers with M-RoPE; the sections share half a head's width."""
    half = hidden // 4 // 2
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half // 2, half // 4, half - half // 2 - half // 4],
        },
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        **more,
    }


QWEN3_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 16,
    "out_hidden_size": 32,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}


def save_tiny_qwen3_omni(folder: Path, seed: int = 0) -> Path:
    """A Qwen3-Omni Thinker with four experts and random weights, saved as a folder."""
    need("Qwen3-Omni Thinker")
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3OmniMoeProcessor,
        Qwen3OmniMoeThinkerConfig,
        Qwen3OmniMoeThinkerForConditionalGeneration,
        WhisperFeatureExtractor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *OMNI_TOKENS.values()], **OMNI_TOKENS)
    ids = tokenizer.convert_tokens_to_ids
    text = tiny_text(tokenizer, head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2)
    text["rope_parameters"]["mrope_interleaved"] = True
    config = Qwen3OmniMoeThinkerConfig(
        text_config=text,
        vision_config=QWEN3_VISION,
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "d_model": 32,
            "output_dim": 32,
            "n_window": 50,
            "n_window_infer": 100,
            "downsample_hidden_size": 8,
        },
        audio_token_id=ids("<|AUDIO|>"),
        image_token_id=ids("<|IMAGE|>"),
        video_token_id=ids("<|VIDEO|>"),
        audio_start_token_id=ids("<|audio_bos|>"),
        user_token_id=ids("u"),
    )
    config.vision_start_token_id, config.vision_end_token_id = ids("<|vision_bos|>"), ids("<|vision_eos|>")
    config.audio_end_token_id = ids("<|audio_eos|>")
    torch.manual_seed(seed)
    model = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    processor = Qwen3OmniMoeProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16),
        video_processor=Qwen2VLVideoProcessor(
            patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 4 * 64 * 64}, cap_pixels_per_frame=True
        ),
        feature_extractor=WhisperFeatureExtractor(feature_size=16, chunk_length=30, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=OMNI_TEMPLATE,
    )
    return save(model, processor, folder)


VL_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
VL_TEMPLATE = (
    OMNI_TEMPLATE.replace("vision_bos", "vision_start")
    .replace("vision_eos", "vision_end")
    .replace("IMAGE", "image_pad")
    .replace("VIDEO", "video_pad")
)


def vl_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in VL_TOKENS.items()}


def save_tiny_qwen_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen2.5-VL with random weights, saved as a folder."""
    need("Qwen2.5-VL")
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *VL_TOKENS.values()], **VL_TOKENS)
    config = Qwen2_5_VLConfig(
        text_config=tiny_text(tokenizer),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 14,
            "window_size": 56,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        **vl_ids(tokenizer),
    )
    torch.manual_seed(seed)
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(
            size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}, cap_pixels_per_frame=True
        ),
        tokenizer=tokenizer,
        chat_template=VL_TEMPLATE,
    )
    return save(Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def save_tiny_qwen2_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen2-VL with random weights, saved as a folder; the family of docs/extend/model_family.md."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *VL_TOKENS.values()], **VL_TOKENS)
    config = Qwen2VLConfig(
        text_config=tiny_text(tokenizer),
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        **vl_ids(tokenizer),
    )
    torch.manual_seed(seed)
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}),
        tokenizer=tokenizer,
        chat_template=VL_TEMPLATE,
    )
    return save(Qwen2VLForConditionalGeneration(config), processor, folder)


def save_tiny_qwen3_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen3-VL with random weights, saved as a folder."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *VL_TOKENS.values()], **VL_TOKENS)
    text = tiny_text(tokenizer, head_dim=8)
    text["rope_parameters"]["mrope_interleaved"] = True
    config = Qwen3VLConfig(text_config=text, vision_config=QWEN3_VISION, **vl_ids(tokenizer))
    torch.manual_seed(seed)
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16),
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 4 * 32 * 32, "longest_edge": 8 * 64 * 64}, cap_pixels_per_frame=True
        ),
        tokenizer=tokenizer,
        chat_template=VL_TEMPLATE,
    )
    return save(Qwen3VLForConditionalGeneration(config), processor, folder)


GEMMA_TOKENS = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
GEMMA_TEMPLATE = (
    OMNI_TEMPLATE.replace("<|vision_bos|><|IMAGE|><|vision_eos|>", "<|image|>")
    .replace("<|vision_bos|><|VIDEO|><|vision_eos|>", "<|video|>")
    .replace("<|audio_bos|><|AUDIO|><|audio_eos|>", "<|audio|>")
)


def save_tiny_gemma4(folder: Path, seed: int = 0) -> Path:
    """A Gemma 4 with random weights, saved as a folder; clips attend both ways, as in its larger sizes."""
    from transformers import (
        Gemma4AudioFeatureExtractor,
        Gemma4Config,
        Gemma4ForConditionalGeneration,
        Gemma4ImageProcessor,
        Gemma4Processor,
        Gemma4VideoProcessor,
    )

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *GEMMA_TOKENS.values(), "<|video|>"], **GEMMA_TOKENS)
    ids = tokenizer.convert_tokens_to_ids
    config = Gemma4Config(
        text_config={
            "vocab_size": len(tokenizer),
            "vocab_size_per_layer_input": len(tokenizer),
            "hidden_size": 32,
            "hidden_size_per_layer_input": 8,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "global_head_dim": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "use_bidirectional_attention": "vision",
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "position_embedding_size": 64,
        },
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [128, 4],
            "output_proj_dims": 32,
        },
        image_token_id=ids("<|image|>"),
        boi_token_id=ids("<|image>"),
        eoi_token_id=ids("<image|>"),
        video_token_id=ids("<|video|>"),
        audio_token_id=ids("<|audio|>"),
        boa_token_id=ids("<|audio>"),
        eoa_token_index=ids("<audio|>"),
    )
    torch.manual_seed(seed)
    processor = Gemma4Processor(
        feature_extractor=Gemma4AudioFeatureExtractor(),
        image_processor=Gemma4ImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Gemma4VideoProcessor(max_soft_tokens=70),
        chat_template=GEMMA_TEMPLATE,
    )
    return save(Gemma4ForConditionalGeneration(config), processor, folder)


# Everything that `models.load` knows, by the name of its family.
TINY = {
    "AffectLLM": save_tiny_affect,
    "Qwen2.5-Omni Thinker": save_tiny_omni,
    "Qwen3-Omni Thinker": save_tiny_qwen3_omni,
    "Qwen2.5-VL": save_tiny_qwen_vl,
    "Qwen3-VL": save_tiny_qwen3_vl,
    "Gemma 4": save_tiny_gemma4,
}


def families(*often: str) -> list[Any]:
    """The families as test parameters: those named run in every test run, the others with the slow tests."""
    return [pytest.param(name, marks=() if name in often else pytest.mark.slow) for name in TINY]
