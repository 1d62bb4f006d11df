"""`affectllm rewards list` and `affectllm rewards probe`: what GRPO would pay for."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from affectllm import jsonl, rewards
from affectllm.errors import AffectError
from affectllm.options import parse
from affectllm.records import Conversation, Target
from affectllm.rewards import probes
from affectllm.rewards.terms import TERMS


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Probe:
    preset: str = "strict"
    """A preset, or a YAML file of reward terms."""
    gold: Path | None = None
    """Conversations whose label sets are probed; without it, drawn sets of one to nine labels."""
    limit: int = 50
    """Label sets taken from the file."""
    json: bool = False
    """Print one JSON row a completion instead of a table."""


def run(words: list[str]) -> int:
    verbs = {"list": (List, show_list), "probe": (Probe, show_probe)}
    if not words or words[0] not in verbs:
        raise AffectError(f"affectllm rewards takes {' or '.join(verbs)}, not {words[0] if words else 'nothing'!r}.")
    options, action = verbs[words[0]]
    return action(parse(options, words[1:]))  # type: ignore[operator]


def show_list(run: List) -> int:
    terms = {name: (term.__doc__ or "").partition("\n")[0] for name, term in TERMS.items()}
    if run.json:
        print(json.dumps({"presets": rewards.presets(), "terms": terms}, ensure_ascii=False))
        return 0
    for name, preset in rewards.presets().items():
        print(f"{name}: {preset['about']} Source: {preset['source']}.")
        for term, options in preset["terms"].items():
            factors = "".join(f" x {factor}" for factor in options.get("times", []))
            gates = ", ".join(options.get("gates", []))
            print(f"  {options['weight']:.1f} x {term}{factors}" + (f"  if {gates}" if gates else ""))
    print("\nTerms:")
    for name, about in terms.items():
        print(f"  {name:<15} {about}")
    return 0


def show_probe(run: Probe) -> int:
    rows = probes.probe(rewards.load(run.preset), targets(run))
    if run.json:
        print("\n".join(json.dumps(row._asdict(), ensure_ascii=False) for row in rows))
        return 0
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row.reward)
    lost = {row.kind for row in probes.beaten(rows)}
    print(f"{'completion':<26}{'mean reward':>12}{'lowest':>9}{'highest':>9}")
    for kind, values in sorted(by_kind.items(), key=lambda item: -fmean(item[1])):
        mark = "  <- paid like the honest answer or better" if kind in lost else ""
        print(f"{kind:<26}{fmean(values):>12.3f}{min(values):>9.3f}{max(values):>9.3f}{mark}")
    return 0


def targets(run: Probe) -> list[Target]:
    if run.gold is None:
        return probes.gold_sets()
    found = [clip.target for clip in jsonl.read(run.gold, Conversation) if clip.target.labels][: run.limit]
    if not found:
        raise AffectError(f"{run.gold} has no conversation with labels to probe with.")
    return found
