"""Other questions about data that are built already: the same annotations, asked in another way.

    affectllm data ask data/meld --tasks next --out data/meld-next
    affectllm data ask data/emer --tasks clues progressive --out data/emer-evidence
    affectllm data ask data/iemocap --tasks vad --out data/iemocap-vad
    affectllm data ask data/emotionlines --tasks distribution --target distribution --out data/emotionlines-votes
    affectllm data ask data/meld-test --tasks basic --demonstrations 4 --pool data/meld --out data/meld-icl

Nothing is invented: a row whose annotation does not answer a question is rejected with the reason; rows without any
label, as of a test set, keep theirs open.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from affectllm import building, jsonl, options
from affectllm.building import Row
from affectllm.errors import AffectError
from affectllm.prompts import LANGUAGES, Mode, examples, meanings, short_answer
from affectllm.prompts.asking import Asked, question, retarget
from affectllm.records import Annotation, Conversation, Rejected, Target


@dataclass(frozen=True, kw_only=True)
class Ask:
    folder: tyro.conf.Positional[Path]
    """Folder that affectllm build wrote."""
    tasks: tuple[Asked, ...]
    """Questions to put; several give a row each."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    mode: Mode | None = None
    """Form of the answer, where the task has several; without it, the description for describe, labels elsewhere."""
    target: Literal["given", "majority", "all", "distribution"] = "given"
    """Of the raters' labels: the one named most often, every one named, or each one's share; given keeps the target."""
    classes: tuple[str, ...] = ()
    """The labels to choose from; without it those of the folder's closed set, in alphabetical order."""
    definitions: bool = False
    """Say in the prompt what the labels to choose from mean."""
    demonstrations: int = 0
    """So many training rows with their answers stand before the question, those most like its text."""
    pool: Path | None = None
    """Folder whose training split gives the demonstrations; without it, the folder itself."""
    dialogue: str | None = None
    """Expression on the id whose group names the dialogue, e.g. '^(.+)_utt'; without it, as our builders name them."""
    seed: int = 7
    """Draws each row's wording of the question."""
    shard: str = "1/1"
    """Part i of n of the rows, as i/n."""


def run(words: list[str]) -> int:
    """`affectllm data ask ...`."""
    asked = options.parse(Ask, words)
    if asked.demonstrations < 0:
        raise AffectError(f"--demonstrations {asked.demonstrations} must be 0 or more.")
    if asked.demonstrations and "next" in asked.tasks:
        raise AffectError("Demonstrations are found by the text that task next must not show: ask for it without them.")
    source = asked.folder / "conversations.jsonl"
    rows = list(jsonl.read(source, Conversation))
    if not rows:
        raise AffectError(f"{source} holds no conversations.")
    targets = [row.target if asked.target == "given" else retarget(row.target, asked.target) for row in rows]
    closed = asked.classes or candidates_of(targets)
    shown = demonstrations(asked, rows)
    licences = ", ".join(dict.fromkeys(row.meta.licence for row in rows))
    manifest = building.write(
        asked.out, ask_all(asked, source, rows, targets, closed, shown), sources=[source], options=asdict(asked),
        licence=licences, rows_in=sum(building.in_shard(number, asked.shard) for number in range(1, len(rows) + 1)),
    )  # fmt: skip
    print("\n".join(building.summary(manifest, asked.out)))
    if asked.definitions:
        print(*about_definitions(closed), sep="\n", end="")
    if few := sum(len(its) < asked.demonstrations for its in shown):
        print(f"  note: {few} rows have fewer than {asked.demonstrations} demonstrations: no more texts share a word")
    return 0


def ask_all(
    asked: Ask,
    source: Path,
    rows: Sequence[Conversation],
    targets: Sequence[Target | str],
    closed: Sequence[str],
    shown: Sequence[list[Conversation]],
) -> Iterator[Conversation | Rejected]:
    told = {language: meanings(closed, language) if asked.definitions else [] for language in LANGUAGES}
    for number, (row, target, alike) in enumerate(zip(rows, targets, shown, strict=True), 1):
        if not building.in_shard(number, asked.shard):
            continue
        language = row.language if row.language in LANGUAGES else "en"
        parts = [part.type for part in row.messages[0].content if not isinstance(part, str) and part.type != "text"]
        for task in asked.tasks:
            name = row.id if len(asked.tasks) == 1 else f"{row.id}_{task}"
            answers = [(it.subtitle or "", short_answer(it.target, task)) for it in alike]
            before = [*examples([it for it in answers if it[1]], language), *told[language]]
            found: Conversation | str = target if isinstance(target, str) else question(
                annotation_of(row, name, target), task, asked.mode, asked.seed, parts, closed, before
            )  # fmt: skip
            yield building.reject(Row(number, {}), source, name, found) if isinstance(found, str) else found


def annotation_of(row: Conversation, name: str, target: Target) -> Annotation:
    """What the row knows beside its question, by another id and with another target."""
    known = {field: getattr(row, field) for field in Annotation.__struct_fields__}
    return Annotation(**known | {"id": name, "target": target})


def candidates_of(targets: Iterable[Target | str]) -> list[str]:
    """The labels of the closed set, in alphabetical order; none where the labels are open."""
    labels: set[str] = set()
    for target in targets:
        if not isinstance(target, str):
            labels.update(target.distribution or ([target.basic] if target.basic else []))
    return sorted(labels)


def about_definitions(closed: Sequence[str]) -> Iterator[str]:
    """What is said where labels have no definition."""
    lost = [label for label in closed if not meanings([label], "en")]
    if lost:
        yield f"  note: no definition of {', '.join(lost)}\n"
    if not closed:
        yield "  note: there is no closed set of labels to define: name it with --classes\n"


def demonstrations(asked: Ask, rows: Sequence[Conversation]) -> list[list[Conversation]]:
    """The training rows shown before each row's question, where they are asked for."""
    if not asked.demonstrations:
        return [[] for _ in rows]
    from affectllm.prompts.demonstrations import DIALOGUE, Pool, check_dialogue

    folder = asked.pool or asked.folder
    given = rows if folder == asked.folder else list(jsonl.read(folder / "conversations.jsonl", Conversation))
    pool = Pool(given, check_dialogue(asked.dialogue or DIALOGUE))
    if len(pool.rows) < asked.demonstrations:
        raise AffectError(
            f"{folder} has {len(pool.rows)} training rows with text and labels, too few to demonstrate with. Give "
            "another folder with --pool."
        )
    return list(pool.like(rows, asked.demonstrations))
