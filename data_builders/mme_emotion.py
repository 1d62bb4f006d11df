"""MME-Emotion (2025): eight tasks over clips of twelve data sets, each with the labels to choose from.

    affectllm build mme-emotion --source MME-Emotion-Dataset --out data/mme-emotion
    affectllm build mme-emotion --source MME-Emotion-Dataset/SA/question/SA.json --out data/mme-sa

Reads one file per task, `TASK/question/TASK.json`, a list of `{video_id, label, label_set}`; `video_id` is a path under
--media. Tasks with several labels per clip (FG-ER, ML-ER) ask for all that fit, intent recognition asks for the
intention, sentiment analysis for the sentiment, the others for one label. All rows get split `test`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from affectllm.data.builder import Build, Built, build, item_of, need_file, or_rejected, reject, row_hash, rows_of
from affectllm.data.data_sets import DataSet
from affectllm.data.questions import SENTIMENTS
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, read_list
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Meta, Target, Task, problem_of

DATA_SETS = {
    "mme-emotion": DataSet(
        title="MME-Emotion (eight tasks)",
        task="basic",
        language="en",
        licence="MIT (questions); the clips under the licences of their data sets",
        url="https://github.com/FunAudioLLM/MME-Emotion",
        citation="Zhang et al., arXiv 2508.09210",
        status="documented",
        rows={"test": 6500},
    ),
}
LICENCE = "questions MIT; the clips under the licences of their data sets"
SEVERAL = re.compile(r"\s*[,;]\s*")


Name = Literal["ER_Lab", "ER_Wild", "Noise_ER", "FG_ER", "ML_ER", "SA", "FG_SA", "IR"]


class Kind(NamedTuple):
    """How a task is asked."""

    task: Task
    asked: str = ""
    """A question in place of the family's wordings."""
    emotions: bool = True
    """Whether its labels are emotion words."""


KINDS: dict[Name, Kind] = {
    "ER_Lab": Kind("basic"),
    "ER_Wild": Kind("basic"),
    "Noise_ER": Kind("basic"),
    "FG_ER": Kind("labels", "Which emotions does the person show?"),
    "ML_ER": Kind("labels", "Which emotions does the person show?"),
    "SA": Kind("sentiment"),
    "FG_SA": Kind("basic", "How strong is the person's sentiment?", emotions=False),
    "IR": Kind("basic", "Which intention does the person show?", emotions=False),
}


@dataclass(frozen=True, kw_only=True)
class MMEEmotion(Build):
    tasks: tuple[Name, ...] = ()
    """Tasks to build. Without it, every task that the folder holds."""


class Item(msgspec.Struct):
    video_id: Annotated[str, msgspec.Meta(min_length=1)]
    label: Annotated[str, msgspec.Meta(min_length=1)]
    label_set: Annotated[list[str], msgspec.Meta(min_length=2)]


def main(options: MMEEmotion) -> None:
    files = find_files(options)
    tables = {name: read_list(path, "questions") for name, path in files.items()}
    build(
        options,
        (row for name, items in tables.items() for row in converse(options, name, files[name], items)),
        sources=list(files.values()),
        licence=LICENCE,
        notes={"table_rows": {name: len(items) for name, items in tables.items()}},
    )


def find_files(options: MMEEmotion) -> dict[Name, Path]:
    """The file of each task."""
    wanted = options.tasks or tuple(KINDS)
    if options.source.is_file():
        found = {name: options.source for name in wanted if name == options.source.stem}
    else:
        found = {name: path for name in wanted for path in sorted(options.source.glob(f"**/question/{name}.json"))}
    if not found:
        names = ", ".join(f"{name}.json" for name in wanted)
        raise AffectError(
            f"{options.source} is or holds none of {names}. Give the folder MME-Emotion-Dataset as --source."
        )
    return found


def converse(options: MMEEmotion, name: Name, path: Path, items: list[Any]) -> Built:
    for row in rows_of(items):
        if not in_shard(row.number, options.shard):
            continue
        try:
            item = item_of(row, Item)
        except msgspec.ValidationError as error:
            yield reject(row, path, str(row.values.get("video_id", "")), problem_of(error))
            continue
        clip = f"{name}/{item.video_id}"
        yield from or_rejected(ask(options, KINDS[name], clip, item, row), clip, row, path)


def ask(options: MMEEmotion, kind: Kind, name: str, item: Item, row: Row) -> Built:
    """The question about a clip; an AffectError says why there is none."""
    candidates = list(dict.fromkeys(label.strip().lower() for label in item.label_set))
    labels = list(dict.fromkeys(SEVERAL.split(item.label.strip().lower())))
    if strange := [label for label in labels if label not in candidates]:
        raise AffectError(f"the label {strange[0]!r} is none of those to choose from")
    if len(labels) > 1 and kind.task != "labels":
        raise AffectError(f"{len(labels)} labels where one is asked for")
    if kind.task == "sentiment" and not set(candidates) <= set(SENTIMENTS):
        raise AffectError(f"sentiments {', '.join(candidates)} are not {', '.join(sorted(SENTIMENTS))}")
    annotation = Annotation(
        id=name,
        dataset="mme-emotion",
        split="test",
        media=Clip(video=need_file(options.media, item.video_id)),
        language="en",
        target=target_of(kind, labels),
        meta=Meta(licence=LICENCE, hash=row_hash(row.values)),
    )
    yield compose(annotation, kind.task, "labels", options.seed, candidates=candidates, asked=kind.asked)


def target_of(kind: Kind, labels: list[str]) -> Target:
    if kind.task == "sentiment":
        return msgspec.convert({"sentiment": labels[0]}, Target)
    return Target(labels=labels if kind.emotions else [], basic=labels[0] if kind.task == "basic" else None)


if __name__ == "__main__":
    command(main)
