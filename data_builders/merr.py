"""MERR (Cheng et al., NeurIPS 2024): Emotion-LLaMA's descriptions of clips, fine-grained and coarse.

    affectllm build merr --source MERR_fine_grained.json --out data/merr-fine
    affectllm build merr --source MERR_coarse_grained.json --transcripts transcription_en_all.csv \\
        --labels MERR_coarse_grained.txt --out data/merr-coarse

The fine-grained file names an emotion, what face and voice show, and the words. The coarse file has one caption per
clip; its emotions come from the list that Emotion-LLaMA trains on (--labels) and its words from a csv (--transcripts).
Descriptions are English. Words in another language are marked.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from affectllm.data.builder import Build, Built, build, item_of, need_clip, row_hash, rows_of, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import read_column
from affectllm.data.questions import questions
from affectllm.data.tables import Row, find_source, read_lines, read_object
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Clues, Meta, Target, Task

DATA_SETS = {
    "merr-coarse": DataSet(
        title="MERR, coarse-grained (Emotion-LLaMA)",
        task="describe",
        language="en",
        licence="MER2023's end user licence, research only",
        url="https://github.com/ZebangCheng/Emotion-LLaMA",
        citation="Cheng et al., NeurIPS 2024",
        status="documented",
        rows={"train": 28618},
    ),
    "merr-fine": DataSet(
        title="MERR, fine-grained (Emotion-LLaMA)",
        task="describe",
        language="en",
        licence="MER2023's end user licence, research only",
        url="https://github.com/ZebangCheng/Emotion-LLaMA",
        citation="Cheng et al., NeurIPS 2024",
        status="documented",
        rows={"train": 4487},
    ),
}
LICENCE = "MER2023's end user licence: research only"
FILES = ("MERR_fine_grained.json", "MERR_coarse_grained.json")
PUBLISHED = {"fine": 4487, "coarse": 28618}
# Chinese, Japanese and Korean letters: the clips are Chinese, and some words were not translated.
EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]")


@dataclass(frozen=True, kw_only=True)
class Merr(Build):
    transcripts: Path | None = None
    """Csv with columns name and sentence: what is said in clips whose entry has no words."""
    labels: Path | None = None
    """Emotion-LLaMA's list with a line `name frames emotion` per clip: the emotion of clips whose entry has none."""
    tasks: tuple[Literal["labels", "describe", "clues", "progressive"], ...] = ()
    """Questions to ask about each clip. progressive asks in turn what is seen, heard and said, then for the emotion.
    Without it, the one question that fits the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer. Without it, think for clips with an emotion and describe for the others."""
    split: str = "train"
    """Split that the clips get: the data set has none."""


class Item(msgspec.Struct):
    """What a clip's entry says, in either file. The rest (AU_list, peak_index ...) is not used."""

    caption: str = ""
    smp_reason_caption: str = ""
    pseu_emotion: str = ""
    text: str = ""
    visual_prior_list: list[str] = []
    audio_prior_list: str = ""
    peak_AU_list: list[Any] | None = None


def main(options: Merr) -> None:
    path = find_source(options.source, FILES)
    items = read_object(path, "an entry per clip")
    sentences = read_column(options.transcripts, "sentence") if options.transcripts else {}
    emotions = read_emotions(options.labels) if options.labels else {}
    named = zip(items, rows_of(items.values()), strict=True)
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, sentences, emotions)),
        sources=[path, *(other for other in (options.transcripts, options.labels) if other)],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED, "table_rows": len(items)},
    )


def read_emotions(path: Path) -> dict[str, str]:
    """The emotion of each clip from lines such as `sample_00000047 64 worried`; a valence may follow."""
    found = {}
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if words and len(words) not in (3, 4):
            raise AffectError(f"{path}: line {number} must be 'name frames emotion', it is {line.strip()!r}.")
        if words:
            found[words[0]] = words[2]
    return found


def ask(options: Merr, sentences: dict[str, str], emotions: dict[str, str], name: str, row: Row) -> Built:
    """The questions about a clip; an AffectError says why there are none."""
    item = item_of(row, Item)
    clip, description = need_clip(options.media, name), (item.smp_reason_caption or item.caption).strip()
    if not description or not name:
        raise AffectError("no name or no description")
    emotion = (item.pseu_emotion or emotions.get(name, "")).strip().lower()
    said = (item.text or sentences.get(name, "")).strip()
    annotation = Annotation(
        id=name,
        dataset="merr",
        split=options.split,
        media=clip,
        subtitle=said or None,
        language="en",
        target=Target(labels=[emotion] if emotion else [], description=description, clues=clues_of(item)),
        meta=Meta(licence=LICENCE, defects=defects_of(item, said, emotion), hash=row_hash(row.values)),
    )
    one: tuple[Task, Mode] = ("labels", "think") if emotion else ("describe", "describe")
    one = (one[0], options.mode or one[1])
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, row=row, source=options.source, otherwise=one
    )


def clues_of(item: Item) -> Clues | None:
    """What face and voice show; the coarse file has no such statements."""
    clues = Clues(
        visual=[clue.strip() for clue in item.visual_prior_list if clue.strip()],
        audio=[item.audio_prior_list.strip()] if item.audio_prior_list.strip() else [],
    )
    return clues if clues.visual or clues.audio else None


def defects_of(item: Item, said: str, emotion: str) -> list[str]:
    checks = {
        "no-peak-action-units": item.peak_AU_list == [],
        "subtitle-not-english": bool(EAST_ASIAN.search(said)),
        "mixed-language": bool(EAST_ASIAN.search(item.smp_reason_caption or item.caption)),
        "no-subtitle": not said,
        "no-labels": not emotion,
    }
    return [defect for defect, there in checks.items() if there]


if __name__ == "__main__":
    command(main)
