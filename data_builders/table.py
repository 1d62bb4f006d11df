"""Any table-shaped data set that has a card: the card describes columns and labels, so no code is needed.

    affectllm build goemotions --source goemotions/data --out data/goemotions
    affectllm build ravdess --source RAVDESS/audio_speech --out data/ravdess
    affectllm build --list

If the source is a folder, every file that the card names is read with its split. If file names hold all that is known,
the source is the folder of the media.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectllm.data.builder import Build, Built, build, or_rejected, reject, row_hash
from affectllm.data.card_rows import clip_of, parts_of, split_of, target_of, text_of, turn_of
from affectllm.data.card_sources import find_media, find_tables, named_rows, read_lists, read_rows
from affectllm.data.dataset_cards import Card, read_card
from affectllm.data.label_forms import candidates
from affectllm.data.questions import Asked, Raters, questions, retarget
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row
from affectllm.options import command
from affectllm.prompts import Mode
from affectllm.records import Annotation, Meta, Target, Turn

TASKS: dict[Raters | None, tuple[Asked, ...]] = {
    None: (), "majority": ("basic",), "all": ("labels",), "distribution": ("distribution",),
}  # fmt: skip
"""The question for the raters' labels."""


@dataclass(frozen=True, kw_only=True)
class TableBuild(Build):
    name: str
    """The card, as `affectllm build --list` shows it."""
    language: str | None = None
    """Language of the file, for a card of several languages."""
    split: str | None = None
    """Split of the file, if neither its name nor a column says it."""
    tasks: tuple[Asked, ...] = ()
    """Questions to ask about each row. Without it, the one for --target, or the one of the card. With several, ids end
    in the task, and a row is counted once for each."""
    target: Raters | None = None
    """Which of the raters' labels to take: the most frequent, all, or the share of each. Without it, the rule of the
    card."""
    perspective: Literal["expressed", "induced"] | None = None
    """What labels are about: emotion that is shown, or that viewers and readers feel. Without it, what the card
    says."""
    mode: Mode = "labels"
    """Form of the answer: labels, describe, think or json."""
    window: int = 6
    """Number of earlier utterances shown as context, for a card of dialogues. 0 shows none."""


def main(options: TableBuild) -> None:
    card = read_card(options.name)
    seen: Counter[str] = Counter()
    notes = {"published_rows": card.rows, "table_rows": seen, "card": options.name, "card_status": card.status}
    media = find_media(options.name, options.source) if card.paths else []
    tables = {options.source: options.split or "all"} if media else find_tables(card, options.source, options.split)
    if media:
        # Only the names are read; hashing a folder of recordings would take minutes and prove nothing more.
        notes["file_names_sha256"] = hashlib.sha256("\n".join(map(str, media)).encode()).hexdigest()
    rows = {path: named_rows(card, media) if media else read_rows(card, path) for path in tables}
    build(
        options,
        (row for path, split in tables.items() for row in converse(options, card, path, split, rows[path], seen)),
        sources=[] if media else list(tables),
        licence=card.licence,
        notes=notes,
    )


def converse(options: TableBuild, card: Card, path: Path, split: str, rows: Iterable[Row], seen: Counter[str]) -> Built:
    """The conversations of a table or a folder of media; `seen` counts its rows by split."""
    lists = read_lists(card, options.source)
    dialogue, earlier = "", list[Turn]()
    for row in rows:
        values = {"stem": path.stem, **row.values, "row": str(row.number)}
        values["split"] = split_of(card, values, lists) or split
        seen[values["split"]] += 1
        if card.dialogue and (now := card.dialogue.format(**values)) != dialogue:
            dialogue, earlier = now, []
        turn = turn_of(card, values, len(earlier)) if card.dialogue else None
        context = earlier[-options.window :] if options.window else []
        if in_shard(row.number, options.shard):
            absent = next((name for name in card.needs if name not in values), None)
            name = values.get("path", "") if absent else card.id.format(**values)
            if absent:
                reason = "the file's name does not fit the card" if card.paths else f"no '{absent}'"
                yield reject(row, path, name, reason)
            else:
                yield from or_rejected(ask(options, card, path, name, row, values, turn, context), name, row, path)
        if turn:
            earlier.append(turn)


def ask(
    options: TableBuild,
    card: Card,
    path: Path,
    name: str,
    row: Row,
    values: dict[str, str],
    turn: Turn | None,
    context: list[Turn],
) -> Built:
    """The questions about a row; an AffectError says why there are none."""
    target, media = labelled(options, card, values), clip_of(card, values, options.media)
    language = options.language or card.languages.get(values["stem"], card.language)
    annotation = Annotation(
        id=name,
        dataset=options.name,
        split=values["split"],
        media=media,
        subtitle=text_of(card, values),
        language=None if language == "mul" else language,
        context=context,
        person=(turn.speaker or None) if turn else None,
        perspective=options.perspective or card.perspective,
        target=target,
        meta=Meta(licence=card.licence, hash=row_hash(row.values)),
    )
    given = candidates(card.labels) if card.labels else ()
    how = (options.tasks or TASKS[options.target], options.mode, options.seed, parts_of(media), given)
    yield from questions(annotation, *how, row=row, source=path, otherwise=(card.task, options.mode))


def labelled(options: TableBuild, card: Card, values: dict[str, str]) -> Target:
    """What the annotators said, or what --target makes of single raters' labels."""
    target = target_of(card, values, one_label="basic" in options.tasks, by_raters=options.target is not None)
    return retarget(target, options.target) if options.target else target


if __name__ == "__main__":
    command(main)
