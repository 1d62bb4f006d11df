"""EMER v1 and v2 (Lian et al., arXiv 2306.15401): descriptions of emotion with clues from face, voice and words.

    affectllm build emer --source final-EMER-reason.csv --labels check-openset.csv --out data/emer
    affectllm build emer --source gt-eng.csv --out data/emer-v1

Reads v1 (`gt-eng.csv`, `gt-chi.csv`) and v2 (`final-EMER-reason.csv`). v2 has a Chinese and an English description per
clip and no labels: those are OV-MERD's, joined on the clip's name with --labels. Descriptions are split into clues from
face, voice and words. Some English cells begin with the prompt they were translated with; it is cut off and counted.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, need_clip, row_hash, usable
from affectllm.data.checks.scripts import CHINESE
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import read_column, without_leaked_prompt
from affectllm.data.questions import questions
from affectllm.data.tables import Row, columns_of, find_source, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Clues, Meta, Target, Task

DATA_SETS = {
    "emer": DataSet(
        title="EMER v1 and v2",
        task="describe",
        language="mul",
        licence="CC BY-NC 4.0",
        url="https://github.com/zeroQiaoba/AffectGPT",
        citation="Lian et al., arXiv 2306.15401",
        status="verified",
        rows={"v1": 100, "v2": 332},
    ),
}
LICENCE = DATA_SETS["emer"].licence
V1 = ("names", "emotions", "subtitles", "reasons")
V2 = ("name", "chinese", "english")
FILES = ("final-EMER-reason.csv", "gt-eng.csv", "gt-chi.csv")
ENGLISH = re.compile(r"[A-Za-z]{4}")
# Where each modality's part begins, in both languages.
OPENINGS = {
    "visual": re.compile(r"(?:In|From) the video|在视频中|视频中", re.IGNORECASE),
    "audio": re.compile(r"(?:In|From) the audio|在音频中|音频中", re.IGNORECASE),
    "text": re.compile(r"(?:In|From) the (?:text|subtitle)|在文本中|文本中", re.IGNORECASE),
}
QUOTED = re.compile(r"[\"“”]([^\"“”]+)[\"“”]")


@dataclass(frozen=True, kw_only=True)
class Emer(Build):
    language: Literal["en", "zh"] = "en"
    """Language of the description to take from v2. A v1 file holds one language."""
    labels: Path | None = None
    """OV-MERD's csv with columns name and openset: the label sets of v2's clips, which v2 itself lacks."""
    tasks: tuple[Literal["labels", "describe", "clues", "progressive"], ...] = ()
    """Questions to ask about each clip. progressive asks in turn what is seen, heard and said, then for the emotion.
    Without it, the one question that fits the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer. Without it, think for clips with labels and describe for the others."""
    split: str = "train"
    """Split that the rows get: the data set has none."""


def main(options: Emer) -> None:
    path = find_source(options.source, FILES)
    rows = read_table(path, V1 if "reasons" in columns_of(path) else V2)
    named = ((row.values.get("name") or row.values.get("names") or "", row) for row in rows)
    labels = read_column(options.labels, "openset") if options.labels else {}
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, labels)),
        sources=[path, *([options.labels] if options.labels else [])],
        licence=LICENCE,
        rows_in=len(rows),
    )


def ask(options: Emer, labels: dict[str, str], name: str, row: Row) -> Built:
    """The questions about a clip; an AffectError says why there are none."""
    values = row.values
    raw = values.get("reasons") or values.get("english" if options.language == "en" else "chinese") or ""
    if not name or not raw.strip():
        raise AffectError(f"no {options.language} description" if name else "no name")
    clip = need_clip(options.media, name)
    description, defects = clean(raw, options.language)
    clues = split_clues(description)
    said = values.get("subtitles", "").strip() or quoted(clues)
    known = split_labels(labels.get(name, "")) or split_labels(values.get("emotions", ""))
    language = "zh" if CHINESE.search(description) and not ENGLISH.search(description) else options.language
    annotation = Annotation(
        id=name,
        dataset="emer",
        split=options.split,
        media=clip,
        subtitle=said or None,
        language=language,
        target=Target(labels=known, description=description, clues=clues),
        meta=Meta(licence=LICENCE, defects=defects if clues else [*defects, "no-clue-sections"], hash=row_hash(values)),
    )
    mode: Mode = options.mode or ("think" if known else "describe")
    if not options.tasks and mode != "describe" and not known:
        raise AffectError("no labels: give OV-MERD's csv with --labels, or build with --mode describe")
    one: tuple[Task, Mode] = ("describe", mode)
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, row=row, source=options.source, otherwise=one
    )


def clean(text: str, language: str) -> tuple[str, list[str]]:
    """The description without what does not belong to it, and what was found."""
    kept, defects = without_leaked_prompt(text)
    if language == "en" and CHINESE.search(kept) and ENGLISH.search(kept):
        defects.append("mixed-language")
    return kept, defects


def split_clues(description: str) -> Clues | None:
    """The sentences of each modality's part; None when no part is marked."""
    starts = sorted(
        (found.start(), modality)
        for modality, opening in OPENINGS.items()
        for found in [opening.search(description)]
        if found
    )
    if not starts:
        return None
    parts: dict[str, list[str]] = {}
    for (start, modality), (end, _) in zip(starts, [*starts[1:], (len(description), "")], strict=True):
        parts[modality] = sentences(description[start:end])
    return Clues(**parts)


def sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|(?<=[。！？；])", text) if part.strip(" ；;.")]


def quoted(clues: Clues | None) -> str:
    """What is said in the clip: the first quotation of the part about the words."""
    found = QUOTED.search(" ".join(clues.text)) if clues else None
    return found.group(1).strip() if found else ""


if __name__ == "__main__":
    command(main)
