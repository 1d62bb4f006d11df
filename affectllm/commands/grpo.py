"""Look at a GRPO run.

affectllm grpo view RUN     one page about what it was paid for, with its alarms
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from affectllm import jsonl
from affectllm.commands.verbs import Verb


@dataclass(frozen=True)
class View:
    run: tyro.conf.Positional[Path]
    """Folder of a GRPO run, finished or not."""
    out: Path | None = None
    """Page to write. Without it, grpo.html in the run's folder."""


def view(options: View) -> None:
    """One page about a GRPO run: what it was paid for, and whether that was the right thing.

    affectllm grpo view runs/quickstart/grpo
    """
    from affectllm.reports.grpo_view import page

    out = options.out or options.run / "grpo.html"
    jsonl.write_text(out, page(options.run))
    print(f"Written to {out}")


VERBS = {"view": Verb(View, view)}
