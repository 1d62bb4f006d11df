"""Ask a model about every clip of a data set and keep its answers.

    affectllm eval predict --model runs/grpo --data data/conversations.jsonl --split test --out runs/grpo/test

Answers are appended one by one: a run that was killed continues where it stopped. `eval score` can score them as
often as wanted without the model. A clip that cannot be read gets an answer with its error, never an invented one.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from affectllm import jsonl, precision
from affectllm.data.reading import media_root, read_split, take_shard
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.progress import progress
from affectllm.records import Answer, Conversation

if TYPE_CHECKING:
    from affectllm.models.base.backbone import Sample
    from affectllm.models.store import MediaStore

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The clips that are asked about, and what the model sees of them."""

    data: Path
    """Conversations from a data builder. The model gets their questions and never sees their answers."""
    media: Path | None = None
    """Folder that the clips' paths start from. Without it, the folder of the data file."""
    split: str = "test"
    """Split of the data to answer."""
    modalities: tuple[str, ...] = ("video", "audio")
    """Parts of a clip that the model gets in addition to the subtitle."""
    limit: int | None = None
    """Answer only this many clips, the first ones. The report then says that the numbers are partial."""
    shard: str = "1/1"
    """Part i of n of the clips, as i/n. Use it to spread one data set over machines, then concatenate the answers."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The model that answers."""

    model: str = "nano"
    """The model that answers: 'nano', a model folder, a hub name, or an adapter folder."""
    frames: int | None = None
    """Number of frames of a clip. Without it, as many as the model was trained with."""
    max_pixels: int | None = None
    """Largest number of pixels of a frame. Without it, that of the training."""
    dtype: str = "auto"
    """Precision of the weights: float32, bfloat16 or float16. auto takes what the hardware multiplies natively."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn."""

    batch: int = 40
    """Number of clips that are answered together. Lower it if memory runs out."""
    max_new_tokens: int = 64
    """Longest answer, in tokens. Longer ones are cut off."""
    temperature: float = 0.0
    """Sampling temperature. 0 always takes the most likely token, so that every run gives the same answers."""
    seed: int = 7
    """Seed of the sampling. It has no effect when the temperature is 0."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    questions: Questions
    model: Model
    sampling: Sampling
    out: Path
    """Folder for answers.jsonl. If it holds answers already, the run continues."""


def main(options: Predict) -> None:
    asked, out = options.questions, options.out
    conversations = take_shard(read_split(asked.data, asked.split), asked.shard)[: asked.limit]
    with jsonl.Appender(out / "answers.jsonl") as answers:
        check_header(out, header_of(asked, options.model, options.sampling))
        left = [conversation for conversation in conversations if conversation.id not in answers.done]
        if not left:
            print(f"{out} has all {len(conversations)} answers already.")
            return
        for answer in answer_all(open_store(asked, options.model), left, options.sampling, options.model.model):
            answers.append(answer)
    print(f"{len(conversations)} answers in {out / 'answers.jsonl'}")


def open_store(asked: Questions, chosen: Model) -> "MediaStore":
    """The clips as the model reads them, the model ready to answer."""
    from affectllm.media.cache import FeatureCache
    from affectllm.models import load
    from affectllm.models.store import MediaStore
    from affectllm.paths import cache_folder

    backbone = load(chosen.model, chosen.dtype, frames=chosen.frames, max_pixels=chosen.max_pixels)
    backbone.model.to(precision.device()).eval()
    cache = FeatureCache(cache_folder() / "features")
    return MediaStore(backbone, media_root(asked.data, asked.media), cache, asked.modalities)


def answer_all(
    store: "MediaStore", conversations: Sequence[Conversation], sampling: Sampling, model: str
) -> Iterator[Answer]:
    """One answer a conversation, which names the model."""
    import torch

    torch.manual_seed(sampling.seed)
    batches = [conversations[i : i + sampling.batch] for i in range(0, len(conversations), sampling.batch)]
    for clips in progress(read_ahead(store, batches), f"Answering with {model}", total=len(batches)):
        yield from answer_batch(store, clips, sampling, model)


class Read(NamedTuple):
    """A conversation as the model reads it, or why its clip cannot be read."""

    conversation: Conversation
    sample: "Sample | None"
    error: str | None


def read_ahead(store: "MediaStore", batches: Sequence[Sequence[Conversation]]) -> Iterator[list[Read]]:
    """The clips of each batch. Where a GPU answers, they are read while it answers the batch before."""
    read = partial(read_batch, store)
    # A CPU that answers has no cores to spare: both would take twice as long.
    return map(read, batches) if store.backbone.core.device.type == "cpu" else one_ahead(read, batches)


def one_ahead(make: Callable[[Any], Made], given: Sequence[Any]) -> Iterator[Made]:
    """What `make` returns for each item, in order. The next item is made in a thread while the current one is used."""
    with ThreadPoolExecutor(1) as maker:
        coming = [maker.submit(make, one) for one in given[:1]]
        for number in range(1, len(given) + 1):
            here = coming.pop().result()
            coming += [maker.submit(make, one) for one in given[number : number + 1]]
            yield here


def read_batch(store: "MediaStore", batch: Sequence[Conversation]) -> list[Read]:
    return [read_clip(store, conversation) for conversation in batch]


def read_clip(store: "MediaStore", conversation: Conversation) -> Read:
    try:
        return Read(conversation, store.sample(conversation), None)
    except AffectError as error:
        return Read(conversation, None, str(error))


def answer_batch(store: "MediaStore", clips: Sequence[Read], sampling: Sampling, model: str) -> Iterator[Answer]:
    """One answer a conversation; clips that cannot be read are answered by their error."""
    from affectllm.models.base.generation import generate

    make = partial(make_answer, store, model)
    readable: list[tuple[Conversation, Sample]] = []
    for conversation, sample, error in clips:
        if sample is not None:
            readable.append((conversation, sample))
        else:
            yield make(conversation, error=error)
    if not readable:
        return
    start = time.monotonic()
    samples = [sample for _, sample in readable]
    texts, counts = generate(store.backbone, samples, sampling.max_new_tokens, sampling.temperature)
    seconds = (time.monotonic() - start) / len(readable)
    for (conversation, _), text, count in zip(readable, texts, counts, strict=True):
        yield make(conversation, text=text, tokens=count, seconds=seconds)


def make_answer(
    store: "MediaStore",
    model: str,
    conversation: Conversation,
    *,
    text: str = "",
    tokens: int = 0,
    seconds: float = 0.0,
    error: str | None = None,
) -> Answer:
    return Answer(
        id=conversation.id,
        text=text,
        model=model,
        seconds=round(seconds, 4),
        tokens=tokens,
        prompt_hash=store.backbone.prompt_hash(conversation, store.modalities),
        error=error,
    )


def header_of(asked: Questions, chosen: Model, sampling: Sampling) -> dict[str, Any]:
    """What made the answers: predict.json, next to them."""
    view = {"frames": chosen.frames, "max_pixels": chosen.max_pixels}
    return {
        "model": chosen.model,
        "data": str(asked.data),
        "split": asked.split,
        "modalities": list(asked.modalities),
        # What --dtype auto means here: elsewhere it may be another precision.
        "dtype": str(precision.choose(chosen.dtype)).removeprefix("torch."),
        "max_new_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        **{key: value for key, value in view.items() if value is not None},
    }


def check_header(out: Path, asked: dict[str, Any]) -> None:
    """Write next to the answers how they are made. Other options than before would mix two runs in one file."""
    known = out / "predict.json"
    if known.is_file() and (before := json.loads(known.read_text("utf-8"))) != asked:
        key = next(key for key in {**before, **asked} if before.get(key) != asked.get(key))
        raise AffectError(
            f"{out} holds answers with another {key} ({before.get(key)!r}, now {asked.get(key)!r}). "
            "Choose another --out."
        )
    jsonl.write_json(known, asked)


if __name__ == "__main__":
    command(main)
