"""`affectllm quickstart` in a process of its own: on the GPU, then on this machine's CPU in each precision."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

from affectllm.models import nano
from benchmarks.gpu_omni import Bench


def main(bench: Bench) -> None:
    """On the GPU; goal: 2 minutes."""
    if not torch.cuda.is_available():
        return bench.book.skip("quickstart, gpu", "there is no GPU")
    if ready(bench):
        one(bench, "gpu", {})
    return None


def on_cpu(bench: Bench) -> None:
    """On this machine's CPU in float32, and in bfloat16 where it is native."""
    if not ready(bench):
        return
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""}
    one(bench, "cpu float32", {**no_gpu, "AFFECTLLM_NATIVE_BFLOAT16": "0"})
    if native_bfloat16():
        one(bench, "cpu bfloat16", {**no_gpu, "AFFECTLLM_NATIVE_BFLOAT16": "1"})
    else:
        bench.book.skip("quickstart, cpu bfloat16", "this CPU does not multiply bfloat16 natively")


def ready(bench: Bench) -> bool:
    """Whether the quickstart has what it needs. What it lacks is noted."""
    reason = None
    if nano.find() is None:
        reason = f"nano's weights are not in {nano.folder()}: affectllm setup-nano"
    elif importlib.util.find_spec("espeakng_loader") is None:
        reason = "espeakng-loader, which speaks the drawn clips, is not installed"
    if reason:
        bench.book.skip("quickstart", reason)
    return reason is None


def native_bfloat16() -> bool:
    """Whether Linux lists the instructions."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and re.search(r"\b(avx512_bf16|amx_bf16)\b", flags.read_text()) is not None


def one(bench: Bench, name: str, environment: dict[str, str]) -> None:
    """Time one whole quickstart and read what its stages score."""
    out = bench.folder / f"quickstart-{name.replace(' ', '-')}"
    with bench.book.part(f"quickstart, {name}"):
        words = ["quickstart", "--out", str(out), *(["--mini"] if bench.tiny else [])]
        log = bench.book.path.with_name(f"{bench.book.path.stem}_quickstart_{name.replace(' ', '_')}.log")
        begun = time.perf_counter()
        with log.open("w") as output:
            done = subprocess.run(
                [sys.executable, "-m", "affectllm", *words], env=os.environ | environment, stdout=output,
                stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}; {last_line(log)}")
        bench.book.row(
            f"quickstart, {name}", seconds, "s", 1, minutes=round(seconds / 60, 2), scores=scores(out),
            environment=environment, mini=bench.tiny, precision=precision(out),
        )  # fmt: skip


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "no output"


def scores(out: Path) -> dict[str, float | None]:
    """Set F1 of each run on the report."""
    found = {}
    for results in sorted((out / "eval").glob("*/results.json")):
        value = json.loads(results.read_text()).get("set_f1")
        found[results.parent.name] = round(value["value"], 4) if value else None
    return found


def precision(out: Path) -> str | None:
    """What run.json says that the supervised run computed in."""
    record = json.loads((out / "sft" / "run.json").read_text())
    return record.get("precision") or record["options"].get("dtype")
