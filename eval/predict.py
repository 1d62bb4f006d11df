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
class Predict:
    data: Path
    """Conversations from a data builder. The model gets their questions and never sees their answers."""
    out: Path
    """Folder for answers.jsonl. If it holds answers already, the run continues."""
    model: str = "nano"
    """The model that answers: 'nano', a model folder, a hub name, or an adapter folder."""
    media: Path | None = None
    """Folder that the clips' paths start from. Without it, the folder of the data file."""
    split: str = "test"
    """Split of the data to answer."""
    modalities: tuple[str, ...] = ("video", "audio")
    """Parts of a clip that the model gets in addition to the subtitle."""
    limit: int | None = None
    """Answer only this many clips, the first ones. The report then says that the numbers are partial."""
    batch: int = 40
    """Number of clips that are answered together. Lower it if memory runs out."""
    max_new_tokens: int = 64
    """Longest answer, in tokens. Longer ones are cut off."""
    temperature: float = 0.0
    """Sampling temperature. 0 always takes the most likely token, so that every run gives the same answers."""
    seed: int = 7
    """Seed of the sampling. It has no effect when the temperature is 0."""
    frames: int | None = None
    """Number of frames of a clip. Without it, as many as the model was trained with."""
    max_pixels: int | None = None
    """Largest number of pixels of a frame. Without it, that of the training."""
    dtype: str = "auto"
    """Precision of the weights: float32, bfloat16 or float16. auto takes what the hardware multiplies natively."""
    shard: str = "1/1"
    """Part i of n of the clips, as i/n. Use it to spread one data set over machines, then concatenate the answers."""


def main(options: Predict) -> None:
    conversations = take_shard(read_split(options.data, options.split), options.shard)[: options.limit]
    with jsonl.Appender(options.out / "answers.jsonl") as answers:
        header_once(options)
        left = [conversation for conversation in conversations if conversation.id not in answers.done]
        if not left:
            print(f"{options.out} has all {len(conversations)} answers already.")
            return
        for answer in answer_all(options, left):
            answers.append(answer)
    print(f"{len(conversations)} answers in {options.out / 'answers.jsonl'}")


def answer_all(options: Predict, conversations: Sequence[Conversation]) -> Iterator[Answer]:
    import torch

    from affectllm.media.cache import FeatureCache
    from affectllm.models import load
    from affectllm.models.store import MediaStore
    from affectllm.paths import cache_folder

    backbone = load(options.model, options.dtype, frames=options.frames, max_pixels=options.max_pixels)
    backbone.model.to(precision.device()).eval()
    store = MediaStore(
        backbone, media_root(options.data, options.media), FeatureCache(cache_folder() / "features"), options.modalities
    )
    torch.manual_seed(options.seed)
    batches = [conversations[i : i + options.batch] for i in range(0, len(conversations), options.batch)]
    for clips in progress(read_ahead(store, batches), f"Answering with {options.model}", total=len(batches)):
        yield from answer_batch(store, clips, options)


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


def answer_batch(store: "MediaStore", clips: Sequence[Read], options: Predict) -> Iterator[Answer]:
    """One answer per conversation. A clip that cannot be read gets its error as the answer."""
    from affectllm.models.base.generation import generate

    readable: list[tuple[Conversation, Sample]] = []
    for conversation, sample, error in clips:
        if sample is not None:
            readable.append((conversation, sample))
        else:
            yield make_answer(store, conversation, options, text="", tokens=0, seconds=0.0, error=error)
    if not readable:
        return
    start = time.monotonic()
    texts, counts = generate(
        store.backbone, [sample for _, sample in readable], options.max_new_tokens, options.temperature
    )
    seconds = (time.monotonic() - start) / len(readable)
    for (conversation, _), text, count in zip(readable, texts, counts, strict=True):
        yield make_answer(store, conversation, options, text=text, tokens=count, seconds=seconds, error=None)


def make_answer(
    store: "MediaStore",
    conversation: Conversation,
    options: Predict,
    text: str,
    tokens: int,
    seconds: float,
    error: str | None,
) -> Answer:
    return Answer(
        id=conversation.id,
        text=text,
        model=options.model,
        seconds=round(seconds, 4),
        tokens=tokens,
        prompt_hash=store.backbone.prompt_hash(conversation, options.modalities),
        error=error,
    )


def header_once(options: Predict) -> None:
    """Write down next to the answers how they were made; with other options than before, a file would mix two runs."""
    asked: dict[str, Any] = {
        "model": options.model,
        "data": str(options.data),
        "split": options.split,
        "modalities": list(options.modalities),
        # What --dtype auto means here: elsewhere it may be another precision.
        "dtype": str(precision.choose(options.dtype)).removeprefix("torch."),
    }
    asked |= {"max_new_tokens": options.max_new_tokens, "temperature": options.temperature, "seed": options.seed}
    view = {"frames": options.frames, "max_pixels": options.max_pixels}
    asked |= {key: value for key, value in view.items() if value is not None}
    known = options.out / "predict.json"
    if known.is_file() and (before := json.loads(known.read_text("utf-8"))) != asked:
        key = next(key for key in {**before, **asked} if before.get(key) != asked.get(key))
        raise AffectError(
            f"{options.out} holds answers with another {key} ({before.get(key)!r}, now {asked.get(key)!r}). "
            "Choose another --out."
        )
    jsonl.write_json(known, asked)


if __name__ == "__main__":
    command(main)
