"""From annotation to conversation: the question as it is put in training, evaluation and demo alike."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from affectllm.errors import AffectError
from affectllm.records import Annotation, Clues, Conversation, Part, Target, Task, Turn

Mode = Literal["labels", "describe", "think", "json"]
LANGUAGES = ("en", "zh")


def compose(
    annotation: Annotation,
    task: Task,
    mode: Mode,
    seed: int,
    parts: Sequence[str] = ("video", "audio"),
    candidates: Sequence[str] = (),
    choices: Sequence[str] = (),
    turns: Sequence[Turn] = (),
    asked: str = "",
) -> Conversation:
    """The question about an annotated clip and, where the annotation has one, the answer wanted.

    `parts` are the media shown, in order; `candidates` the closed label set of task `basic`; `choices` the two
    descriptions of task `preference`; `turns` the numbered dialogue of task `cause`; `asked` a data set's own question,
    put before `candidates` in place of a wording, or before the target's options in task `choice`. The wording depends
    on `seed` and the annotation's id alone, so adding or dropping rows changes no other row's question. A language
    without wordings is asked in English.
    """
    language = annotation.language if annotation.language in LANGUAGES else "en"
    if asked and task != "choice":
        words = families()["asked"][language] if candidates else "{asked}"
    else:
        words = wording(task, language, seed, annotation.id)
    question = words
    if "{" in words:
        question = fill(words, annotation.target.options or {}, candidates, choices, turns, asked)
    ending = form(task, mode, language)
    lines = [*setting(annotation, language), f"{question} {ending}" if ending else question]
    content = [*map(media_part, parts), {"type": "text", "text": "\n".join(lines)}]
    messages = [{"role": "user", "content": content}]
    answer = answer_text(annotation.target, task, mode)
    if answer:
        messages.append({"role": "assistant", "content": answer})
    # One pass over plain values: builders come here for every row, and models made one by one take twice the time.
    return Conversation.model_validate({**vars(annotation), "messages": messages, "task": task})


def fill(
    words: str,
    options: Mapping[str, str],
    candidates: Sequence[str],
    choices: Sequence[str],
    turns: Sequence[Turn],
    asked: str,
) -> str:
    """A wording with what it leaves open."""
    a1, a2 = choices or ("", "")
    return words.format(
        asked=asked,
        candidates=", ".join(candidates),
        options="\n".join(f"{letter}. {text}" for letter, text in options.items()),
        a1=a1,
        a2=a2,
        dialogue=numbered(turns),
    )


def numbered(turns: Sequence[Turn]) -> str:
    """A dialogue as lines `1. Ann: Hello.`"""
    return "\n".join(f"{number}. {turn.speaker}: {turn.text}" for number, turn in enumerate(turns, 1))


@cache
def media_part(kind: str) -> Part:
    """The place of a clip's picture or sound; the path itself stands in the conversation's media."""
    return Part.model_validate({"type": kind})


def setting(annotation: Annotation, language: str) -> list[str]:
    """What precedes the question: subtitle, earlier turns, and whom it is about."""
    family = families()
    lines = []
    if annotation.context:
        turns = " / ".join(f"{turn.speaker}: {turn.text}" for turn in annotation.context)
        lines.append(family["context"][language].format(turns=turns))
    if annotation.subtitle:
        lines.append(family["subtitle"][language].format(text=annotation.subtitle))
    if annotation.person:
        lines.append(family["person"][language].format(person=annotation.person))
    return lines


def wording(task: Task, language: str, seed: int, name: str) -> str:
    """One wording of a family, drawn by seed and id."""
    wordings = families()["tasks"][task][language]
    draw = hashlib.sha256(f"{seed}:{task}:{name}".encode()).digest()
    return wordings[int.from_bytes(draw[:4], "big") % len(wordings)]


def form(task: Task, mode: Mode, language: str) -> str:
    """The sentence about the answer's form; tasks with a single short answer need none unless they reason first."""
    if mode == "labels" and task not in ("labels", "describe"):
        return ""
    return families()["modes"][mode][language]


def answer_text(target: Target, task: Task, mode: Mode) -> str:
    """The answer wanted, in the mode asked for; empty when the annotation does not hold one."""
    short = short_answer(target, task)
    if mode == "describe":
        return target.description or ""
    if not short:
        return ""
    if mode == "think":
        return f"<think>{reasoning(target)}</think>\n<answer>{short}</answer>"
    if mode == "json":
        return json.dumps(
            {"labels": target.labels, "clues": (target.clues or Clues()).model_dump()}, ensure_ascii=False
        )
    return short


def short_answer(target: Target, task: Task) -> str:
    if task in ("labels", "describe"):
        return ", ".join(target.labels)
    if task == "valence":
        return "" if target.valence is None else f"{target.valence:.2f}"
    if task == "cause":
        pairs = "; ".join(f"{emotional} {emotion} {cause}" for emotional, emotion, cause in target.pairs or [])
        return pairs or ("none" if target.pairs == [] else "")
    return getattr(target, "basic" if task == "choice" else task) or ""


def reasoning(target: Target) -> str:
    """The annotators' description, else their clues as short sentences."""
    if target.description:
        return target.description
    clues = target.clues or Clues()
    sentences = [f"The face shows {clue}." for clue in clues.visual]
    sentences += [f"The voice is {clue}." for clue in clues.audio]
    sentences += [f"The words {clue}." for clue in clues.text]
    return " ".join(sentences)


@cache
def families() -> dict[str, Any]:
    import yaml

    found = yaml.safe_load(files("affectllm.prompts").joinpath("families.yaml").read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise AffectError("affectllm/prompts/families.yaml is damaged. Install the package again.")
    return found
