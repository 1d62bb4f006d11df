"""MER-Caption and MER-Caption+ (Lian et al., arXiv 2501.16566): label sets and descriptions of short clips.

    affectllm build mer-caption --source track2_train_mercaptionplus.csv --reasons track3_train_mercaptionplus.csv \
        --subtitles subtitle_chieng.csv --exclude track2_train_human.csv --out data/mercaptionplus

Takes every spelling of a label set that the csvs of 2025 and 2026 use. Where the English subtitle is missing the
Chinese one is used and marked. `--exclude` names human-labelled files whose clips must not be trained on: some five
hundred of them are in MER-Caption+ too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, find_clip, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.subtitles import NONE, Subtitle, read_subtitles
from affectllm.data.tables import Row, columns_of, find_source, read_table, stream_table
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Meta, Rejected, Target

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
    """Csv with columns name, reason: the descriptions, joined on the name."""
    subtitles: Path | None = None
    """Csv with name and one of english, sentence, subtitles, chinese."""
    exclude: tuple[Path, ...] = ()
    """Csvs with a column name whose clips are left out, so that nothing tested on is trained on."""
    tasks: tuple[Literal["labels", "describe", "progressive"], ...] = ()
    """Questions asked about each clip, progressive being what is seen, heard and said and then the emotion; without it,
    the one for the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer; without it, think where descriptions are given and labels elsewhere."""
    split: str = "train"
    """Split the rows are put in."""


def main(run: MerCaption) -> None:
    path = find_source(run.source, FILES)
    told = "reason" if "openset" not in (columns := columns_of(path)) and "reason" in columns else "openset"
    rows = stream_table(path, ("name", told))
    reasons = read_reasons(run.reasons) if run.reasons else {}
    subtitles = read_subtitles(run.subtitles) if run.subtitles else {}
    held_out = {row.values["name"] for other in run.exclude for row in read_table(other, ("name",))}
    published = PUBLISHED.get(path.stem.rpartition("_")[2])
    notes: dict[str, Any] = {"published_rows": published, "table_rows": 0}
    sources = [path, *(other for other in (run.reasons, run.subtitles, *run.exclude) if other)]
    build(
        run,
        converse(run, counted(rows, notes), reasons, subtitles, held_out),
        sources=sources,
        licence=LICENCE,
        notes=notes,
    )
    if published not in (None, notes["table_rows"]):
        print(f"  note: {notes['table_rows']} rows were read from {path.name}, the published file has {published}")


def counted(rows: Iterable[Row], notes: dict[str, Any]) -> Iterator[Row]:
    """The rows of a stream, their number noted as they pass."""
    for row in rows:
        notes["table_rows"] = row.number
        yield row


def read_reasons(path: Path) -> dict[str, str]:
    return {row.values["name"]: row.values["reason"] for row in stream_table(path, ("name", "reason"))}


def converse(
    run: MerCaption,
    rows: Iterable[Row],
    reasons: dict[str, str],
    subtitles: dict[str, Subtitle],
    held_out: set[str],
) -> Built:
    for row in rows:
        if not in_shard(row.number, run.shard):
            continue
        values, name = row.values, row.values["name"].strip()
        clip = find_clip(run.media, name)
        description = (values.get("reason") or reasons.get(name) or "").strip()
        labels = split_labels(values.get("openset") or "")
        problem = problem_with(run, name, clip is None, labels, description, name in held_out)
        if problem or clip is None:
            yield Rejected(
                id=name or f"row {row.number}", row=row.number, reason=problem, source=run.source.name, data=values
            )
            continue
        subtitle = subtitles.get(name, NONE)
        defects = list(subtitle.defects)
        if not labels:
            defects.append("no-labels")
        if reasons and not description:
            defects.append("no-description")
        annotation = Annotation(
            id=name,
            dataset="mer-caption",
            split=run.split,
            media=clip,
            subtitle=subtitle.text,
            language=subtitle.language,
            target=Target(labels=labels, description=description or None),
            meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(values)),
        )
        if run.tasks:
            yield from questions(annotation, run.tasks, run.mode, run.seed, row=row, source=run.source)
            continue
        mode: Mode = run.mode or ("describe" if not labels else "think" if description else "labels")
        yield compose(annotation, task="labels" if labels else "describe", mode=mode, seed=run.seed)


def problem_with(run: MerCaption, name: str, no_clip: bool, labels: list[str], description: str, held_out: bool) -> str:
    """Why a row cannot be used, or nothing. An empty label set is said to be empty, never taken for neutral."""
    if not name:
        return "no name"
    if held_out:
        return "also in a file given with --exclude"
    if no_clip:
        return f"no clip {name} under {run.media}"
    if not labels and not description:
        return "empty label set and no description"
    return ""


if __name__ == "__main__":
    command(main)
