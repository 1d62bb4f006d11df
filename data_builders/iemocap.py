"""IEMOCAP (Busso et al., LREC 2008): acted dialogues of two, with categories, valence, arousal and every rater.

    affectllm build iemocap --source IEMOCAP_full_release --media IEMOCAP_full_release --out data/iemocap --classes four

Reads `Session*/dialog/EmoEvaluation/*.txt` and `Session*/dialog/transcriptions/*.txt`. Valence, arousal and dominance
are scaled to -1..1. Session 5 is the test split, as is usual.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from affectllm.data.builder import Build, Built, build, need_clip, or_rejected, row_hash
from affectllm.data.data_sets import DataSet
from affectllm.data.questions import Raters, questions, retarget
from affectllm.data.reading import take_shard
from affectllm.data.tables import Row, read_lines
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Clip, Meta, Target, Turn

DATA_SETS = {
    "iemocap": DataSet(
        title="IEMOCAP",
        task="basic",
        language="en",
        licence="research only, on request",
        url="https://sail.usc.edu/iemocap",
        citation="Busso et al., LREC 2008",
        status="documented",
        rows={"four classes": 5531},
    ),
}
LICENCE = "IEMOCAP's release agreement (University of Southern California), research only"
CODES = {
    "neu": "neutral", "hap": "happy", "sad": "sad", "ang": "angry", "exc": "excited", "fru": "frustrated",
    "fea": "fearful", "sur": "surprised", "dis": "disgusted", "oth": "other",
}  # fmt: skip
UNDECIDED = "xxx"
CLASSES = {
    # 5,531 utterances: excitement counts as happiness, as in most work since 2018.
    "four": {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"},
    "six": {code: CODES[code] for code in ("hap", "sad", "neu", "ang", "exc", "fru")},
    "all": CODES,
}
# What raters wrote, in the words of the labels.
WRITTEN = {
    "anger": "angry", "happiness": "happy", "sadness": "sad", "frustration": "frustrated", "fear": "fearful",
    "surprise": "surprised", "disgust": "disgusted", "neutral state": "neutral",
}  # fmt: skip
PARTS = {"video": ("video", "audio"), "audio": ("audio",)}
NUMBER = r"(-?\d+(?:\.\d+)?)"
SUMMARY = re.compile(
    rf"\[{NUMBER} - {NUMBER}\]\s+(Ses0\d[FM]_\S+)\s+([a-z]{{3}})\s+\[{NUMBER}, {NUMBER}, {NUMBER}\]\s*"
)
# C-E1 to C-E6 are raters; C-F1 and C-M1 are the actors about themselves.
RATER = re.compile(r"C-E\d+:\s+(.*?)\s*(?:\(.*)?", re.DOTALL)
SAID = re.compile(rf"(Ses0\d[FM]_\S+)\s+\[{NUMBER}-{NUMBER}\]:\s*(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Iemocap(Build):
    classes: Literal["four", "six", "all"] = "four"
    """four: happy (with excited), sad, neutral, angry. six: also excited and frustrated. all: every category."""
    clips: Literal["video", "audio"] = "video"
    """video: the video of the dialogue, cut to the seconds of the utterance. audio: the wav of the sentence."""
    tasks: tuple[Literal["basic", "labels", "valence", "vad", "person", "next", "distribution"], ...] = ("basic",)
    """Questions to ask about each utterance. With several, ids end in the task."""
    target: Raters | None = None
    """Which of the raters' labels to take: the most frequent, all, or the share of each. Without it, the label of the
    release. With it, utterances without agreement (xxx) are kept where the raters allow it."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context. 0 shows none."""


class Utterance(NamedTuple):
    """One utterance of EmoEvaluation."""

    name: str
    start_s: float
    end_s: float
    code: str
    vad: tuple[float, ...]
    """Valence, activation and dominance on 1..5."""
    raters: list[list[str]]


def main(options: Iemocap) -> None:
    found = sorted(options.source.glob("Session*/dialog/EmoEvaluation/Ses*.txt"))
    dialogues = {path: path.parents[1] / "transcriptions" / path.name for path in found}
    if not dialogues:
        raise AffectError(f"{options.source} has no Session*/dialog/EmoEvaluation/Ses*.txt. Give the release's folder.")
    build(
        options,
        # Shards hold whole dialogues.
        (row for path in take_shard(found, options.shard) for row in converse(options, path, dialogues[path])),
        sources=[file for pair in dialogues.items() for file in pair],
        licence=LICENCE,
        notes={"dialogues": len(dialogues)},
    )


