"""What a row of a data set with a card holds: split, words, speaker, clip and target."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from affectllm.data.card_sources import KINDS, SPLITS
from affectllm.data.dataset_cards import Card
from affectllm.data.label_forms import Found, read_labels, scaled
from affectllm.data.questions import SENTIMENTS
from affectllm.errors import AffectError
from affectllm.records import Clip, Target, Turn


def split_of(card: Card, values: Mapping[str, str], lists: Mapping[str, str]) -> str:
    """The split that a list or a column names. '' if neither does."""
    if card.lists:
        return lists.get(values.get(card.lists.column, ""), "")
    named = values.get(card.split, "").strip().lower() if card.split else ""
    return SPLITS.get(named, named)


def turn_of(card: Card, values: Mapping[str, str], place: int) -> Turn:
    """A row as one turn of its dialogue; rows without a label are turns too."""
    taken = card.turns[place % len(card.turns)] if card.turns else ""
    return Turn(
        speaker=values.get(card.speaker, "") if card.speaker else taken,
        text=values.get(card.text, "") if card.text else "",
    )


def text_of(card: Card, values: Mapping[str, str]) -> str | None:
    """What is said or written, if the card has a column for it."""
    cell = values[card.text].strip() if card.text else ""
    if card.texts and cell not in card.texts:
        raise AffectError(f"text {cell!r} is not one of the card's")
    return card.texts.get(cell, cell) or None


def clip_of(card: Card, values: Mapping[str, str], media: Path | None) -> Clip:
    """The row's media file. None for a data set of text."""
    if not card.clip:
        return Clip()
    path = "/".join(Path(card.clip.format(**values)).parts[-card.clip_tail :])
    if media and not (media / path).is_file():
        raise AffectError(f"no {path} under {media}")
    return msgspec.convert({KINDS.get(Path(path).suffix.lower(), "video"): path}, Clip)


def parts_of(media: Clip) -> list[str]:
    """The media a question shows: a video with its audio, one picture, one audio file, or none."""
    if media.video:
        return ["video", "audio"]
    return [kind for kind in ("image", "audio") if getattr(media, kind)]


def target_of(card: Card, values: Mapping[str, str], one_label: bool, by_raters: bool) -> Target:
    """What the annotators said; an AffectError says what cannot be read.

    `one_label`: the question wants a single label. `by_raters`: the caller takes the labels of single raters (see
    `retarget`), so that rows on which they disagree are kept.
    """
    if card.lists and not values["split"]:
        raise AffectError(f"{values[card.lists.column]!r} stands in no list of a split")
    found = read_labels(card.labels, values) if card.labels else Found([])
    if found.problem and not (by_raters and found.raters):
        raise AffectError(found.problem)
    if card.task == "basic" and not by_raters and len(found.labels) > 1:
        raise AffectError(f"{len(found.labels)} labels where one is wanted: {', '.join(found.labels)}")
    sentiment = values[card.sentiment].strip().lower() if card.sentiment else None
    if sentiment not in (None, *SENTIMENTS):
        raise AffectError(f"sentiment is {sentiment!r}, not positive, negative or neutral")
    one = card.task == "basic" or (one_label and len(found.labels) == 1)
    known = {
        "labels": found.labels,
        "basic": found.labels[0] if one and found.labels else None,
        "sentiment": sentiment,
        "valence": scaled(card.valence, values) if card.valence else None,
        "vad": [scaled(scale, values) for scale in card.vad] if card.vad else None,
        "raters": found.raters if by_raters or not (card.labels and card.labels.votes) else None,
    }
    return msgspec.convert(known, Target)
