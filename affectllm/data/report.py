"""What is in data folders, and what is wrong with them together: one report before any training.

The report counts rows, splits, labels with their long tail, languages and groups. It finds ids, texts, near-texts and
clips that are in a training and in a held-out split, rows that repeat each other, clips that are missing or broken,
sizes that differ from the published ones, and labels that a model's scores contradict. Clips are compared by
content, since data sets reuse file names between splits.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from affectllm.data import folder as folders
from affectllm.data.checks import labels, leaks, scripts
from affectllm.data.reading import read_folder
from affectllm.data.tables import read_json
from affectllm.records import Conversation

SHOWN = 5
AT_SOURCE = "-at-source"
"""End of the names of defects that users of a data set have reported."""


def check(
    folders: Sequence[Path],
    media: Path | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    notes: Path | None = None,
    verify: bool = False,
) -> dict[str, Any]:
    """The report: `folders` (what each holds), then, for all rows, `labels`, `groups`, `texts`, `media`, `problems`."""
    rows = {str(folder): read_folder(folder) for folder in folders}
    every = [row for found in rows.values() for row in found]
    near = leaks.near_duplicates(every)
    same = list(leaks.repeats(every))
    problems = {
        "published-size-differs": [line for folder in folders for line in size_differences(folder)],
        "id-used-twice": used_twice(row.id for row in every),
        "name-in-train-and-test": [
            pair
            for pair in leaks.shared_between_splits((leaks.name_key(row.id), row) for row in every)
            if len(set(pair.split(" = "))) > 1
        ],
        "text-in-train-and-test": leaks.shared_between_splits((leaks.text_key(row.subtitle), row) for row in every),
        "near-text-in-train-and-test": [
            f"{pair.first.id} ~ {pair.second.id} ({pair.similarity:.2f})" for pair in near if crosses(pair)
        ],
    }
    report: dict[str, Any] = {
        "folders": {name: describe(found) for name, found in rows.items()},
        "labels": labels.describe(every),
        "labels_by_split": labels.by_split(every),
        "groups": labels.groups(every),
        "texts": {
            "repeated": len(same), "repeats": [" = ".join(ids) for ids in same[:SHOWN]],
            "near": len(near), "nearest": [f"{a.id} ~ {b.id} ({s:.2f})" for a, b, s in near[:SHOWN]],
        },
    }  # fmt: skip
    if media:
        from affectllm.data.checks import media as clips

        paths = list(dict.fromkeys(path for row in every for path in clips.named(row)))
        known = [folder / clips.NOTES for folder in folders]
        found = clips.scan(paths, media, notes or known[0], verify, also=known)
        report["media"] = clips.describe(found)
        problems |= clips.problems(every, found)
    if scores is not None:
        doubtful = labels.doubts(every, scores)
        report["doubts"] = {
            "rows": len(doubtful),
            "pairs": count(f"{doubt.given} -> {doubt.suggested}" for doubt in doubtful),
            "ranked": [doubt._asdict() for doubt in doubtful],
        }
    return report | {"problems": {kind: places for kind, places in problems.items() if places}}


def crosses(pair: leaks.Near) -> bool:
    return "train" in (pair.first.split, pair.second.split) and pair.first.split != pair.second.split


def describe(rows: Sequence[Conversation]) -> dict[str, Any]:
    """Counts of one folder, and the clips that its data set is known to have broken."""
    defects = [(defect, row.id) for row in rows for defect in row.meta.defects]
    return {
        "rows": len(rows),
        "splits": count(row.split for row in rows),
        "tasks": count(row.task for row in rows),
        "languages": count(row.language or "unknown" for row in rows),
        "scripts": count(script_line(row) for row in rows if row.subtitle),
        "other_script": [row.id for row in rows if scripts.is_foreign(row.subtitle, row.language)],
        "without_answer": sum(row.messages[-1].role != "assistant" for row in rows),
        "without_subtitle": sum(not row.subtitle for row in rows),
        "defects": count(defect for defect, _ in defects),
        "known_at_source": [f"{name}: {defect}" for defect, name in defects if defect.endswith(AT_SOURCE)],
    }


def script_line(row: Conversation) -> str:
    """A declared language and the script seen, e.g. 'en: latin'."""
    return f"{row.language or 'unknown'}: {scripts.script_of(row.subtitle or '').lower()}"


def count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def size_differences(folder: Path) -> Iterator[str]:
    """Where a whole table, or a split of it, has another number of rows than its authors published."""
    path = folder / "manifest.json"
    if path.is_file():
        for part, there, published in folders.size_differences(read_json(path)):
            yield f"{folder}{f', {part}' if part else ''}: {there} rows, published {published}"


def used_twice(names: Iterable[str]) -> list[str]:
    return [name for name, n in Counter(names).items() if n > 1]


def as_text(report: dict[str, Any]) -> Iterator[str]:
    """The report for a terminal."""
    for name, found in report["folders"].items():
        yield f"{name}: {found['rows']} rows"
        for key in ("splits", "tasks", "languages", "scripts", "defects"):
            yield f"  {key:<10}" + (", ".join(f"{item} {n}" for item, n in found[key].items()) or "none")
        yield f"  without answer {found['without_answer']}, without subtitle {found['without_subtitle']}"
        if found["other_script"]:
            foreign = found["other_script"]
            yield f"  not written in the script of their language: {len(foreign)} ({listed(foreign)})"
        if found["known_at_source"]:
            yield f"  known to be bad at the source: {listed(found['known_at_source'])}"
    words = report["labels"]
    yield (
        f"labels: {words['distinct']} distinct, {words['per_row']} a row, {words['once']} occur once; "
        f"the {words['tail']['labels']} rarest are {words['tail']['share']:.1%} of all"
    )
    yield f"  most frequent  {', '.join(f'{word} {n}' for word, n in words['most_frequent'].items())}"
    yield f"  unmapped {words['unmapped_share']:.1%}  {', '.join(words['unmapped'])}"
    for split, found in report["labels_by_split"].items():
        new = "" if found["new"] is None else f", not in train {found['new']:.1%}"
        counts = f"{found['rows']} rows, {found['empty_sets']} without labels; in the tail {found['tail_share']:.1%}"
        yield f"  {split:<10} {counts}{new}"
    for kind, found in report["groups"].items():
        largest = found["largest"]
        unlike = ", ".join(f"{name} {bits}" for name, bits in found["most_unlike"].items()) or "-"
        yield f"{kind}: {found['groups']}, largest {largest['name']} {largest['share']:.1%}, most unlike {unlike}"
    texts = report["texts"]
    yield f"texts: {texts['repeated']} repeated rows, {texts['near']} near-duplicates ({listed(texts['nearest'])})"
    if "media" in report:
        clips = report["media"]
        yield f"clips: {clips['clips']}, {clips['hours']} hours; without sound {clips['without_audio']}"
        yield "  seconds    " + ", ".join(f"{span} {n}" for span, n in clips["durations_s"].items() if n)
    if "doubts" in report:
        ranked = [f"{it['id']}: {it['given']}, rather {it['suggested']}" for it in report["doubts"]["ranked"]]
        yield f"doubtful labels: {len(ranked)} ({listed(ranked)})"
    for kind, places in report["problems"].items():
        yield f"PROBLEM {kind}: {len(places)} ({listed(places)})"
    if not report["problems"]:
        yield "no problem found"


def listed(places: Sequence[str]) -> str:
    return "; ".join(islice(places, SHOWN)) + (" ..." if len(places) > SHOWN else "")
