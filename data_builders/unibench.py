"""MER-UniBench's nine test sets (Lian et al., arXiv 2501.16566), from the folders that MERTools' scripts prepare.

    affectllm build unibench --source dataset --media dataset --out data/unibench
    affectllm build unibench --source dataset --sets sims meld --ask closed --out data/unibench-closed

`--source` holds one folder per set (`meld-process/label.npz`, `ovmerdplus-process/ovlabel.csv` ...), with labels and
words. Every set becomes a folder of its own under `--out`, since each has its own score. Labels are pickled in the
archives and are read without running what is in them; MELD and SIMS were tried on real archives. MERTools' words of a
clip were polished by a language model and differ from the data sets' own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, Built, build, need_clip, row_hash, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.subtitles import NONE, Subtitle, read_subtitles
from affectllm.data.tables import Row, files_there, read_table
from affectllm.errors import AffectError
from affectllm.npz import read_npz
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Meta, Target, Task

LICENCE = "that of each data set; labels as published with MERTools, non-commercial"
SIX = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SEVEN = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
FOUR = ("happy", "sad", "neutral", "angry")
UNUSED = -10
"""The number that means 'no valence' in MERTools' archives."""
LABEL_FILES = ("label.npz", "label-6way.npz", "label_4way.npz", "ovlabel.csv")
WORD_FILES = ("transcription-engchi-polish.csv", "transcription_merge.csv", "subtitle_eng.csv", "subtitle_chieng.csv")
Split = Literal["train", "val", "test"]
Name = Literal["mer2023", "mer2024", "meld", "iemocap", "cmumosi", "cmumosei", "sims", "simsv2", "ovmerdplus"]


class Set(NamedTuple):
    folder: str
    clips: str
    """Folder of the clips inside `folder`."""
    test: int
    """Published number of test clips."""
    emotions: tuple[str, ...] = ()
    """The closed label set; where labels are numbers, they count from 0 in this order."""
    strongest: float = 0
    """Largest valence there is; 0 where emotions are what counts."""
    corpus: str = "{split}_corpus"
    """Name of the split in the archive."""
    suffix: str = ".mp4"


SETS: dict[Name, Set] = {
    "mer2023": Set("mer2023-dataset-process", "video", 411, SIX, corpus="{split}1_corpus"),
    "mer2024": Set("mer2024-dataset-process", "video", 1169, SIX, corpus="{split}1_corpus"),
    "meld": Set("meld-process", "subvideo", 2610, SEVEN),
    "iemocap": Set("iemocap-process", "subvideo-tgt", 1241, FOUR, corpus="whole_corpus", suffix=".avi"),
    "cmumosi": Set("cmumosi-process", "subvideo", 686, strongest=3),
    "cmumosei": Set("cmumosei-process", "subvideo_new", 4659, strongest=3),
    "sims": Set("sims-process", "video", 457, strongest=1),
    "simsv2": Set("simsv2-process", "video_new", 1034, strongest=1),
    "ovmerdplus": Set("ovmerdplus-process", "video", 532),
}
DATA_SETS = {
    "unibench": DataSet(
        title="MER-UniBench (nine test sets)",
        task="labels",
        language="mul",
        licence="that of each data set",
        url="https://github.com/zeroQiaoba/AffectGPT",
        citation="Lian et al., arXiv 2501.16566",
        status="documented",
        rows={name: it.test for name, it in SETS.items()},
    ),
}


@dataclass(frozen=True, kw_only=True)
class UniBench(Build):
    sets: tuple[Name, ...] = ()
    """Sets to build. Without it, every set that the folder holds."""
    ask: Literal["open", "closed"] = "open"
    """open asks for every emotion, as the benchmark does. closed asks for one of the set's labels, or for the
    sentiment."""
    split: Split = "test"
    """Split to build. The benchmark scores test; the archives also hold train and val."""


