"""What every data builder shares: reading tables strictly, and writing a data folder that is whole or untouched.

DIR/conversations.jsonl   what training and evaluation read
DIR/rejected.jsonl        rows that could not be used, with the reason
DIR/manifest.json         counts, defects, sources and options: what made the other two
DIR/media_probe.jsonl     with --media: what was found of each clip, so that no build or check opens it again
"""

import csv
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from affectllm import __version__, jsonl
from affectllm.errors import AffectError
from affectllm.records import Clip, Conversation, Record, Rejected, problem_of

LEAKED = re.compile(r"^\s*(?:Input|Output|输入|输出)\s*[:：]\s*")


@dataclass(frozen=True, kw_only=True)
class Build:
    """Options that every builder of an existing data set shares."""

    source: Path
    """The data set's file, or the folder that holds it."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    media: Path | None = None
    """Root of the clips; given, rows whose clip is not there or cannot be read are rejected."""
    probe: bool = True
    """Open every clip under --media; without it, only ask whether it is there."""
    seed: int = 7
    """Draws each row's wording of the question; the same seed gives the same file, byte for byte."""
    shard: str = "1/1"
    """Part i of n of the rows, as i/n, to spread a large data set over machines."""


class Row(NamedTuple):
    """One row of a table with its 1-based number, the header being row 0; or one item of a JSON file."""

    number: int
    values: dict[str, Any]


class Manifest(NamedTuple):
    rows_in: int
    rows_out: int
    rejected: int
    defects: dict[str, list[str]]


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",", header: Sequence[str] = ()) -> list[Row]:
    """The rows of a csv file as text, 'NA' and 'None' included as the words they are.

    `header` names the columns of a file without a header line. Raises AffectError for a missing file or column, a row
    of another length, and bytes that are not UTF-8 (a byte-order mark is fine).
    """
    return list(stream_table(path, columns, delimiter, header))


def stream_table(
    path: Path, columns: Sequence[str], delimiter: str = ",", header: Sequence[str] = (), quoted: bool = True
) -> Iterator[Row]:
    """`read_table` a row at a time, for tables that need not fit in memory.

    Without `quoted` a quotation mark is a sign like any other, as in most tab-separated files.
    """
    rows = csv.reader(read_lines(path), delimiter=delimiter, strict=True, quoting=0 if quoted else csv.QUOTE_NONE)
    number = 0
    try:
        seen = list(header) or next(rows, [])
        if missing := [column for column in columns if column not in seen]:
            raise AffectError(f"{path} has no column '{missing[0]}'. Columns there: {', '.join(seen) or 'none'}.")
        for number, fields in enumerate(filter(None, rows), 1):
            if len(fields) != len(seen):
                raise AffectError(f"{path}: row {number} has {len(fields)} fields, the header has {len(seen)}.")
            yield Row(number, dict(zip(seen, fields, strict=True)))
    except csv.Error as error:
        raise AffectError(f"{path}: row {number + 1} is not csv ({error}).") from error


def columns_of(path: Path, delimiter: str = ",") -> list[str]:
    """The header of a csv file."""
    return next(csv.reader(read_lines(path), delimiter=delimiter), [])


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, as strict UTF-8; a wrong byte is named by its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield from file
    except OSError as error:
        raise AffectError(f"Cannot read {path}: {error.strerror}. Give the data set's file with --source.") from error
    except UnicodeDecodeError as error:
        number, byte = wrong_byte(path)
        raise AffectError(
            f"{path}: line {number} holds byte 0x{byte:02x}, which is not UTF-8. "
            f"If the file is Windows text, convert it: iconv -f cp1252 -t utf-8"
        ) from error


