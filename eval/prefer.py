"""Let a reward model choose between two descriptions of each clip.

    affectllm eval prefer --model runs/reward --data data/emoprefer/conversations.jsonl --out runs/reward/test
    affectllm eval score runs/reward/test/answers.jsonl --gold data/.../conversations.jsonl --metric preference_waf

Each description is scored alone, so that the order of the two plays no part. Answers are appended one by one; a run
that was killed continues where it stopped.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from affectllm import jsonl, precision
from affectllm.data.reading import media_root, read_split
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.progress import progress
from affectllm.records import Answer


@dataclass(frozen=True, kw_only=True)
class Prefer:
    data: Path
    """Pairs that `affectllm build emoprefer` wrote."""
    out: Path
    """Folder for answers.jsonl."""
    model: str
    """Folder of a reward model, or any model. An untrained one shows what the training gained."""
    media: Path | None = None
    """Folder that the clips' paths start from. Without it, the folder of the data file."""
    split: str = "test"
    """Split of the data to answer."""
    modalities: tuple[str, ...] = ("video", "audio")
    """Parts of a clip that the model gets in addition to the subtitle."""
    frames: int | None = None
    """Number of frames of a clip. Without it, as many as the model was trained with."""
    max_pixels: int | None = None
    """Largest number of pixels of a frame. Without it, that of the training."""
    dtype: str = "auto"
    """Precision of the weights: float32, bfloat16 or float16. auto takes what the hardware multiplies natively."""


def main(options: Prefer) -> None:
    from affectllm.media.cache import FeatureCache
    from affectllm.models import load
    from affectllm.models.store import MediaStore
    from affectllm.paths import cache_folder
    from affectllm.training.reward_model import fit_question, fit_scores

    pairs = [pair for pair in read_split(options.data, options.split) if pair.task == "preference"]
    if not pairs:
        raise AffectError(
            f"{options.data} holds no pairs in split '{options.split}'. Build them with: affectllm build emoprefer"
        )
    with jsonl.Appender(options.out / "answers.jsonl") as answers:
        left = [pair for pair in pairs if pair.id not in answers.done]
        if left:
            backbone = load(options.model, options.dtype, frames=options.frames, max_pixels=options.max_pixels)
            backbone.model.to(precision.device()).eval()
            cache = FeatureCache(cache_folder() / "features")
            store = MediaStore(backbone, media_root(options.data, options.media), cache, options.modalities)
        for pair in progress(left, f"Choosing with {options.model}", total=len(left)):
            start = time.monotonic()
            try:
                first, second = fit_scores(store, [fit_question(pair, name) for name in ("a1", "a2")])
                text, problem = ("a1" if first > second else "a2"), None
            except AffectError as error:
                text, problem = "", str(error)
            answers.append(
                Answer(
                    id=pair.id, text=text, model=options.model, seconds=round(time.monotonic() - start, 4), tokens=0,
                    prompt_hash=backbone.prompt_hash(pair, options.modalities), error=problem,
                )
            )  # fmt: skip
    print(f"{len(pairs)} answers in {options.out / 'answers.jsonl'}")


if __name__ == "__main__":
    command(main)
