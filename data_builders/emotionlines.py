"""EmotionLines (Chen et al., LREC 2018): emotions of utterances in television and chat dialogues, with every vote.

    affectllm build emotionlines --source Friends --out data/emotionlines
    affectllm build emotionlines --source Friends/friends_train.json --target voted --out data/emotionlines-voted

Reads `friends_{train,dev,test}.json` and `emotionpush_{train,dev,test}.json`. The data are text only. Five people
labelled each utterance; all votes are kept as `raters`. `--target majority` asks for the emotion that the data set
names and rejects the utterances for which it names none ('non-neutral'). `--target voted` asks for every emotion that
somebody chose.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from affectllm.data.builder import Build, Built, build, or_rejected, row_hash, split_by_name, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.questions import Asked, questions, retarget
from affectllm.data.tables import Row, read_list
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Turn

DATA_SETS = {
    "emotionlines": DataSet(
        title="EmotionLines (Friends, EmotionPush)",
        task="basic",
        language="en",
        licence="see its page",
        url="https://doraemon.iis.sinica.edu.tw/emotionlines",
        citation="Chen et al., LREC 2018",
        status="documented",
    ),
}
LICENCE = "not stated in the files; the dialogues are from a television series, or private chats"
EMOTIONS = ("neutral", "joy", "sadness", "fear", "anger", "surprise", "disgust")
"""In the order of the digits of `annotation`."""
UNDECIDED = "non-neutral"
TASKS: dict[str, tuple[Asked, ...]] = {
    "majority": ("basic",), "voted": ("labels",), "all": ("labels",), "distribution": ("distribution",),
}  # fmt: skip
SPLITS = {"train": "train", "dev": "val", "test": "test"}
# Windows' curly quotes and dashes, kept as control characters by whoever wrote the file.
CONTROL = re.compile(r"[\x80-\x9f]")


@dataclass(frozen=True, kw_only=True)
class EmotionLines(Build):
    split: Literal["train", "dev", "test"] | None = None
    """Split of a file whose name does not say it. For a folder, the split to build."""
    tasks: tuple[Literal["basic", "labels", "person", "next", "distribution"], ...] = ()
    """Questions to ask about each utterance. Without it, the one for --target. With several, ids end in the task."""
    target: Literal["majority", "voted", "all", "distribution"] = "majority"
    """majority: the one emotion that the data set names. voted or all: every emotion that somebody chose, most votes
    first. distribution: the share of the votes for each."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context. 0 shows none."""


class Line(msgspec.Struct):
    speaker: str
    utterance: str
    emotion: str
    annotation: Annotated[str, msgspec.Meta(pattern=r"^\d{7}$")]
    """Votes for each of EMOTIONS, a digit each."""


def main(options: EmotionLines) -> None:
    files = find_files(options)
    dialogues = {path: read_list(path, "dialogues") for path in files}
    build(
        options,
        (row for path, split in files.items() for row in converse(options, path, split, dialogues[path])),
        sources=list(files),
        licence=LICENCE,
        notes={"table_dialogues": {path.name: len(items) for path, items in dialogues.items()}},
    )


def find_files(options: EmotionLines) -> dict[Path, str]:
    """The files to read, each with its split; a folder gives friends_train.json and the like."""
    if options.source.is_dir():
        wanted = [options.split] if options.split else list(SPLITS)
        found = {path: SPLITS[name] for name in wanted for path in sorted(options.source.glob(f"*_{name}.json"))}
        if not found:
            raise AffectError(f"{options.source} holds no *_{wanted[0]}.json. Give the file itself with --source.")
        return found
    return {options.source: SPLITS[options.split] if options.split else split_by_name(options.source, SPLITS, "*_{}")}


def converse(options: EmotionLines, path: Path, split: str, items: list[Any]) -> Built:
    series = path.stem.partition("_")[0]
    named = ((f"{series}_{split}_dia{i}", Row(i, {"dialogue": values})) for i, values in enumerate(items, 1))
    return usable(named, options.shard, path, partial(dialogue, options, path, split))


def dialogue(options: EmotionLines, path: Path, split: str, name: str, row: Row) -> Built:
    """The questions about each utterance of a dialogue."""
    lines = msgspec.convert(row.values["dialogue"], list[Line])
    turns = [Turn(speaker=line.speaker, text=line.utterance) for line in lines]
    for i, line in enumerate(lines):
        said = Row(row.number, msgspec.structs.asdict(line))
        context = turns[max(0, i - options.window) : i]
        utterance = f"{name}_utt{i}"
        yield from or_rejected(ask(options, path, split, line, context, utterance, said), utterance, said, path)


def ask(options: EmotionLines, path: Path, split: str, line: Line, context: list[Turn], name: str, row: Row) -> Built:
    """The questions about an utterance; an AffectError says why there are none."""
    annotation = Annotation(
        id=name,
        dataset="emotionlines",
        split=split,
        subtitle=line.utterance,
        language="en",
        context=context,
        person=line.speaker,
        target=target_of(options, line),
        meta=Meta(licence=LICENCE, defects=defects_of(line, votes_of(line)), hash=row_hash(row.values)),
    )
    tasks = options.tasks or TASKS[options.target]
    yield from questions(annotation, tasks, options.mode, options.seed, (), EMOTIONS, row=row, source=path)


def target_of(options: EmotionLines, line: Line) -> Target:
    """The emotion that the data set names, or those of the votes."""
    votes, decided = votes_of(line), options.target == "majority"
    if line.emotion not in (*EMOTIONS, UNDECIDED):
        raise AffectError(f"emotion is {line.emotion!r}")
    if decided and line.emotion == UNDECIDED:
        raise AffectError("no emotion has the majority (non-neutral)")
    if not votes:
        raise AffectError("nobody voted")
    target = Target(
        labels=[line.emotion] if decided else sorted(votes, key=lambda emotion: -votes[emotion]),
        basic=line.emotion if decided else None,
        raters=[[emotion] for emotion, count in votes.items() for _ in range(count)],
    )
    return retarget(target, "distribution") if options.target == "distribution" else target


def votes_of(line: Line) -> dict[str, int]:
    """Votes by emotion, without those nobody chose.

    >>> votes_of(Line(speaker="A", utterance="My duties?", emotion="surprise", annotation="2000030"))
    {'neutral': 2, 'surprise': 3}
    """
    return {emotion: int(count) for emotion, count in zip(EMOTIONS, line.annotation, strict=True) if count != "0"}


def defects_of(line: Line, votes: dict[str, int]) -> list[str]:
    checks = {
        "control-characters": bool(CONTROL.search(line.utterance)),
        "not-five-votes": sum(votes.values()) != 5,
        "emotion-without-most-votes": line.emotion in EMOTIONS
        and votes.get(line.emotion, 0) < max(votes.values(), default=0),
    }
    return [defect for defect, there in checks.items() if there]


if __name__ == "__main__":
    command(main)
