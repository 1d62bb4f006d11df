"""VECBench (Wu et al., 2025): which emotion an image shows or evokes, over six image sets with fixed labels.

    affectllm build vecbench --source test.jsonl --media images --out data/vecbench

Reads lines `{task, ground_truth, candidates, conversations}`; the image's path is in the conversation, in Qwen's chat
form. An id begins with the `task` (`FI-8`, `WebEmo-25` ...), so that each can be scored alone. Tasks with only positive
and negative are asked as sentiment.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from affectllm import jsonl
from affectllm.data.builder import Build, Built, build, item_of, need_file, or_rejected, reject, row_hash, rows_of
from affectllm.data.data_sets import DataSet
from affectllm.data.questions import SENTIMENTS
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, find_source
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Meta, Target, problem_of

DATA_SETS = {
    "vecbench": DataSet(
        title="VECBench (emotions of images)",
        task="basic",
        language="en",
        licence="not stated",
        url="https://huggingface.co/datasets/wudq/VECBench",
        citation="Wu et al., arXiv 2512.15528",
        status="documented",
        rows={"test": 8032},
    ),
}
LICENCE = "not stated; the images under the terms of their data sets"
PUBLISHED = {
    "Abstract-8": 229, "Artphoto-8": 806, "EmoSet-8": 1000, "FI-2": 1000, "FI-8": 1000, "UnbiasedEmo-6": 1000,
    "WebEmo-2": 1000, "WebEmo-7": 1000, "WebEmo-25": 997,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VECBench(Build):
    split: str = "test"
    """Split that the rows of the file get."""


class Item(msgspec.Struct):
    task: Annotated[str, msgspec.Meta(min_length=1)]
    ground_truth: Annotated[str, msgspec.Meta(min_length=1)]
    candidates: Annotated[list[str], msgspec.Meta(min_length=2)]
    conversations: list[dict[str, Any]]


def main(options: VECBench) -> None:
    path = find_source(options.source, ("test.jsonl", "vecbench.jsonl"))
    seen: Counter[str] = Counter()
    notes: dict[str, Any] = {"published_rows": PUBLISHED, "table_rows": seen}
    build(options, converse(options, path, seen), sources=[path], licence=LICENCE, notes=notes)


def converse(options: VECBench, path: Path, seen: Counter[str]) -> Built:
    """A question for each line; ids number the lines of a task."""
    for row in rows_of(jsonl.read_dicts(path)):
        if not in_shard(row.number, options.shard):
            continue
        try:
            item = item_of(row, Item)
        except msgspec.ValidationError as error:
            yield reject(row, path, "", problem_of(error))
            continue
        seen[item.task] += 1
        name = f"{item.task}/{seen[item.task]}"
        yield from or_rejected(ask(options, name, item, row), name, row, path)


def ask(options: VECBench, name: str, item: Item, row: Row) -> Built:
    """The question about an image; an AffectError says why there is none."""
    image = image_of(item.conversations)
    label, candidates = item.ground_truth.strip().lower(), [word.strip().lower() for word in item.candidates]
    if not image:
        raise AffectError("no image in 'conversations'")
    if label not in candidates:
        raise AffectError(f"the label {label!r} is none of those to choose from")
    task: Literal["sentiment", "basic"] = "sentiment" if set(candidates) <= set(SENTIMENTS) else "basic"
    target = {task: label} if task == "sentiment" else {task: label, "labels": [label]}
    annotation = Annotation(
        id=name,
        dataset="vecbench",
        split=options.split,
        media=Clip(image=need_file(options.media, image, "image ")),
        language="en",
        target=msgspec.convert(target, Target),
        meta=Meta(licence=LICENCE, hash=row_hash(row.values)),
    )
    yield compose(annotation, task, "labels", options.seed, parts=("image",), candidates=candidates)


def image_of(messages: list[dict[str, Any]]) -> str:
    """The path of the first image in a conversation of Qwen's chat form; empty without one."""
    parts = [part for message in messages if isinstance(message.get("content"), list) for part in message["content"]]
    return next((str(part["image"]) for part in parts if isinstance(part, dict) and part.get("image")), "")


if __name__ == "__main__":
    command(main)
