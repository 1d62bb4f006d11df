"""Clips drawn a second on one core, as one JSON line.

OMP_NUM_THREADS=1 python benchmarks/synthetic_clips.py
"""

import json
import tempfile
import time
from pathlib import Path

from affectllm.synthetic.clips import write_clip
from affectllm.synthetic.script import plan_clip

CLIPS, SEED, SIZE, FPS = 60, 7, 160, 10


def main() -> None:
    plans = [plan_clip(SEED, "train", i) for i in range(CLIPS + 1)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{plan.name}.mp4" for plan in plans]
        write_clip(paths[0], plans[0], SEED, SIZE, FPS)  # the first one pays for the imports
        start = time.perf_counter()
        for path, plan in zip(paths[1:], plans[1:], strict=True):
            write_clip(path, plan, SEED, SIZE, FPS)
        rate = CLIPS / (time.perf_counter() - start)
    print(json.dumps({"name": "synthetic_clips", "ours": round(rate, 2), "unit": "clips/s", "n": CLIPS}))


if __name__ == "__main__":
    main()
