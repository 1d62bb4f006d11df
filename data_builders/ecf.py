"""ECF (Wang et al., SemEval-2024 task 3): which utterance of a television dialogue causes which emotion.

    affectllm build ecf --source Subtask_2_train.json --out data/ecf

Reads `Subtask_{1,2}_{train,test}.json`. Each dialogue becomes one conversation: its numbered utterances, and the pairs
of emotional utterance, emotion and cause. From subtask 1's causes the number is kept and the span of words is dropped.
A conversation has one clip and a dialogue has many, so questions show the words alone. `eval score` has the metric
`cause_weighted_f1` for the pairs.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import msgspec

from affectllm.data.builder import Build, Built, build, item_of, row_hash, rows_of, split_by_name, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.dialogues import time_defects
from affectllm.data.tables import Row, find_source, read_list
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Meta, Target, Turn

DATA_SETS = {
    "ecf": DataSet(
        title="ECF 2.0 (SemEval-2024 task 3)",
        task="cause",
        language="en",
        licence="not stated",
        url="https://github.com/NUSTM/SemEval-2024_ECAC",
        citation="Wang et al., SemEval 2024",
        status="documented",
        rows={"train": 1374, "test": 341},
    ),
}
LICENCE = "not stated by the authors; the clips are from a television series"
FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
SPLITS = {"train": "train", "test": "test"}
PUBLISHED = DATA_SETS["ecf"].rows
NUMBERED = re.compile(r"(\d+)(?:_(.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Ecf(Build):
    split: str | None = None
    """Split of the file. Without it, the file's name says the split."""


class Utterance(msgspec.Struct):
    utterance_ID: int
    text: str
    speaker: str
    emotion: str | None = None
    video_source: tuple[str, str, str] | None = None
    """Episode, start and end."""


class Dialogue(msgspec.Struct):
    """An item of the file; video_name is not used."""

    conversation_ID: int
    conversation: Annotated[list[Utterance], msgspec.Meta(min_length=1)]
    pairs: list[tuple[str, str]] | None = msgspec.field(default=None, name="emotion-cause_pairs")


def main(options: Ecf) -> None:
    path = find_source(options.source, FILES)
    items = read_list(path, "dialogues")
    split = options.split or split_by_name(path, SPLITS, "*{}*")
    named = ((f"dia{row.values.get('conversation_ID', f'_row{row.number}')}", row) for row in rows_of(items))
    build(
        options,
        usable(named, options.shard, options.source, partial(ask, options, split)),
        sources=[path],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED.get(split), "table_rows": len(items), "split": split},
    )


def ask(options: Ecf, split: str, name: str, row: Row) -> Built:
    """The question about a dialogue; an AffectError says why there is none."""
    dialogue = item_of(row, Dialogue)
    pairs, defects = read_pairs(dialogue)
    annotation = Annotation(
        id=name,
        dataset="ecf",
        split=split,
        language="en",
        target=Target(pairs=pairs),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    turns = [Turn(speaker=it.speaker, text=it.text) for it in dialogue.conversation]
    yield compose(annotation, task="cause", mode="labels", seed=options.seed, parts=(), turns=turns)


def read_pairs(dialogue: Dialogue) -> tuple[list[tuple[int, str, int]] | None, list[str]]:
    """The pairs of a dialogue without repetitions, and what is odd about it; None where the file gives no pairs.

    Raises AffectError for utterances that are not numbered from 1 on, and for a pair that does not fit them.
    """
    emotions = {it.utterance_ID: it.emotion for it in dialogue.conversation}
    if list(emotions) != list(range(1, len(dialogue.conversation) + 1)):
        raise AffectError(f"utterances are not numbered 1 to {len(dialogue.conversation)}")
    defects = {
        defect
        for it in dialogue.conversation
        if it.video_source
        for defect in time_defects(it.video_source[1], it.video_source[2])
    }
    if dialogue.pairs is None:
        return None, [*sorted(defects), "no-pairs"]
    found: dict[tuple[int, str, int], None] = {}
    for emotional, cause in dialogue.pairs:
        effect, reason = NUMBERED.fullmatch(emotional), NUMBERED.fullmatch(cause)
        if not effect or not reason or int(effect[1]) not in emotions or int(reason[1]) not in emotions:
            raise AffectError(f"pair {emotional!r}, {cause!r} does not name utterances of the dialogue")
        if effect[2] not in EMOTIONS:
            raise AffectError(f"pair {emotional!r}, {cause!r}: the emotion is not one of {', '.join(EMOTIONS)}")
        pair = (int(effect[1]), str(effect[2]), int(reason[1]))
        # Subtask 1 names a pair once for each span of words in the same utterance.
        found[pair] = None
        named = emotions[pair[0]]
        defects |= {"pair-names-other-emotion"} if named not in (None, pair[1]) else set()
        defects |= {"cause-comes-later"} if pair[2] > pair[0] else set()
    caused = {effect for effect, _, _ in found}
    if any(emotion in EMOTIONS and number not in caused for number, emotion in emotions.items()):
        defects.add("emotion-without-cause")
    return list(found), sorted(defects)


if __name__ == "__main__":
    command(main)
