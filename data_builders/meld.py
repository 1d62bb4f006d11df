"""MELD (Poria et al., ACL 2019): seven emotions and sentiment of utterances in television dialogues.

    affectllm build meld --source MELD/dev_sent_emo.csv --out data/meld-dev --media MELD/dev_splits_complete

Reads `{train,dev,test}_sent_emo.csv`, and `*_sent_emo_dya.csv` for MELD-dyadic. Ids are those of MERBench,
`val_dia0_utt0`, since dialogue numbers repeat between splits. MELD-dyadic shows the same utterances in dialogues of
two, some several times: its ids begin with `valdya_`, and its clips are those of the full data set. The context
of an utterance holds earlier utterances only. Known errors of the data set are listed as defects; nothing is corrected.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from affectllm.data.builder import Build, Built, build, count_in_shard, need_clip, row_hash, split_by_name, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.dialogues import Place, absent, by_dialogue, earlier, time_defects
from affectllm.data.questions import SENTIMENTS, questions
from affectllm.data.tables import Row, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Turn

DATA_SETS = {
    "meld": DataSet(
        title="MELD",
        task="basic",
        language="en",
        licence="GPL-3.0 (annotations)",
        url="https://github.com/declare-lab/MELD",
        citation="Poria et al., ACL 2019",
        status="verified",
        rows={"train": 9989, "val": 1109, "test": 2610},
    ),
}
LICENCE = "GPL-3.0 (annotations); the clips are from a television series"
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
PLACE = ("Dialogue_ID", "Utterance_ID")
# MELD-dyadic numbers its dialogues anew; the clips keep the numbers of the full data set.
OLD_PLACE = ("Old_Dialogue_ID", "Old_Utterance_ID")
EMOTIONS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
PUBLISHED = DATA_SETS["meld"].rows
PUBLISHED_DYADIC = {"train": 12840, "val": 1462, "test": 3400}
# Reported by users of the data set (declare-lab/MELD issues): missing, unreadable or wrongly cut clips.
KNOWN_BAD = {
    "val_dia110_utt7": "clip-missing-at-source",
    "train_dia125_utt3": "clip-corrupt-at-source",
    "test_dia38_utt4": "clip-wrongly-cut-at-source",
    "test_dia220_utt0": "clip-wrongly-cut-at-source",
    "train_dia309_utt0": "clip-wrongly-cut-at-source",
}
SEVERAL = re.compile(r" and |/|,")
Asked = Literal["basic", "sentiment", "labels", "person", "next"]


@dataclass(frozen=True, kw_only=True)
class Meld(Build):
    split: Literal["train", "dev", "val", "test"] | None = None
    """Split to build. Without it, the one in the file's name, or every split that a folder holds."""
    tasks: tuple[Asked, ...] = ("basic",)
    """Questions to ask about each utterance. With several, ids end in the task."""
    dyadic: bool = False
    """Take MELD-dyadic's files (*_sent_emo_dya.csv) from a folder. A single file is recognised by its columns."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context. 0 shows none."""


class Table(NamedTuple):
    """The csv of a split, with its dialogues."""

    path: Path
    split: str
    prefix: str
    """What ids begin with: the split, marked where the table is MELD-dyadic's."""
    rows: list[Row]
    turns: dict[str, dict[int, Turn]]
    clip: tuple[str, str]
    """Columns of the place of a row's clip in the full data set."""


def main(options: Meld) -> None:
    tables = [read(path, split) for path, split in files_of(options).items()]
    build(
        options,
        (row for it in tables for row in usable(named(it), options.shard, options.source, partial(ask, options, it))),
        sources=[it.path for it in tables],
        licence=LICENCE,
        defects={"utterance-absent": [f"{it.prefix}_{at}" for it in tables for at in absent(it.turns, first=0)]},
        rows_in=sum(count_in_shard(it.rows, options.shard) for it in tables),
        notes={
            "published_rows": sum(
                (PUBLISHED_DYADIC if "_dya" in it.path.name else PUBLISHED)[it.split] for it in tables
            ),
            "table_rows": sum(len(it.rows) for it in tables),
            "splits": list(dict.fromkeys(it.split for it in tables)),
        },
    )


