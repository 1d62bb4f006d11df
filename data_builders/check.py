"""What is in data folders, and what is wrong with them together: one report before any training.

    affectllm data check DIR... [--media ROOT] [--json]

Counts rows, splits, labels and words that our vocabulary does not map; finds ids used twice, texts and clips that
stand in a training and in a test split, clips that are missing, and sizes that differ from the published ones. The
media are compared by content, since data sets reuse file names between splits.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from affectllm import building, jsonl, options
from affectllm.data_builders import exchange
from affectllm.errors import AffectError
from affectllm.progress import progress
from affectllm.records import Conversation
from affectllm.vocabulary import lexicon

# Shorter utterances ("Yeah, sure.") recur in any two splits without being the same one.
FEWEST_WORDS, FEWEST_CHINESE = 6, 8
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `affectllm build` wrote."""
    media: Path | None = None
    """Root of the clips: missing ones are listed, and the same content in train and test is found."""
    json: bool = False
    """Print the report as JSON."""


def run(words: list[str]) -> int:
    """`affectllm data check ...`; exit code 0 when nothing is wrong, 1 when something is."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__, exchange.__doc__, sep="\n")
        return 0
    if words[0] in ("export", "import"):
        return exchange.run(words)
    if words[0] != "check":
        raise AffectError(f"No command 'data {words[0]}'. See: affectllm data --help")
    asked = options.parse(Check, words[1:])
    if not asked.folders:
        raise AffectError("Name at least one folder that affectllm build wrote: affectllm data check DIR...")
    report = check(asked.folders, asked.media)
    print(json.dumps(report, ensure_ascii=False, indent=2) if asked.json else "\n".join(as_text(report)))
    return 1 if report["problems"] else 0


def check(folders: Sequence[Path], media: Path | None = None) -> dict[str, Any]:
    """The report: `folders` (what each holds), `labels` (of all), `problems` (kind -> places)."""
    rows = {str(folder): list(jsonl.read(folder / "conversations.jsonl", Conversation)) for folder in folders}
    every = [row for found in rows.values() for row in found]
    problems = {
        "published-size-differs": [line for folder in folders for line in size_differences(folder)],
        "id-used-twice": repeated(row.id for row in every),
        "text-in-train-and-test": shared_between_splits((text_key(row.subtitle), row) for row in every),
        **(media_problems(every, media) if media else {}),
    }
    return {
        "folders": {name: describe(found) for name, found in rows.items()},
        "labels": describe_labels(every),
        "problems": {kind: places for kind, places in problems.items() if places},
    }


def describe(rows: Sequence[Conversation]) -> dict[str, Any]:
    """Counts of one folder."""
    return {
        "rows": len(rows),
        "splits": count(row.split for row in rows),
        "tasks": count(row.task for row in rows),
        "languages": count(row.language or "unknown" for row in rows),
        "without_answer": sum(row.messages[-1].role != "assistant" for row in rows),
        "without_subtitle": sum(not row.subtitle for row in rows),
        "defects": count(defect for row in rows for defect in row.meta.defects),
    }


def describe_labels(rows: Sequence[Conversation]) -> dict[str, Any]:
    """How often each label occurs, the long tail, and what our vocabulary does not map."""
    found = Counter(label for row in rows for label in row.target.labels)
    unmapped = Counter({label: n for label, n in found.items() if lexicon.resolve(label) is None})
    return {
        "distinct": len(found),
        "per_row": round(found.total() / len(rows), 2) if rows else 0.0,
        "empty_sets": sum(not row.target.labels for row in rows),
        "once": sum(n == 1 for n in found.values()),
        "most_frequent": dict(found.most_common(20)),
        "unmapped_share": round(unmapped.total() / found.total(), 4) if found else 0.0,
        "unmapped": dict(unmapped.most_common(20)),
    }


def count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def size_differences(folder: Path) -> Iterator[str]:
    """Where a whole table has another number of rows than its authors published."""
    path = folder / "manifest.json"
    if not path.is_file():
        return
    manifest = json.loads(path.read_text(encoding="utf-8"))
    published, there = manifest.get("published_rows"), manifest.get("table_rows")
    if isinstance(published, int) and there is not None and published != there:
        yield f"{folder}: {there} rows, published {published}"


def repeated(names: Iterable[str]) -> list[str]:
    return [name for name, n in Counter(names).items() if n > 1]


def text_key(text: str | None) -> str:
    """A text without case, marks and spaces; empty when it is too short to be told apart.

    >>> text_key("I did NOT expect -- to see you!")
    'ididnotexpecttoseeyou'
    """
    words = re.findall(r"\w+", (text or "").casefold())
    key = "".join(words)
    long_enough = len(words) >= FEWEST_WORDS or len(re.findall(r"[\u4e00-\u9fff]", key)) >= FEWEST_CHINESE
    return key if long_enough else ""


def shared_between_splits(keyed: Iterable[tuple[str, Conversation]]) -> list[str]:
    """`train id = test id` for every key that a training and another split have in common."""
    places: dict[str, list[Conversation]] = defaultdict(list)
    for key, row in keyed:
        if key:
            places[key].append(row)
    return [
        f"{trained.id} = {held_out.id}"
        for rows in places.values()
        for trained in rows
        for held_out in rows
        if trained.split == "train" and held_out.split != "train"
    ]


def media_problems(rows: Sequence[Conversation], media: Path) -> dict[str, list[str]]:
    """Clips that are not there, and clips whose bytes stand in train and in another split."""
    paths = {row.id: [path for path in named(row) if path] for row in rows}
    missing = [f"{row.id}: {path}" for row in rows for path in paths[row.id] if not (media / path).is_file()]
    there = [(media / path, row) for row in rows for path in paths[row.id] if (media / path).is_file()]
    files = sorted({path for path, _ in there})
    hashes = {path: building.file_hash(path) for path in progress(files, "comparing clips", len(files))}
    return {
        "clip-missing": missing,
        "clip-in-train-and-test": shared_between_splits((hashes[path], row) for path, row in there),
    }


def named(row: Conversation) -> list[str | None]:
    return [row.media.video, row.media.audio, row.media.image]


def as_text(report: dict[str, Any]) -> Iterator[str]:
    """The report for a terminal."""
    for name, found in report["folders"].items():
        yield f"{name}: {found['rows']} rows"
        for key in ("splits", "tasks", "languages", "defects"):
            yield f"  {key:<10}" + (", ".join(f"{item} {n}" for item, n in found[key].items()) or "none")
        yield f"  without answer {found['without_answer']}, without subtitle {found['without_subtitle']}"
    labels = report["labels"]
    yield f"labels: {labels['distinct']} distinct, {labels['per_row']} a row, {labels['once']} occur once"
    yield f"  most frequent  {', '.join(f'{word} {n}' for word, n in labels['most_frequent'].items())}"
    yield f"  unmapped {labels['unmapped_share']:.1%}  {', '.join(labels['unmapped'])}"
    for kind, places in report["problems"].items():
        shown = "; ".join(places[:SHOWN]) + (" ..." if len(places) > SHOWN else "")
        yield f"PROBLEM {kind}: {len(places)} ({shown})"
    if not report["problems"]:
        yield "no problem found"
