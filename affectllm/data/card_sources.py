"""Where a data set with a card keeps its rows: tables, JSON files or the names of its media, each with its split."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from affectllm.data.dataset_cards import Card
from affectllm.data.nested import flatten, walk
from affectllm.data.tables import Row, read_json, read_lines, stream_table
from affectllm.errors import AffectError

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
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".flv", ".webm")


def find_tables(card: Card, source: Path, split: str | None) -> dict[Path, str]:
    """The tables to read, each with its split ('' where a column or a list names it)."""
    if source.is_dir():
        found = {source / name: split for name, split in card.files.items() if (source / name).is_file()}
        if not found:
            wanted = ", ".join(card.files) or "a file given with --source"
            raise AffectError(f"{source} holds none of the card's files. Wanted: {wanted}.")
        return found
    parts = source.parts
    named = [split for name, split in card.files.items() if parts[-name.count("/") - 1 :] == Path(name).parts]
    split = split or "".join(named)
    if not split and not card.split and not card.lists:
        raise AffectError(f"Cannot tell the split of {source.name}. Give it with --split train, val or test.")
    return {source: split}


def find_media(name: str, source: Path) -> list[Path]:
    """Every picture, audio and video file under the source, relative to it and in order."""
    if not source.is_dir():
        raise AffectError(f"{source} is not a folder. Give the one that holds the media of '{name}' with --source.")
    files = (path for path in source.rglob("*") if path.suffix.lower() in (*KINDS, *VIDEOS))
    media = sorted(path.relative_to(source) for path in files if not path.name.startswith("."))
    if not media:
        raise AffectError(f"{source} holds no picture, sound or video. Unpack the data set there.")
    return media


def read_rows(card: Card, path: Path) -> Iterator[Row]:
    """The rows of a table, or of a JSON file whose card gives the path to a row."""
    return json_rows(card, path) if card.items else stream_table(
        path, card.needs, card.delimiter, card.header, card.quoted
    )  # fmt: skip


def json_rows(card: Card, path: Path) -> Iterator[Row]:
    """A row for everything at the end of the card's path through a JSON file."""
    whole = read_json(path)
    try:
        found = list(walk(whole, card.items or ""))
    except AffectError as error:
        raise AffectError(f"{path} has {error}. Is it another file of the data set?") from error
    for number, (bound, value) in enumerate(found, 1):
        yield Row(number, {**flatten(value), **bound})


def named_rows(card: Card, media: Sequence[Path]) -> Iterator[Row]:
    """A row for every media file. A file whose name does not fit the card has only its path."""
    for number, path in enumerate(media, 1):
        fits = re.fullmatch(f"(?:.*/)?(?:{card.paths})", path.as_posix())
        groups = {name: cell or "" for name, cell in fits.groupdict().items()} if fits else {}
        yield Row(number, {"path": path.as_posix(), "stem": path.stem, **groups})


def read_lists(card: Card, source: Path) -> dict[str, str]:
    """Split of every value that the card's lists name."""
    folder = source if source.is_dir() else source.parent
    found: dict[str, str] = {}
    for name, split in card.lists.files.items() if card.lists else ():
        path = folder / name
        if path.suffix == ".json":
            found |= {value: bound["split"] for bound, value in walk(read_json(path), split)}
        else:
            found |= {line.strip(): split for line in read_lines(path) if line.strip()}
    return {value: SPLITS.get(split, split) for value, split in found.items()}
