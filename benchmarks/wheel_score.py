"""Speed of the wheel score and its intervals, as JSON lines, compared with a plain implementation of the same rule.

    python benchmarks/wheel_score.py --assets MER2025/emotion_wheel [--mertools MERTools/MER2025]

`peer` is the plain implementation, or the official code where --mertools names a checkout; `ratio` is peer / ours.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from affectllm import vocabulary
from affectllm.scores.engine import uncertainty
from affectllm.scores.engine.uncertainty import Values
from affectllm.scores.families import wheels as rule
from affectllm.scores.families.wheel_tables import overlaps
from affectllm.vocabulary import mertools

CLIPS = 10_000
SINGLE = 2_000
Sets = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True, help="MERTools' emotion_wheel folder of MER2025")
    parser.add_argument("--mertools", type=Path, help="a checkout's folder with my_affectgpt/evaluation/wheel.py")
    options = parser.parse_args()
    wheels = vocabulary.load("mer2025", options.assets)
    known = mertools.read_tables(options.assets)
    said, gold = draw_sets(sorted(known.bases), 1), draw_sets(sorted(known.bases), 2)

    ours = seconds(lambda: rule.wheel_score(said, gold, wheels))
    batch = seconds(lambda: plain_ew(said, gold, known), 3)
    report("corpus EW, 5 wheels, plain", ours, batch, "s", CLIPS)
    pairs = list(zip(said[:SINGLE], gold[:SINGLE], strict=True))
    one = seconds(lambda: [rule.overlap(*pair, wheels) for pair in pairs]) / SINGLE
    plain_one = seconds(lambda: [plain_ew([p], [g], known) for p, g in pairs], 3) / SINGLE
    report("one completion, 5 wheels, plain", one * 1e6, plain_one * 1e6, "us", SINGLE)
    # The official call reads its tables anew each time.
    reading = seconds(lambda: plain_ew(said[:1], gold[:1], mertools.read_tables(options.assets)), 3)
    report("one completion, tables read by every call", one * 1e6, reading * 1e6, "us", SINGLE)
    if options.mertools:
        official = official_call(options.mertools)
        report("corpus EW, 5 wheels, official", ours, seconds(lambda: official(said, gold), 3), "s", CLIPS)
        alone = seconds(lambda: official(said[:1], gold[:1]), 5)
        report("one completion, 5 wheels, official", one * 1e6, alone * 1e6, "us", SINGLE)
    bench_bootstrap(overlaps(said[:5000], gold[:5000], wheels))


def draw_sets(words: list[str], seed: int) -> Sets:
    random = Random(seed)
    return [random.sample(words, random.randint(1, 6)) for _ in range(CLIPS)]


def bench_bootstrap(values: Values) -> None:
    columns = rule.wheel_columns(values)
    statistic: uncertainty.Statistic = lambda sums: rule.wheel_f1(sums, "mer2025")  # noqa: E731
    ours = seconds(lambda: uncertainty.bootstrap(columns, statistic), 3)
    random = np.random.default_rng(0)
    few = 50

    def plain() -> None:
        for _ in range(few):
            statistic(columns[random.integers(0, len(columns), len(columns))].sum(0)[None])

    peer = seconds(plain, 3) * uncertainty.DRAWS / few
    report("bootstrap of EW, 10,000 draws", ours, peer, "s", len(values))


def plain_ew(said: Sets, gold: Sets, known: mertools.Vocabulary) -> list[float]:
    """The published rule written down directly: every label is looked up through the three tables each time."""
    scores = []
    for groups in known.groups.values():
        precisions, recalls = [], []
        for labels, felt_labels in zip(said, gold, strict=True):
            named, felt = (plain_groups(it, known, groups["level1"]) for it in (labels, felt_labels))
            if felt:
                hits = len(named & felt)
                precisions.append(hits / len(named) if named else 0.0)
                recalls.append(hits / len(felt))
        p, r = (sum(it) / len(it) if it else 0.0 for it in (precisions, recalls))
        scores.append(rule.harmonic(p, r))
    return scores


def plain_groups(labels: list[str], known: mertools.Vocabulary, groups: dict[str, str]) -> set[str]:
    found = set()
    for label in labels:
        bases = known.bases.get(label.lower().strip(), [])
        words = sorted(word for base in bases for word in known.canonical[base])
        found |= set([groups[word] for word in words if word in groups][:1])
    return found


def official_call(checkout: Path) -> Callable[[Sets, Sets], Any]:
    """`wheel_metric_calculation` of a MERTools checkout (its own third-party imports must be installed)."""
    sys.path.insert(0, str(checkout))
    from my_affectgpt.evaluation.wheel import wheel_metric_calculation

    def call(said: Sets, gold: Sets) -> Any:
        names = [str(i) for i in range(len(gold))]
        name2pred, name2gt = dict(zip(names, said, strict=True)), dict(zip(names, gold, strict=True))
        return wheel_metric_calculation(name2gt=name2gt, name2pred=name2pred, inter_print=False, level="level1")

    return call


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Median wall time."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def report(name: str, ours: float, peer: float, unit: str, n: int) -> None:
    line = {"name": name, "ours": round(ours, 6), "peer": round(peer, 6), "ratio": round(peer / ours, 1), "unit": unit}
    print(json.dumps(line | {"n": n}))


if __name__ == "__main__":
    main()
