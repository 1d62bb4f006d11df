"""MER-Caption and MER-Caption+ (Lian et al., arXiv 2501.16566): label sets and descriptions of short clips.

    affectllm build mer-caption --source track2_train_mercaptionplus.csv --reasons track3_train_mercaptionplus.csv \\
        --subtitles subtitle_chieng.csv --exclude track2_train_human.csv --out data/mercaptionplus

Reads MER-Caption, MER-Caption+ and Human-OV (columns name, openset), and files of descriptions alone (name, reason), in
every spelling of a label set that the csvs of 2025 and 2026 use. If the English subtitle is missing, the Chinese one is
used and marked. Some 550 clips of Human-OV are in MER-Caption+ too: name the human-labelled file that you test on with
`--exclude`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, need_clip, row_hash, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import names_in, read_column
from affectllm.data.questions import questions
from affectllm.data.subtitles import NONE, Subtitle, read_subtitles
from affectllm.data.tables import Row, columns_of, counted, find_source, stream_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Task

DATA_SETS = {
    "human-ov": DataSet(
        title="Human-OV (MER2026 track 2)",
        task="labels",
        language="mul",
        licence="CC BY-NC 4.0, redistribution forbidden",
        url="https://huggingface.co/datasets/MERChallenge/MER2026",
        citation="Lian et al., arXiv 2604.19417",
        status="documented",
        rows={"train": 1532},
    ),
    "mer-caption-plus": DataSet(
        title="MER-Caption+",
        task="labels",
        language="mul",
        licence="CC BY-NC 4.0, redistribution forbidden",
        url="https://huggingface.co/datasets/MERChallenge/MER2025",
        citation="Lian et al., arXiv 2501.16566",
        status="documented",
        rows={"train": 31327},
    ),
    "mer-caption": DataSet(
        title="MER-Caption",
        task="labels",
        language="mul",
        licence="CC BY-NC 4.0, redistribution forbidden",
        url="https://huggingface.co/datasets/MERChallenge/MER2025",
        citation="Lian et al., arXiv 2501.16566",
        status="documented",
        rows={"train": 115595},
    ),
}
LICENCE = "CC BY-NC 4.0, redistribution of annotations forbidden"
FILES = ("track2_train_mercaptionplus.csv", "track2_train_human.csv", "track2_train_ovmerd.csv")
PUBLISHED = {"mercaption": 115_595, "mercaptionplus": 31_327, "human": 1_532, "ovmerd": 332}
"""Rows, by what the file's name ends in."""


@dataclass(frozen=True, kw_only=True)
class MerCaption(Build):
    reasons: Path | None = None
    """Csv of descriptions, with columns name and reason."""
    subtitles: Path | None = None
    """Csv of what is said: columns name and one of english, sentence, subtitles, chinese."""
    exclude: tuple[Path, ...] = ()
    """Csv files with a column `name`. Their clips are left out: name the files that you test on."""
    tasks: tuple[Literal["labels", "describe", "progressive"], ...] = ()
    """Questions to ask about each clip. progressive asks in turn what is seen, heard and said, then for the emotion.
    Without it, the one question that fits the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer. Without it, think for clips with a description and labels for the others."""
    split: str = "train"
    """Split that the rows get."""


class Joined(NamedTuple):
    """What other tables say, by clip name."""

    reasons: dict[str, str]
    subtitles: dict[str, Subtitle]
    held_out: set[str]


def main(options: MerCaption) -> None:
    path = find_source(options.source, FILES)
    # Files of descriptions alone have the one column in place of the other.
    column = "reason" if "openset" not in (columns := columns_of(path)) and "reason" in columns else "openset"
    joined = Joined(
        read_column(options.reasons, "reason") if options.reasons else {},
        read_subtitles(options.subtitles) if options.subtitles else {},
        names_in(options.exclude),
    )
    notes: dict[str, Any] = {"published_rows": PUBLISHED.get(path.stem.rpartition("_")[2]), "table_rows": 0}
    rows = counted(stream_table(path, ("name", column)), notes, "table_rows")
    named = ((row.values["name"].strip(), row) for row in rows)
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, joined)),
        sources=[path, *(other for other in (options.reasons, options.subtitles, *options.exclude) if other)],
        licence=LICENCE,
        notes=notes,
    )


def ask(options: MerCaption, joined: Joined, name: str, row: Row) -> Built:
    """The questions about a clip; an AffectError says why there are none."""
    if not name:
        raise AffectError("no name")
    if name in joined.held_out:
        raise AffectError("also in a file given with --exclude")
    clip, subtitle = need_clip(options.media, name), joined.subtitles.get(name, NONE)
    description = (row.values.get("reason") or joined.reasons.get(name) or "").strip()
    labels = split_labels(row.values.get("openset") or "")
    # An empty label set is said to be empty, never taken for neutral.
    if not labels and not description:
        raise AffectError("empty label set and no description")
    defects = [*subtitle.defects, *([] if labels else ["no-labels"])]
    defects += ["no-description"] if joined.reasons and not description else []
    annotation = Annotation(
        id=name,
        dataset="mer-caption",
        split=options.split,
        media=clip,
        subtitle=subtitle.text,
        language=subtitle.language,
        target=Target(labels=labels, description=description or None),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    mode: Mode = options.mode or ("describe" if not labels else "think" if description else "labels")
    one: tuple[Task, Mode] = ("labels" if labels else "describe", mode)
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, row=row, source=options.source, otherwise=one
    )


if __name__ == "__main__":
    command(main)
