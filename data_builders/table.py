"""Any table-shaped data set that has a card: columns and label forms are data, not code.

    affectllm build goemotions --source goemotions/data --out data/goemotions
    affectllm build ravdess --source RAVDESS/audio_speech --out data/ravdess
    affectllm build --list

A folder as source takes every file that the card names, each with its split. Where file names say it all, the source is
the folder of the media itself.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from affectllm import building, cards
from affectllm.building import Build, Row
from affectllm.cards import Card
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.prompts.asking import Asked, Raters, questions, retarget
from affectllm.records import Annotation, Clip, Conversation, Meta, Rejected, Target, Turn

SPLITS = {
    "dev": "val",
    "development": "val",
    "evaluation": "val",
    "valid": "val",
    "validation": "val",
    "training": "train",
    "publictest": "val",
    "privatetest": "test",
}
KINDS = {".jpg": "image", ".jpeg": "image", ".png": "image", ".wav": "audio", ".mp3": "audio", ".flac": "audio"}
TASKS: dict[Raters | None, tuple[Asked, ...]] = {
    None: (), "majority": ("basic",), "all": ("labels",), "distribution": ("distribution",),
}  # fmt: skip
"""The question for the raters' labels."""
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".flv", ".webm")


@dataclass(frozen=True, kw_only=True)
class CardBuild(Build):
    name: str
    """The card, as `affectllm build --list` shows it."""
    language: str | None = None
    """Language of the file, for a card of several."""
    split: str | None = None
    """Split of the file, where neither its name nor a column tells it."""
    tasks: tuple[Asked, ...] = ()
    """Questions asked about each row; without it, the one for --target, or that of the card. With several, ids end in
    the task, and a row is counted once for each."""
    target: Raters | None = None
    """Of single raters' labels: the one named most often, every one named, or each one's share; without it, what the
    card takes for the labels."""
    perspective: Literal["expressed", "induced"] | None = None
    """Whether labels say what is shown, or what viewers and readers feel; without it, as the card says."""
    mode: Mode = "labels"
    """Form of the answer."""
    window: int = 6
    """Earlier utterances shown as context, where the card is one of dialogues; 0 for none."""


def main(run: CardBuild) -> None:
    card = cards.read_card(run.name)
    if card.builder:
        raise AffectError(f"'{run.name}' has a builder of its own: affectllm build {card.builder} --help")
    seen: Counter[str] = Counter()
    notes = {"published_rows": card.rows, "table_rows": seen, "card": run.name, "card_status": card.status}
    tables, media = ({}, find_media(run)) if card.paths else (find_files(run, card), [])
    if media:
        # Only the names are read; hashing a folder of recordings would take minutes and prove nothing more.
        notes["file_names_sha256"] = hashlib.sha256("\n".join(map(str, media)).encode()).hexdigest()
    manifest = building.write(
        run.out,
        converse_files(run, card, media, seen) if media else converse_tables(run, card, tables, seen),
        sources=list(tables),
        options=asdict(run),
        licence=card.licence,
        notes=notes,
    )
    print("\n".join(building.summary(manifest, run.out)))
    for split in sorted(split for split in seen if seen[split] != card.rows.get(split, seen[split])):
        print(f"  note: {seen[split]} rows were read as '{split}', {card.rows[split]} are published")


def converse_files(
    run: CardBuild, card: Card, media: Sequence[Path], seen: Counter[str]
) -> Iterator[Conversation | Rejected]:
    return converse(run, card, run.source, run.split or "all", named_rows(card, media), seen)


def converse_tables(
    run: CardBuild, card: Card, tables: dict[Path, str], seen: Counter[str]
) -> Iterator[Conversation | Rejected]:
    for path, split in tables.items():
        table = building.stream_table(path, card.needs, card.delimiter, card.header, card.quoted)
        yield from converse(run, card, path, split, json_rows(card, path) if card.items else table, seen)


