"""A report in Markdown, LaTeX and as one self-contained HTML page."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from affectllm.reports.scored import ScoredRun, Slice, headline

COLUMNS = ("set F1", "95 % interval", "precision", "recall", "clue face", "clue voice", "unreadable", "labels/clip")


def cells(run: ScoredRun) -> list[str]:
    """One run's row of the main table."""
    line = headline(run)
    f1 = line["set_f1"]
    return [
        share(f1["value"]),
        f"{share(f1['low'])} - {share(f1['high'])}",
        share(line["precision"]),
        share(line["recall"]),
        share(line["clue_face"]),
        share(line["clue_voice"]),
        f"{line['parse_failures']} of {len(run.scores)}",
        f"{line['labels_per_clip']:.2f}",
    ]


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def markdown(runs: Sequence[ScoredRun], notes: Sequence[str]) -> str:
    """The main table and the notes, to paste into a README or an issue."""
    head = f"| run | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}\n"
    body = "".join(f"| {run.name} | {' | '.join(cells(run))} |\n" for run in runs)
    return head + body + "".join(f"\n{note}\n" for note in notes)


def latex(runs: Sequence[ScoredRun]) -> str:
    """The main table for a paper (booktabs)."""
    head = " & ".join(["run", *COLUMNS]).replace("%", r"\%")
    rows = "".join(" & ".join([run.name.replace("_", r"\_"), *cells(run)]) + " \\\\\n" for run in runs)
    columns = "l" + "r" * len(COLUMNS)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n"


def html(**content: Any) -> str:
    """The page of a report."""
    return page("report.html.jinja", columns=COLUMNS, cells=cells, whisker=whisker, shade=shade, **content)


def page(template: str, **content: Any) -> str:
    """One self-contained page; everything that comes from data is escaped by the template engine."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = share
    source = files("affectllm.reports").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**content)


def whisker(run: ScoredRun) -> dict[str, float]:
    """Place of a run's point and interval on an axis of 0..1, in percent."""
    f1 = run.results["set_f1"]
    return {"value": 100 * f1["value"], "low": 100 * f1["low"], "width": max(0.4, 100 * (f1["high"] - f1["low"]))}


def shade(row: Slice, index: int) -> str:
    """Background of a table cell: the higher the value, the stronger the colour."""
    value = row.values[index]
    return "" if value is None else f"background: color-mix(in srgb, var(--accent) {round(70 * value)}%, transparent)"
