"""From annotation to conversation: the same question is asked in training, evaluation and demo."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from msgspec import convert
from msgspec.structs import asdict

from affectllm.errors import AffectError
from affectllm.records import Annotation, Clues, Conversation, Message, Part, Target, Task, Turn

Mode = Literal["labels", "describe", "think", "json"]
LANGUAGES = ("en", "zh")
LISTS = ("labels", "describe", "listener", "person", "next", "progressive")
"""Tasks whose answer is a list of labels."""
ABOUT = ("listener", "person", "next")
"""Tasks whose question says whom it is about; the labels of a closed set follow it."""


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
    before: Sequence[str] = (),
) -> Conversation:
    """The question about an annotated clip and, where the annotation has one, the answer wanted.

    `parts` are the media shown, in order; `candidates` the closed label set of task `basic`; `choices` the two
    descriptions of task `preference`; `turns` the numbered dialogue of task `cause`; `asked` a data set's own question,
    put before `candidates` in place of a wording, or before the target's options in task `choice`; `before` lines that
    precede all else (`meanings`, `examples`). The wording depends on `seed` and the annotation's id alone, so adding or
    dropping rows changes no other row's question. A language without wordings is asked in English.
    """
    language = annotation.language if annotation.language in LANGUAGES else "en"
    if asked and task != "choice":
        words = families()["asked"][language] if candidates else "{asked}"
    else:
        words = wording(task, language, seed, annotation.id, annotation.perspective)
        if candidates and task in ABOUT:
            words = f"{words} {families()['among'][language]}"
    question = words
    if "{" in words:
        question = fill(words, annotation, candidates, choices, turns, asked)
    ending = "" if candidates and task in ABOUT and mode == "labels" else form(task, mode, language)
    lines = [*before, *setting(annotation, language, task), f"{question} {ending}" if ending else question]
    messages = [Message(role="user", content=[*map(media_part, parts), Part(type="text", text="\n".join(lines))])]
    answer = answer_text(annotation.target, task, mode)
    if answer:
        messages.append(Message(role="assistant", content=answer))
    return Conversation(**{**asdict(annotation), "messages": messages, "task": task})


def fill(
    words: str,
    annotation: Annotation,
    candidates: Sequence[str],
    choices: Sequence[str],
    turns: Sequence[Turn],
    asked: str,
) -> str:
    """A wording with its blanks filled."""
    a1, a2 = choices or ("", "")
    options = annotation.target.options or {}
    return words.format(
        asked=asked,
        who=annotation.person,
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
    """The place of a clip's video, audio or image in a message; the path is in the conversation's media."""
    return convert({"type": kind}, Part)


def progress_through(
    annotation: Annotation,
    mode: Mode,
    seed: int,
    parts: Sequence[str] = ("video", "audio"),
    before: Sequence[str] = (),
) -> Conversation | None:
    """One conversation of several questions about a clip: what is seen, heard and said, and then the emotion.

    A question is asked when the annotation answers it. A description that is not split into clues answers one question
    of its own. The result is None when nothing leads to the labels, or when there are none.
    """
    language = annotation.language if annotation.language in LANGUAGES else "en"
    target = annotation.target
    clues = target.clues or Clues()
    answers = {"visual": clues.visual, "audio": clues.audio, "text": clues.text}
    evidence = {step: " ".join(map(closed, statements)) for step, statements in answers.items() if statements}
    if not evidence and target.description:
        evidence = {"evidence": target.description}
    last = answer_text(target, "progressive", mode)
    if not (evidence and last and target.labels):
        return None
    messages: list[Message] = []
    for step, answer in [*evidence.items(), ("emotion", last)]:
        question = draw(families()["steps"][step][language], f"{seed}:{step}:{annotation.id}")
        if step == "emotion":
            question = f"{question} {form('progressive', mode, language)}".rstrip()
        lines = [question] if messages else [*before, *setting(annotation, language, "progressive"), question]
        shown = [] if messages else [*map(media_part, parts)]
        messages.append(Message(role="user", content=[*shown, Part(type="text", text="\n".join(lines))]))
        messages.append(Message(role="assistant", content=answer))
    return Conversation(**{**asdict(annotation), "messages": messages, "task": "progressive"})


def closed(statement: str) -> str:
    """A statement with a full stop, so that several in a row stay separate."""
    return statement if statement.endswith(tuple(".!?。！？；")) else f"{statement}."


def setting(annotation: Annotation, language: str, task: Task) -> list[str]:
    """What precedes the question: subtitle, earlier turns, and whom it is about if the question does not say so."""
    family = families()
    lines = []
    if annotation.context:
        turns = " / ".join(f"{turn.speaker}: {turn.text}" for turn in annotation.context)
        lines.append(family["context"][language].format(turns=turns))
    if annotation.subtitle:
        lines.append(family["subtitle"][language].format(text=annotation.subtitle))
    if annotation.person and task not in ABOUT:
        lines.append(family["person"][language].format(person=annotation.person))
    return lines


def wording(task: Task, language: str, seed: int, name: str, perspective: str | None = None) -> str:
    """One wording of a family, drawn by seed and id. There are separate wordings for what a clip makes people feel."""
    wordings = families()["tasks"][task][language]
    if perspective == "induced":
        if task not in families()["induced"]:
            raise AffectError(
                f"No wording of task '{task}' asks what a clip or text makes people feel. Choose another."
            )
        wordings = families()["induced"][task][language]
    return draw(wordings, f"{seed}:{task}:{name}")


def draw(wordings: Sequence[str], key: str) -> str:
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return wordings[place % len(wordings)]


def form(task: Task, mode: Mode, language: str) -> str:
    """The sentence about the answer's form; tasks with a single short answer need none unless they reason first."""
    if mode == "labels" and task not in LISTS:
        return ""
    return families()["modes"][mode][language]


def answer_text(target: Target, task: Task, mode: Mode) -> str:
    """The answer wanted, in the mode asked for. It is empty when the annotation does not hold one."""
    short = short_answer(target, task)
    if mode == "describe":
        return target.description or ""
    if not short:
        return ""
    if mode == "think":
        return f"<think>{reasoning(target)}</think>\n<answer>{short}</answer>"
    if mode == "json":
        return json.dumps({"labels": target.labels, "clues": asdict(target.clues or Clues())}, ensure_ascii=False)
    return short


def short_answer(target: Target, task: Task) -> str:
    if task in LISTS:
        return ", ".join(target.labels)
    if task == "valence":
        return "" if target.valence is None else f"{target.valence:.2f}"
    if task == "vad":
        return ", ".join(f"{value:.2f}" for value in target.vad or ())
    if task == "clues":
        return json.dumps(asdict(target.clues), ensure_ascii=False) if target.clues else ""
    if task == "distribution":
        shares = sorted((target.distribution or {}).items(), key=lambda item: -item[1])
        return ", ".join(f"{label} {share:.2f}" for label, share in shares)
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
    return read_data("families.yaml")


def read_data(name: str) -> dict[str, Any]:
    import yaml

    text = files("affectllm.prompts").joinpath(name).read_text(encoding="utf-8")
    # Every build reads the wordings: libyaml, where PyYAML was built with it, takes a tenth of the time.
    found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(found, dict):
        raise AffectError(f"affectllm/prompts/{name} is damaged. Install the package again.")
    return found
