"""Any table-shaped data set that has a card: columns and label forms are data, not code.

    affectllm build card --name goemotions --source goemotions/data --out data/goemotions
    affectllm build --list

A folder as source takes every file that the card names, each with its split.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from affectllm import building, cards
from affectllm.building import Build, Row
from affectllm.cards import Card
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Rejected, Target

SPLITS = {
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "training": "train",
    "publictest": "val",
    "privatetest": "test",
}
KINDS = {".jpg": "image", ".jpeg": "image", ".png": "image", ".wav": "audio", ".mp3": "audio", ".flac": "audio"}


@dataclass(frozen=True, kw_only=True)
class CardBuild(Build):
    name: str
    """The card, as `affectllm build --list` shows it."""
    language: str | None = None
    """Language of the file, for a card of several."""
    split: str | None = None
    """Split of the file, where neither its name nor a column tells it."""
    mode: Mode = "labels"
    """Form of the answer."""


def main(run: CardBuild) -> None:
    card = cards.read_card(run.name)
    if card.builder:
        raise AffectError(f"'{run.name}' has a builder of its own: affectllm build {card.builder} --help")
    sources = find_files(run, card)
    manifest = building.write(
        run.out,
        (found for path, split in sources.items() for found in converse(run, card, path, split)),
        sources=list(sources),
        options=asdict(run),
        licence=card.licence,
        notes={"published_rows": card.rows, "card": run.name, "card_status": card.status},
    )
    print("\n".join(building.summary(manifest, run.out)))


def find_files(run: CardBuild, card: Card) -> dict[Path, str]:
    """The tables to read, each with its split ('' where a column tells it)."""
    if run.source.is_dir():
        found = {run.source / name: split for name, split in card.files.items() if (run.source / name).is_file()}
        if not found:
            wanted = ", ".join(card.files) or "a file given with --source"
            raise AffectError(f"{run.source} holds none of the card's files. Wanted: {wanted}.")
        return found
    split = run.split or card.files.get(run.source.name, "")
    if not split and not card.split:
        raise AffectError(f"Cannot tell the split of {run.source.name}. Give it with --split train, val or test.")
    return {run.source: split}


def converse(run: CardBuild, card: Card, path: Path, split: str) -> Iterator[Conversation | Rejected]:
    for row in building.stream_table(path, card.needs(), card.delimiter, card.header, card.quoted):
        if not building.in_shard(row.number, run.shard):
            continue
        named = split_of(card, row) or split
        name = card.id.format(**{**row.values, "split": named, "row": row.number})
        try:
            annotation = annotate(run, card, row, named, name)
        except AffectError as problem:
            yield building.reject(row, path, name, str(problem))
            continue
        given = cards.candidates(card.labels) if card.labels else ()
        yield compose(annotation, card.task, run.mode, run.seed, parts_of(annotation.media), candidates=given)


def split_of(card: Card, row: Row) -> str:
    told = row.values[card.split].strip().lower() if card.split else ""
    return SPLITS.get(told, told)


def annotate(run: CardBuild, card: Card, row: Row, split: str, name: str) -> Annotation:
    """The annotation of a row; an AffectError says why there is none."""
    values = row.values
    found = cards.read_labels(card.labels, values) if card.labels else cards.Found([])
    if found.problem:
        raise AffectError(found.problem)
    if card.task == "basic" and len(found.labels) > 1:
        raise AffectError(f"{len(found.labels)} labels where one is wanted: {', '.join(found.labels)}")
    sentiment = values[card.sentiment].strip().lower() if card.sentiment else None
    if sentiment not in (None, "positive", "negative", "neutral"):
        raise AffectError(f"sentiment is {sentiment!r}, not positive, negative or neutral")
    language = run.language or card.language
    return Annotation(
        id=name,
        dataset=run.name,
        split=split,
        media=clip_of(run, card, row),
        subtitle=(values[card.text].strip() or None) if card.text else None,
        language=None if language == "mul" else language,
        target=Target.model_validate(
            {
                "labels": found.labels,
                "basic": found.labels[0] if card.task == "basic" else None,
                "sentiment": sentiment,
                "valence": cards.scaled(card.valence, values) if card.valence else None,
            }
        ),
        meta=Meta(licence=card.licence, hash=building.row_hash(values)),
    )


def clip_of(run: CardBuild, card: Card, row: Row) -> Clip:
    """The row's media file; none for a data set of text."""
    if not card.clip:
        return Clip()
    path = card.clip.format(**row.values)
    if run.media and not (run.media / path).is_file():
        raise AffectError(f"no {path} under {run.media}")
    return Clip.model_validate({KINDS.get(Path(path).suffix.lower(), "video"): path})


def parts_of(media: Clip) -> list[str]:
    """The media a question shows: a video with its sound, one picture, one sound, or none."""
    if media.video:
        return ["video", "audio"]
    return [kind for kind in ("image", "audio") if getattr(media, kind)]


if __name__ == "__main__":
    command(main)
