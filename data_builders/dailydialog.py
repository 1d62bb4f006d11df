"""DailyDialog (Li et al., IJCNLP 2017): seven emotions of utterances in written dialogues of everyday life.

    affectllm build dailydialog --source EMNLP_dataset --out data/dailydialog

Reads `dialogues_{train,validation,test}.txt` and `dialogues_emotion_{train,validation,test}.txt`, which have one
dialogue per line. The two speakers take turns; they have no names and are called A and B. The data are text only.
Dialogues that are in two splits are marked with a defect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from affectllm.data.builder import Build, Built, build, reject, row_hash
from affectllm.data.data_sets import DataSet
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, read_lines
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Turn

DATA_SETS = {
    "dailydialog": DataSet(
        title="DailyDialog",
        task="basic",
        language="en",
        licence="CC BY-NC-SA 4.0",
        url="http://yanran.li/dailydialog",
        citation="Li et al., IJCNLP 2017",
        status="documented",
        rows={"train": 87170, "val": 8069, "test": 7740},
    ),
}
LICENCE = DATA_SETS["dailydialog"].licence
EMOTIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""In the order of their numbers; the authors call 0 'no emotion'."""
SPLITS = {"train": "train", "validation": "val", "test": "test"}
PUBLISHED = {"train": 11118, "val": 1000, "test": 1000}


@dataclass(frozen=True, kw_only=True)
class DailyDialog(Build):
    split: Literal["train", "validation", "test"] | None = None
    """Split to build. Without it, every split that the folder holds."""
    tasks: tuple[Literal["basic", "labels", "next"], ...] = ("basic",)
    """Questions to ask about each utterance. With several, ids end in the task."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context. 0 shows none."""


class Table(NamedTuple):
    texts: Path
    emotions: Path


def main(options: DailyDialog) -> None:
    tables = find_tables(options)
    dialogues = {split: list(read_dialogues(table)) for split, table in tables.items()}
    build(
        options,
        converse(options, dialogues),
        sources=[path for table in tables.values() for path in table],
        licence=LICENCE,
        notes={
            "published_dialogues": {split: PUBLISHED[split] for split in tables},
            "table_dialogues": {split: len(rows) for split, rows in dialogues.items()},
        },
    )


def find_tables(options: DailyDialog) -> dict[str, Table]:
    """The files of every split asked for: in the folder itself, in one of the split's name, or in one more such."""
    found = {}
    for name, split in SPLITS.items():
        for folder in (options.source, options.source / name, options.source / name / name):
            table = Table(folder / f"dialogues_{name}.txt", folder / f"dialogues_emotion_{name}.txt")
            if options.split in (None, name) and table.texts.is_file():
                found[split] = table
    if not found:
        raise AffectError(
            f"{options.source} holds no dialogues_train.txt, nor one of another split. Unpack the splits there."
        )
    return found


def read_dialogues(table: Table) -> Iterator[Row]:
    """A row per dialogue: its texts and the numbers of its emotions, as in the files."""
    texts, emotions = (list(read_lines(path)) for path in table)
    if len(texts) != len(emotions):
        raise AffectError(
            f"{table.texts} has {len(texts)} lines, {table.emotions.name} {len(emotions)}. Fetch both again."
        )
    for number, (text, emotion) in enumerate(zip(texts, emotions, strict=True), 1):
        yield Row(number, {"text": text.strip(), "emotion": emotion.strip()})


def converse(options: DailyDialog, dialogues: dict[str, list[Row]]) -> Built:
    splits_of: dict[str, set[str]] = {}
    for split, rows in dialogues.items():
        for row in rows:
            splits_of.setdefault(row.values["text"], set()).add(split)
    for split, rows in dialogues.items():
        for row in rows:
            if not in_shard(row.number, options.shard):
                continue
            said = [text.strip() for text in row.values["text"].split("__eou__") if text.strip()]
            numbers = row.values["emotion"].split()
            name = f"{split}_dia{row.number}"
            if len(said) != len(numbers) or not set(numbers) <= set("0123456"):
                reason = f"{len(said)} utterances and the emotions {' '.join(numbers)!r}"
                yield reject(row, options.source, name, reason)
                continue
            defects = ["dialogue-in-two-splits"] if len(splits_of[row.values["text"]]) > 1 else []
            turns = [Turn(speaker="AB"[i % 2], text=text) for i, text in enumerate(said)]
            yield from ask(options, row, turns, [EMOTIONS[int(number)] for number in numbers], split, name, defects)


def ask(
    options: DailyDialog, row: Row, turns: list[Turn], emotions: list[str], split: str, name: str, defects: list[str]
) -> Built:
    """A question about every utterance, with those before it."""
    for i, (turn, emotion) in enumerate(zip(turns, emotions, strict=True)):
        annotation = Annotation(
            id=f"{name}_utt{i}",
            dataset="dailydialog",
            split=split,
            subtitle=turn.text,
            language="en",
            context=turns[max(0, i - options.window) : i],
            person=turn.speaker,
            target=Target(labels=[emotion], basic=emotion),
            meta=Meta(licence=LICENCE, defects=defects, hash=row_hash({"text": turn.text, "emotion": emotion})),
        )
        yield from questions(
            annotation, options.tasks, options.mode, options.seed, (), EMOTIONS, row=row, source=options.source
        )


if __name__ == "__main__":
    command(main)
