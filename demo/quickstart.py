"""All stages on the embedded nano model: clips, SFT, GRPO, evaluation, report. It needs no GPU and no hub.

    affectllm quickstart                 600 drawn clips, about a quarter of an hour on two cores
    affectllm quickstart --mini          a few minutes: shows that every stage runs, not that it learns much

Every stage is a command of its own. It is printed when it starts, and it can be run alone. If the quickstart is killed,
the same command continues where it stopped.
"""

import gc
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from affectllm.commands.cli import run as run_command
from affectllm.errors import AffectError
from affectllm.options import command

NOTE = (
    "Faces are drawn and voices are synthesised by one parametric generator, for training and test alike (with other "
    "identities, voices and sentences). A score here says that the pipeline works, not that a model reads real people."
)


@dataclass(frozen=True)
class Quickstart:
    out: Path = Path("runs/quickstart")
    """Folder for data, adapters, answers and the report."""
    mini: bool = False
    """Use few clips and steps. This shows that every stage runs, not that the model learns much."""
    seed: int = 7
    """Seed of the clips and of the training."""
    dtype: str = "auto"
    """Precision of training and answers: float32, bfloat16 or float16. auto takes what the hardware multiplies
    natively."""


@dataclass(frozen=True)
class Size:
    clips: int
    sft_steps: int
    text_steps: int
    align_steps: int
    grpo_steps: int


FULL = Size(clips=600, sft_steps=80, text_steps=30, align_steps=400, grpo_steps=6)
MINI = Size(clips=40, sft_steps=4, text_steps=2, align_steps=20, grpo_steps=1)


def main(run: Quickstart) -> None:
    start = time.monotonic()
    size = MINI if run.mini else FULL
    data = run.out / "data" / "conversations.jsonl"
    stage("setup-nano")
    stage("build", "synthetic", "--out", run.out / "data", "--clips", size.clips, "--seed", run.seed)
    for name, modalities, steps in (("text_only", (), size.text_steps), ("sft", ("video", "audio"), size.sft_steps)):
        stage(
            *("train", "sft", "--config", config("nano_sft.yaml"), "--data", data, "--out", run.out / name),
            *("--seed", run.seed, "--dtype", run.dtype, "--steps", steps),
            *("--align-steps", size.align_steps if modalities else 0, "--modalities", *modalities),
        )
    stage(
        *("train", "grpo", "--config", config("nano_grpo.yaml"), "--model", run.out / "sft", "--data", data),
        *("--out", run.out / "grpo", "--steps", size.grpo_steps, "--seed", run.seed, "--dtype", run.dtype),
    )
    evaluate(run, data)
    print(f"\n{NOTE}\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {run.out / 'report.html'}")


def evaluate(run: Quickstart, data: Path) -> None:
    """Answers and scores of every model and of the best constant answer on the test clips, and the report."""
    models = {"untrained": "nano", "text_only": run.out / "text_only", "sft": run.out / "sft", "grpo": run.out / "grpo"}
    stage("eval", "baseline", "--train", data, "--gold", data, "--out", run.out / "eval" / "constant")
    for name, model in models.items():
        modalities = () if name == "text_only" else ("video", "audio")
        stage(
            *("eval", "predict", "--model", model, "--data", data, "--out", run.out / "eval" / name),
            *("--dtype", run.dtype, "--modalities", *modalities),
        )
    for name in ("constant", *models):
        folder = run.out / "eval" / name
        stage("eval", "score", folder / "answers.jsonl", "--gold", data, "--split", "test", "--out", folder)
    named = [f"{name}={run.out / 'eval' / name}" for name in ("constant", *models)]
    stage("eval", "report", *named, "--gold", data, "--out", run.out, "--title", "affectllm quickstart", "--note", NOTE)


def config(name: str) -> Path:
    """A configuration shipped with the package."""
    from importlib.resources import files

    return Path(str(files("affectllm.train").joinpath("configs", name)))


def stage(*words: object) -> None:
    """Run one affectllm command as printed. It runs in this process, since importing torch again takes ten seconds."""
    line = [str(word) for word in words]
    print(f"\n$ affectllm {shlex.join(line)}", flush=True)
    try:
        run_command(line)
    except SystemExit as end:
        if end.code:
            raise AffectError(
                f"Stopped at: affectllm {shlex.join(line)}. Correct the cause and run quickstart again: it continues."
            ) from end
    gc.collect()


if __name__ == "__main__":
    command(main)
