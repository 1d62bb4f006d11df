"""MME-Emotion (2025): eight tasks over clips of twelve data sets, each with the labels to choose from.

    affectllm build mme-emotion --source MME-Emotion-Dataset --out data/mme-emotion
    affectllm build mme-emotion --source MME-Emotion-Dataset/SA/question/SA.json --out data/mme-sa

A file a task, `TASK/question/TASK.json`, is a list of `{video_id, label, label_set}`; `video_id` is a path under the
root of the media. Tasks with several labels a clip (FG-ER, ML-ER) ask for all that fit, intent recognition asks for the
intention, sentiment analysis for the sentiment. Test data only: the rows are put in split `test`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from affectllm.data.builder import Build, Built, build, reject, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, read_json
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
SENTIMENTS = {"positive", "negative", "neutral"}


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
    """Tasks of a folder to build; without it, all that it holds."""


class Item(msgspec.Struct):
    video_id: Annotated[str, msgspec.Meta(min_length=1)]
    label: Annotated[str, msgspec.Meta(min_length=1)]
    label_set: Annotated[list[str], msgspec.Meta(min_length=2)]


def main(run: MMEEmotion) -> None:
    files = find_files(run)
    tables = {name: read_json(path) for name, path in files.items()}
    for name, items in tables.items():
        if not isinstance(items, list):
            raise AffectError(f"{files[name]} must hold a list of questions, it holds a {type(items).__name__}.")
    build(
        run,
        (row for name, items in tables.items() for row in converse(run, name, files[name], items)),
        sources=list(files.values()),
        licence=LICENCE,
        notes={"table_rows": {name: len(items) for name, items in tables.items()}},
    )


def find_files(run: MMEEmotion) -> dict[Name, Path]:
    """The file of each task."""
    wanted = run.tasks or tuple(KINDS)
    if run.source.is_file():
        found = {name: run.source for name in wanted if name == run.source.stem}
    else:
        found = {name: path for name in wanted for path in sorted(run.source.glob(f"**/question/{name}.json"))}
    if not found:
        names = ", ".join(f"{name}.json" for name in wanted)
        raise AffectError(f"{run.source} is or holds none of {names}. Give the folder MME-Emotion-Dataset as --source.")
    return found


def converse(run: MMEEmotion, name: Name, path: Path, items: list[Any]) -> Built:
    for number, values in enumerate(items, 1):
        if not in_shard(number, run.shard):
            continue
        row = Row(number, values if isinstance(values, dict) else {"value": values})
        try:
            item = msgspec.convert(values, Item)
        except msgspec.ValidationError as error:
            yield reject(row, path, str(row.values.get("video_id", "")), problem_of(error))
            continue
        candidates = list(dict.fromkeys(label.strip().lower() for label in item.label_set))
        labels = list(dict.fromkeys(SEVERAL.split(item.label.strip().lower())))
        if problem := problem_with(run, name, item.video_id, labels, candidates):
            yield reject(row, path, f"{name}/{item.video_id}", problem)
            continue
        yield compose(
            Annotation(
                id=f"{name}/{item.video_id}",
                dataset="mme-emotion",
                split="test",
                media=Clip(video=item.video_id),
                language="en",
                target=target_of(KINDS[name], labels),
                meta=Meta(licence=LICENCE, hash=row_hash(row.values)),
            ),
            KINDS[name].task,
            "labels",
            run.seed,
            candidates=candidates,
            asked=KINDS[name].asked,
        )


def problem_with(run: MMEEmotion, name: Name, clip: str, labels: list[str], candidates: list[str]) -> str:
    """Why a question cannot be used, or nothing."""
    if strange := [label for label in labels if label not in candidates]:
        return f"the label {strange[0]!r} is none of those to choose from"
    if len(labels) > 1 and KINDS[name].task != "labels":
        return f"{len(labels)} labels where one is asked for"
    if KINDS[name].task == "sentiment" and not SENTIMENTS.issuperset(candidates):
        return f"sentiments {', '.join(candidates)} are not {', '.join(sorted(SENTIMENTS))}"
    return "" if run.media is None or (run.media / clip).is_file() else f"no clip {clip} under {run.media}"


def target_of(kind: Kind, labels: list[str]) -> Target:
    if kind.task == "sentiment":
        return msgspec.convert({"sentiment": labels[0]}, Target)
    return Target(labels=labels if kind.emotions else [], basic=labels[0] if kind.task == "basic" else None)


if __name__ == "__main__":
    command(main)
