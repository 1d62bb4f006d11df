"""What a trainer, the evaluator and the demo need from a model beyond Hugging Face's own interface.

One implementation of prompt and media serves all three, so that a model is trained, judged and shown on the same
inputs. A family (one file in models/families/) says how its media are read and how its prompt is tokenised.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.media import Guard, read_audio, read_frames
from affectllm.models.base.family import Modality
from affectllm.records import Clip, Conversation, Message, Part

MODALITIES: tuple[Modality, ...] = ("video", "audio")
# Times of the frames (1, T) in seconds. Some families write them into the prompt; no forward takes them.
TIMES = "frame_times_s"


class Sample(NamedTuple):
    """One conversation as the model reads it: prompt ids up to the assistant's turn, and the media as model inputs.

    Every media tensor has the items of this conversation in its first dimension, so that the samples of a batch
    are joined by concatenation (`join_media`).
    """

    prompt_ids: list[int]
    media: dict[str, Tensor]


class Piece(NamedTuple):
    """A stretch of a conversation, as ids."""

    ids: list[int]
    answer: str | None
    """What the assistant said, or None if the piece was said to it."""


class Look(NamedTuple):
    """Size and length of a clip, without decoding it."""

    width: int
    height: int
    """0 if there is no picture."""
    sound_s: float


class Media(NamedTuple):
    """A decoded clip."""

    frames_THWC: np.ndarray | None
    """uint8"""
    times_s: np.ndarray | None
    wave: np.ndarray | None
    """float32 mono at 16 kHz"""


class Backbone(ABC):
    """A model with its processor, and what this project must know of its family."""

    modalities: tuple[Modality, ...] = MODALITIES
    """The modalities that the family takes."""
    num_frames = 8
    """Number of frames that are sampled from a clip, evenly over its time."""
    lora_targets: str
    """Regular expression of the language model's linear layers; encoders are never matched."""
    trained_modules: tuple[str, ...] = ()
    """Modules that are trained whole, in addition to the adapter, e.g. projectors."""
    parts: dict[str, str] = {
        "projector": r"model\.visual\.(merger|deepstack_merger)|model\.audio_tower\.proj",
        "vision": r"model\.visual\.",
        "audio": r"model\.audio_tower\.",
        "llm": r"model\.language_model\.|lm_head\.",
    }
    """Which parameters belong to which part, by the start of their names; the first that matches counts."""
    never_quantised: tuple[str, ...] = ("model.visual", "model.audio_tower", "lm_head")
    """Full paths of what stays in its own precision when the language model goes to 4 bits."""
    vllm_names: dict[str, str] = {}
    """Names of adapted layers here, and in the published checkpoint of the whole model: vLLM turns these names
    into its own, whatever they are in its version. Empty where a vLLM server takes no adapters from here."""
    encoders_in_forward = True
    """Whether encoders run in every forward, and so can learn, instead of once per clip before it."""

    # What model and processor offer beyond transformers' base classes depends on the family, so they are not typed.
    def __init__(self, model: Any, processor: Any, name: str) -> None:
        self.model = model
        self.processor = processor
        self.name = name
        self.dtype: torch.dtype = model.dtype
        """The run's precision, of frozen weights and of what forwards compute in; what learns is float32."""
        self.guard = Guard()
        self.view: dict[str, int] = {}
        """What `look_at` has changed. It is saved with adapters, so that clips are shown as they were in training."""
        self.apart: dict[str, nn.Module] = {}
        """Encoders that are not modules of the model while its weights are spread; see `training/spread.py`."""
        self.scalars: list[str] = []
        """Weights that have a dimension of 1 while they are spread, and none when they are saved."""

    def look_at(self, frames: int | None = None, max_pixels: int | None = None) -> None:
        """Show the model this many frames of each clip, of at most `max_pixels` pixels each. None changes nothing.

        Raises AffectError if the family fixes them.
        """
        if frames is not None:
            self.set_frames(frames)
            self.view["frames"] = frames
        if max_pixels is not None:
            self.set_pixels(max_pixels)
            self.view["max_pixels"] = max_pixels

    def set_frames(self, frames: int) -> None:
        if frames < 1:
            raise AffectError(f"--frames {frames}: a clip needs at least 1.")
        self.num_frames = frames

    def set_pixels(self, max_pixels: int) -> None:
        raise AffectError(f"{self.name} scales all frames to a size of its own: leave out --max-pixels.")

    @property
    def core(self) -> Any:
        """The model itself, without the adapter around it."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def computing(self) -> AbstractContextManager[Any]:
        """Within it, forwards compute in the run's precision, whatever each weight is stored in.

        Trainers do the same by themselves; answers, likelihoods and encoders that run ahead of a forward come here.
        """
        half = self.dtype != torch.float32
        return torch.autocast(self.core.device.type, self.dtype) if half else nullcontext()

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    @abstractmethod
    def media_token_ids(self) -> list[int]:
        """Placeholders that must never be sampled: the next forward would look for their media."""

    @property
    @abstractmethod
    def placeholders(self) -> dict[str, int]:
        """Token id whose repetitions are the placeholder of a medium, by its name: at least one entry per modality."""

    @abstractmethod
    def preprocess(self, media: Media) -> dict[str, Tensor]:
        """Model inputs of one clip, with frozen encoders already run where the family supports that."""

    @abstractmethod
    def expand(self, prompt: str, media: dict[str, Tensor]) -> list[int]:
        """Prompt ids with every media placeholder widened to the tokens its medium takes."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Text that changes whenever `preprocess` would give other tensors for the same clip: part of the cache key."""

    def sample(self, conversation: Conversation, root: Path, modalities: Sequence[str] = MODALITIES) -> Sample:
        """Read, preprocess and tokenise one conversation; the cached way to this is `models.store.MediaStore`."""
        used = used_modalities(conversation, modalities)
        media = self.preprocess(self.read(conversation.media, root, used)) if used else {}
        return self.assemble(conversation, used, media)

    def assemble(self, conversation: Conversation, used: Sequence[str], media: dict[str, Tensor]) -> Sample:
        """The sample of a conversation whose media are preprocessed already."""
        return Sample(self.prompt_ids(conversation, used, media), self.inputs(media))

    def inputs(self, media: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a forward takes of these media."""
        return {name: tensor for name, tensor in media.items() if name != TIMES}

    def read(self, clip: Clip, root: Path, used: Sequence[str]) -> Media:
        """A clip decoded as this model wants it; see `read_media`. Raises AffectError for what it cannot perceive."""
        refused = [kind for kind in used if kind not in self.modalities]
        if refused:
            raise AffectError(
                f"{self.name} takes {' and '.join(self.modalities)}, no {' or '.join(refused)}. "
                f"Ask with: --modalities {' '.join(self.modalities)}"
            )
        return read_media(clip, root, used, self.num_frames, self.guard)

    def prompt_ids(self, conversation: Conversation, used: Sequence[str], media: dict[str, Tensor]) -> list[int]:
        """Everything up to the answer that is wanted. Earlier answers of the conversation are part of the question."""
        return [token for piece in self.turns(conversation, used, media)[:-1] for token in piece.ids]

    def turns(self, conversation: Conversation, used: Sequence[str], media: dict[str, Tensor]) -> list[Piece]:
        """The conversation as pieces, asked and answered in turn; the last one is an answer, empty where none is known.

        Raises AffectError when the chat template does not repeat earlier answers as they were given: the model would
        learn them after a prompt that it never gets.
        """
        messages = [chat_message(message, used) for message in conversation.messages]
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": []})
        pieces: list[Piece] = []
        behind = ""
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.processor.apply_chat_template(messages[:place], tokenize=False, add_generation_prompt=True)
            if not before.startswith(behind):
                raise AffectError(
                    f"The chat template of {self.name} changes earlier answers of conversation '{conversation.id}'. "
                    "Split it into conversations of one answer each."
                )
            asked = before[len(behind) :].removeprefix(self.tokenizer.eos_token if behind else "")
            answer = "".join(part["text"] or "" for part in message["content"])
            pieces.append(Piece(self.expand(asked, media), None))
            pieces.append(Piece(self.answer_ids(answer) if answer else [], answer))
            behind = before + answer
        return pieces

    def answer_ids(self, text: str) -> list[int]:
        """An assistant's turn as it should be generated, with its end-of-turn token."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]

    def prompt_hash(self, conversation: Conversation, modalities: Sequence[str]) -> str:
        """A key for the question as it was put, so that answers to different questions are kept apart."""
        used = used_modalities(conversation, modalities)
        messages = [chat_message(message, used) for message in question_of(conversation)]
        return hashlib.sha256(repr(messages).encode()).hexdigest()[:16]

    def media_tokens(self, used: Sequence[str], look: Callable[[], Look]) -> int:
        """About how many tokens a clip takes in the prompt, without decoding it: for batches of similar length.

        `look` opens the clip's file; families whose clips all take the same do not call it.
        """
        return 0

    def positions(self, input_ids: Tensor, attention_mask: Tensor, media: dict[str, Tensor]) -> Tensor:
        """Position ids of left-padded prompts, as generation counts them: (B, P), or (axes, B, P) under M-RoPE.

        Positions of text after a prompt continue from the prompt's last token, on every axis.
        """
        return self.core._prepare_position_ids_for_generation(input_ids, {"attention_mask": attention_mask, **media})

    def encode(self, media: dict[str, Tensor]) -> dict[str, Tensor]:
        """Media that forwards may take instead of these, with frozen encoders already run.

        Media that a family cannot encode ahead stay as they are, and are encoded by each forward.
        """
        return media

    def frozen_encoders(self) -> list[nn.Module]:
        """The encoders that `encode` runs ahead of the forward. None if they run in it anyway, or learn."""
        return []

    def encoders_ahead(self) -> list[nn.Module]:
        """The encoders that clips go through ahead of the forward."""
        return self.frozen_encoders()

    def adapter_targets(self) -> str | list[str]:
        """The layers that take adapters, in the form that PEFT takes."""
        return self.lora_targets

    def encoder_rows(self, media: dict[str, Tensor]) -> dict[str, int]:
        """How much each encoder reads in every forward, in rows of its layers. Empty if encoders ran before."""
        return {}

    def suppressed(self) -> dict[str, Any]:
        """Generation options that keep media placeholders out of answers."""
        return {"suppress_tokens": self.media_token_ids}


def used_modalities(conversation: Conversation, modalities: Sequence[str]) -> list[str]:
    """The modalities asked for that the conversation's question holds."""
    asked = {
        part.type for message in conversation.messages if isinstance(message.content, list) for part in message.content
    }
    return [kind for kind in modalities if kind in asked]


def question_of(conversation: Conversation) -> list[Message]:
    """The messages before the answer that is wanted, which is the last one, or one that is not given yet."""
    messages = conversation.messages
    return messages[:-1] if messages and messages[-1].role == "assistant" else messages


def chat_message(message: Message, used: Sequence[str]) -> dict[str, Any]:
    """A message in Hugging Face chat form, media parts that are not used left out."""
    if isinstance(message.content, str):
        return {"role": message.role, "content": [{"type": "text", "text": message.content}]}
    parts = [part_dict(part) for part in message.content if part.type == "text" or part.type in used]
    return {"role": message.role, "content": parts}


def part_dict(part: Part) -> dict[str, Any]:
    # Only the keys that count: processors take a part with a "video" key, even None, for a video.
    return {"type": "text", "text": part.text} if part.type == "text" else {"type": part.type}


def read_media(clip: Clip, root: Path, used: Sequence[str], num_frames: int, guard: Guard) -> Media:
    """Decode what the question needs of a clip, in the guard's worker: a file that crashes a decoder costs one error.

    Raises AffectError when the clip lacks a modality the question names: silence or black frames in its place
    would teach the model that they mean something.
    """
    frames, times, wave = None, None, None
    if "video" in used:
        path = media_path(clip.video, root, "video")
        found = guard(read_frames, path, n=num_frames, start_s=clip.start_s, end_s=clip.end_s)
        if found is None:
            raise AffectError(
                f"{path} has no video stream, and the question is about one. Train without: --modalities audio"
            )
        frames, times = found.frames_THWC, found.times_s
    if "audio" in used:
        path = media_path(clip.audio or clip.video, root, "audio")
        wave = guard(read_audio, path, start_s=clip.start_s, end_s=clip.end_s)
        if wave is None:
            raise AffectError(
                f"{path} has no audio stream, and the question is about one. Train without: --modalities video"
            )
    return Media(frames, times, wave)


def media_path(relative: str | None, root: Path, kind: str) -> Path:
    if relative is None:
        raise AffectError(
            f"A conversation asks about {kind}, but its clip names no {kind} file. Rebuild the data with --media."
        )
    return root / relative


def join_media(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """The media of a batch as model inputs: items one after the other, smaller ones padded with zeros at the end."""
    joined: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for sample in samples for name in sample.media):
        tensors = [sample.media[name] for sample in samples if name in sample.media]
        largest = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
        joined[name] = torch.cat([pad_to(tensor, largest) for tensor in tensors])
    return joined


def pad_to(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Zeros at the end of every dimension but the first, up to `sizes`."""
    missing = [size - have for size, have in zip(sizes, tensor.shape[1:], strict=True)]
    return (
        torch.nn.functional.pad(tensor, [n for gap in reversed(missing) for n in (0, gap)]) if any(missing) else tensor
    )
