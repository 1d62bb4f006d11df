"""The difference between two scored runs on the same clips, with a paired interval.

    affectllm eval compare runs/sft/test runs/grpo/test

Both are folders that `affectllm eval score --out` wrote.
"""

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from affectllm.options import command
from affectllm.reports import scored


@dataclass(frozen=True)
class Compare:
    first: Annotated[Path, tyro.conf.Positional]
    """Scored run to compare with."""
    second: Annotated[Path, tyro.conf.Positional]
    """Scored run whose gain over the first is computed."""
    json: bool = False
    """Print the difference as one JSON object."""


def main(options: Compare) -> None:
    first, second = (scored.read_run(folder.name, folder) for folder in (options.first, options.second))
    gain = scored.difference(first, second)
    n = len(scored.shared_ids(first, second))
    alone = len(first.scores.keys() ^ second.scores.keys())
    if options.json:
        print(json_.dumps({"metric": "set_f1", **gain._asdict(), "n": n, "not_shared": alone}))
        return
    print(f"set F1 {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], p = {gain.p:.4f}, n = {n}")
    if alone:
        print(f"{alone} clips are in one run only and were left out.")


if __name__ == "__main__":
    command(main)