def files_of(options: Meld) -> dict[Path, str]:
    """The csv of every split asked for, with the split's name in ids: a folder gives all that it holds."""
    if not options.source.is_dir():
        return {
            options.source: SPLITS[options.split] if options.split else split_by_name(options.source, SPLITS, "{}*")
        }
    wanted = [options.split] if options.split else ["train", "dev", "test"]
    kind = "_dya" if options.dyadic else ""
    names = [f"{'dev' if split == 'val' else split}_sent_emo{kind}.csv" for split in wanted]
    found = [options.source / name for name in names if (options.source / name).is_file()]
    if not found:
        raise AffectError(f"{options.source} holds none of {', '.join(names)}. Give the file itself with --source.")
    if len(found) > 1 and options.media:
        raise AffectError("MELD's splits reuse clip names, so one --media folder cannot serve several: add --split.")
    return {path: split_by_name(path, SPLITS, "{}*") for path in found}


def read(path: Path, split: str) -> Table:
    """A table whole: the context of an utterance may be anywhere in it."""
    rows = read_table(path, COLUMNS)
    dyadic = bool(rows) and OLD_PLACE[0] in rows[0].values
    turns = by_dialogue((place_of(row), turn_of(row)) for row in rows)
    for row in rows if dyadic else ():
        # A place that is not a number is an error of the table, not of a row.
        place_of(row, OLD_PLACE)
    return Table(path, split, f"{split}dya" if dyadic else split, rows, turns, OLD_PLACE if dyadic else PLACE)


def named(table: Table) -> Iterator[tuple[str, Row]]:
    return ((f"{table.prefix}_{place_of(row)}", row) for row in table.rows)


def place_of(row: Row, columns: tuple[str, str] = PLACE) -> Place:
    dialogue, number = row.values[columns[0]], row.values[columns[1]]
    if not (dialogue.isdecimal() and number.isdecimal()):
        raise AffectError(
            f"Row {row.number}: {' and '.join(columns)} must be whole numbers, they are {dialogue!r} and "
            f"{number!r}. Correct the csv and build again."
        )
    return Place(f"dia{dialogue}", int(number))


def turn_of(row: Row) -> Turn:
    return Turn(speaker=row.values["Speaker"], text=row.values["Utterance"])


def ask(options: Meld, table: Table, name: str, row: Row) -> Built:
    """Questions about an utterance; an AffectError says why there are none."""
    values, file = row.values, str(place_of(row, table.clip))
    if values["Emotion"] not in EMOTIONS or values["Sentiment"] not in SENTIMENTS:
        raise AffectError(f"unknown emotion or sentiment: {values['Emotion']!r}, {values['Sentiment']!r}")
    target = {"labels": [values["Emotion"]], "basic": values["Emotion"], "sentiment": values["Sentiment"]}
    annotation = Annotation(
        id=name,
        dataset="meld",
        split=table.split,
        media=need_clip(options.media, file, (".mp4",), shown=f"{file}.mp4"),
        subtitle=values["Utterance"],
        language="en",
        context=earlier(table.turns, place_of(row), options.window),
        person=values["Speaker"],
        target=msgspec.convert(target, Target),
        meta=Meta(licence=LICENCE, defects=defects_of(values, f"{table.split}_{file}"), hash=row_hash(values)),
    )
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, candidates=EMOTIONS, row=row, source=options.source
    )


def defects_of(values: dict[str, str], clip: str) -> list[str]:
    """What is odd about one utterance, by name."""
    checks = {
        "double-spaces": "  " in values["Utterance"],
        "no-letters": not any(map(str.isalpha, values["Utterance"])),
        "several-speakers": bool(SEVERAL.search(values["Speaker"])),
    }
    known = [KNOWN_BAD[clip]] if clip in KNOWN_BAD else []
    times = time_defects(values["StartTime"], values["EndTime"])
    return [*known, *times, *(kind for kind, there in checks.items() if there)]


if __name__ == "__main__":
    command(main)
