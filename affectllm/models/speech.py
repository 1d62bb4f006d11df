"""Transcribes what is said in clips without a subtitle. The result is always marked as automatic.

Whisper (Radford et al., arXiv 2212.04356), nano's English one or any of Hugging Face's. Its words are a guess: a wrong
subtitle misleads a model more than none, so nothing here runs unless it is asked for.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from affectllm import versions
from affectllm.errors import AffectError
from affectllm.media.audio import RATE_HZ

WINDOW_S = 30
QUIET = 1e-3
"""Root mean square below which a window holds no speech; Whisper makes words up in silence."""


class Transcript(NamedTuple):
    text: str
    """'' if nothing was said."""
    model: str


class Recogniser(NamedTuple):
    model: Any
    tokenizer: Any
    extractor: Any


def transcribe(wave: np.ndarray, model: str = "nano", language: str | None = None) -> Transcript:
    """The words of a mono wave at 16 kHz (float32), window by window of 30 s.

    `model` is "nano" (English) or a folder or hub name of a Whisper; `language` is for multilingual ones, which else
    guess it. Raises AffectError when the model cannot be loaded.
    """
    import torch

    found = load(model)
    size = WINDOW_S * RATE_HZ
    texts = []
    for window in (wave[start : start + size] for start in range(0, len(wave), size)):
        if not len(window) or float(np.sqrt(np.mean(np.square(window)))) < QUIET:
            continue
        features = found.extractor(window, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        asked = {"language": language} if language and found.model.generation_config.is_multilingual else {}
        with torch.inference_mode():
            ids = found.model.generate(features.to(found.model.dtype), do_sample=False, **asked)
        texts.append(found.tokenizer.decode(ids[0], skip_special_tokens=True).strip())
    return Transcript(" ".join(filter(None, texts)), model)


@cache
def load(name: str) -> Recogniser:
    versions.say_outside()
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer
    from transformers.utils import logging

    from affectllm.models import nano

    # Whisper's generate prints notes on its own defaults at every call.
    logging.set_verbosity_error()
    folder = str(nano.require() / nano.SPEECH) if name == "nano" else name
    try:
        model = AutoModelForSpeechSeq2Seq.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        tokenizer, extractor = AutoTokenizer.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AffectError(f"Speech model {name} cannot be loaded ({reason}). Name a Whisper, or 'nano'.") from error
    return Recogniser(model.eval(), tokenizer, extractor)
