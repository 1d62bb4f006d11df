"""Other questions about data that are built already: the same annotations, asked in another way.

    affectllm data ask data/meld --tasks next --out data/meld-next
    affectllm data ask data/emer --tasks clues progressive --out data/emer-evidence
    affectllm data ask data/iemocap --tasks vad --out data/iemocap-vad
    affectllm data ask data/emotionlines --tasks distribution --target distribution --out data/emotionlines-votes
    affectllm data ask data/meld-test --tasks basic --demonstrations 4 --pool data/meld --out data/meld-icl

Nothing is invented: a row whose annotation does not answer a question is rejected with the reason. Demonstrations are
the texts of the training split most like the row's own (TF-IDF), with their answers, never of the same dialogue or of
the same words; InstructERC (arXiv 2309.11911) puts retrieved ones before its questions.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from affectllm import building, jsonl, options
from affectllm.building import Row
from affectllm.checks.leaks import text_key
from affectllm.errors import AffectError
from affectllm.prompts import LANGUAGES, Mode, compose, examples, meanings, progress_through
from affectllm.records import Annotation, Clip, Conversation, Rejected, Target

Asked = Literal[
    "labels", "describe", "basic", "sentiment", "valence", "vad", "clues", "listener", "person", "next", "induced",
    "distribution", "progressive",
]  # fmt: skip
WORD = re.compile(r"[\u4e00-\u9fff]|\w+")
UTTERANCE = re.compile(r"[_-](?:utt|u|turn|line)?_?\d+$")
BLOCK = 512
"""Rows compared with the pool at once."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    folder: tyro.conf.Positional[Path]
    """Folder that affectllm build wrote."""
    tasks: tuple[Asked, ...]
    """Questions to put; several give a row each."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    mode: Mode = "labels"
    """Form of the answer, where the task has several."""
    target: Literal["given", "majority", "all", "distribution"] = "given"
    """Of the raters' labels: the one named most often, every one named, or each one's share; given keeps the target."""
    definitions: bool = False
    """Say in the prompt what the labels to choose from mean."""
    demonstrations: int = 0
    """So many training rows with their answers stand before the question."""
    pool: Path | None = None
    """Folder whose training split gives the demonstrations; without it, the folder itself."""
    seed: int = 7
    """Draws each row's wording of the question."""
    shard: str = "1/1"
    """Part i of n of the rows, as i/n."""


def run(words: list[str]) -> int:
    """`affectllm data ask ...`."""
    asked = options.parse(Ask, words)
    if asked.demonstrations < 0:
        raise AffectError(f"--demonstrations {asked.demonstrations} must be 0 or more.")
    source = asked.folder / "conversations.jsonl"
    rows = list(jsonl.read(source, Conversation))
    if not rows:
        raise AffectError(f"{source} holds no conversations.")
    licences = ", ".join(dict.fromkeys(row.meta.licence for row in rows))
    manifest = building.write(
        asked.out, ask_all(asked, source, rows), sources=[source], options=asdict(asked), licence=licences,
        rows_in=len(rows),
    )  # fmt: skip
    print("\n".join(building.summary(manifest, asked.out)))
    return 0


def ask_all(asked: Ask, source: Path, rows: Sequence[Conversation]) -> Iterator[Conversation | Rejected]:
    targets = [retarget(row.target, asked.target) for row in rows]
    closed = candidates_of(targets)
    shown = demonstrations(asked, rows) if asked.demonstrations else [[]] * len(rows)
    for number, (row, target, before) in enumerate(zip(rows, targets, shown, strict=True), 1):
        if not building.in_shard(number, asked.shard):
            continue
        for task in asked.tasks:
            name = row.id if len(asked.tasks) == 1 else f"{row.id}_{task}"
            found = target if isinstance(target, str) else ask(asked, row, target, task, closed, before)
            if isinstance(found, str):
                yield building.reject(Row(number, {}), source, name, found)
            else:
                yield found.model_copy(update={"id": name})


def ask(
    asked: Ask, row: Conversation, target: Target, task: Asked, closed: Sequence[str], shown: Sequence[tuple[str, str]]
) -> Conversation | str:
    """The question, or why it cannot be put."""
    fields = {name: getattr(row, name) for name in Annotation.model_fields}
    annotation = Annotation.model_construct(**{**fields, "target": target})
    parts = [part.type for part in row.messages[0].content if not isinstance(part, str) and part.type != "text"]
    if task in ("person", "next") and not row.person:
        return "nobody is named"
    if task == "next":
        if not row.context:
            return "no earlier turn"
        # What is to be foreseen is neither shown nor heard nor read.
        annotation, parts = annotation.model_copy(update={"subtitle": None, "media": Clip()}), []
    if task == "progressive":
        return progress_through(annotation, asked.seed, parts) or "fewer than two of its questions are answered"
    language = row.language if row.language in LANGUAGES else "en"
    before = [*examples(shown, language), *(meanings(closed, language) if asked.definitions else [])]
    found = compose(annotation, task, asked.mode, asked.seed, parts=parts, candidates=closed, before=before)
    return found if found.messages[-1].role == "assistant" else f"the annotation does not answer '{task}'"