def converse(options: Iemocap, evaluation: Path, transcript: Path) -> Built:
    """Questions about every utterance of a dialogue."""
    turns = read_transcript(transcript)
    for place, it in enumerate(read_evaluation(evaluation), 1):
        row = Row(place, {**it._asdict(), "text": turns[it.name].text if it.name in turns else ""})
        yield from or_rejected(ask(options, evaluation, turns, it, row), it.name, row, evaluation)


def ask(options: Iemocap, evaluation: Path, turns: dict[str, Turn], it: Utterance, row: Row) -> Built:
    """Questions about an utterance; an AffectError says why there are none."""
    check(options, it, said=it.name in turns)
    media, target = clip_of(options, evaluation, it), target_of(options, it)
    before = list(turns.values())[: list(turns).index(it.name)]
    valence, arousal, dominance = (round((value - 3) / 2, 4) for value in it.vad)
    defects = [] if all(1 <= value <= 5 for value in it.vad) else ["rating-beyond-scale"]
    annotation = Annotation(
        id=it.name,
        dataset="iemocap",
        split="test" if it.name.startswith("Ses05") else "train",
        media=media,
        subtitle=turns[it.name].text,
        language="en",
        context=before[-options.window :] if options.window else [],
        person=turns[it.name].speaker,
        target=msgspec.structs.replace(target, valence=valence, vad=(valence, arousal, dominance)),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    candidates = list(dict.fromkeys(CLASSES[options.classes].values()))
    how = (options.tasks, options.mode, options.seed, PARTS[options.clips], candidates)
    yield from questions(annotation, *how, row=row, source=evaluation)


def check(options: Iemocap, it: Utterance, said: bool) -> None:
    """Raise AffectError for an utterance that cannot be used."""
    if it.code == UNDECIDED and options.target is None:
        raise AffectError("the raters did not agree (xxx)")
    if it.code not in CLASSES[options.classes] and options.target is None:
        raise AffectError(f"{CODES.get(it.code, it.code)} is not one of the {options.classes} classes")
    if not said:
        raise AffectError("no line in the transcription")
    if not 0 <= it.start_s < it.end_s:
        raise AffectError(f"it lasts from {it.start_s} to {it.end_s} s")


def target_of(options: Iemocap, it: Utterance) -> Target:
    """The labels of an utterance; with --target those that single raters gave it."""
    if options.target is None:
        emotion = CLASSES[options.classes].get(it.code)
        return Target(labels=[emotion] if emotion else [], basic=emotion, raters=it.raters or None)
    classes = {CODES[code]: label for code, label in CLASSES[options.classes].items()}
    raters = [[classes[label] for label in labels if label in classes] for labels in it.raters]
    return retarget(Target(raters=[labels for labels in raters if labels]), options.target)


def clip_of(options: Iemocap, evaluation: Path, it: Utterance) -> Clip:
    """The utterance's media; an AffectError where they are looked for and absent."""
    session, dialogue = evaluation.parents[2].name, evaluation.stem
    if options.clips == "audio":
        return need_clip(options.media, f"{session}/sentences/wav/{dialogue}/{it.name}", (".wav",), shown="")
    video = need_clip(options.media, f"{session}/dialog/avi/DivX/{dialogue}", (".avi", ".mp4"), shown="")
    return msgspec.structs.replace(video, start_s=it.start_s, end_s=it.end_s)


def read_evaluation(path: Path) -> list[Utterance]:
    """The utterances of a dialogue; raters' lines follow the summary they belong to."""
    found: list[Utterance] = []
    for number, line in enumerate(read_lines(path), 1):
        if summary := SUMMARY.fullmatch(line):
            start, end, name, code, *vad = summary.groups()
            found.append(Utterance(name, float(start), float(end), code, tuple(map(float, vad)), []))
        elif line.startswith("[") and "Ses" in line:
            raise AffectError(f"{path}: line {number} is not a summary of an utterance: {line.strip()!r}.")
        elif found and (rater := RATER.fullmatch(line)):
            words = [word.strip().lower() for word in rater[1].split(";") if word.strip()]
            found[-1].raters.append([WRITTEN.get(word, word) for word in words])
    return found


def read_transcript(path: Path) -> dict[str, Turn]:
    """The words of each utterance by its name, in the order of their start; asides to the actors have no name."""
    found = {}
    for line in read_lines(path):
        if said := SAID.fullmatch(line):
            name, start, _, text = said.groups()
            # The speaker is the letter before the utterance's number: Ses01F_impro05_M003.
            speaker = {"F": "the woman", "M": "the man"}.get(name.rpartition("_")[2][:1], "somebody")
            found[name] = (float(start), Turn(speaker=speaker, text=text.strip()))
    return {name: found[name][1] for name in sorted(found, key=lambda name: found[name][0])}


if __name__ == "__main__":
    command(main)
