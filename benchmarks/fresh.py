"""One row of docs/environments.md: a clean clone, set up and run by the commands of the README.

    python benchmarks/fresh.py                                    this Python, locked packages, mini quickstart, tests
    python benchmarks/fresh.py --python python3.13 --packages newest --native-bfloat16 off
    python benchmarks/fresh.py --quickstart whole --no-tests --append       and write the row into the table in docs/
    make fresh PYTHON=python3.12 FRESH='--native-bfloat16 on'

The last commit is cloned to a temporary folder with empty caches and no environment, and `make quickstart-mini` (or
`make quickstart`) and `make test` are called there as the README has them. The set-up is what they begin with, and its
minutes are counted apart. From this machine only the downloads and the configuration of pip and uv are used. The clone
is deleted in any case; the logs stay in --logs. The exit code is 1 when a stage failed. It needs only Python, make and
git, since there is no environment yet.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "environments.md"
COLUMNS = ("date", "Python", "packages", "machine", "native bfloat16", "set-up", "quickstart", "tests", "result")
MAIN = ("torch", "transformers", "trl", "peft", "numpy")
# Abilities of the CPU, as the table names them, by the flag of /proc/cpuinfo.
FEATURES = {"avx2": "avx2", "avx512f": "avx512", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx"}
# Variables of a shell that would affect the clone: environments, those of an outer make, caches, launchers.
LEAKS = re.compile(
    r"^(AFFECTLLM_.*|HF_.*|HUGGINGFACE_.*|TRANSFORMERS_.*|PYTHON.*|VIRTUAL_ENV|CONDA_.*|VENV|PACKAGES|MAKE.*|MFLAGS|"
    r"XDG_CACHE_HOME|OMP_NUM_THREADS|RANK|WORLD_SIZE|LOCAL_RANK)$"
)
NATIVE = {"on": "1", "off": "0", "machine": None}


class Stage(NamedTuple):
    """What one command of the README took and gave."""

    command: str
    code: int
    setup: float
    """Minutes of the set-up that the command began with. 0 if the environment was there."""
    minutes: float
    """Minutes after it."""
    was_set_up: bool
    log: Path


def main(words: list[str] | None = None) -> int:
    run = parse(words)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    Path(run.logs).mkdir(parents=True, exist_ok=True)
    logs = Path(mkdtemp(prefix=f"{stamp}-{run.packages}-", dir=Path(run.logs).resolve()))
    with TemporaryDirectory(prefix="affectllm-fresh-") as folder:
        clone = Path(folder) / "affectllm"
        if subprocess.run(["git", "-C", str(ROOT), "status", "--porcelain"], capture_output=True, check=True).stdout:
            print("Changes that are not committed are not in the clone.", file=sys.stderr)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = clean_environment(run, Path(folder))
        python = version_of(run.python, environment)
        stages = []
        for command in commands(run):
            stages.append(call(command, clone, environment, run.packages, logs))
            if stages[-1].code:
                break
        versions = installed(venv_of(clone, run.packages), environment)
    row = as_row(run, python, versions, stages)
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    print(row)
    if run.append:
        append(row, Path(run.table))
    return int(any(stage.code for stage in stages))


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter for the environment (default: this one)")
    parser.add_argument(
        "--packages",
        choices=("locked", "oldest", "newest"),
        default="locked",
        help="locked: constraints.txt; oldest: lower bounds of pyproject.toml; newest: what the index has today",
    )
    parser.add_argument(
        "--native-bfloat16",
        choices=tuple(NATIVE),
        default="machine",
        help="what the run takes the CPU to be: on and off set AFFECTLLM_NATIVE_BFLOAT16, machine leaves it as it is",
    )
    parser.add_argument(
        "--quickstart",
        choices=("mini", "whole", "none"),
        default="mini",
        help="make quickstart-mini, make quickstart, or neither",
    )
    parser.add_argument("--no-tests", dest="tests", action="store_false", help="leave make test out")
    parser.add_argument("--append", action="store_true", help="write the row to the end of the table in docs/")
    parser.add_argument("--table", default=str(TABLE), help="file whose table --append writes to")
    parser.add_argument("--logs", default=str(ROOT / "runs" / "fresh"), help="folder for what the commands print")
    run = parser.parse_args(words)
    if not commands(run):
        parser.error("--quickstart none with --no-tests leaves nothing to run")
    if shutil.which(run.python) is None:
        parser.error(f"--python {run.python}: no such program")
    return run


def commands(run: argparse.Namespace) -> list[str]:
    """The lines of the README."""
    quickstart = {"mini": ["make quickstart-mini"], "whole": ["make quickstart"], "none": []}[run.quickstart]
    return [*quickstart, *(["make test"] if run.tests else [])]


def clean_environment(run: argparse.Namespace, folder: Path) -> dict[str, str]:
    """The environment of a shell on a new machine: empty caches in the folder, downloads of packages kept."""
    downloads = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = {"PIP_CACHE_DIR": str(downloads / "pip"), "UV_CACHE_DIR": str(downloads / "uv")}
    # On macOS pip keeps them elsewhere and does not read XDG_CACHE_HOME.
    kept = {} if sys.platform == "darwin" else kept
    caches = {"AFFECTLLM_CACHE": "affectllm", "HF_HOME": "huggingface", "XDG_CACHE_HOME": "xdg"}
    native = NATIVE[run.native_bfloat16]
    return {
        **kept,
        **{name: value for name, value in os.environ.items() if not LEAKS.match(name)},
        **{name: str(folder / "caches" / place) for name, place in caches.items()},
        "PYTHON": str(Path(shutil.which(run.python) or run.python).absolute()),
        "PACKAGES": run.packages,
        **({} if native is None else {"AFFECTLLM_NATIVE_BFLOAT16": native}),
    }


def call(command: str, clone: Path, environment: dict[str, str], packages: str, logs: Path) -> Stage:
    """Run one command in the clone, its output into a log; the time until the environment is ready is the set-up's."""
    ready = venv_of(clone, packages) / "ready"
    had = ready.exists()
    log = logs / f"{command.replace(' ', '-')}.log"
    print(f"$ {command}   (log: {log})", file=sys.stderr, flush=True)
    start = time.time()
    with log.open("wb") as file:
        done = subprocess.run(
            command.split(), cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    end = time.time()
    set_up = ready.exists()
    begun = start if had else max(start, ready.stat().st_mtime) if set_up else end
    return Stage(command, done.returncode, (begun - start) / 60, (end - begun) / 60, set_up, log)


def venv_of(clone: Path, packages: str) -> Path:
    return clone / (".venv" if packages == "locked" else f".venv-{packages}")


def version_of(python: str, environment: dict[str, str]) -> str:
    script = "import platform; print(platform.python_version())"
    return subprocess.run(
        [python, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def installed(venv: Path, environment: dict[str, str]) -> dict[str, str]:
    """Versions of the main packages in the environment. Empty if it was not made."""
    python = venv / "bin" / "python"
    if not python.exists():
        return {}
    script = (
        "import importlib.metadata as m, json\n"
        f"have = {{d.name.lower(): d.version for d in m.distributions()}}\n"
        f"print(json.dumps({{name: have[name] for name in {MAIN} if name in have}}))"
    )
    done = subprocess.run([str(python), "-c", script], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def as_row(run: argparse.Namespace, python: str, versions: dict[str, str], stages: list[Stage]) -> str:
    """One row of the table: minutes of the stages that ran, and a dash for the others."""
    spent = {stage.command.removeprefix("make "): stage for stage in stages}
    quickstart = next((stage for name, stage in spent.items() if name.startswith("quickstart")), None)
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    cells = (
        datetime.date.today().isoformat(),
        python,
        f"{run.packages}: {packages}" if packages else run.packages,
        machine(),
        run.native_bfloat16,
        f"{sum(stage.setup for stage in stages):.1f} min",
        minutes(quickstart, " (mini)" if run.quickstart == "mini" else ""),
        minutes(spent.get("test")),
        result(stages),
    )
    return "| " + " | ".join(cells) + " |"


def minutes(stage: Stage | None, note: str = "") -> str:
    return f"{stage.minutes:.1f} min{note}" if stage and stage.was_set_up else "-"


def result(stages: list[Stage]) -> str:
    """'ok' with what pytest counted, or the stage that failed and its log."""
    last = stages[-1]
    counts = closing_line(last.log)
    if last.code:
        name = last.command if last.was_set_up else f"set-up of {last.command}"
        return f"failed: {name} (exit code {last.code}, {f'{counts}, ' if counts else ''}log {shown(last.log)})"
    return f"ok: {counts}" if counts else "ok"


def closing_line(log: Path) -> str:
    """What pytest counted, from its last line, e.g. '== 1512 passed, 3 skipped in 402.11s (0:06:42) =='."""
    found = re.findall(r"^=+ (\d+ [a-z]+.*?) in [\d.]+s", log.read_text("utf-8", errors="replace"), re.MULTILINE)
    return found[-1] if found else ""


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def machine() -> str:
    """Number of cores, and the AVX and AMX features that Linux lists. On other systems, the kind of CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    flags = found.group(1).split() if found else []
    features = [name for flag, name in FEATURES.items() if flag in flags] or [platform.machine()]
    return f"{os.cpu_count()} cores, {' '.join(features)}"


def append(row: str, table: Path) -> None:
    """Write the row after the last one of the last table in the file."""
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith("|")]
    if not rows:
        raise SystemExit(f"{table} has no table to append to.")
    lines.insert(rows[-1] + 1, row)
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
