"""MELD (Poria et al., ACL 2019): seven emotions and sentiment of utterances in television dialogues.

    affectllm build meld --source MELD/dev_sent_emo.csv --out data/meld-dev --media MELD/dev_splits_complete

Ids follow MERBench, `val_dia0_utt0`, since dialogue numbers repeat between splits. MELD-dyadic shows the same
utterances in dialogues of two, some several times: its ids begin `valdya_`, and its clips are those of the full data
set. The context of an utterance holds earlier utterances only. What is known to be wrong with the data set is found and
listed, never silently mended.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from affectllm.data import dialogues
from affectllm.data.builder import Build, build, find_clip, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.dialogues import Place
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Conversation, Meta, Rejected, Target, Turn

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
SENTIMENTS = ("positive", "negative", "neutral")
SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
PUBLISHED = {"train": 9989, "val": 1109, "test": 2610}
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
    """Split to build; without it, that of the file's name, or every split that a folder holds."""
    tasks: tuple[Asked, ...] = ("basic",)
    """Questions asked about each utterance; with several, ids end in the task."""
    dyadic: bool = False
    """Of a folder, take MELD-dyadic's files (*_sent_emo_dya.csv); a file is known by its columns."""
    mode: Mode = "labels"
    """Form of the answer."""
    window: int = 6
    """Earlier utterances shown as context; 0 for none."""


def main(run: Meld) -> None:
    tables = [(path, split, read_table(path, COLUMNS)) for path, split in files_of(run).items()]
    turns = {split: dialogues.by_dialogue((place_of(row), turn_of(row)) for row in rows) for _, split, rows in tables}
    published = sum((PUBLISHED_DYADIC if "_dya" in path.name else PUBLISHED)[split] for path, split, _ in tables)
    total = sum(len(rows) for _, _, rows in tables)
    absent = [
        name_of(place, prefix_of(rows, split))
        for _, split, rows in tables
        for place in dialogues.absent(turns[split], first=0)
    ]
    build(
        run,
        (row for _, split, rows in tables for row in converse(run, rows, split, turns[split])),
        sources=[path for path, _, _ in tables],
        licence=LICENCE,
        defects={"utterance-absent": absent},
        rows_in=sum(in_shard(row.number, run.shard) for _, _, rows in tables for row in rows),
        notes={"published_rows": published, "table_rows": total, "splits": list(turns)},
    )
    if total != published:
        print(f"  note: {total} rows were read, the published {', '.join(turns)} has {published}")


def files_of(run: Meld) -> dict[Path, str]:
    """The csv of every split asked for, with the split's name in ids: a folder gives all that it holds."""
    if not run.source.is_dir():
        return {run.source: SPLITS[run.split] if run.split else split_of(run.source)}
    wanted = [run.split] if run.split else ["train", "dev", "test"]
    kind = "_dya" if run.dyadic else ""
    names = [f"{'dev' if split == 'val' else split}_sent_emo{kind}.csv" for split in wanted]
    found = [run.source / name for name in names if (run.source / name).is_file()]
    if not found:
        raise AffectError(f"{run.source} holds none of {', '.join(names)}. Give the file itself with --source.")
    if len(found) > 1 and run.media:
        raise AffectError("MELD's splits reuse clip names, so one --media folder cannot serve several: add --split.")
    return {path: split_of(path) for path in found}


def split_of(path: Path) -> str:
    for name, split in SPLITS.items():
        if path.name.startswith(name):
            return split
    raise AffectError(f"Cannot tell the split of {path.name}. Give it with --split train, dev or test.")


def converse(
    run: Meld, rows: Sequence[Row], split: str, turns: dict[str, dict[int, Turn]]
) -> Iterator[Conversation | Rejected]:
    """Questions about every utterance of the shard; the context needs the whole table."""
    prefix = prefix_of(rows, split)
    for row in rows:
        if not in_shard(row.number, run.shard):
            continue
        place = place_of(row)
        name = name_of(place, prefix)
        reason, annotation = annotate(run, row, name, split, turns, place)
        if annotation is None:
            yield Rejected(id=name, row=row.number, reason=reason, source=run.source.name, data=row.values)
            continue
        yield from questions(annotation, run.tasks, run.mode, run.seed, candidates=EMOTIONS, row=row, source=run.source)


def prefix_of(rows: Sequence[Row], split: str) -> str:
    """What ids begin with: the split, marked where the table is MELD-dyadic's."""
    return f"{split}dya" if rows and OLD_PLACE[0] in rows[0].values else split


def name_of(place: Place, split: str) -> str:
    return f"{split}_dia{place.dialogue}_utt{place.number}"


def place_of(row: Row, columns: tuple[str, str] = PLACE) -> Place:
    dialogue, number = row.values[columns[0]], row.values[columns[1]]
    if not (dialogue.isdecimal() and number.isdecimal()):
        raise AffectError(
            f"Row {row.number}: {' and '.join(columns)} must be whole numbers, they are {dialogue!r} and "
            f"{number!r}. Mend the csv and build again."
        )
    return Place(dialogue, int(number))


def turn_of(row: Row) -> Turn:
    return Turn(speaker=row.values["Speaker"], text=row.values["Utterance"])


def annotate(
    run: Meld, row: Row, name: str, split: str, turns: dict[str, dict[int, Turn]], place: Place
) -> tuple[str, Annotation | None]:
    """The annotation of a row, or the reason why there is none."""
    values = row.values
    clip_place = place_of(row, OLD_PLACE) if OLD_PLACE[0] in values else place
    file = f"dia{clip_place.dialogue}_utt{clip_place.number}"
    if values["Emotion"] not in EMOTIONS or values["Sentiment"] not in SENTIMENTS:
        return f"unknown emotion or sentiment: {values['Emotion']!r}, {values['Sentiment']!r}", None
    clip = find_clip(run.media, file, (".mp4",))
    if clip is None:
        return f"no clip {file}.mp4 under {run.media}", None
    target = {"labels": [values["Emotion"]], "basic": values["Emotion"], "sentiment": values["Sentiment"]}
    annotation = Annotation(
        id=name,
        dataset="meld",
        split=split,
        media=clip,
        subtitle=values["Utterance"],
        language="en",
        context=dialogues.earlier(turns, place, run.window),
        person=values["Speaker"],
        target=msgspec.convert(target, Target),
        meta=Meta(
            licence=LICENCE,
            defects=row_defects(values, name_of(clip_place, split)),
            hash=row_hash(values),
        ),
    )
    return "", annotation


def row_defects(values: dict[str, str], name: str) -> list[str]:
    """What is odd about one utterance, by name."""
    found = [KNOWN_BAD[name]] if name in KNOWN_BAD else []
    found += dialogues.time_defects(values["StartTime"], values["EndTime"])
    if "  " in values["Utterance"]:
        found.append("double-spaces")
    if not any(map(str.isalpha, values["Utterance"])):
        found.append("no-letters")
    if SEVERAL.search(values["Speaker"]):
        found.append("several-speakers")
    return found


if __name__ == "__main__":
    command(main)
