"""EMER v1 and v2 (Lian et al., arXiv 2306.15401): descriptions of emotion with clues from face, voice and words.

    affectllm build emer --source final-EMER-reason.csv --labels check-openset.csv --out data/emer
    affectllm build emer --source gt-eng.csv --out data/emer-v1

v2 holds a Chinese and an English description a clip and no labels: those are OV-MERD's, joined on the name. Some
English cells still begin with the prompt they were translated with; it is cut off and counted.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, find_clip, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.descriptions import without_leaked_prompt
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, columns_of, find_source, read_table
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Clues, Meta, Rejected, Target

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
LICENCE = "CC BY-NC 4.0"
V1 = ("names", "emotions", "subtitles", "reasons")
V2 = ("name", "chinese", "english")
FILES = ("final-EMER-reason.csv", "gt-eng.csv", "gt-chi.csv")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
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
    """Which description of v2 to take; v1 files hold one language each."""
    labels: Path | None = None
    """OV-MERD's csv with columns name, openset: the label sets of v2's clips."""
    tasks: tuple[Literal["labels", "describe", "clues", "progressive"], ...] = ()
    """Questions asked about each clip, progressive being what is seen, heard and said and then the emotion; without it,
    the one for the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer; without it, think where labels are known and describe elsewhere."""
    split: str = "train"
    """Split the rows are put in; the data set has none."""


def main(run: Emer) -> None:
    path = find_source(run.source, FILES)
    rows = read_table(path, V1 if "reasons" in columns_of(path) else V2)
    labels = read_labels(run.labels) if run.labels else {}
    kept = [row for row in rows if in_shard(row.number, run.shard)]
    build(
        run,
        (found for row in kept for found in converse(run, row, labels)),
        sources=[path, *([run.labels] if run.labels else [])],
        licence=LICENCE,
        rows_in=len(rows),
    )


def read_labels(path: Path) -> dict[str, list[str]]:
    """Label sets by clip name, in any spelling the data sets use."""
    return {row.values["name"]: split_labels(row.values["openset"]) for row in read_table(path, ("name", "openset"))}


def converse(run: Emer, row: Row, labels: dict[str, list[str]]) -> Built:
    values = row.values
    name = values.get("name") or values.get("names") or ""
    raw = values.get("reasons") or values.get("english" if run.language == "en" else "chinese") or ""

    def reject(reason: str) -> Rejected:
        return Rejected(
            id=name or f"row {row.number}", row=row.number, reason=reason, source=run.source.name, data=values
        )

    clip = find_clip(run.media, name) if name else None
    if not name or not raw.strip() or clip is None:
        no_text = f"no {run.language} description"
        yield reject("no name" if not name else no_text if not raw.strip() else f"no clip {name} under {run.media}")
        return
    description, defects = clean(raw, run.language)
    clues = split_clues(description)
    if clues is None:
        defects.append("no-clue-sections")
    said = values.get("subtitles", "").strip() or quoted(clues)
    known = labels.get(name) or split_labels(values.get("emotions", ""))
    language = "zh" if CHINESE.search(description) and not re.search(r"[A-Za-z]{4}", description) else run.language
    annotation = Annotation(
        id=name,
        dataset="emer",
        split=run.split,
        media=clip,
        subtitle=said or None,
        language=language,
        target=Target(labels=known, description=description, clues=clues),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(values)),
    )
    mode = run.mode or ("think" if known else "describe")
    if run.tasks:
        yield from questions(annotation, run.tasks, run.mode, run.seed, row=row, source=run.source)
    elif mode != "describe" and not known:
        yield reject("no labels: give OV-MERD's csv with --labels, or build with --mode describe")
    else:
        yield compose(annotation, task="describe", mode=mode, seed=run.seed)


def clean(text: str, language: str) -> tuple[str, list[str]]:
    """The description without what does not belong to it, and what was found."""
    kept, defects = without_leaked_prompt(text)
    if language == "en" and CHINESE.search(kept) and re.search(r"[A-Za-z]{4}", kept):
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