def find_files(run: CardBuild, card: Card) -> dict[Path, str]:
    """The tables to read, each with its split ('' where a column or a list tells it)."""
    if run.source.is_dir():
        found = {run.source / name: split for name, split in card.files.items() if (run.source / name).is_file()}
        if not found:
            wanted = ", ".join(card.files) or "a file given with --source"
            raise AffectError(f"{run.source} holds none of the card's files. Wanted: {wanted}.")
        return found
    parts = run.source.parts
    named = [split for name, split in card.files.items() if parts[-name.count("/") - 1 :] == Path(name).parts]
    split = run.split or "".join(named)
    if not split and not card.split and not card.lists:
        raise AffectError(f"Cannot tell the split of {run.source.name}. Give it with --split train, val or test.")
    return {run.source: split}


def find_media(run: CardBuild) -> list[Path]:
    """Every picture, sound and video under the source, relative to it and in order."""
    if not run.source.is_dir():
        raise AffectError(
            f"{run.source} is no folder. Give the one that holds the media of '{run.name}' with --source."
        )
    files = (path for path in run.source.rglob("*") if path.suffix.lower() in (*KINDS, *VIDEOS))
    media = sorted(path.relative_to(run.source) for path in files if not path.name.startswith("."))
    if not media:
        raise AffectError(f"{run.source} holds no picture, sound or video. Unpack the data set there.")
    return media


def json_rows(card: Card, path: Path) -> Iterator[Row]:
    """A row for everything at the end of the card's way through a JSON file."""
    whole = building.read_json(path)
    try:
        found = list(cards.walk(whole, card.items or ""))
    except AffectError as error:
        raise AffectError(f"{path} has {error}. Is it another file of the data set?") from error
    for number, (bound, value) in enumerate(found, 1):
        yield Row(number, {**cards.flatten(value), **bound})


def named_rows(card: Card, media: Sequence[Path]) -> Iterator[Row]:
    """A row for every file; one whose name does not fit the card has its path only."""
    for number, path in enumerate(media, 1):
        fits = re.fullmatch(f"(?:.*/)?(?:{card.paths})", path.as_posix())
        groups = {name: cell or "" for name, cell in fits.groupdict().items()} if fits else {}
        yield Row(number, {"path": path.as_posix(), "stem": path.stem, **groups})


def read_lists(run: CardBuild, card: Card) -> dict[str, str]:
    """Split of every value that the card's lists name."""
    folder = run.source if run.source.is_dir() else run.source.parent
    told: dict[str, str] = {}
    for name, split in card.lists.files.items() if card.lists else ():
        path = folder / name
        if path.suffix == ".json":
            told |= {value: bound["split"] for bound, value in cards.walk(building.read_json(path), split)}
        else:
            told |= {line.strip(): split for line in building.read_lines(path) if line.strip()}
    return {value: SPLITS.get(split, split) for value, split in told.items()}


def converse(
    run: CardBuild, card: Card, path: Path, split: str, rows: Iterator[Row], seen: Counter[str]
) -> Iterator[Conversation | Rejected]:
    """The conversations of a table or a folder of media; `seen` counts its rows by split."""
    lists = read_lists(run, card)
    dialogue, earlier = "", list[Turn]()
    for row in rows:
        values = {"stem": path.stem, **row.values, "row": str(row.number)}
        values["split"] = split_of(card, values, lists) or split
        seen[values["split"]] += 1
        if card.dialogue and (now := card.dialogue.format(**values)) != dialogue:
            dialogue, earlier = now, []
        turn = turn_of(card, values, len(earlier)) if card.dialogue else None
        if building.in_shard(row.number, run.shard):
            yield from ask(run, card, path, row, values, turn, earlier[-run.window :] if run.window else [])
        if turn:
            earlier.append(turn)


def turn_of(card: Card, values: dict[str, str], place: int) -> Turn:
    """A row as one turn of its dialogue; rows without a label are turns too."""
    taken = card.turns[place % len(card.turns)] if card.turns else ""
    return Turn(
        speaker=values.get(card.speaker, "") if card.speaker else taken,
        text=values.get(card.text, "") if card.text else "",
    )


