"""Build a composed model from a language model, an image tower and a speech encoder. The fusion is untrained."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer

from affectllm import precision
from affectllm.errors import AffectError
from affectllm.models.families.affect.configuration_affect import AffectConfig
from affectllm.models.families.affect.modeling_affect import AffectForConditionalGeneration
from affectllm.models.families.affect.processing_affect import (
    FACE,
    FUSION,
    VOICE,
    AffectFeatureExtractor,
    AffectProcessor,
)

TURNS = ("<|im_start|>", "<|im_end|>")


def compose(llm: str, vision: str, audio: str, out: Path, dtype: str, seed: int = 7, **options: Any) -> None:
    """Save a model of these parts as a folder that `affectllm.models.load` takes; `options` go into its config.

    `llm` is any causal language model, `vision` a CLIP, SigLIP or DINOv2, `audio` a HuBERT, WavLM or Whisper: folders
    or hub names. `dtype` is the precision they are stored in, "auto" that of the language model's files; the fusion is
    float32. Raises AffectError for parts of another kind.
    """
    tokenizer = AutoTokenizer.from_pretrained(llm)
    stored = "auto" if dtype == "auto" else precision.named(dtype)
    language_model = AutoModelForCausalLM.from_pretrained(llm, dtype=stored)
    given = language_model.dtype
    add_tokens(tokenizer, language_model)
    face_id, voice_id, fusion_id = tokenizer.convert_tokens_to_ids([FACE, VOICE, FUSION])
    embeddings: Any = language_model.get_input_embeddings()
    special: dict[str, Any] = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AffectConfig(
        text_config=language_model.config.to_dict(),
        vision_config=part_of(vision, "vision_config"),
        audio_config=part_of(audio, "audio_config"),
        token_scale=float(embeddings.weight.detach().float().std()),
        face_token_id=face_id,
        voice_token_id=voice_id,
        fusion_token_id=fusion_id,
        tie_word_embeddings=language_model.config.tie_word_embeddings,
        **special,
        **options,
    )
    torch.manual_seed(seed)
    model = AffectForConditionalGeneration(config)
    body: Any = model.model
    for part in (body.language_model, body.face_encoder, body.voice_encoder, model.lm_head):
        part.to(given)
    body.language_model.load_state_dict(language_model.model.state_dict())
    model.lm_head.load_state_dict(language_model.get_output_embeddings().state_dict())
    tower = body.face_encoder.tower
    tower.load_state_dict(type(tower).from_pretrained(vision, dtype=given).state_dict())
    if config.audio_config.model_type == "whisper":
        whisper = AutoModel.from_pretrained(audio, dtype=given).encoder.state_dict()
        body.voice_encoder.load_state_dict({name: whisper[name] for name in body.voice_encoder.state_dict()})
    else:
        body.voice_encoder.tower.load_state_dict(AutoModel.from_pretrained(audio, dtype=given).state_dict())
    model.tie_weights()
    model.generation_config.update(**special)
    model.save_pretrained(out)
    AffectProcessor(AffectFeatureExtractor.of(config, image_options(vision)), tokenizer).save_pretrained(out)


def add_tokens(tokenizer: Any, language_model: Any) -> None:
    """Placeholders of media, and the marks of a turn where the language model has none."""
    missing = [mark for mark in TURNS if tokenizer.convert_tokens_to_ids(mark) in (None, tokenizer.unk_token_id)]
    tokenizer.add_special_tokens({"additional_special_tokens": [*missing, FACE, VOICE, FUSION]})
    tokenizer.eos_token = TURNS[1]
    tokenizer.pad_token = tokenizer.pad_token or TURNS[1]
    embeddings = language_model.get_input_embeddings().weight
    # Embedding tables are often larger than the vocabulary; then the new tokens have rows already.
    if len(tokenizer) > len(embeddings):
        language_model.resize_token_embeddings(len(tokenizer))


def part_of(name: str, part: str) -> dict[str, Any]:
    """The config of an encoder, alone or inside a two-tower model such as CLIP."""
    config = AutoConfig.from_pretrained(name)
    inner = getattr(config, part, None)
    return (config if inner is None else inner).to_dict()


def image_options(vision: str) -> dict[str, Any]:
    processor = AutoImageProcessor.from_pretrained(vision)
    size = getattr(processor, "crop_size", None) or processor.size
    if not size or not size["height"]:
        raise AffectError(f"The image processor of {vision} names no height and width: {processor.size}.")
    return {"size": size["height"], "mean": list(processor.image_mean), "std": list(processor.image_std)}
