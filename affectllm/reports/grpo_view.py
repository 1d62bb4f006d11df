"""One self-contained page about a GRPO run: what was rewarded, and signs that the wrong thing was.

Reads log.jsonl, completions.jsonl and dev.jsonl of the run's folder, whether it is finished or not.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from affectllm import jsonl
from affectllm.errors import AffectError

LOG, COMPLETIONS, DEV, QUARANTINE = "log.jsonl", "completions.jsonl", "dev.jsonl", "quarantine.jsonl"
# Curves in the order of the page: field of log.jsonl, title, what to see in it.
CURVES = (
    ("reward", "Reward", "weighted sum, mean over completions"),
    ("zero_std_share", "Groups without a signal", "share whose rewards are all equal"),
    ("parse_rate", "Answers that parse", "share read without recovery"),
    ("labels_per_answer", "Labels per answer", "rising alone: recall is bought with words"),
    ("think_tokens", "Think tokens", "falling to 0: the reasoning is given up"),
    ("answer_tokens", "Answer tokens", "of the answer block and its tags"),
    ("kl", "KL to the start", "nats a token; how far the policy has moved"),
    ("entropy", "Entropy", "nats a token; at 0 all completions are the same"),
    ("constant_share", "Commonest answer", "share of completions that are the same text"),
    ("truncated", "Cut off", "share that reaches the longest length"),
    ("clip_fraction", "Clipped ratios", "share of tokens outside the trust region"),
)
WIDTH, HEIGHT, LEFT, BOTTOM = 300, 120, 40, 18
MOST_POINTS = 1500
SHOWN_GROUPS = 4


class Chart(NamedTuple):
    """A curve or a cloud of points as numbers for an SVG of WIDTH x HEIGHT."""

    title: str
    about: str
    path: str
    """The path of a curve, in SVG's language. Empty for a cloud."""
    points: list[tuple[float, float]]
    low: str
    high: str
    first: str
    last: str
    """The ends of both axes."""
    now: str
    """The last value of a curve."""


class Group(NamedTuple):
    step: int
    id: str
    clip: str
    gold: list[str]
    mean: float
    rows: list[dict[str, Any]]


