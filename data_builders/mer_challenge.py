"""MER2025 and MER2026, tracks 1 to 3, from the challenge's own folder.

    affectllm build mer-challenge --source mer2026 --track 2 --descriptions mer2025 --out data/mer2026-fg
    affectllm build mer-challenge --source mer2026 --track 1 --split candidate --out data/mer2026-cross

track 1   one of six emotions of the speaker; MER2026's candidates ask for the listener's
track 2   open label sets; descriptions are joined on the name, from this folder or the one of --descriptions
track 3   MER2025's descriptions, with the label sets of track 2 (MER2026's track 3 is built by `emoprefer`)

Files are read in the order human, ovmerd, mercaptionplus: a clip that is in two of these is taken from the first. The
words come from subtitle_chieng.csv. If the English words are missing, the Chinese ones are used and marked. Track 1's
valence column is not read, because its scale is not stated.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, need_clip, or_rejected, reject, row_hash
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import read_first
from affectllm.data.questions import questions
from affectllm.data.reading import in_shard
from affectllm.data.subtitles import NONE, Subtitle, read_subtitles
from affectllm.data.tables import Row, counted, files_there, stream_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Task

DATA_SETS = {
    "mer2025": DataSet(
        title="MER2025, tracks 1 to 3",
        task="labels",
        language="zh",
        licence="CC BY-NC 4.0, redistribution forbidden",
        url="https://huggingface.co/datasets/MERChallenge/MER2025",
        citation="Lian et al., MER2025 challenge",
        status="documented",
        rows={"track2": 31659, "track3": 31659, "test": 1200, "candidates": 20000},
    ),
    "mer2026": DataSet(
        title="MER2026, tracks 1 to 3",
        task="labels",
        language="zh",
        licence="CC BY-NC 4.0, redistribution forbidden",
        url="https://huggingface.co/datasets/MERChallenge/MER2026",
        citation="Lian et al., arXiv 2604.19417",
        status="documented",
        rows={"track1": 9395, "track2": 32859, "candidates": 20000},
    ),
}
LICENCE = "CC BY-NC 4.0, redistribution of annotations forbidden"
EMOTIONS = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SUBTITLES = "subtitle_chieng.csv"
LABELS = ("track2_train_human.csv", "track2_train_ovmerd.csv", "track2_train_mercaptionplus.csv")
REASONS = ("track3_train_ovmerd.csv", "track3_train_mercaptionplus.csv")
CANDIDATES = ("track1_track2_candidate.csv", "track_all_candidates.csv")
Track = Literal[1, 2, 3]
Split = Literal["train", "test", "candidate"]
FILES: dict[tuple[Track, Split], tuple[str, ...]] = {
    (1, "train"): ("track1_train.csv", "track1_train_disdim.csv"),
    (1, "test"): ("track1_test_dis.csv",),
    (1, "candidate"): CANDIDATES,
    (2, "train"): LABELS,
    (2, "test"): ("track2_test.csv",),
    (2, "candidate"): CANDIDATES,
    (3, "train"): REASONS,
    (3, "candidate"): CANDIDATES,
}
COLUMNS: dict[Track, str] = {1: "discrete", 2: "openset", 3: "reason"}
TASKS: dict[Track, Task] = {1: "basic", 2: "labels", 3: "describe"}
SPEAKER = {"en": "the speaker", "zh": "说话的人"}
LISTENER = {"en": "the listener", "zh": "听话的人"}
PUBLISHED = {
    "track1_train.csv": 9395, "track2_train_human.csv": 1532, "track2_train_ovmerd.csv": 332,
    "track2_train_mercaptionplus.csv": 31327, "track3_train_ovmerd.csv": 332, "track3_train_mercaptionplus.csv": 31327,
    "track1_track2_candidate.csv": 20000, "track_all_candidates.csv": 20000, "track2_test.csv": 1200,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MerChallenge(Build):
    track: Track
    """Track of the challenge."""
    split: Split = "train"
    """train; test, if its labels were released; or candidate, the clips to answer, which have no labels."""
    descriptions: Path | None = None
    """Folder with track3_train_*.csv, if the source has none. For MER2026, give the folder of MER2025."""
    tasks: tuple[Literal["basic", "labels", "describe", "listener", "progressive"], ...] = ()
    """Questions to ask about each clip. Without it, the one of the track. With several, ids end in the task. listener
    (MER2026's track 1) is for clips without labels: the labels that exist are about speakers."""
    mode: Mode | None = None
    """Form of the answer. Without it, labels in tracks 1 and 2; in track 3 think, or describe for clips without
    labels."""


class Joined(NamedTuple):
    """What other tables say, by clip name."""

    subtitles: Mapping[str, Subtitle]
    reasons: Mapping[str, str]
    labels: Mapping[str, str]


def main(options: MerChallenge) -> None:
    tables = find_tables(options)
    words = files_there(options.source, (SUBTITLES,))
    reasons = files_there(options.descriptions or options.source, REASONS) if options.track == 2 else []
    labels = files_there(options.source, LABELS) if options.track == 3 else []
    said = read_subtitles(words[0]) if words else {}
    joined = Joined(said, read_first(reasons, "reason"), read_first(labels, "openset"))
    counts: Counter[str] = Counter()
    build(
        options,
        converse(options, tables, joined, counts),
        sources=[*tables, *words, *reasons, *labels],
        licence=LICENCE,
        # The counts are complete when the rows are written, which is before the manifest is.
        notes={"table_rows": counts, "published_rows": {path.name: PUBLISHED.get(path.name) for path in tables}},
    )
    if not words:
        print(f"  note: {options.source} holds no {SUBTITLES}: questions show no words")


def find_tables(options: MerChallenge) -> list[Path]:
    wanted = FILES.get((options.track, options.split), ())
    tables = files_there(options.source, wanted)
    if not tables and options.track == 3 and any(options.source.glob("track3_emoprefer*.csv")):
        raise AffectError("MER2026's track 3 is about preferences: affectllm build emoprefer --help")
    if not wanted:
        raise AffectError(f"Track {options.track} has no {options.split} split with labels. Choose another --split.")
    if not tables:
        raise AffectError(f"{options.source} has none of {', '.join(wanted)}. Give the challenge's folder in --source.")
    return tables


def converse(options: MerChallenge, tables: list[Path], joined: Joined, counts: Counter[str]) -> Built:
    """Every table's conversations. A clip that is in two tables is taken from the first."""
    first: dict[str, str] = {}
    columns = ("name",) if options.split == "candidate" else ("name", COLUMNS[options.track])
    for path in tables:
        for row in counted(stream_table(path, columns), counts, path.name):
            name = row.values["name"].strip()
            earlier = first.setdefault(name, path.name)
            if not in_shard(row.number, options.shard):
                continue
            if earlier == path.name:
                yield from or_rejected(ask(options, path, joined, name, row), name, row, path)
            else:
                yield reject(row, path, f"{name} ({path.stem})", f"also in {earlier}")


def ask(options: MerChallenge, path: Path, joined: Joined, name: str, row: Row) -> Built:
    """The questions about a clip; an AffectError says why there are none."""
    if not name:
        raise AffectError("no name")
    clip, subtitle = need_clip(options.media, name), joined.subtitles.get(name, NONE)
    target = target_of(options, row.values.get(COLUMNS[options.track], ""), name, joined)
    defects = list(subtitle.defects) or (["no-subtitle"] if joined.subtitles and not subtitle.text else [])
    if options.split != "candidate":
        defects += ["no-labels"] if options.track == 3 and not target.labels else []
        defects += ["no-description"] if joined.reasons and not target.description else []
    annotation = Annotation(
        id=name,
        dataset=f"mer-track{options.track}",
        split=options.split,
        media=clip,
        subtitle=subtitle.text,
        language=subtitle.language,
        person=person_of(options, subtitle.language),
        target=target,
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    reasoned: Mode = "think" if target.labels or options.split == "candidate" else "describe"
    one = (TASKS[options.track], options.mode or (reasoned if options.track == 3 else "labels"))
    how = (options.tasks, options.mode, options.seed)
    yield from questions(annotation, *how, candidates=EMOTIONS, row=row, source=path, otherwise=one)


def person_of(options: MerChallenge, language: str) -> str | None:
    """Track 1 trains on speakers; MER2026 tests on whom they speak to."""
    listener = options.split == "candidate" and (options.source / "track1_track2_candidate.csv").is_file()
    return None if options.track != 1 or options.split == "test" else (LISTENER if listener else SPEAKER)[language]


def target_of(options: MerChallenge, cell: str, name: str, joined: Joined) -> Target:
    """What the annotators said: `cell` is the track's own column."""
    if options.split == "candidate":
        return Target()
    if options.track == 1:
        emotion = cell.strip().lower()
        if emotion not in EMOTIONS:
            raise AffectError(f"label {cell!r} is not one of {', '.join(EMOTIONS)}")
        return Target(labels=[emotion], basic=emotion)
    reason = cell if options.track == 3 else joined.reasons.get(name, "")
    labels = split_labels(joined.labels.get(name, "") if options.track == 3 else cell)
    if not (reason.strip() if options.track == 3 else labels):
        raise AffectError("no description" if options.track == 3 else "empty label set")
    return Target(labels=labels, description=reason.strip() or None)


if __name__ == "__main__":
    command(main)
