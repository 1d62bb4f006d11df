"""EmoryNLP (Zahiri and Choi, 2018): seven emotions of utterances in television dialogues.

    affectllm build emorynlp --source emorynlp_dev_final.csv --out data/emorynlp-dev --media emorynlp_dev_splits

Reads `emorynlp_{train,dev,test}_final.csv`. An id is the split and the clip's name, `val_sea1_ep15_sc1_utt1`. The csv
holds speakers as Python lists.
"""

import ast
from dataclasses import dataclass
from functools import partial
from typing import Literal

from affectllm.data.builder import Build, Built, build, count_in_shard, need_clip, row_hash, split_by_name, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.dialogues import Place, absent, by_dialogue, earlier, time_defects
from affectllm.data.questions import questions
from affectllm.data.tables import Row, find_source, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Turn

DATA_SETS = {
    "emorynlp": DataSet(
        title="EmoryNLP",
        task="basic",
        language="en",
        licence="Apache-2.0 (annotations)",
        url="https://github.com/emorynlp/character-mining",
        citation="Zahiri and Choi, AAAI workshops 2018",
        status="verified",
        rows={"train": 7551, "val": 954, "test": 984},
    ),
}
LICENCE = "Apache-2.0 (annotations); the clips are from a television series"
COLUMNS = (
    "Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode", "Start_Time", "End_Time",
)  # fmt: skip
EMOTIONS = ("neutral", "joyful", "peaceful", "powerful", "scared", "mad", "sad")
SPLITS = {"train": "train", "dev": "val", "test": "test"}
PUBLISHED = DATA_SETS["emorynlp"].rows


@dataclass(frozen=True, kw_only=True)
class EmoryNlp(Build):
    split: Literal["train", "dev", "test"] | None = None
    """Split of the file. Without it, the file's name says the split."""
    tasks: tuple[Literal["basic", "labels", "person", "next"], ...] = ("basic",)
    """Questions to ask about each utterance. With several, ids end in the task."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context. 0 shows none."""


def main(options: EmoryNlp) -> None:
    path = find_source(options.source, [f"emorynlp_{split}_final.csv" for split in SPLITS])
    split = SPLITS[options.split] if options.split else split_by_name(path, SPLITS, "*_{}*")
    rows = read_table(path, COLUMNS)
    turns = by_dialogue((place_of(row), turn_of(row)) for row in rows)
    named = ((f"{split}_{place_of(row)}", row) for row in rows)
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, split, turns)),
        sources=[path],
        licence=LICENCE,
        defects={"utterance-absent": [f"{split}_{place}" for place in absent(turns, first=1)]},
        rows_in=count_in_shard(rows, options.shard),
        notes={"published_rows": PUBLISHED[split], "table_rows": len(rows), "split": split},
    )


def place_of(row: Row) -> Place:
    values = row.values
    if not values["Utterance_ID"].isdecimal():
        raise AffectError(f"Row {row.number}: Utterance_ID must be a whole number, it is {values['Utterance_ID']!r}.")
    dialogue = f"sea{values['Season']}_ep{values['Episode']}_sc{values['Scene_ID']}"
    return Place(dialogue, int(values["Utterance_ID"]))


def turn_of(row: Row) -> Turn:
    return Turn(speaker=" and ".join(speakers(row)), text=row.values["Utterance"])


def speakers(row: Row) -> list[str]:
    """The names in a cell such as `['Monica Geller']`."""
    cell = row.values["Speaker"]
    try:
        found = ast.literal_eval(cell)
    except (SyntaxError, ValueError) as error:
        raise AffectError(f"Row {row.number}: Speaker must be a list such as ['Ann'], it is {cell!r}.") from error
    return [str(name) for name in found]


def ask(options: EmoryNlp, split: str, turns: dict[str, dict[int, Turn]], name: str, row: Row) -> Built:
    """Questions about an utterance; an AffectError says why there are none."""
    values, place = row.values, place_of(row)
    clip = need_clip(options.media, str(place), (".mp4",), shown=f"{place}.mp4")
    emotion, several = values["Emotion"].lower(), len(speakers(row)) > 1
    if emotion not in EMOTIONS:
        raise AffectError(f"emotion {emotion!r}")
    defects = time_defects(values["Start_Time"], values["End_Time"]) + (["several-speakers"] if several else [])
    annotation = Annotation(
        id=name,
        dataset="emorynlp",
        split=split,
        media=clip,
        subtitle=values["Utterance"],
        language="en",
        context=earlier(turns, place, options.window),
        person=turn_of(row).speaker,
        target=Target(labels=[emotion], basic=emotion),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(values)),
    )
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, candidates=EMOTIONS, row=row, source=options.source
    )


if __name__ == "__main__":
    command(main)