def wrong_byte(path: Path) -> tuple[int, int]:
    """Line and value of the first byte that is not UTF-8."""
    whole = path.read_bytes()
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError as error:
        return whole.count(b"\n", 0, error.start) + 1, whole[error.start]
    raise AffectError(f"{path} changed while it was read. Build again.")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises AffectError, with line and column, for text that is not JSON, and for an object that names a key twice, of
    which Python would keep the last one without a word.
    """

    def keep_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise AffectError(f"{path} holds '{twice}' twice in one object. Keep one of them and build again.")
        return found

    try:
        return json.loads("".join(read_lines(path)), object_pairs_hook=keep_each)
    except json.JSONDecodeError as error:
        raise AffectError(
            f"{path}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}). Fetch the file again; some "
            f"copies were edited by hand."
        ) from error


def find_source(source: Path, names: Sequence[str]) -> Path:
    """The data set's file: `source` itself, or the one of `names` that the folder holds."""
    if source.is_dir():
        found = [source / name for name in names if (source / name).is_file()]
        if not found:
            raise AffectError(f"{source} holds none of {', '.join(names)}. Give the file itself with --source.")
        return found[0]
    return source


def write(
    out: Path,
    rows: Iterable[Conversation | Rejected],
    *,
    sources: Sequence[Path],
    options: Mapping[str, Any],
    licence: str,
    defects: Mapping[str, Sequence[str]] | None = None,
    rows_in: int | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a data folder in one go: a kill before the end leaves the earlier one untouched.

    `defects` are findings about the data set as a whole (kind -> ids) beside those named in each row's meta.
    `rows_in` is the number of source rows where one row gives several conversations; notes go into the manifest.
    Where the options name the root of the clips (and `probe`), rows whose clip cannot be read are rejected; so are
    conversations that could not be read again.
    """
    rows = sound(rows, sources[0].name if sources else out.name)
    if options.get("probe") and options.get("media"):
        rows = readable(rows, out, Path(options["media"]))
    found: dict[str, list[str]] = defaultdict(list)
    for kind, ids in (defects or {}).items():
        if ids:
            found[kind].extend(ids)
    seen: set[str] = set()
    kept, lost = Spool(out / "conversations.jsonl"), Spool(out / "rejected.jsonl")
    with kept, lost:
        for row in rows:
            if isinstance(row, Rejected):
                lost.add(row)
                continue
            if row.id in seen:
                raise AffectError(f"Two conversations would have the id '{row.id}': {out} was left as it was.")
            seen.add(row.id)
            kept.add(row)
            for defect in row.meta.defects:
                found[defect].append(row.id)
    manifest = Manifest(
        rows_in if rows_in is not None else kept.lines + lost.lines, kept.lines, lost.lines, dict(found)
    )
    kept.publish()
    lost.publish()
    details = {
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in options.items()},
        "sources": {source.name: file_hash(source) for source in sources},
        "conversations_sha256": file_hash(out / "conversations.jsonl"),
        "licence": licence,
        "affectllm": __version__,
        **(notes or {}),
    }
    jsonl.write_json(out / "manifest.json", {**manifest._asdict(), **details})
    return manifest


def sound(rows: Iterable[Conversation | Rejected], source: str) -> Iterator[Conversation | Rejected]:
    """The rows again, those as Rejected that could not be read from the file that they go to."""
    reader = msgspec.json.Decoder(Conversation)
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            reader.decode(msgspec.json.encode(row))
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            yield Rejected(id=str(row.id), reason=problem_of(error), source=source, data=msgspec.structs.asdict(row))
        else:
            yield row


def readable(rows: Iterable[Conversation | Rejected], out: Path, root: Path) -> Iterator[Conversation | Rejected]:
    """The rows again, in order, those with a clip that cannot be read as Rejected.

    They wait in a file until all clips are probed; a build that is killed meanwhile does not open a clip twice.
    """
    from affectllm.checks import media

    with Spool(out / "unprobed.jsonl") as waiting:
        paths: dict[str, None] = {}
        for row in rows:
            waiting.add(row)
            if isinstance(row, Conversation):
                paths |= dict.fromkeys(media.named(row))
    try:
        found = media.scan(list(paths), root, out / media.NOTES)
        for values in jsonl.read_dicts(waiting.partial):
            if "reason" in values:
                yield msgspec.convert(values, Rejected)
                continue
            row = msgspec.convert(values, Conversation)
            errors = [media.error_of(path, root, found) for path in media.named(row)]
            reason = next(filter(None, errors), None)
            clip = msgspec.structs.asdict(row.media)
            yield Rejected(id=row.id, reason=reason, source=root.name, data=clip) if reason else row
    finally:
        waiting.partial.unlink(missing_ok=True)


class Spool:
    """A JSON-lines file written beside its place in constant memory, and renamed when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.lines = 0

    def __enter__(self) -> "Spool":
        jsonl.make_folder(self.path.parent)
        try:
            self._file = self.partial.open("wb")
        except OSError as error:
            raise AffectError(f"Cannot write in {self.path.parent}: {error.strerror}. Choose another --out.") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is not None:
            self.partial.unlink(missing_ok=True)

    def add(self, row: Record | dict[str, Any]) -> None:
        try:
            line = msgspec.json.encode(row)
        except UnicodeEncodeError:
            # Halves of characters, which rejected rows may hold, can only be written as escapes.
            line = json.dumps(msgspec.to_builtins(row)).encode()
        self._file.write(line + b"\n")
        self.lines += 1

    def publish(self) -> None:
        self.partial.replace(self.path)


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row_hash(values: Mapping[str, Any]) -> str:
    """Names the content of a source row."""
    text, pick = form_of(tuple(values))
    return hashlib.sha256((text % pick(values)).encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def form_of(names: tuple[str, ...]) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """How `repr(sorted(values.items()))` writes a row of these columns, sorted once, and what it fills in."""
    order = sorted(names)
    pairs = ", ".join(f"({name!r}, ".replace("%", "%%") + "%r)" for name in order)
    # Of one column alone, itemgetter gives no tuple.
    pick = itemgetter(*order) if len(order) > 1 else lambda values: tuple(values[name] for name in order)
    return f"[{pairs}]", pick


def reject(row: Row, source: Path, name: str, reason: str) -> Rejected:
    """A row that is left out, with the reason."""
    return Rejected(id=name or f"row {row.number}", row=row.number, reason=reason, source=source.name, data=row.values)


def without_leaked_prompt(text: str) -> tuple[str, list[str]]:
    """A description without the prompt's 'Input:' that some of EMER's cells begin with, and the defect if it did."""
    kept = LEAKED.sub("", text)
    return kept.strip(), ["leaked-prompt-prefix"] if kept != text else []


def in_shard(number: int, shard: str) -> bool:
    part, parts = read_shard(shard)
    return (number - 1) % parts == part - 1


@cache
def read_shard(shard: str) -> tuple[int, int]:
    """Part and number of parts of `i/n`."""
    part, _, parts = shard.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise AffectError(f"--shard {shard!r} must be i/n with 1 <= i <= n, for example 1/4.")
    return int(part), int(parts)


def find_clip(media: Path | None, name: str, kinds: Sequence[str] = (".mp4", ".avi", ".mkv", ".wav")) -> Clip | None:
    """The clip called `name` under the media root, by the first suffix there; None when it is missing.

    Without a media root the most usual suffix is written down and nothing is checked.
    """
    if media is None:
        return clip_of(name + kinds[0])
    for kind in kinds:
        if (media / (name + kind)).is_file():
            return clip_of(name + kind)
    return None


def clip_of(path: str) -> Clip:
    return Clip(audio=path) if path.endswith((".wav", ".flac", ".mp3")) else Clip(video=path)


def summary(manifest: Manifest, out: Path) -> Iterator[str]:
    """What a builder says at the end."""
    yield f"{manifest.rows_in} rows in, {manifest.rows_out} conversations, {manifest.rejected} rejected -> {out}"
    for kind, ids in sorted(manifest.defects.items()):
        shown = ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
        yield f"  {kind}: {len(ids)} ({shown})"
