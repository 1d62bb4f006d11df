"""One report about scored runs: table with intervals, paired differences, slices, and example answers.

    affectllm eval report sft=runs/sft/test grpo=runs/grpo/test --gold data/conversations.jsonl --out runs

Writes report.html (one file that opens from a mail), report.md, report.tex and report.json.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.records import Conversation
from affectllm.reports import render, scored


@dataclass(frozen=True, kw_only=True)
class Report:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Scored runs as NAME=FOLDER, in the order of the table."""
    gold: Path
    """Conversations that the runs were scored against."""
    out: Path
    """Folder for the report."""
    title: str = "Emotion understanding report"
    """Headline of the report's page."""
    note: str | None = None
    """What a reader has to know about the numbers. It is printed above them."""


def main(options: Report) -> None:
    runs = [scored.read_run(*split_name(word)) for word in options.runs]
    first = runs[0]
    clips = [clip for clip in jsonl.read(options.gold, Conversation) if clip.id in first.scores]
    if not clips:
        raise AffectError(
            f"{options.gold} holds none of the clips of {first.folder}. Give the gold they were scored against."
        )
    notes = [note for note in (options.note, *caveats(runs)) if note]
    differences = [
        (f"{b.name} - {a.name}", scored.difference(a, b), len(scored.shared_ids(a, b))) for a, b in pairwise(runs)
    ]
    page = render.html(
        title=options.title,
        notes=notes,
        runs=runs,
        clips=len(clips),
        protocol=first.results["protocol"],
        level=first.results["level"],
        wheels_hash=first.results["wheels_hash"],
        differences=differences,
        slices=scored.slices(runs, clips, options.gold.parent / "recipe.jsonl"),
        emotions=scored.by_emotion(runs),
        labels=scored.said_counts(runs),
        last=runs[-1],
        examples=scored.examples(runs[-1]),
    )
    jsonl.write_text(options.out / "report.html", page)
    jsonl.write_text(options.out / "report.md", render.markdown(runs, notes))
    jsonl.write_text(options.out / "report.tex", render.latex(runs))
    jsonl.write_json(options.out / "report.json", {each.name: scored.headline(each) for each in runs})
    show(runs)
    for name, value, n in differences:
        print(f"{name}: {value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}] on {n} clips")


def split_name(word: str) -> tuple[str, Path]:
    name, separator, folder = word.partition("=")
    return (name, Path(folder)) if separator else (Path(word).name, Path(word))


def caveats(runs: list[scored.ScoredRun]) -> list[str]:
    """What a reader needs before the numbers: answers with errors, clips left out, the floor of the clue scores."""
    found = []
    for run in runs:
        if run.results.get("errors"):
            found.append(f"{run.name}: {run.results['errors']} clips could not be answered and count as empty answers.")
        for reason, count in run.results["skipped"].items():
            found.append(f"{run.name}: {count} clips are not counted ({reason}).")
    floor = runs[-1].results.get("clue_floor")
    if floor:
        found.append(f"{runs[-1].name}: against the clues of other clips its reasoning still reaches {floor:.3f}.")
    return found


def show(runs: list[scored.ScoredRun]) -> None:
    """The main table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("run", *render.COLUMNS)
    for run in runs:
        table.add_row(run.name, *render.cells(run))
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    command(main)
