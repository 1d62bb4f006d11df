"""A question about a clip in the form that a vLLM server takes: frames and audio are unchanged from training."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from affectllm.media.audio import RATE_HZ
from affectllm.models.base.backbone import Backbone, Media, chat_message, question_of
from affectllm.models.base.tokens import metadata
from affectllm.models.families.qwen import frame_step_s
from affectllm.records import Conversation

if TYPE_CHECKING:
    from trl import GRPOConfig


def sampling(config: "GRPOConfig", backbone: Backbone) -> dict[str, Any]:
    """How completions are drawn. Every field is given, since a server's defaults are those of the model's own files."""
    return {
        "max_completion_tokens": config.max_completion_length,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "min_p": config.min_p or 0.0,
        "repetition_penalty": config.repetition_penalty,
        # The lowest bias that the endpoint takes, which is far enough: a sampled placeholder breaks the next forward.
        "logit_bias": {str(token): -100.0 for token in backbone.media_token_ids},
        "logprobs": True,
        "top_logprobs": 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }


def request_of(backbone: Backbone, conversation: Conversation, used: Sequence[str], media: Media) -> dict[str, Any]:
    """A question and its clip in the server's form. Frames and audio are those that training reads."""
    data: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}
    if media.frames_THWC is not None and media.times_s is not None:
        data["video"] = {"type": "video_url", "video_url": {"url": frames_url(media.frames_THWC)}}
        options = video_options(backbone, media.times_s)
    if media.wave is not None:
        data["audio"] = {"type": "audio_url", "audio_url": {"url": wave_url(media.wave)}}
    messages = [chat_message(message, used) for message in question_of(conversation)]
    for message in messages:
        message["content"] = [data.get(part["type"], part) for part in message["content"]]
    return {"messages": messages, **options}


def video_options(backbone: Backbone, times_s: np.ndarray) -> dict[str, Any]:
    """Options that make the server take all frames as they are, at their times and in the size of training."""
    size: dict[str, Any] = {"size": backbone.frame_size} if hasattr(backbone, "frame_size") else {}
    if backbone.core.config.model_type == "qwen3_vl":
        times = metadata(torch.from_numpy(times_s))
        seen = {"fps": times.fps, "frames_indices": times.frames_indices, "total_num_frames": times.total_num_frames}
    else:
        seen = {"fps": 1 / frame_step_s(times_s)}
        # Qwen-Omni's processor uses only this rate for the seconds of its positions.
        size |= seen
    return {
        # By default the server keeps the first 32 frames of a sequence.
        "media_io_kwargs": {"video": {"num_frames": -1, "do_sample_frames": False, **seen}},
        "mm_processor_kwargs": {"do_sample_frames": False, **size},
    }


def frames_url(frames_THWC: np.ndarray) -> str:
    """Frames as vLLM's sequence of images; the type must say JPEG; the images are PNG, so that no pixel changes."""
    from PIL import Image

    coded = []
    for frame in frames_THWC:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
        coded.append(base64.b64encode(buffer.getvalue()).decode())
    return f"data:video/jpeg;base64,{','.join(coded)}"


def wave_url(wave: np.ndarray) -> str:
    """A 16 kHz wave as a WAV file of float32 samples, so that none is rounded."""
    from scipy.io import wavfile

    buffer = BytesIO()
    wavfile.write(buffer, RATE_HZ, wave.astype(np.float32))
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
