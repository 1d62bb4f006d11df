"""Writing a data folder: it is written as a whole, or left as it was.

DIR/conversations.jsonl   what training and evaluation read
DIR/rejected.jsonl        rows that could not be used, with the reason
DIR/manifest.json         counts, defects, sources and options: how the other two were made
DIR/media_probe.jsonl     with --media: what was found of each clip, so that no build or check opens it again
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from affectllm import __version__, jsonl
from affectllm.data.spool import Spool
from affectllm.errors import AffectError
from affectllm.files import file_hash
from affectllm.records import Conversation, Rejected, problem_of


class Manifest(NamedTuple):
    rows_in: int
    rows_out: int
    rejected: int
    defects: dict[str, list[str]]


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
    """Write a data folder in one step: a kill before the end leaves the earlier one untouched.

    `defects` are findings about the data set as a whole (kind -> ids), in addition to those in each row's meta.
    `rows_in` is the number of source rows, which must be given when one row becomes several conversations. `notes` go
    into the manifest. When the options name the root of the clips (and `probe`), rows whose clip cannot be read are
    rejected; so are conversations that do not fit their own schema.
    """
    rows = reject_misfits(rows, sources[0].name if sources else out.name)
    if options.get("probe") and options.get("media"):
        rows = reject_unreadable(rows, out, Path(options["media"]))
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
        "options": {key: plain(value) for key, value in options.items()},
        "sources": {source.name: file_hash(source) for source in sources},
        "conversations_sha256": file_hash(out / "conversations.jsonl"),
        "licence": licence,
        "affectllm": __version__,
        **(notes or {}),
    }
    jsonl.write_json(out / "manifest.json", {**manifest._asdict(), **details})
    return manifest


def plain(option: Any) -> Any:
    """An option as JSON holds it: paths are text."""
    if isinstance(option, tuple):
        return [plain(part) for part in option]
    return str(option) if isinstance(option, Path) else option


def reject_misfits(rows: Iterable[Conversation | Rejected], source: str) -> Iterator[Conversation | Rejected]:
    """The same rows, where each conversation that could not be read back from its file is rejected."""
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


def reject_unreadable(
    rows: Iterable[Conversation | Rejected], out: Path, root: Path
) -> Iterator[Conversation | Rejected]:
    """The same rows in the same order, where each row with a clip that cannot be read is rejected.

    The rows wait in a file until all clips are probed. A build that is killed meanwhile does not open a clip twice.
    """
    from affectllm.data.checks import media

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


class Difference(NamedTuple):
    """A table, or one split, whose number of rows differs from the published one."""

    part: str
    """The split or file. Empty for the whole table."""
    there: int
    published: str


def size_differences(notes: Mapping[str, Any]) -> Iterator[Difference]:
    """Where a manifest's `table_rows` differ from its `published_rows`."""
    published, there = notes.get("published_rows"), notes.get("table_rows")
    if isinstance(published, Mapping) and isinstance(there, Mapping):
        for part in there:
            if published.get(part) not in (None, there[part]):
                yield Difference(part, there[part], str(published[part]))
    elif isinstance(there, int) and published is not None:
        # Some data sets were published in several sizes, and the table is one of these.
        sizes = list(published.values()) if isinstance(published, Mapping) else [published]
        if there not in sizes:
            yield Difference("", there, " or ".join(map(str, sizes)))


def summary(manifest: Manifest, out: Path) -> Iterator[str]:
    """The lines that a builder prints at the end: counts, and defects with their first ids."""
    yield f"{manifest.rows_in} rows in, {manifest.rows_out} conversations, {manifest.rejected} rejected -> {out}"
    for kind, ids in sorted(manifest.defects.items()):
        shown = ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
        yield f"  {kind}: {len(ids)} ({shown})"
