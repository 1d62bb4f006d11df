"""Scored runs as a report reads them: results, per-clip scores, and comparisons between runs."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from affectllm import jsonl, vocabulary
from affectllm.errors import AffectError
from affectllm.records import Conversation, Score
from affectllm.scores.engine import uncertainty
from affectllm.scores.engine.uncertainty import Values
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.scores.families.wheels import wheel_columns, wheel_f1


class ScoredRun(NamedTuple):
    """One model's scored answers to one set of clips."""

    name: str
    folder: Path
    results: dict[str, Any]
    scores: dict[str, Score]
    texts: dict[str, str]
    """Raw answers by clip id; empty when the folder has no answers.jsonl."""


class Slice(NamedTuple):
    """Mean per-clip set F1 of a group of clips."""

    name: str
    n: int
    values: list[float | None]
    """One value for each run."""


def read_run(name: str, folder: Path) -> ScoredRun:
    """A folder that `affectllm eval score --out` wrote."""
    if not (folder / "results.json").is_file() or not (folder / "scores.jsonl").is_file():
        raise AffectError(
            f"{folder} holds no scored run (results.json, scores.jsonl). Make it: affectllm eval score --out {folder}"
        )
    results = read_summary(folder / "results.json")
    scores = {score.id: score for score in jsonl.read(folder / "scores.jsonl", Score)}
    answers = folder / "answers.jsonl"
    texts = {row["id"]: row["text"] for row in jsonl.read_dicts(answers)} if answers.is_file() else {}
    return ScoredRun(name, folder, results, scores, texts)


def read_summary(path: Path) -> dict[str, Any]:
    """The results of a run that `affectllm eval score` summarised; AffectError if the file holds something else."""
    again = f"Score the run again: affectllm eval score ANSWERS --gold GOLD --out {path.parent}"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AffectError(f"{path} is not JSON ({error}). {again}") from error
    if not isinstance(results, dict) or not results:
        raise AffectError(f"{path} holds no summary of a run. {again}")
    if {"set_f1", "protocol", "skipped"} <= set(results):
        return results
    if "metric" in results:
        raise AffectError(f"{path} holds the metric {results['metric']}, not the summary of a run. {again}")
    if all(isinstance(line, dict) and "set_f1" in line for line in results.values()):
        raise AffectError(f"{path} holds a report of {', '.join(results)}, not the summary of a run. {again}")
    raise AffectError(f"{path} holds no summary of a run. {again}")


def headline(run: ScoredRun) -> dict[str, Any]:
    """What report.json says about each run."""
    clue = {key: (run.results.get(key) or {}).get("value") for key in ("clue_face", "clue_voice")}
    return {
        "set_f1": run.results["set_f1"],
        **clue,
        "parse_failures": run.results["parse_failures"],
        "labels_per_clip": run.results["labels_per_clip"],
        "precision": run.results["precision"]["value"],
        "recall": run.results["recall"]["value"],
    }


def shared_ids(first: ScoredRun, second: ScoredRun) -> list[str]:
    """Clips that count in both runs, in the first one's order."""
    return [
        id_
        for id_, score in first.scores.items()
        if score.skipped is None and id_ in second.scores and second.scores[id_].skipped is None
    ]


def difference(first: ScoredRun, second: ScoredRun) -> uncertainty.Difference:
    """Corpus set F1 of the second run minus that of the first, on the clips both answered, with a paired interval."""
    ids = shared_ids(first, second)
    if not ids:
        raise AffectError(f"{first.name} and {second.name} share no clip. Score both on the same gold file.")
    protocol, level = first.results["protocol"], first.results["level"]
    if (protocol, level) != (second.results["protocol"], second.results["level"]):
        raise AffectError(f"{first.name} and {second.name} were scored by different protocols. Score both by the same.")
    wheels = vocabulary.load(protocol)

    def columns(run: ScoredRun) -> Values:
        said, gold = [run.scores[i].said for i in ids], [run.scores[i].gold for i in ids]
        return wheel_columns(overlaps(said, gold, wheels, level))

    return uncertainty.compare(columns(second), columns(first), lambda sums: wheel_f1(sums, protocol))


def by_emotion(runs: Sequence[ScoredRun], most: int = 16) -> list[Slice]:
    """Recall of each gold label, the most frequent first: the share of its clips in which it was hit."""
    counts = Counter(label for score in runs[0].scores.values() for label in score.gold)
    rows = []
    for label, n in counts.most_common(most):
        values: list[float | None] = []
        for run in runs:
            found = [label not in score.misses for score in run.scores.values() if label in score.gold]
            values.append(sum(found) / len(found) if found else None)
        rows.append(Slice(label, n, values))
    return rows


def said_counts(runs: Sequence[ScoredRun], most: int = 16) -> list[tuple[str, int, list[int]]]:
    """How often each label is gold, and how often each run said it."""
    gold = Counter(label for score in runs[0].scores.values() for label in score.gold)
    said = [Counter(label for score in run.scores.values() for label in score.said) for run in runs]
    labels = [label for label, _ in (gold + sum(said, Counter())).most_common(most)]
    return [(label, gold[label], [counter[label] for counter in said]) for label in labels]


def slices(runs: Sequence[ScoredRun], gold: Sequence[Conversation], recipe: Path) -> list[Slice]:
    """Mean per-clip set F1 by number of gold labels and, where the clips' recipe is known, by what was drawn."""
    groups: dict[str, set[str]] = defaultdict(set)
    for clip in gold:
        groups["one gold label" if len(clip.target.labels) == 1 else "several gold labels"].add(clip.id)
    for row in jsonl.read_dicts(recipe) if recipe.is_file() else []:
        groups[f"words {row['text_mode']}"].add(row["id"])
        groups["face and voice agree" if row["face"] == row["voice"] else "face and voice differ"].add(row["id"])
    found = []
    for name, ids in sorted(groups.items()):
        members = [[run.scores[i].values.get("set_f1") for i in ids if i in run.scores] for run in runs]
        known = [[value for value in values if value is not None] for values in members]
        if known[0]:
            found.append(Slice(name, len(known[0]), [sum(v) / len(v) if v else None for v in known]))
    return found


def examples(run: ScoredRun, count: int = 4) -> list[Score]:
    """The clips with the worst and with the best answers of a run; ties are in the order of the clips."""
    scored = sorted(
        (score for score in run.scores.values() if "set_f1" in score.values), key=lambda score: score.values["set_f1"]
    )
    return [*scored[:count], *scored[-count:]] if len(scored) > 2 * count else scored
