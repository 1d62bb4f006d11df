"""The clips of data folders: which are missing, broken or duplicated, and how long they are.

Clips are probed in parallel processes, and what was found is appended to a file: a check that was killed continues
where it stopped, and a clip that could be read is not opened twice unless it changes.
"""

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from affectllm import jsonl
from affectllm.data.checks.leaks import shared_between_splits
from affectllm.errors import AffectError
from affectllm.files import file_hash
from affectllm.media import Guard, probe
from affectllm.progress import progress
from affectllm.records import Conversation, Record

NOTES = "media_probe.jsonl"
# Decoding the whole of a long clip takes longer than reading its packets.
TIMEOUT_S = 60.0
BUCKETS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Probed(Record):
    """What is known about one clip file, and for which version of the file."""

    id: str
    """Path under the media root."""
    bytes: int
    changed_ns: int
    sha256: str
    duration_s: float | None = None
    video: bool = False
    audio: bool = False
    defects: list[str] = []
    error: str | None = None
    verified: bool = False
    """Whether every frame was decoded."""


def named(row: Conversation) -> list[str]:
    """The files of a row's clip."""
    return [path for path in (row.media.video, row.media.audio, row.media.image) if path]


def scan(
    paths: Sequence[str], root: Path, notes: Path, verify: bool = False, also: Sequence[Path] = ()
) -> dict[str, Probed]:
    """What probing each existing file under the root finds, kept in `notes`. `verify` also decodes every frame.

    `also` are the notes of other folders, which are read too. Clips that could not be read are tried again: a time-out
    may have been the machine's.
    """
    stats = {path: (root / path).stat() for path in paths if (root / path).is_file()}
    known = {}
    for path in filter(Path.is_file, dict.fromkeys((notes, *also))):
        jsonl.cut_half_line(path)
        for found in jsonl.read(path, Probed):
            stat = stats.get(found.id)
            unchanged = stat and (stat.st_size, stat.st_mtime_ns) == (found.bytes, found.changed_ns)
            if unchanged and found.error is None and found.verified >= verify:
                known[found.id] = found
    wanted = [path for path in stats if path not in known]
    if wanted:
        jsonl.make_folder(notes.parent)
        with notes.open("a", encoding="utf-8") as file:
            for found in progress(probe_all(root, wanted, verify), "probing clips", len(wanted)):
                file.write(jsonl.dumps(found) + "\n")
                file.flush()
                known[found.id] = found
    return known


def probe_all(root: Path, paths: Sequence[str], verify: bool) -> Iterator[Probed]:
    """The clips in their order, probed by one process per processor.

    Threads only wait: every file is opened in a guard's process, which ends by itself when this one is killed.
    """
    count = os.cpu_count() or 1
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        guards: SimpleQueue[Guard] = SimpleQueue()
        for _ in range(min(count, len(paths))):
            guards.put(stack.enter_context(Guard(timeout_s=TIMEOUT_S)))
        # A few at a time, so that a large data set is not held in memory as a queue.
        rest = iter(paths)
        running = deque(pool.submit(probe_one, guards, root, path, verify) for path in islice(rest, 4 * count))
        try:
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(probe_one, guards, root, path, verify) for path in islice(rest, 1))
        finally:
            for future in running:
                future.cancel()


def probe_one(guards: "SimpleQueue[Guard]", root: Path, path: str, verify: bool) -> Probed:
    """One clip. A clip that cannot be read is a finding, not an error."""
    guard = guards.get()
    try:
        stat = (root / path).stat()
        state: dict[str, Any] = {"id": path, "bytes": stat.st_size, "changed_ns": stat.st_mtime_ns, "verified": verify}
        state["sha256"] = file_hash(root / path)
        try:
            found = guard(probe, root / path, verify=verify)
        except AffectError as error:
            return Probed(**state, error=str(error))
    finally:
        guards.put(guard)
    return Probed(
        **state,
        duration_s=found.duration_s,
        video=found.video is not None,
        audio=found.audio is not None,
        defects=found.defects,
    )


def error_of(path: str, root: Path, found: dict[str, Probed]) -> str | None:
    """Why a clip cannot be used, or None."""
    return found[path].error if path in found else f"no clip {path} under {root}"


def describe(found: dict[str, Probed]) -> dict[str, Any]:
    """Durations in seconds, tracks and defects of the clips that could be read."""
    readable = [clip for clip in found.values() if clip.error is None]
    durations = [clip.duration_s for clip in readable if clip.duration_s]
    ends = [*(f"{end:g}" for end in BUCKETS_S[1:]), "more"]
    counts = Counter(sum(seconds >= start for start in BUCKETS_S) - 1 for seconds in durations)
    return {
        "clips": len(found),
        "hours": round(sum(durations) / 3600, 2),
        "durations_s": {
            f"{start:g}-{end}": counts[i] for i, (start, end) in enumerate(zip(BUCKETS_S, ends, strict=True))
        },
        "without_video": sum(not clip.video for clip in readable),
        "without_audio": sum(not clip.audio for clip in readable),
        "defects": dict(Counter(defect for clip in readable for defect in clip.defects).most_common()),
    }


def problems(rows: Sequence[Conversation], found: dict[str, Probed]) -> dict[str, list[str]]:
    """Clips that are not there or cannot be read, tracks a question needs, and content in train and test alike."""
    missing, unreadable, silent = [], [], []
    keyed = []
    for row in rows:
        asked = {part.type for message in row.messages if isinstance(message.content, list) for part in message.content}
        for path in named(row):
            clip = found.get(path)
            if clip is None:
                missing.append(f"{row.id}: {path}")
                continue
            keyed.append((clip.sha256, row))
            if clip.error:
                unreadable.append(f"{row.id}: {clip.error}")
            elif "audio" in asked and not clip.audio and path == (row.media.audio or row.media.video):
                silent.append(f"{row.id}: {path}")
    return {
        "clip-missing": missing,
        "clip-unreadable": unreadable,
        "clip-without-sound": silent,
        "clip-in-train-and-test": shared_between_splits(keyed),
    }