def ask(
    run: CardBuild, card: Card, path: Path, row: Row, values: dict[str, str], turn: Turn | None, context: list[Turn]
) -> Iterator[Conversation | Rejected]:
    """The questions about a row, or why there are none."""
    absent = [name for name in card.needs if name not in values]
    name = values.get("path", "") if absent else card.id.format(**values)
    if absent:
        reason = "the file's name does not fit the card" if card.paths else f"no '{absent[0]}'"
        yield building.reject(row, path, name, reason)
        return
    try:
        target, media, text = target_of(run, card, values), clip_of(run, card, values), text_of(card, values)
    except AffectError as problem:
        yield building.reject(row, path, name, str(problem))
        return
    language = run.language or card.languages.get(values["stem"], card.language)
    annotation = Annotation(
        id=name,
        dataset=run.name,
        split=values["split"],
        media=media,
        subtitle=text,
        language=None if language == "mul" else language,
        context=context,
        person=(turn.speaker or None) if turn else None,
        perspective=run.perspective or card.perspective,
        target=target,
        meta=Meta(licence=card.licence, hash=building.row_hash(row.values)),
    )
    given = cards.candidates(card.labels) if card.labels else ()
    if tasks := run.tasks or TASKS[run.target]:
        yield from questions(annotation, tasks, run.mode, run.seed, parts_of(media), given, row=row, source=path)
    else:
        yield compose(annotation, card.task, run.mode, run.seed, parts_of(media), candidates=given)


def target_of(run: CardBuild, card: Card, values: dict[str, str]) -> Target:
    """What the annotators said; an AffectError says what cannot be read."""
    if card.lists and not values["split"]:
        raise AffectError(f"{values[card.lists.column]!r} stands in no list of a split")
    found = cards.read_labels(card.labels, values) if card.labels else cards.Found([])
    if found.problem and not (run.target and found.raters):
        raise AffectError(found.problem)
    if card.task == "basic" and not run.target and len(found.labels) > 1:
        raise AffectError(f"{len(found.labels)} labels where one is wanted: {', '.join(found.labels)}")
    sentiment = values[card.sentiment].strip().lower() if card.sentiment else None
    if sentiment not in (None, "positive", "negative", "neutral"):
        raise AffectError(f"sentiment is {sentiment!r}, not positive, negative or neutral")
    one = card.task == "basic" or ("basic" in run.tasks and len(found.labels) == 1)
    known = {
        "labels": found.labels,
        "basic": found.labels[0] if one and found.labels else None,
        "sentiment": sentiment,
        "valence": cards.scaled(card.valence, values) if card.valence else None,
        "vad": [cards.scaled(scale, values) for scale in card.vad] if card.vad else None,
        "raters": found.raters if run.target or not (card.labels and card.labels.votes) else None,
    }
    target = msgspec.convert(known, Target)
    chosen = retarget(target, run.target) if run.target else target
    if isinstance(chosen, str):
        raise AffectError(chosen)
    return chosen


def split_of(card: Card, values: dict[str, str], lists: dict[str, str]) -> str:
    """The split that a list or a column tells; '' where neither does."""
    if card.lists:
        return lists.get(values.get(card.lists.column, ""), "")
    told = values.get(card.split, "").strip().lower() if card.split else ""
    return SPLITS.get(told, told)


def text_of(card: Card, values: dict[str, str]) -> str | None:
    cell = values[card.text].strip() if card.text else ""
    if card.texts and cell not in card.texts:
        raise AffectError(f"text {cell!r} is not one of the card's")
    return card.texts.get(cell, cell) or None


def clip_of(run: CardBuild, card: Card, values: dict[str, str]) -> Clip:
    """The row's media file; none for a data set of text."""
    if not card.clip:
        return Clip()
    path = "/".join(Path(card.clip.format(**values)).parts[-card.clip_tail :])
    if run.media and not (run.media / path).is_file():
        raise AffectError(f"no {path} under {run.media}")
    return msgspec.convert({KINDS.get(Path(path).suffix.lower(), "video"): path}, Clip)


def parts_of(media: Clip) -> list[str]:
    """The media a question shows: a video with its sound, one picture, one sound, or none."""
    if media.video:
        return ["video", "audio"]
    return [kind for kind in ("image", "audio") if getattr(media, kind)]


if __name__ == "__main__":
    command(main)
