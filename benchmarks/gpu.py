"""Everything that needs a GPU, measured in one run of at most 12 minutes on one card of 80 GB.

    python benchmarks/gpu.py                                    # all sections, in order of importance
    python benchmarks/gpu.py --sections sft grpo --minutes 5    # some sections
    python benchmarks/gpu.py --tiny --out /tmp/gpu              # every section at toy size, on a CPU too

families     every family and stage in bfloat16 and float16, on random weights of a few thousand parameters
sft          Qwen2.5-Omni-7B at full size, random weights: tokens a second and MFU of the default and of other settings
grpo         a step row by row and shared, 8 completions a clip, prompts of about 1,000 tokens
memory       peaks of a few runs, compared with the estimates of --dry-run
predict      clips a second of `eval predict`, and hours for MER-UniBench
grpo-long    as grpo, prompts of about 4,500 tokens
quickstart   `affectllm quickstart` on the GPU, where nano's weights are set up
qlora        peak of SFT over 4-bit weights, where bitsandbytes is installed
quickstart-cpu   the same on this machine's CPU, in float32 and, where it is native, bfloat16

Results go to benchmarks/results/gpu_<card>.json, row by row as they are measured, so that a run that is cut keeps what
it has. A section that fails is noted there in one line, with its traceback in the .log file next to it, and the next
one begins; the exit code is then 1. A section begins only when its time limit still fits into --minutes.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# This must come before torch: without it, blocks of changing sizes leave gaps that the next size does not fit into.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Scripts and tests of the repository are not installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
from affectllm.errors import AffectError
from affectllm.options import command
from benchmarks import gpu_families, gpu_omni, gpu_quickstart
from benchmarks.gpu_book import Book


@dataclass(frozen=True)
class Benchmark:
    sections: tuple[str, ...] = ()
    """families, sft, grpo, memory, predict, grpo-long, quickstart, qlora or quickstart-cpu. Without it, all are run."""
    minutes: float = 12.0
    """Minutes for the whole run. A section begins only if its time limit still fits."""
    out: Path = Path(__file__).parent / "results"
    """Folder for gpu_<card>.json and its log."""
    peak_tflops: float | None = None
    """Dense bfloat16 TFLOP/s of the card, for MFU. Without it, its maker's figure, if the card is known."""
    tiny: bool = False
    """Use toy shapes and few steps. This shows that every section runs, and measures nothing."""


class Section(NamedTuple):
    run: Callable[[gpu_omni.Bench], None]
    limit_s: float


SECTIONS = {
    "families": Section(gpu_families.main, 240),
    "sft": Section(gpu_omni.sft, 110),
    "grpo": Section(gpu_omni.grpo, 110),
    "memory": Section(gpu_omni.memory, 50),
    "predict": Section(gpu_omni.predict, 100),
    "grpo-long": Section(gpu_omni.grpo_long, 120),
    "quickstart": Section(gpu_quickstart.main, 150),
    "qlora": Section(gpu_omni.qlora, 60),
    "quickstart-cpu": Section(gpu_quickstart.on_cpu, 300),
}


def main(run: Benchmark) -> int:
    unknown = [name for name in run.sections if name not in SECTIONS]
    if unknown:
        raise AffectError(f"No section '{unknown[0]}'. Known: {', '.join(SECTIONS)}.")
    book = Book(run.out, {**dataclasses.asdict(run), "out": str(run.out)}, run.minutes)
    with gpu_omni.Bench.make(book, run.peak_tflops, run.tiny) as bench:
        for name in [name for name in SECTIONS if name in (run.sections or SECTIONS)]:
            section = SECTIONS[name]
            # A CPU that others use too is no measure of toy sizes.
            limit_s = section.limit_s * (10 if run.tiny else 1)
            if limit_s > book.left_s():
                book.section = name
                book.skip(name, f"its {limit_s:.0f} s do not fit into the {book.left_s():.0f} s left")
                continue
            with book.timed(name, limit_s):
                section.run(bench)
    print(f"{len(book.found['rows'])} rows in {book.path}; {len(book.found['failures'])} failures", flush=True)
    for failure in book.found["failures"]:
        print(f"FAILED {failure['section']}: {failure['what']}: {failure['error']}", flush=True)
    return 1 if book.found["failures"] else 0


if __name__ == "__main__":
    command(main)
