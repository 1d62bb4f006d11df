"""Show what is installed, what is missing or untested, and the command that repairs it.

affectllm doctor
"""

import importlib.metadata
import importlib.util
import json as json_
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from affectllm import versions
from affectllm.paths import cache_folder
from affectllm.precision import native_bfloat16

# Extras that every training run needs; each of the other extras serves one command.
REQUIRED = ("", "train")
# What must import together; each pair breaks in its own way when the versions do not fit.
TOGETHER = "import torch, torchvision, transformers, peft, trl"

# Width of the table in a file or pipe.
WIDTH = 200

State = Literal["ok", "missing", "optional", "broken", "untried"]


@dataclass(frozen=True)
class Doctor:
    json: bool = False
    """Print the findings as one JSON object."""
    strict: bool = False
    """Exit with code 1 when something that is needed is missing. Versions that were not tried do not count."""


@dataclass(frozen=True)
class Finding:
    what: str
    state: State
    seen: str
    mend: str = ""


def main(options: Doctor) -> int:
    findings = [*machine(), *packages(), *together(), *model(), *folders()]
    if options.json:
        print(json_.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        show(findings)
    needed = any(finding.state in ("missing", "broken") for finding in findings)
    return int(options.strict and needed)


def machine() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    mend = "" if good else "Install Python 3.11 or newer, then: make clean setup"
    yield Finding("Python", "ok" if good else "broken", platform.python_version(), mend)
    yield Finding("machine", "ok", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    seen = "yes" if native_bfloat16() else "no: float32 is used"
    yield Finding("bfloat16 on the CPU", "ok" if native_bfloat16() else "optional", seen)


def packages() -> Iterator[Finding]:
    """Every package by its extra, with the command that installs it; tools of development only where they are odd."""
    for needed in versions.needed():
        finding = package(needed)
        if needed.extra != versions.TOOLS or finding.state == "untried":
            yield finding


def package(needed: versions.Needed) -> Finding:
    """One package: missing, or of a version that was tried, or not."""
    odd = versions.outside([needed])
    if odd:
        seen = f"{odd[0].version} (tried: {needed.tried})"
        return Finding(needed.name, "untried", seen, f"pip install '{needed.name}{needed.tried}'")
    try:
        return Finding(needed.name, "ok", importlib.metadata.version(needed.name))
    except importlib.metadata.PackageNotFoundError:
        repair = f"pip install 'affectllm[{needed.extra}]'" if needed.extra else "pip install affectllm"
        state: State = "missing" if needed.everywhere and needed.extra in REQUIRED else "optional"
        return Finding(needed.name, state, "not installed", repair)


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def together() -> Iterator[Finding]:
    """Try the imports that break when versions do not fit, in a process of their own."""
    if not installed("torch", "torchvision", "transformers", "peft", "trl"):
        return
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        yield Finding("training stack imports", "ok", TOGETHER.removeprefix("import "))
        return
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    yield Finding(
        "training stack imports", "broken", reason, "pip install --upgrade --force-reinstall torch torchvision"
    )


def model() -> Iterator[Finding]:
    from affectllm.models import nano

    found = nano.find()
    mend = "" if found else "affectllm setup-nano"
    yield Finding("affectllm-nano", "ok" if found else "missing", str(found or f"not in {cache_folder()}"), mend)


def folders() -> Iterator[Finding]:
    """Whether files can be written to the cache; the nearest parent folder that exists decides."""
    folder = cache_folder()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(parent, os.W_OK)
    mend = "" if writable else "export AFFECTLLM_CACHE=/a/folder/you/may/write"
    yield Finding("cache folder", "ok" if writable else "broken", str(folder), mend)


def show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    colors = {"ok": "green", "missing": "red", "broken": "red", "optional": "yellow", "untried": "yellow"}
    # A command is copied by the user, so it is not broken into lines. Paths are broken, but not cut.
    table = Table("what", "state", Column("seen", overflow="fold"), Column("repair with", no_wrap=True), box=None)
    for finding in findings:
        table.add_row(finding.what, Text(finding.state, colors[finding.state]), finding.seen, finding.mend)
    # 'affectllm[train]' is no markup. In a file or a pipe lines are whole, however narrow the terminal is.
    Console(width=None if Console().is_terminal else WIDTH, markup=False).print(table)
