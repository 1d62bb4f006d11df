"""Which questions an annotation answers, for every task: builders use it, and so does `affectllm data ask`.

question(...)   one question, or why it cannot be put
questions(...)  several about one annotation, those that cannot be put as rejected rows
retarget(...)   what the labels of single raters become
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from affectllm.data.builder import reject
from affectllm.data.tables import Row
from affectllm.errors import AffectError
from affectllm.prompts import Mode, compose, progress_through
from affectllm.records import Annotation, Clip, Conversation, Rejected, Target, Task

Asked = Literal[
    "labels", "describe", "basic", "sentiment", "valence", "vad", "clues", "listener", "person", "next",
    "distribution", "progressive",
]  # fmt: skip
Raters = Literal["majority", "all", "distribution"]
LISTENERS = ("the listener", "听话的人")
"""Names that builders give to the person who is spoken to."""
SENTIMENTS = ("positive", "negative", "neutral")
"""The answers of task `sentiment`."""
UNLABELLED = Target()
WITHOUT_MODES = ("vad", "clues", "distribution")
"""Tasks whose answer has one form, which their wording states."""


def question(
    annotation: Annotation,
    task: Asked,
    mode: Mode | None,
    seed: int,
    parts: Sequence[str] = ("video", "audio"),
    candidates: Sequence[str] = (),
    before: Sequence[str] = (),
) -> Conversation | str:
    """The question about an annotated clip, or why it cannot be put. Only rows without any label stay unanswered.

    Without a mode, task `describe` wants the description and every other one its labels, number or JSON.
    """
    if task in ("person", "next") and not annotation.person:
        return "nobody is named"
    if mode is None or task in WITHOUT_MODES:
        mode = "describe" if task == "describe" else "labels"
    if task == "listener" and is_labelled(annotation) and annotation.person not in LISTENERS:
        return "its labels are not those of the listener"
    if task == "distribution" and is_labelled(annotation) and not annotation.target.distribution:
        return "no shares of raters: choose --target distribution"
    if task == "next":
        if not annotation.context:
            return "no earlier turn"
        # What has to be predicted is neither shown nor heard nor read.
        annotation, parts = msgspec.structs.replace(annotation, subtitle=None, media=Clip()), []
    if task == "progressive":
        return progress_through(annotation, mode, seed, parts, before) or "no evidence or no labels"
    found = compose(annotation, task, mode, seed, parts=parts, candidates=candidates, before=before)
    if found.messages[-1].role == "assistant" or not is_labelled(annotation):
        return found
    return f"the annotation does not answer '{task}'"


def is_labelled(annotation: Annotation) -> bool:
    """Whether annotators said anything; clips of a test set without labels are still asked about."""
    return annotation.target != UNLABELLED


def questions(
    annotation: Annotation,
    tasks: Sequence[Asked],
    mode: Mode | None,
    seed: int,
    parts: Sequence[str] = ("video", "audio"),
    candidates: Sequence[str] = (),
    *,
    row: Row,
    source: Path,
    otherwise: tuple[Task, Mode] | None = None,
) -> Iterator[Conversation | Rejected]:
    """Every question about an annotation; with several tasks, ids end in the task.

    Without tasks, `otherwise` names the task and the mode of the one question that a builder asks by itself.
    """
    if not tasks and otherwise:
        yield compose(annotation, *otherwise, seed, parts, candidates)
    for task in tasks:
        about = annotation
        if len(tasks) > 1:
            about = msgspec.structs.replace(annotation, id=f"{annotation.id}_{task}")
        found = question(about, task, mode, seed, parts, candidates)
        yield reject(row, source, about.id, found) if isinstance(found, str) else found


def retarget(target: Target, kind: Raters) -> Target:
    """The target by the raters' labels; an AffectError says why there is none.

    majority: the one label that most raters gave. all: every label that somebody gave, most raters first.
    distribution: also each label's share of all the labels given.

    >>> retarget(Target(raters=[["happy"], ["sad"], ["happy"]]), "majority").basic
    'happy'
    """
    raters = [dict.fromkeys(labels) for labels in target.raters or []]
    ranked = Counter(label for labels in raters for label in labels).most_common()
    if not ranked:
        raise AffectError("no labels of single raters")
    labels = [label for label, _ in ranked]
    if kind == "majority":
        best = [label for label, count in ranked if count == ranked[0][1]]
        if len(best) > 1:
            raise AffectError(f"the raters tie: {', '.join(best)}")
        return msgspec.structs.replace(target, labels=best, basic=best[0])
    if kind == "all":
        return msgspec.structs.replace(target, labels=labels, basic=None)
    total = sum(count for _, count in ranked)
    shares = {label: count / total for label, count in ranked}
    return msgspec.structs.replace(target, labels=labels, basic=None, distribution=shares)