def page(folder: Path) -> str:
    """The HTML of a run's folder; raises AffectError when it holds no GRPO log."""
    from affectllm.reports import render

    if not (folder / LOG).is_file():
        raise AffectError(f"{folder} holds no {LOG}. Give the folder of a GRPO run (its --out).")
    steps = [line for line in jsonl.read_dicts(folder / LOG) if "reward_parts" in line]
    if not steps:
        raise AffectError(f"{folder / LOG} has no step of GRPO. Is it the folder of another stage?")
    said, dev, lost = (rows_of(folder / name) for name in (COMPLETIONS, DEV, QUARANTINE))
    worst, best = extreme_groups(said)
    return render.page(
        "grpo.html.jinja",
        title=f"GRPO run {folder.name}",
        steps=len(steps),
        completions=len(said),
        alarms=alarms(steps, said, dev, lost),
        curves=[chart for field, *words in CURVES if (chart := curve(steps, field, *words))],
        parts=[chart for name in parts_of(steps) if (chart := curve(part_rows(steps, name), "value", name, "mean"))],
        dev=[chart for name in ("set_f1", "clue_face", "clue_voice") if (chart := curve(dev, name, name, "held out"))],
        seconds=seconds(steps),
        scatter=scatter(said),
        drift=drift(said),
        worst=worst,
        best=best,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=BOTTOM,
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(jsonl.read_dicts(path)) if path.is_file() else []


def quarter(rows: Sequence[dict[str, Any]], field: str, last: bool) -> float | None:
    """Mean of a field over the first or last quarter of the rows that have it.

    >>> quarter([{"x": 1}, {"x": 2}, {"x": None}, {"x": 3}, {"x": 5}], "x", last=True)
    5.0
    """
    values = [row[field] for row in rows if row.get(field) is not None]
    size = max(1, len(values) // 4)
    return float(fmean(values[-size:] if last else values[:size])) if values else None


def alarms(
    steps: Sequence[dict[str, Any]],
    said: Sequence[dict[str, Any]],
    dev: Sequence[dict[str, Any]],
    lost: Sequence[dict[str, Any]],
) -> list[str]:
    """Signs that the policy is rewarded for something else than intended: the first quarter against the last."""

    def change(field: str, rows: Sequence[dict[str, Any]] = steps) -> tuple[float, float] | None:
        first, last = quarter(rows, field, last=False), quarter(rows, field, last=True)
        return None if first is None or last is None else (first, last)

    found = []
    if (labels := change("labels_per_answer")) and labels[1] > max(1.5 * labels[0], labels[0] + 0.5):
        found.append(f"Labels per answer rose from {labels[0]:.1f} to {labels[1]:.1f}: more words, not better ones?")
    if (parsed := change("parse_rate")) and parsed[1] < parsed[0] - 0.1:
        found.append(f"The share of answers that parse fell from {parsed[0]:.2f} to {parsed[1]:.2f}.")
    if (silent := quarter(steps, "zero_std_share", last=True)) is not None and silent > 0.8:
        found.append(f"{silent:.0%} of the last groups had no difference in reward: nothing is learnt from them.")
    if (same := quarter(steps, "constant_share", last=True)) is not None and same > 0.5:
        text = Counter(row["text"] for row in said[-len(said) // 4 :]).most_common(1)[0][0] if said else ""
        found.append(f"{same:.0%} of the last answers are the same text: {text[:120]!r}.")
    if (thought := change("think_tokens")) and thought[0] > 4 and thought[1] < 0.5 * thought[0]:
        found.append(f"Reasoning shrank from {thought[0]:.0f} to {thought[1]:.0f} tokens.")
    tail = [row for row in said[-len(said) // 4 :] if row["reward"] is not None]
    if len(tail) >= 20 and (r := correlation([(length(row), row["reward"]) for row in tail])) > 0.5:
        found.append(f"Longer completions are paid better (r = {r:.2f} in the last quarter).")
    if dev and (f1 := change("set_f1", dev)) and (paid := change("reward")):
        if paid[1] > paid[0] and f1[1] < f1[0] - 0.01:
            found.append(f"The reward rises while the held-out score falls ({f1[0]:.3f} to {f1[1]:.3f}).")
        for clue in ("clue_face", "clue_voice"):
            if (seen := change(clue, dev)) and f1[1] > f1[0] and seen[1] < seen[0] - 0.05:
                found.append(f"Labels improve while {clue} falls from {seen[0]:.3f} to {seen[1]:.3f}.")
    found += [f"Step {line['step']}: {line['alarm']}" for line in steps if "alarm" in line][-3:]
    if lost:
        found.append(
            f"{len(lost)} clips could no longer be read and were left out: {', '.join(r['id'] for r in lost[:5])}"
        )
    return found


def length(row: dict[str, Any]) -> int:
    return row["think_tokens"] + row["answer_tokens"]


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's r. 0 if one side does not vary.

    >>> round(correlation([(0, 0), (1, 2), (2, 4)]), 3)
    1.0
    """
    xs, ys = zip(*pairs, strict=True)
    x0, y0 = fmean(xs), fmean(ys)
    spread = math.sqrt(sum((x - x0) ** 2 for x in xs) * sum((y - y0) ** 2 for y in ys))
    return sum((x - x0) * (y - y0) for x, y in pairs) / spread if spread else 0.0


def curve(rows: Sequence[dict[str, Any]], field: str, title: str, about: str) -> Chart | None:
    """A field over the steps. None if no step has it."""
    points = [(row["step"], row[field]) for row in rows if row.get(field) is not None]
    if not points:
        return None
    placed, ends = place(points)
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return Chart(title, about, path, placed[-1:], *ends, now=number(points[-1][1]))


def place(points: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], tuple[str, str, str, str]]:
    """Points in the picture, and the ends of its axes: low, high, first, last."""
    xs, ys = zip(*points, strict=True)
    low, high, first, last = min(ys), max(ys), min(xs), max(xs)
    tall, wide = (high - low) or 1.0, (last - first) or 1.0
    placed = [
        (LEFT + (x - first) / wide * (WIDTH - LEFT - 6), 6 + (high - y) / tall * (HEIGHT - BOTTOM - 12))
        for x, y in points
    ]
    return placed, (number(low), number(high), number(first), number(last))


def number(value: float) -> str:
    """
    >>> number(3), number(0.51234), number(1234.5)
    ('3', '0.512', '1234')
    """
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def parts_of(steps: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for line in steps for name in line["reward_parts"]))


def part_rows(steps: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{"step": line["step"], "value": line["reward_parts"].get(name)} for line in steps]


def seconds(steps: Sequence[dict[str, Any]]) -> list[tuple[str, float]]:
    """Mean seconds per step in each stage; `step` is the total."""
    names = dict.fromkeys(name for line in steps for name in line["seconds"])
    values = {
        name: [line["seconds"][name] for line in steps if line["seconds"].get(name) is not None] for name in names
    }
    return [(name, fmean(found)) for name, found in values.items() if found]


def scatter(said: Sequence[dict[str, Any]]) -> Chart | None:
    """Reward over length, for at most MOST_POINTS completions, evenly spread over the run."""
    rows = [row for row in said if row["reward"] is not None]
    rows = rows[:: max(1, len(rows) // MOST_POINTS)]
    if not rows:
        return None
    placed, ends = place([(length(row), row["reward"]) for row in rows])
    return Chart("Reward over length", "tokens of the whole completion", "", placed, *ends, now="")


def drift(said: Sequence[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """The labels whose share of answers changed most, with that share in the first and last quarter of the run."""
    size = max(1, len(said) // 4)
    shares = []
    for rows in (said[:size], said[-size:]):
        counts = Counter(label for row in rows for label in set(row["labels"]))
        shares.append({label: count / len(rows) for label, count in counts.items()} if rows else {})
    before, after = shares
    changed = sorted(before.keys() | after.keys(), key=lambda it: -abs(after.get(it, 0.0) - before.get(it, 0.0)))
    return [(label, before.get(label, 0.0), after.get(label, 0.0)) for label in changed[:12]]


def extreme_groups(said: Sequence[dict[str, Any]]) -> tuple[list[Group], list[Group]]:
    """The groups of the lowest and of the highest mean reward in the last quarter of the run."""
    rows: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in said[-max(1, len(said) // 4) :]:
        if row["reward"] is not None:
            rows[row["step"], row["id"]].append(row)
    groups = [
        Group(step, name, found[0]["clip"], found[0]["gold"], fmean(row["reward"] for row in found), found)
        for (step, name), found in rows.items()
    ]
    groups.sort(key=lambda group: group.mean)
    half = min(SHOWN_GROUPS, (len(groups) + 1) // 2)
    return groups[:half], groups[::-1][: min(half, len(groups) // 2)]
