"""What all builders of data sets share: options, rows, clips by their names, and rows that are left out.

build         writes the folder of a run and says what became of its rows
usable        what a function makes from each row of the shard; a row that it cannot use is rejected with the reason
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from affectllm.data import folder
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row
from affectllm.errors import AffectError
from affectllm.records import Clip, Conversation, Rejected, problem_of

T = TypeVar("T")
Built = Iterator[Conversation | Rejected]
"""What a builder makes from rows."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """Options that every builder of an existing data set shares."""

    source: Path
    """The data set's file, or the folder that holds it."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    media: Path | None = None
    """Root of the clips. With it, a row is rejected when its clip is missing or cannot be read."""
    probe: bool = True
    """Open every clip under --media. --no-probe only looks whether the file is there, which is faster."""
    seed: int = 7
    """Seed that draws each row's wording of the question. The same seed gives the same file, byte for byte."""
    shard: str = "1/1"
    """Part i of n of the rows, as i/n. Use it to spread a large data set over machines."""


def build(
    options: Build,
    rows: Iterable[Conversation | Rejected],
    *,
    sources: Sequence[Path],
    licence: str,
    defects: Mapping[str, Sequence[str]] | None = None,
    rows_in: int | None = None,
    notes: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> None:
    """Write the run's folder (see `folder.write`) and print how many rows were used, rejected and odd.

    `notes` go into the manifest. Two of them are compared: `table_rows`, the number of rows that were read, and
    `published_rows`, the number that the authors name (None where they name none).
    """
    out = out or options.out
    manifest = folder.write(
        out,
        rows,
        sources=sources,
        options=asdict(options),
        licence=licence,
        defects=defects,
        rows_in=rows_in,
        notes=notes,
    )
    print("\n".join(folder.summary(manifest, out)))
    for part, there, published in folder.size_differences(notes or {}):
        print(f"  note: {there} rows{f' of {part!r}' if part else ''} were read, {published} are published")


def usable(
    rows: Iterable[tuple[str, Row]],
    shard: str,
    source: Path,
    make: Callable[[str, Row], Iterable[Conversation | Rejected]],
) -> Built:
    """What `make(name, row)` gives for each named row of the shard; a row that it cannot use is rejected."""
    for name, row in rows:
        if in_shard(row.number, shard):
            yield from or_rejected(make(name, row), name, row, source)


def or_rejected(found: Iterable[Conversation | Rejected], name: str, row: Row, source: Path) -> Built:
    """What a generator makes from a row.

    It raises AffectError with the reason for a row that it cannot use, or msgspec's error for one of another form; the
    row is then rejected under its name.
    """
    try:
        yield from found
    except msgspec.ValidationError as error:
        yield reject(row, source, name, problem_of(error))
    except AffectError as problem:
        yield reject(row, source, name, str(problem))


def count_in_shard(rows: Iterable[Row], shard: str) -> int:
    """The number of rows of the shard."""
    return sum(in_shard(row.number, shard) for row in rows)


class NoObject(dict[str, Any]):
    """An item of a JSON list that is not an object, under the key `value`."""


def rows_of(items: Iterable[Any]) -> Iterator[Row]:
    """The items of a JSON list as numbered rows."""
    for number, item in enumerate(items, 1):
        yield Row(number, item if isinstance(item, dict) else NoObject(value=item))


def item_of(row: Row, kind: type[T]) -> T:
    """The row as a msgspec struct; a row of another form is msgspec's error, which rejects it."""
    return msgspec.convert(row.values["value"] if isinstance(row.values, NoObject) else row.values, kind)


def split_by_name(path: Path, splits: Mapping[str, str], pattern: str) -> str:
    """The split whose name, put into the {} of the pattern, fits the file's name: `*_{}` fits friends_train.json.

    >>> split_by_name(Path("friends_dev.json"), {"train": "train", "dev": "val"}, "*_{}")
    'val'
    """
    for name, split in splits.items():
        if fnmatchcase(path.stem, pattern.format(name)):
            return split
    *others, last = splits
    raise AffectError(f"Cannot tell the split of {path.name}. Give it with --split {', '.join(others)} or {last}.")


def reject(row: Row, source: Path, name: str, reason: str) -> Rejected:
    """A row that is left out, with the reason."""
    return Rejected(id=name or f"row {row.number}", row=row.number, reason=reason, source=source.name, data=row.values)


def row_hash(values: Mapping[str, Any]) -> str:
    """Checksum of a source row, so that a change of the source shows."""
    text, pick = form_of(tuple(values))
    return hashlib.sha256((text % pick(values)).encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def form_of(names: tuple[str, ...]) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """How `repr(sorted(values.items()))` writes a row of these columns, sorted once, and what it fills in."""
    order = sorted(names)
    pairs = ", ".join(f"({name!r}, ".replace("%", "%%") + "%r)" for name in order)
    # With a single column, itemgetter gives no tuple.
    pick = itemgetter(*order) if len(order) > 1 else lambda values: tuple(values[name] for name in order)
    return f"[{pairs}]", pick


def find_clip(media: Path | None, name: str, kinds: Sequence[str] = (".mp4", ".avi", ".mkv", ".wav")) -> Clip | None:
    """The clip called `name` under the media root, by the first suffix there; None when it is missing.

    Without a media root the most usual suffix is assumed and nothing is checked.
    """
    if media is None:
        return clip_at(name + kinds[0])
    for kind in kinds:
        if (media / (name + kind)).is_file():
            return clip_at(name + kind)
    return None


def need_clip(
    media: Path | None, name: str, kinds: Sequence[str] = (".mp4", ".avi", ".mkv", ".wav"), shown: str | None = None
) -> Clip:
    """As `find_clip`; a missing clip is an AffectError, which rejects the row. `shown` is its name in the reason."""
    clip = find_clip(media, name, kinds)
    if clip is None:
        which = f" {name if shown is None else shown}" if shown != "" else ""
        raise AffectError(f"no clip{which} under {media}")
    return clip


def need_file(media: Path | None, path: str, what: str = "clip ") -> str:
    """The path of a file under the media root; a missing one is an AffectError, which rejects the row."""
    if media is not None and not (media / path).is_file():
        raise AffectError(f"no {what}{path} under {media}")
    return path


def clip_at(path: str) -> Clip:
    """The clip in a file, whose suffix decides between audio and video."""
    return Clip(audio=path) if path.endswith((".wav", ".flac", ".mp3")) else Clip(video=path)
