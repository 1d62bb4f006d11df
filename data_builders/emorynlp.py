"""EmoryNLP (Zahiri and Choi, 2018): seven emotions of utterances in television dialogues.

    affectllm build emorynlp --source emorynlp_dev_final.csv --out data/emorynlp-dev --media emorynlp_dev_splits

Ids are the clip's name behind the split, `val_sea1_ep15_sc1_utt1`. Speakers stand as Python lists in the csv.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectllm.data import dialogues
from affectllm.data.builder import Build, build, find_clip, reject, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.dialogues import Place
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, find_source, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Conversation, Meta, Rejected, Target, Turn

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
PUBLISHED = {"train": 7551, "val": 954, "test": 984}


@dataclass(frozen=True, kw_only=True)
class EmoryNlp(Build):
    split: Literal["train", "dev", "test"] | None = None
    """Split of the file; without it, read from the file's name."""
    tasks: tuple[Literal["basic", "labels", "person", "next"], ...] = ("basic",)
    """Questions asked about each utterance; with several, ids end in the task."""
    mode: Mode = "labels"
    """Form of the answer."""
    window: int = 6
    """Earlier utterances shown as context; 0 for none."""


def main(run: EmoryNlp) -> None:
    path = find_source(run.source, [f"emorynlp_{split}_final.csv" for split in SPLITS])
    split = SPLITS[run.split or split_of(path)]
    rows = read_table(path, COLUMNS)
    turns = dialogues.by_dialogue((place_of(row), turn_of(row)) for row in rows)
    build(
        run,
        converse(run, rows, split, turns),
        sources=[path],
        licence=LICENCE,
        defects={"utterance-absent": [f"{split}_{clip_of(place)}" for place in dialogues.absent(turns, first=1)]},
        rows_in=sum(in_shard(row.number, run.shard) for row in rows),
        notes={"published_rows": PUBLISHED[split], "table_rows": len(rows), "split": split},
    )
    if len(rows) != PUBLISHED[split]:
        print(f"  note: {path.name} has {len(rows)} rows, the published {split} split has {PUBLISHED[split]}")


def split_of(path: Path) -> str:
    for split in SPLITS:
        if f"_{split}" in path.name:
            return split
    raise AffectError(f"Cannot tell the split of {path.name}. Give it with --split train, dev or test.")


def place_of(row: Row) -> Place:
    values = row.values
    if not values["Utterance_ID"].isdecimal():
        raise AffectError(f"Row {row.number}: Utterance_ID must be a whole number, it is {values['Utterance_ID']!r}.")
    dialogue = f"sea{values['Season']}_ep{values['Episode']}_sc{values['Scene_ID']}"
    return Place(dialogue, int(values["Utterance_ID"]))


def clip_of(place: Place) -> str:
    return f"{place.dialogue}_utt{place.number}"


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


def converse(
    run: EmoryNlp, rows: Sequence[Row], split: str, turns: dict[str, dict[int, Turn]]
) -> Iterator[Conversation | Rejected]:
    for row in rows:
        if not in_shard(row.number, run.shard):
            continue
        values, place = row.values, place_of(row)
        emotion, clip = values["Emotion"].lower(), find_clip(run.media, clip_of(place), (".mp4",))
        if emotion not in EMOTIONS or clip is None:
            reason = f"no clip {clip_of(place)}.mp4 under {run.media}" if clip is None else f"emotion {emotion!r}"
            yield reject(row, run.source, f"{split}_{clip_of(place)}", reason)
            continue
        defects = dialogues.time_defects(values["Start_Time"], values["End_Time"])
        annotation = Annotation(
            id=f"{split}_{clip_of(place)}",
            dataset="emorynlp",
            split=split,
            media=clip,
            subtitle=values["Utterance"],
            language="en",
            context=dialogues.earlier(turns, place, run.window),
            person=turn_of(row).speaker,
            target=Target(labels=[emotion], basic=emotion),
            meta=Meta(
                licence=LICENCE,
                defects=defects + (["several-speakers"] if len(speakers(row)) > 1 else []),
                hash=row_hash(values),
            ),
        )
        yield from questions(annotation, run.tasks, run.mode, run.seed, candidates=EMOTIONS, row=row, source=run.source)


if __name__ == "__main__":
    command(main)
