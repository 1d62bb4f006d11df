"""OV-MERD and OV-MERD+ (Lian et al., ICML 2025): human-checked open label sets, with EMER's descriptions joined.

    affectllm build ov-merd --source check-openset.csv --reasons final-EMER-reason.csv --out data/ov-merd

Reads `check-openset.csv`, `ovlabel.csv` and `track2_train_ovmerd.csv`. `--reasons` takes MER2025's
`track3_train_ovmerd.csv` (name, reason) or EMER v2's file (name, chinese, english).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, need_clip, row_hash, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import read_texts, without_leaked_prompt
from affectllm.data.questions import questions
from affectllm.data.tables import Row, find_source, stream_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Task

DATA_SETS = {
    "ov-merd": DataSet(
        title="OV-MERD",
        task="labels",
        language="mul",
        licence="CC BY-NC 4.0",
        url="https://github.com/zeroQiaoba/AffectGPT",
        citation="Lian et al., ICML 2025",
        status="verified",
        rows={"all": 332},
    ),
}
LICENCE = DATA_SETS["ov-merd"].licence
FILES = ("check-openset.csv", "ovlabel.csv", "track2_train_ovmerd.csv")
TEXT_COLUMNS = ("english", "sentence", "subtitles", "chinese")
PUBLISHED = (332, 532)


@dataclass(frozen=True, kw_only=True)
class OvMerd(Build):
    language: Literal["en", "zh"] = "en"
    """Language of the descriptions to join."""
    reasons: Path | None = None
    """Csv of descriptions: columns name and one of reason, english, chinese."""
    subtitles: Path | None = None
    """Csv of what is said: columns name and one of english, sentence, subtitles, chinese."""
    tasks: tuple[Literal["labels", "describe", "progressive"], ...] = ()
    """Questions to ask about each clip. progressive asks in turn what is seen, heard and said, then for the emotion.
    Without it, the one question that fits the mode. With several, ids end in the task."""
    mode: Mode | None = None
    """Form of the answer. Without it, think for clips with a description and labels for the others."""
    split: str = "test"
    """Split that the rows get. Most work tests on this set."""


def main(options: OvMerd) -> None:
    path = find_source(options.source, FILES)
    reasons = read_texts(options.reasons, ("reason", "english" if options.language == "en" else "chinese"))
    subtitles = read_texts(options.subtitles, TEXT_COLUMNS)
    named = ((row.values["name"].strip(), row) for row in stream_table(path, ("name", "openset")))
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, reasons, subtitles)),
        sources=[path, *(other for other in (options.reasons, options.subtitles) if other)],
        licence=LICENCE,
        notes={"published_rows": list(PUBLISHED)},
    )


def ask(options: OvMerd, reasons: dict[str, str], subtitles: dict[str, str], name: str, row: Row) -> Built:
    """The questions about a clip; an AffectError says why there are none."""
    clip, labels = need_clip(options.media, name), split_labels(row.values["openset"])
    if not labels or not name:
        raise AffectError("no name or no labels")
    description, defects = without_leaked_prompt(reasons.get(name, ""))
    if reasons and not description:
        defects.append("no-description")
    annotation = Annotation(
        id=name,
        dataset="ov-merd",
        split=options.split,
        media=clip,
        subtitle=subtitles.get(name) or None,
        language=options.language,
        target=Target(labels=labels, description=description or None),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    one: tuple[Task, Mode] = ("labels", options.mode or ("think" if description else "labels"))
    yield from questions(
        annotation, options.tasks, options.mode, options.seed, row=row, source=options.source, otherwise=one
    )


if __name__ == "__main__":
    command(main)
