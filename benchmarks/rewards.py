"""Completions a second of the whole default reward stack, and the share of a GRPO step that it takes.

    python benchmarks/rewards.py

Completions of about 100 tokens, all different, in groups of 8 with one gold each, one thread, the fastest of several
rounds (more completions than any memory of the stack holds); a line is one measure as JSON. There is no peer that
scores open-vocabulary rewards outside its trainer, so `peer` and `ratio` are null.
"""

import json
import time
from collections.abc import Callable
from random import Random

from affectllm import jsonl, rewards
from affectllm.records import Clues, Target
from affectllm.rewards import probes

COUNT, GROUP, ROUNDS = 20_000, 8, 7
BATCH = 64
"""Completions of one step, as a trainer hands them over."""


def completions(rng: Random) -> list[str]:
    """Different answers of about 100 tokens: reasoning of six sentences and one to four labels."""
    texts = []
    for i in range(COUNT):
        visual = rng.choices(probes.CLUES["visual"], k=3)
        audio = rng.choices(probes.CLUES["audio"], k=3)
        think = probes.describe(visual, audio) + f" Clip {i} shows it over and over, from the first second to the last."
        texts.append(probes.answer(think, rng.sample(probes.WORDS, rng.randint(1, 4))))
    return texts


def timed(functions: list[Callable[..., list[float | None]]], texts: list[str], gold: list[str]) -> float:
    """Seconds for all completions, step by step."""
    start = time.perf_counter()
    for i in range(0, COUNT, BATCH):
        for function in functions:
            function(completions=texts[i : i + BATCH], target=gold[i : i + BATCH])
    return time.perf_counter() - start


def main() -> None:
    rng = Random(7)
    functions = rewards.load("strict")
    clues = Clues(visual=["a wide smile"], audio=["loud and harsh"])
    targets = [jsonl.dumps(Target(labels=rng.sample(probes.WORDS, 2), clues=clues)) for _ in range(COUNT // GROUP)]
    gold = [target for target in targets for _ in range(GROUP)]
    texts = completions(rng)
    for function in functions:  # tables and wheels are loaded before the clock starts
        function(completions=texts[:10], target=gold[:10])
    seconds = min(timed(functions, texts, gold) for _ in range(ROUNDS))
    line = {"name": "rewards/strict", "ours": round(COUNT / seconds), "peer": None, "ratio": None}
    print(json.dumps({**line, "unit": "completions/s", "n": COUNT}))


if __name__ == "__main__":
    main()
