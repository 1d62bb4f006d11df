"""Random models of a few thousand parameters, built offline: the real classes, without the weights."""

from pathlib import Path
from typing import Any

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


def save_tiny_affect(folder: Path, seed: int = 0) -> Path:
    """A composed model of the embedded one's class, saved as a folder."""
    from transformers import LlamaConfig, WhisperConfig

    from affectllm.models.affect import (
        AffectConfig,
        AffectFeatureExtractor,
        AffectForConditionalGeneration,
        AffectProcessor,
    )
    from affectllm.models.affect.processing_affect import FACE, FUSION, VOICE

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
        audio_config=audio.to_dict(),
        fusion_size=16,
        fusion_heads=2,
        face_token_id=ids[0],
        voice_token_id=ids[1],
        fusion_token_id=ids[2],
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    model = AffectForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    AffectProcessor(AffectFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


OMNI_TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['content'] is string -%}{{ m['content'] }}{%- else -%}{%- for c in m['content'] -%}"
    "{%- if c['type'] == 'image' -%}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{%- elif c['type'] == 'video' -%}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{%- elif c['type'] == 'audio' -%}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{%- else -%}{{ c['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def save_tiny_omni(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """A Qwen2.5-Omni Thinker with random weights, saved as a folder."""
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    media = {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, *media.values()], **media)
    torch.manual_seed(seed)
    model = Qwen2_5OmniThinkerForConditionalGeneration(tiny_omni_config(tokenizer, hidden))
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}),
        video_processor=Qwen2VLVideoProcessor(
            size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}, cap_pixels_per_frame=True
        ),
        feature_extractor=WhisperFeatureExtractor(feature_size=16, chunk_length=30, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=OMNI_TEMPLATE,
    )
    processor.save_pretrained(folder)
    return folder


def tiny_omni_config(tokenizer: PreTrainedTokenizerFast, hidden: int) -> Any:
    from transformers import Qwen2_5OmniThinkerConfig

    ids = tokenizer.convert_tokens_to_ids
    half = hidden // 4 // 2
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [half // 2, half // 4, half - half // 2 - half // 4],
    }
    config = Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            "rope_parameters": rope,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
        },
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