def main(options: UniBench) -> None:
    for name, folder in folders_of(options).items():
        labels, words = files_there(folder, LABEL_FILES)[:1], files_there(folder, WORD_FILES)[:1]
        if not labels:
            raise AffectError(f"{folder} holds none of {', '.join(LABEL_FILES)}. Fetch the set's labels into it.")
        rows = read_rows(labels[0], name, options.split)
        named = ((row.values["name"], row) for row in rows)
        subtitles = read_subtitles(words[0]) if words else {}
        published = SETS[name].test if options.split == "test" else None
        build(
            replace(options, sets=(name,)),
            usable(named, options.shard, options.source, partial(ask, options, name, subtitles)),
            sources=[*labels, *words],
            licence=LICENCE,
            notes={"published_rows": published, "table_rows": len(rows), "subtitles": words[0].name if words else None},
            out=options.out / name,
        )
        if not words:
            print(f"  note: {folder.name} holds none of {', '.join(WORD_FILES)}: questions show no words")


def folders_of(options: UniBench) -> dict[Name, Path]:
    """The folder of every set asked for; `source` itself may be one."""
    here = {name: options.source for name, it in SETS.items() if options.source.name == it.folder}
    found = here or {
        name: options.source / it.folder for name, it in SETS.items() if (options.source / it.folder).is_dir()
    }
    if missing := [name for name in options.sets if name not in found]:
        raise AffectError(f"{options.source} holds no folder {SETS[missing[0]].folder}, which set {missing[0]} needs.")
    if not found:
        raise AffectError(f"{options.source} holds none of {', '.join(it.folder for it in SETS.values())}.")
    return {name: folder for name, folder in found.items() if not options.sets or name in options.sets}


def read_rows(path: Path, name: Name, split: Split) -> list[Row]:
    """A row a clip: name, and openset, or emo and val as the archive has them."""
    if path.suffix == ".csv":
        return read_table(path, ("name", "openset"))
    corpora = read_npz(path)
    key = SETS[name].corpus.format(split=split) if split == "test" or name == "iemocap" else f"{split}_corpus"
    if not isinstance(corpora.get(key), dict):
        raise AffectError(f"{path} holds no {key}. There: {', '.join(corpora)}. Choose another --split.")
    clips = corpora[key]
    if name == "iemocap":
        # The benchmark tests on the fifth session; the archive does not split the others.
        clips = {clip: it for clip, it in clips.items() if clip.startswith("Ses05") == (split == "test")}
    entries = {clip: it if isinstance(it, dict) else {"entry": it} for clip, it in clips.items()}
    return [Row(i, {"name": str(clip), **it}) for i, (clip, it) in enumerate(entries.items(), 1)]


def ask(options: UniBench, name: Name, subtitles: Mapping[str, Subtitle], clip: str, row: Row) -> Built:
    """The question about a clip; an AffectError says why there is none."""
    which, subtitle = SETS[name], subtitles.get(clip, NONE)
    target = target_of(which, row.values)
    path, kinds = f"{which.folder}/{which.clips}/{clip}", (which.suffix, ".mp4", ".avi")
    defects = [*subtitle.defects, *(["valence-zero"] if target.valence == 0 else [])]
    annotation = Annotation(
        id=clip,
        dataset=name,
        split=options.split,
        media=need_clip(options.media, path, kinds, shown=f"{which.clips}/{clip}"),
        subtitle=subtitle.text,
        language=subtitle.language,
        target=target,
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    closed: Task = "basic" if which.emotions else "sentiment" if which.strongest else "labels"
    task: Task = closed if options.ask == "closed" else "labels"
    yield compose(annotation, task, "labels", options.seed, candidates=which.emotions)


def target_of(which: Set, values: Mapping[str, Any]) -> Target:
    """What the annotators said; an AffectError says why it cannot be used."""
    if "openset" in values:
        labels = split_labels(values["openset"])
        if not labels:
            raise AffectError("empty label set")
        return Target(labels=labels)
    if which.strongest:
        valence = float(values.get("val", UNUSED))
        if not abs(valence) <= which.strongest:
            raise AffectError("no valence" if valence == UNUSED else f"valence {valence} is beyond {which.strongest}")
        return Target(
            valence=round(valence / which.strongest, 4),
            sentiment="positive" if valence > 0 else "negative" if valence < 0 else "neutral",
        )
    given = values.get("emo")
    emotion = which.emotions[given] if isinstance(given, int) and 0 <= given < len(which.emotions) else given
    if emotion not in which.emotions:
        raise AffectError(f"label {given!r} is not one of {', '.join(which.emotions)}")
    return Target(labels=[emotion], basic=emotion)


if __name__ == "__main__":
    command(main)
