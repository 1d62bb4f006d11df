"""MER-UniBench's nine test sets (Lian et al., arXiv 2501.16566), from the folders that MERTools' scripts prepare.

    affectllm build unibench --source dataset --media dataset --out data/unibench
    affectllm build unibench --source dataset --sets sims meld --ask closed --out data/unibench-closed

`--source` holds a folder a set (`meld-process/label.npz`, `ovmerdplus-process/ovlabel.csv` ...); the words stand beside
the labels. Every set becomes a folder of its own under `--out`, since each has its own score. Labels are pickled in the
archives and are read without running what is in them. MERTools' words of a clip were polished by a language model and
differ from the data sets' own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from affectllm.answers.lists import split_labels
from affectllm.data.builder import Build, find_clip, reject, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.folder import summary, write
from affectllm.data.reading import in_shard
from affectllm.data.subtitles import NONE, Subtitle, read_subtitles
from affectllm.data.tables import Row, read_table
from affectllm.errors import AffectError
from affectllm.npz import read_npz
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Conversation, Meta, Rejected, Target, Task

DATA_SETS = {
    "unibench": DataSet(
        title="MER-UniBench (nine test sets)",
        task="labels",
        language="mul",
        licence="that of each data set",
        url="https://github.com/zeroQiaoba/AffectGPT",
        citation="Lian et al., arXiv 2501.16566",
        status="documented",
        rows={
            "mer2023": 411,
            "mer2024": 1169,
            "meld": 2610,
            "iemocap": 1241,
            "cmumosi": 686,
            "cmumosei": 4659,
            "sims": 457,
            "simsv2": 1034,
            "ovmerdplus": 532,
        },
    ),
}
LICENCE = "that of each data set; labels as published with MERTools, non-commercial"
SIX = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SEVEN = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
FOUR = ("happy", "sad", "neutral", "angry")
UNUSED = -10
"""Stands for 'no valence' in MERTools' archives."""
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


@dataclass(frozen=True, kw_only=True)
class UniBench(Build):
    sets: tuple[Name, ...] = ()
    """Sets to build; without it, all that the folder holds."""
    ask: Literal["open", "closed"] = "open"
    """open: for every emotion, as the benchmark does; closed: for one of the set's labels, or for the sentiment."""
    split: Split = "test"
    """Split to build; the benchmark scores test, and the archives hold the others too."""


def main(run: UniBench) -> None:
    for name, folder in folders_of(run).items():
        labels, words = file_of(folder, LABEL_FILES), file_of(folder, WORD_FILES)
        if labels is None:
            raise AffectError(f"{folder} holds none of {', '.join(LABEL_FILES)}. Fetch the set's labels into it.")
        rows = read_rows(labels, name, run.split)
        subtitles = read_subtitles(words) if words else {}
        published = SETS[name].test if run.split == "test" else None
        manifest = write(
            run.out / name,
            (converse(run, name, row, subtitles) for row in rows if in_shard(row.number, run.shard)),
            sources=[labels, *([words] if words else [])],
            options={**asdict(run), "sets": [name]},
            licence=LICENCE,
            notes={"published_rows": published, "table_rows": len(rows), "subtitles": words.name if words else None},
        )
        print("\n".join(summary(manifest, run.out / name)))
        if published not in (None, len(rows)):
            print(f"  note: {len(rows)} rows were read, the published {name} test set has {published}")
        if words is None:
            print(f"  note: {folder.name} holds none of {', '.join(WORD_FILES)}: questions show no words")


def folders_of(run: UniBench) -> dict[Name, Path]:
    """The folder of every set asked for; `source` itself may be one."""
    here = {name: run.source for name, it in SETS.items() if run.source.name == it.folder}
    found = here or {name: run.source / it.folder for name, it in SETS.items() if (run.source / it.folder).is_dir()}
    if missing := [name for name in run.sets if name not in found]:
        raise AffectError(f"{run.source} holds no folder {SETS[missing[0]].folder}, where {missing[0]} is looked for.")
    if not found:
        raise AffectError(f"{run.source} holds none of {', '.join(it.folder for it in SETS.values())}.")
    return {name: folder for name, folder in found.items() if not run.sets or name in run.sets}


def file_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


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


def converse(run: UniBench, name: Name, row: Row, subtitles: Mapping[str, Subtitle]) -> Conversation | Rejected:
    which, clip = SETS[name], row.values["name"]
    media = find_clip(run.media, f"{which.folder}/{which.clips}/{clip}", (which.suffix, ".mp4", ".avi"))
    try:
        target = target_of(which, row.values)
    except AffectError as problem:
        return reject(row, run.source, clip, str(problem))
    if media is None:
        return reject(row, run.source, clip, f"no clip {which.clips}/{clip} under {run.media}")
    subtitle = subtitles.get(clip, NONE)
    annotation = Annotation(
        id=clip,
        dataset=name,
        split=run.split,
        media=media,
        subtitle=subtitle.text,
        language=subtitle.language,
        target=target,
        meta=Meta(
            licence=LICENCE,
            defects=[*subtitle.defects, *(["valence-zero"] if target.valence == 0 else [])],
            hash=row_hash(row.values),
        ),
    )
    closed: Task = "basic" if which.emotions else "sentiment" if which.strongest else "labels"
    return compose(
        annotation, closed if run.ask == "closed" else "labels", "labels", run.seed, candidates=which.emotions
    )


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
    told = values.get("emo")
    emotion = which.emotions[told] if isinstance(told, int) and 0 <= told < len(which.emotions) else told
    if emotion not in which.emotions:
        raise AffectError(f"label {told!r} is not one of {', '.join(which.emotions)}")
    return Target(labels=[emotion], basic=emotion)


if __name__ == "__main__":
    command(main)
