"""Draw clips of people with synthetic voices, so that all stages run without any data set.

    affectllm build synthetic --out data/synthetic --clips 600

Face, voice and words are drawn independently of each other, in single, mixed and conflicting cases. The identities,
voices and sentences of the test split are in no other split. A score on these clips says that the pipeline works, not
that a model reads real people: training and test clips come from one generator.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from affectllm import jsonl
from affectllm.data.folder import summary, write
from affectllm.errors import AffectError
from affectllm.files import hash_of_all
from affectllm.options import command
from affectllm.progress import progress
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Clues, Conversation, Meta, Target
from affectllm.synthetic.drawing import Job, drawn, versions
from affectllm.synthetic.script import DRAWING, FACE_CLUES, SPLITS, VOICE_CLUES, ClipPlan, plan_clip, split_sizes

LICENCE = "CC0-1.0"


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    out: Path
    """Folder for clips/, conversations.jsonl, rejected.jsonl, manifest.json and recipe.jsonl."""
    clips: int = 600
    """Number of clips in all splits together: a fifth is for test, a twenty-fifth for development."""
    seed: int = 7
    """Seed of everything that is drawn. The same seed gives the same pictures and audio on every machine."""
    size: int = 160
    """Width and height of the picture in pixels, an even number."""
    fps: int = 10
    """Number of frames per second of the clips."""
    workers: int = os.cpu_count() or 1
    """Number of processes that draw. The clips do not depend on it."""


def main(options: Synthetic) -> None:
    check(options)
    plans = [plan_clip(options.seed, split, i) for split in SPLITS for i in range(split_sizes(options.clips)[split])]
    jsonl.make_folder(options.out / "clips")
    write_recipe(options, plans)
    draw_clips(options, missing(options, plans))
    settings = {"clips": options.clips, "seed": options.seed, "size": options.size, "fps": options.fps}
    manifest = write(
        options.out,
        (converse(plan, options.seed) for plan in plans),
        sources=[],
        options=settings,
        licence=LICENCE,
        notes={"clips_sha256": hash_of_all(clip_path(options, plan) for plan in plans), "drawn_with": versions()},
    )
    print("\n".join(summary(manifest, options.out)))


def check(options: Synthetic) -> None:
    """Raise AffectError for a number that no clip can be drawn with."""
    limits = {"clips": (3, 100_000), "size": (32, 1024), "fps": (1, 60), "workers": (1, 1024)}
    for name, (low, high) in limits.items():
        if not low <= getattr(options, name) <= high:
            raise AffectError(f"--{name} {getattr(options, name)} must be from {low} to {high}.")
    if options.size % 2:
        raise AffectError(f"--size {options.size} must be even: h264 halves the colour planes.")


def write_recipe(options: Synthetic, plans: Sequence[ClipPlan]) -> None:
    """Say how every clip is made, before the first is drawn.

    Raises AffectError where the folder's clips were made another way: kept, they would get wrong labels.
    """
    path = options.out / "recipe.jsonl"
    rows = [
        {"id": plan.name, "drawing": DRAWING, **asdict(plan), "size": options.size, "fps": options.fps}
        for plan in plans
    ]
    earlier = {row["id"]: row for row in jsonl.read_dicts(path)} if path.is_file() else {}
    for row in rows:
        if earlier.get(row["id"], row) != row:
            raise AffectError(
                f"{path}: clip {row['id']} was drawn with another seed, size, rate or version. "
                "Give the earlier options, or choose another --out."
            )
    # Rows of an earlier, larger run stay: their clips are still there.
    jsonl.write(path, {row["id"]: row for row in [*earlier.values(), *rows]}.values())


def missing(options: Synthetic, plans: Sequence[ClipPlan]) -> list[ClipPlan]:
    """The plans whose clip is not there whole; what a killed run left half-written is removed."""
    from affectllm.synthetic.clips import PARTIAL, is_whole

    for partial in (options.out / "clips").glob(f"{PARTIAL}*"):
        partial.unlink()
    return [plan for plan in plans if not is_whole(clip_path(options, plan))]


def clip_path(options: Synthetic, plan: ClipPlan) -> Path:
    return options.out / "clips" / f"{plan.name}.mp4"


def draw_clips(options: Synthetic, plans: Sequence[ClipPlan]) -> None:
    """Draw the clips in several processes, and say how fast that went."""
    if not plans:
        return
    start = time.monotonic()
    jobs = [Job(clip_path(options, plan), plan, options.seed, options.size, options.fps) for plan in plans]
    workers = min(options.workers, len(jobs))
    for _ in progress(drawn(jobs, workers), "Drawing clips", total=len(jobs)):
        pass
    rate = len(jobs) / (time.monotonic() - start)
    print(f"{len(jobs)} clips drawn, {rate:.1f} a second with {workers} process{'es' if workers > 1 else ''}")


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
