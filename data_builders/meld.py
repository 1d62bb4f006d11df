"""MELD (Poria et al., ACL 2019): seven emotions and sentiment of utterances in television dialogues.

    affectllm build meld --source MELD/dev_sent_emo.csv --out data/meld-dev --media MELD/dev_splits_complete

Ids follow MERBench, `val_dia0_utt0`, since dialogue numbers repeat between splits. The context of an utterance holds
earlier utterances only. What is known to be wrong with the data set is found and listed, never silently mended.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from affectllm import building
from affectllm.building import Build, Row
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Conversation, Meta, Rejected, Target, Turn

LICENCE = "GPL-3.0 (annotations); the clips are from a television series"
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
EMOTIONS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
SENTIMENTS = ("positive", "negative", "neutral")
SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
PUBLISHED = {"train": 9989, "val": 1109, "test": 2610}
LONGEST_S, SHORTEST_S = 30.0, 0.3
# Reported by users of the data set (declare-lab/MELD issues): missing, unreadable or wrongly cut clips.
KNOWN_BAD = {
    "val_dia110_utt7": "clip-missing-at-source",
    "train_dia125_utt3": "clip-corrupt-at-source",
    "test_dia38_utt4": "clip-wrongly-cut-at-source",
    "test_dia220_utt0": "clip-wrongly-cut-at-source",
    "train_dia309_utt0": "clip-wrongly-cut-at-source",
}
TIME = re.compile(r"(\d+):(\d{2}):(\d{2})[,.](\d{1,3})")
Asked = Literal["basic", "sentiment", "labels"]


@dataclass(frozen=True, kw_only=True)
class Meld(Build):
    split: Literal["train", "dev", "val", "test"] | None = None
    """Split of the file; without it, read from the file's name."""
    tasks: tuple[Asked, ...] = ("basic",)
    """Questions asked about each utterance; with several, ids end in the task."""
    mode: Mode = "labels"
    """Form of the answer."""
    window: int = 6
    """Earlier utterances shown as context; 0 for none."""


def main(run: Meld) -> None:
    path = building.find_source(run.source, [f"{split}_sent_emo.csv" for split in ("train", "dev", "test")])
    split = SPLITS[run.split] if run.split else split_of(path)
    rows = building.read_table(path, COLUMNS)
    manifest = building.write(
        run.out,
        converse(run, rows, split),
        sources=[path],
        options=asdict(run),
        licence=LICENCE,
        defects=table_defects(rows, split),
        rows_in=len(rows),
        notes={"published_rows": PUBLISHED[split], "split": split},
    )
    print("\n".join(building.summary(manifest, run.out)))
    if len(rows) != PUBLISHED[split]:
        print(f"  note: {path.name} has {len(rows)} rows, the published {split} split has {PUBLISHED[split]}")


def split_of(path: Path) -> str:
    for name, split in SPLITS.items():
        if path.name.startswith(name):
            return split
    raise AffectError(f"Cannot tell the split of {path.name}. Give it with --split train, dev or test.")


def converse(run: Meld, rows: Sequence[Row], split: str) -> Iterator[Conversation | Rejected]:
    """Questions about every utterance of the shard; the context needs the whole table."""
    dialogues = dialogues_of(rows)
    for row in rows:
        if not building.in_shard(row.number, run.shard):
            continue
        name = name_of(row, split)
        reason, annotation = annotate(run, row, split, dialogues)
        if annotation is None:
            yield Rejected(id=name, row=row.number, reason=reason, source=run.source.name, data=row.values)
            continue
        for task in run.tasks:
            asked = annotation.model_copy(update={"id": name if len(run.tasks) == 1 else f"{name}_{task}"})
            yield compose(asked, task=task, mode=run.mode, seed=run.seed, candidates=EMOTIONS)


def name_of(row: Row, split: str) -> str:
    return f"{split}_dia{row.values['Dialogue_ID']}_utt{row.values['Utterance_ID']}"


