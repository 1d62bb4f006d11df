"""Ask other questions about data that are built already: the same annotations, asked in another way.

Nothing is invented. A row whose annotation does not answer a question is rejected with the reason. Rows without any
label, such as those of a test set, keep their question open.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from affectllm.data.builder import reject
from affectllm.data.questions import Asked, Raters, question, retarget
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row
from affectllm.errors import AffectError
from affectllm.prompts import LANGUAGES, Mode, short_answer
from affectllm.prompts.aids import examples, meanings
from affectllm.records import Annotation, Conversation, Rejected, Target


class How(NamedTuple):
    """How questions about annotations are asked."""

    tasks: Sequence[Asked]
    mode: Mode | None = None
    seed: int = 7
    candidates: Sequence[str] = ()
    """The labels to choose from. Empty if labels are open."""
    definitions: bool = False
    """Whether the prompt explains what the candidates mean."""


class Known(NamedTuple):
    """A row that was built, its new target, and the training rows shown before its question."""

    row: Conversation
    target: Target | str
    """The target, or why there is none."""
    shown: Sequence[Conversation] = ()


def ask_all(rows: Iterable[Known], how: How, source: Path, shard: str = "1/1") -> Iterator[Conversation | Rejected]:
    """Every question about every row of the shard; with several tasks, ids end in the task."""
    defined = {language: meanings(how.candidates, language) if how.definitions else [] for language in LANGUAGES}
    for number, known in enumerate(rows, 1):
        if not in_shard(number, shard):
            continue
        row = known.row
        language = row.language if row.language in LANGUAGES else "en"
        for task in how.tasks:
            name = row.id if len(how.tasks) == 1 else f"{row.id}_{task}"
            answers = [(it.subtitle or "", short_answer(it.target, task)) for it in known.shown]
            before = [*examples([it for it in answers if it[1]], language), *defined[language]]
            found = ask(known, name, task, how, before)
            yield reject(Row(number, {}), source, name, found) if isinstance(found, str) else found


def ask(known: Known, name: str, task: Asked, how: How, before: Sequence[str]) -> Conversation | str:
    """One question about a row, or why it cannot be asked."""
    if isinstance(known.target, str):
        return known.target
    content = known.row.messages[0].content
    parts = [part.type for part in content if not isinstance(part, str) and part.type != "text"]
    annotation = annotation_of(known.row, name, known.target)
    return question(annotation, task, how.mode, how.seed, parts, how.candidates, before)


def target_of(row: Conversation, kind: Raters | None) -> Target | str:
    """The row's target, or the one that `kind` makes from its raters' labels, or why there is none."""
    try:
        return retarget(row.target, kind) if kind else row.target
    except AffectError as problem:
        return str(problem)


def annotation_of(row: Conversation, name: str, target: Target) -> Annotation:
    """The row without its question, under another id and with another target."""
    known = {field: getattr(row, field) for field in Annotation.__struct_fields__}
    return Annotation(**known | {"id": name, "target": target})


def candidates_of(targets: Iterable[Target | str]) -> list[str]:
    """The labels of the closed set, in alphabetical order. None if the labels are open."""
    labels: set[str] = set()
    for target in targets:
        if not isinstance(target, str):
            labels.update(target.distribution or ([target.basic] if target.basic else []))
    return sorted(labels)


def without_definition(labels: Sequence[str]) -> list[str]:
    """The labels that have no definition."""
    return [label for label in labels if not meanings([label], "en")]


def demonstrations(
    rows: Sequence[Conversation], pool: Sequence[Conversation], count: int, dialogue: str | None, folder: Path
) -> list[list[Conversation]]:
    """For each row, the `count` training rows of the pool that are most like it; errors name the pool by its folder."""
    from affectllm.prompts.demonstrations import DIALOGUE, Pool, check_dialogue

    found = Pool(pool, check_dialogue(dialogue or DIALOGUE))
    if len(found.rows) < count:
        raise AffectError(
            f"{folder} has {len(found.rows)} training rows with text and labels, too few to demonstrate with. Give "
            "another folder with --pool."
        )
    return list(found.like(rows, count))
