"""Rewards: what GRPO pays for.

affectllm rewards list               presets, and the terms that they are made of
affectllm rewards probe --gold FILE  what a preset pays honest answers, and answers that try to cheat
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from affectllm import jsonl, rewards
from affectllm.commands.verbs import Verb
from affectllm.errors import AffectError
from affectllm.records import Conversation, Target
from affectllm.rewards import probes
from affectllm.rewards.terms import TERMS


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print the list as one JSON object."""


@dataclass(frozen=True)
class Probe:
    preset: str = "strict"
    """Preset to probe, or a YAML file of reward terms."""
    gold: Path | None = None
    """Conversations whose label sets are probed. Without it, drawn sets of one to nine labels."""
    limit: int = 50
    """Number of label sets taken from the file."""
    json: bool = False
    """Print one JSON object per completion instead of a table."""


def show_list(options: List) -> None:
    """The presets of rewards, and the terms that they are made of."""
    terms = {name: (term.__doc__ or "").partition("\n")[0] for name, term in TERMS.items()}
    if options.json:
        print(json.dumps({"presets": rewards.presets(), "terms": terms}, ensure_ascii=False))
        return
    for name, preset in rewards.presets().items():
        print(f"{name}: {preset['about']} Source: {preset['source']}.")
        for term, settings in preset["terms"].items():
            factors = "".join(f" x {factor}" for factor in settings.get("times", []))
            gates = ", ".join(settings.get("gates", []))
            print(f"  {settings['weight']:.1f} x {term}{factors}" + (f"  if {gates}" if gates else ""))
    print("\nTerms:")
    for name, about in terms.items():
        print(f"  {name:<15} {about}")


def show_probe(options: Probe) -> None:
    """What a preset pays honest answers to label sets, and answers that try to earn more than those.

    affectllm rewards probe --preset strict --gold data/conversations.jsonl
    """
    rows = probes.probe(rewards.load(options.preset), targets(options.gold, options.limit))
    if options.json:
        print("\n".join(json.dumps(row._asdict(), ensure_ascii=False) for row in rows))
        return
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row.reward)
    lost = {row.kind for row in probes.beaten(rows)}
    print(f"{'completion':<26}{'mean reward':>12}{'lowest':>9}{'highest':>9}")
    for kind, values in sorted(by_kind.items(), key=lambda item: -fmean(item[1])):
        mark = "  <- paid like the honest answer or better" if kind in lost else ""
        print(f"{kind:<26}{fmean(values):>12.3f}{min(values):>9.3f}{max(values):>9.3f}{mark}")


def targets(gold: Path | None, limit: int) -> list[Target]:
    if gold is None:
        return probes.gold_sets()
    found = [clip.target for clip in jsonl.read(gold, Conversation) if clip.target.labels][:limit]
    if not found:
        raise AffectError(f"{gold} has no conversation with labels to probe with.")
    return found


VERBS = {"list": Verb(List, show_list), "probe": Verb(Probe, show_probe)}