def dialogues_of(rows: Sequence[Row]) -> dict[str, dict[int, Turn]]:
    """Every dialogue's utterances by their number."""
    found: dict[str, dict[int, Turn]] = defaultdict(dict)
    for row in rows:
        if not (row.values["Dialogue_ID"].isdecimal() and row.values["Utterance_ID"].isdecimal()):
            raise AffectError(
                f"Row {row.number}: Dialogue_ID and Utterance_ID must be whole numbers, they are "
                f"{row.values['Dialogue_ID']!r} and {row.values['Utterance_ID']!r}. Mend the csv and build again."
            )
        turn = Turn(speaker=row.values["Speaker"], text=row.values["Utterance"])
        found[row.values["Dialogue_ID"]][int(row.values["Utterance_ID"])] = turn
    return found


def annotate(run: Meld, row: Row, split: str, dialogues: dict[str, dict[int, Turn]]) -> tuple[str, Annotation | None]:
    """The annotation of a row, or the reason why there is none."""
    values, name = row.values, name_of(row, split)
    if values["Emotion"] not in EMOTIONS or values["Sentiment"] not in SENTIMENTS:
        return f"unknown emotion or sentiment: {values['Emotion']!r}, {values['Sentiment']!r}", None
    clip = building.find_clip(run.media, f"dia{values['Dialogue_ID']}_utt{values['Utterance_ID']}", (".mp4",))
    if clip is None:
        return f"no clip dia{values['Dialogue_ID']}_utt{values['Utterance_ID']}.mp4 under {run.media}", None
    number = int(values["Utterance_ID"])
    earlier = [turn for other, turn in sorted(dialogues[values["Dialogue_ID"]].items()) if other < number]
    return "", Annotation(
        id=name,
        dataset="meld",
        split=split,
        media=clip,
        subtitle=values["Utterance"],
        language="en",
        context=building.past(earlier, run.window),
        person=values["Speaker"],
        target=Target.model_validate(
            {"labels": [values["Emotion"]], "basic": values["Emotion"], "sentiment": values["Sentiment"]}
        ),
        meta=Meta(licence=LICENCE, defects=row_defects(values, name), hash=building.row_hash(values)),
    )


def row_defects(values: dict[str, str], name: str) -> list[str]:
    """What is odd about one utterance, by name."""
    start, end = seconds(values["StartTime"]), seconds(values["EndTime"])
    checks = {
        "time-unreadable": start is None or end is None,
        "double-spaces": "  " in values["Utterance"],
        "no-letters": not any(letter.isalpha() for letter in values["Utterance"]),
        "several-speakers": bool(re.search(r" and |/|,", values["Speaker"])),
    }
    if start is not None and end is not None:
        checks |= {
            "ends-before-it-starts": end <= start,
            f"longer-than-{LONGEST_S:.0f}-s": end - start > LONGEST_S,
            f"shorter-than-{SHORTEST_S}-s": 0 < end - start < SHORTEST_S,
        }
    known = [KNOWN_BAD[name]] if name in KNOWN_BAD else []
    return known + [defect for defect, there in checks.items() if there]


def seconds(time: str) -> float | None:
    """`00:20:57,256` and `0:20:57,99` in seconds; the part behind the comma is milliseconds."""
    found = TIME.fullmatch(time.strip())
    if found is None:
        return None
    hours, minutes, whole, milliseconds = map(int, found.groups())
    return hours * 3600 + minutes * 60 + whole + milliseconds / 1000


def table_defects(rows: Sequence[Row], split: str) -> dict[str, list[str]]:
    """What is odd about the table as a whole: utterance numbers left out, ids used twice."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        numbers[int(row.values["Dialogue_ID"])].append(int(row.values["Utterance_ID"]))
    absent = [
        f"{split}_dia{dialogue}_utt{number}"
        for dialogue, found in sorted(numbers.items())
        for number in range(max(found) + 1)
        if number not in set(found)
    ]
    return {"utterance-absent": absent} if absent else {}


if __name__ == "__main__":
    command(main)