def retarget(target: Target, kind: str) -> Target | str:
    """The target by the raters' labels, or why there is none.

    >>> retarget(Target(raters=[["happy"], ["sad"], ["happy"]]), "majority").basic
    'happy'
    """
    if kind == "given":
        return target
    votes = Counter(label for labels in target.raters or [] for label in labels)
    if not votes:
        return "no labels of single raters"
    ranked = votes.most_common()
    if kind == "majority":
        if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            return f"the raters tie: {', '.join(label for label, n in ranked if n == ranked[0][1])}"
        return target.model_copy(update={"labels": [ranked[0][0]], "basic": ranked[0][0]})
    if kind == "all":
        return target.model_copy(update={"labels": [label for label, _ in ranked]})
    total = votes.total()
    return target.model_copy(update={"distribution": {label: n / total for label, n in ranked}})


def candidates_of(targets: Iterable[Target | str]) -> list[str]:
    """The labels of the closed set, the most frequent first."""
    counts: Counter[str] = Counter()
    for target in targets:
        if not isinstance(target, str):
            counts.update(target.distribution or ([target.basic] if target.basic else []))
    return [label for label, _ in counts.most_common()]


class Pool(NamedTuple):
    """Training rows that have a text and an answer."""

    rows: list[Conversation]
    answers: list[str]


def demonstrations(asked: Ask, rows: Sequence[Conversation]) -> list[list[tuple[str, str]]]:
    """Texts and answers most like each row's text, the likest last, next to the question."""
    folder = asked.pool or asked.folder
    given = rows if folder == asked.folder else list(jsonl.read(folder / "conversations.jsonl", Conversation))
    kept = [row for row in given if row.split == "train" and row.subtitle and labels_of(row)]
    if len(kept) < asked.demonstrations:
        raise AffectError(f"{folder} has {len(kept)} training rows with text and labels, too few to demonstrate with.")
    weights = TextWeights([row.subtitle or "" for row in kept])
    found: list[list[tuple[str, str]]] = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        likeness = weights.compare([row.subtitle or "" for row in block])
        for row, values in zip(block, likeness, strict=True):
            order = (-values).argsort(kind="stable")
            found.append(pick(row, [kept[i] for i in order[: asked.demonstrations + 50]], asked.demonstrations))
    return found


def pick(row: Conversation, ranked: Sequence[Conversation], count: int) -> list[tuple[str, str]]:
    """The likest rows of other dialogues and other words."""
    key, home = text_key(row.subtitle) or (row.subtitle or "").casefold(), UTTERANCE.sub("", row.id)
    others = (
        it
        for it in ranked
        if UTTERANCE.sub("", it.id) != home and (text_key(it.subtitle) or (it.subtitle or "").casefold()) != key
    )
    return [(it.subtitle or "", ", ".join(labels_of(it))) for it, _ in zip(others, range(count), strict=False)][::-1]


def labels_of(row: Conversation) -> list[str]:
    return [row.target.basic] if row.target.basic else row.target.labels


class TextWeights:
    """TF-IDF vectors of texts, compared by cosine; Chinese characters stand for words."""

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        words = [Counter(WORD.findall(text.casefold())) for text in texts]
        seen = Counter(word for counts in words for word in counts)
        self.places = {word: i for i, word in enumerate(seen)}
        self.rarity = np.log((1 + len(texts)) / (1 + np.array(list(seen.values()), float))) + 1
        self.table = self.vectors(words)

    def vectors(self, words: Sequence[Counter[str]]) -> Any:
        """Rows of length 1, one a text; words that no text of the pool holds count nothing."""
        import numpy as np
        from scipy.sparse import csr_array

        cells = [
            (i, self.places[word], n) for i, its in enumerate(words) for word, n in its.items() if word in self.places
        ]
        rows, columns, counts = (
            (np.array(values) for values in zip(*cells, strict=True)) if cells else [np.zeros(0, int)] * 3
        )
        values = counts * self.rarity[columns]
        length = np.sqrt(np.bincount(rows, values**2, minlength=len(words)))
        return csr_array((values / length[rows], (rows, columns)), shape=(len(words), len(self.places)))

    def compare(self, texts: Sequence[str]) -> Any:
        """Cosine of each text with each of the pool, shape (texts, pool)."""
        return (self.vectors([Counter(WORD.findall(text.casefold())) for text in texts]) @ self.table.T).toarray()
