"""Draw clips of people with synthetic voices, so that the whole way runs without any data set.

    affectllm build synthetic --out data/synthetic --clips 600

Face, voice and words are drawn independently, in single, mixed and conflicting cases; identities, voices and
sentences of the test split appear nowhere else. A score on these clips says that the pipeline works, not that a
model reads real people: training and test clips come from one generator.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from affectllm import jsonl
from affectllm.building import summary, write
from affectllm.options import command
from affectllm.progress import progress
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Clues, Conversation, Meta, Target
from affectllm.synthetic.script import FACE_CLUES, SPLITS, VOICE_CLUES, ClipPlan, plan_clip, split_sizes

LICENCE = "CC0-1.0"


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    out: Path
    """Folder for clips/, conversations.jsonl, rejected.jsonl, manifest.json and recipe.jsonl."""
    clips: int = 600
    """Clips over all splits: a fifth for the test, a twenty-fifth for development."""
    seed: int = 7
    """The same seed gives the same pictures and sounds."""
    size: int = 160
    """Side of the square picture in pixels (even)."""
    fps: int = 10
    """Frames a second."""
    workers: int = os.cpu_count() or 1
    """Processes that draw side by side; the clips do not depend on it."""


def main(run: Synthetic) -> None:
    plans = [plan_clip(run.seed, split, i) for split in SPLITS for i in range(split_sizes(run.clips)[split])]
    jsonl.make_folder(run.out / "clips")
    draw_clips(run, [plan for plan in plans if not clip_path(run, plan).is_file()])
    jsonl.write(run.out / "recipe.jsonl", [{"id": plan.name, **asdict(plan)} for plan in plans])
    options = {"clips": run.clips, "seed": run.seed, "size": run.size, "fps": run.fps}
    manifest = write(
        run.out, (converse(plan, run.seed) for plan in plans), sources=[], options=options, licence=LICENCE
    )
    print("\n".join(summary(manifest, run.out)))


def clip_path(run: Synthetic, plan: ClipPlan) -> Path:
    return run.out / "clips" / f"{plan.name}.mp4"


def draw_clips(run: Synthetic, plans: list[ClipPlan]) -> None:
    """Draw the clips that are not there yet, in several processes."""
    if not plans:
        return
    start = time.monotonic()
    jobs = [(clip_path(run, plan), plan, run.seed, run.size, run.fps) for plan in plans]
    workers = min(run.workers, len(jobs))
    for _ in progress(drawn(jobs, workers), "Drawing clips", total=len(jobs)):
        pass
    rate = len(plans) / (time.monotonic() - start)
    print(f"{len(plans)} clips drawn, {rate:.1f} a second with {workers} processes")


def drawn(jobs: list[tuple[Path, ClipPlan, int, int, int]], workers: int) -> Iterator[None]:
    """One item for each clip as it is finished."""
    if workers == 1:
        yield from map(draw, jobs)
        return
    # Fresh processes: espeak-ng's global state does not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, jobs, chunksize=4)


def draw(job: tuple[Path, ClipPlan, int, int, int]) -> None:
    from affectllm.synthetic.clips import write_clip

    write_clip(*job)


def converse(plan: ClipPlan, seed: int) -> Conversation:
    annotation = Annotation(
        id=plan.name,
        dataset="synthetic",
        split=plan.split,
        media=Clip(video=f"clips/{plan.name}.mp4"),
        subtitle=plan.sentence,
        language="en",
        target=Target(
            labels=plan.labels,
            clues=Clues(visual=[FACE_CLUES[plan.face]], audio=[VOICE_CLUES[plan.voice]]),
        ),
        meta=Meta(licence=LICENCE),
    )
    return compose(annotation, task="labels", mode="think", seed=seed)


if __name__ == "__main__":
    command(main)
