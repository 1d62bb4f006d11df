"""Where the GPU benchmark writes: rows that are on the disk as soon as they are measured, and the clock of a run."""

import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from affectllm import jsonl

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "triton", "av")
# Dense bfloat16 products a second that the makers state, in TFLOP/s; the first name that a card's begins with counts.
PEAK_TFLOPS = {
    "NVIDIA H100 PCIe": 756.0, "NVIDIA H100 NVL": 835.0, "NVIDIA H100": 989.0, "NVIDIA H200 NVL": 835.0,
    "NVIDIA H200": 989.0, "NVIDIA A100": 312.0, "NVIDIA B200": 2250.0,
}  # fmt: skip


class TooLong(Exception):  # noqa: N818  (named for what happened; it is no fault of the code)
    """The exception for a section that used up its time."""


class Book:
    """The results of one run as one JSON file, written anew with every row, and a log of whole error messages."""

    def __init__(self, folder: Path, options: dict[str, Any], minutes: float) -> None:
        self.begun = time.monotonic()
        self.minutes = minutes
        self.section = ""
        self.path = folder / f"gpu_{card_name()}.json"
        self.log = self.path.with_suffix(".log")
        self.found: dict[str, Any] = {
            "machine": machine(), "command": sys.argv, "options": options, "rows": [], "sections": {}, "failures": [],
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        self.write()

    def write(self) -> None:
        jsonl.write_json(self.path, self.found)

    def left_s(self) -> float:
        return 60 * self.minutes - (time.monotonic() - self.begun)

    def row(self, name: str, value: float | None, unit: str, n: int, **more: Any) -> None:
        """Keep one measure. `n` is the number of values that it is a mean, median or share of."""
        rounded = None if value is None else float(f"{value:.5g}")
        line = {"section": self.section, "name": name, "value": rounded, "unit": unit, "n": n, **more}
        self.found["rows"].append(line)
        self.write()
        print(json.dumps(line), flush=True)

    def skip(self, name: str, reason: str) -> None:
        self.row(name, None, "skipped", 0, reason=reason)

    def fail(self, what: str, error: BaseException) -> None:
        """Note a failure by its first line, and write the whole of it to the log."""
        line = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
        self.found["failures"].append({"section": self.section, "what": what, "error": line})
        self.write()
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"== {self.section}: {what}\n{''.join(traceback.format_exception(error))}\n")
        print(f"FAILED {self.section}: {what}: {line}", file=sys.stderr, flush=True)

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Run a measure whose failure is noted and does not end its section."""
        try:
            yield
        except TooLong:
            raise
        except Exception as error:
            self.fail(what, error)
        finally:
            free()

    @contextmanager
    def timed(self, name: str, limit_s: float) -> Iterator[None]:
        """Run a section, cut after `limit_s`. A failure is noted, and the run continues."""
        self.section, start = name, time.monotonic()

        def cut(*_: Any) -> None:
            raise TooLong(f"cut after its {limit_s:.0f} s")

        before = signal.signal(signal.SIGALRM, cut)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            yield
        except (Exception, SystemExit) as error:
            self.fail(name, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self.found["sections"][name] = {"seconds": round(time.monotonic() - start, 1), "limit_s": limit_s}
            self.write()
            free()


def free() -> None:
    """Release memory that is no longer used, that of a failed step's frames included."""
    import gc

    sys.last_exc = None  # type: ignore[attr-defined]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def card_name() -> str:
    """Name of the GPU as a part of a file name. cpu if there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    return "_".join(torch.cuda.get_device_name().removeprefix("NVIDIA ").lower().split())


def peak_tflops() -> float | None:
    """The maker's figure for this card in bfloat16, or None for an unknown card."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((value for known, value in PEAK_TFLOPS.items() if name.startswith(known)), None)


def machine() -> dict[str, Any]:
    """Card, driver and versions: numbers travel with what made them."""
    found: dict[str, Any] = {
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cpu_cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {},
    }
    for name in PACKAGES:
        try:
            found["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found["versions"][name] = None
    if torch.cuda.is_available():
        found["memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        found["driver"] = driver()
    return found


def driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None
