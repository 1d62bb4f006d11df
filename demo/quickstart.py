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


def main(options: Quickstart) -> None:
    start = time.monotonic()
    size = MINI if options.mini else FULL
    data = options.out / "data" / "conversations.jsonl"
    stage("setup-nano")
    stage("build", "synthetic", "--out", options.out / "data", "--clips", size.clips, "--seed", options.seed)
    for name, modalities, steps in (("text_only", (), size.text_steps), ("sft", ("video", "audio"), size.sft_steps)):
        stage(
            *("train", "sft", "--config", config("nano_sft.yaml"), "--data", data, "--out", options.out / name),
            *("--seed", options.seed, "--dtype", options.dtype, "--steps", steps),
            *("--align-steps", size.align_steps if modalities else 0, "--modalities", *modalities),
        )
    stage(
        *("train", "grpo", "--config", config("nano_grpo.yaml"), "--model", options.out / "sft", "--data", data),
        *("--out", options.out / "grpo", "--steps", size.grpo_steps, "--seed", options.seed, "--dtype", options.dtype),
    )
    evaluate(options, data)
    print(f"\n{NOTE}\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {options.out / 'report.html'}")


def evaluate(options: Quickstart, data: Path) -> None:
    """Answers and scores of every model and of the best constant answer on the test clips, and the report."""
    models = {
        "untrained": "nano",
        "text_only": options.out / "text_only",
        "sft": options.out / "sft",
        "grpo": options.out / "grpo",
    }
    stage("eval", "baseline", "--train", data, "--gold", data, "--out", options.out / "eval" / "constant")
    for name, model in models.items():
        modalities = () if name == "text_only" else ("video", "audio")
        stage(
            *("eval", "predict", "--model", model, "--data", data, "--out", options.out / "eval" / name),
            *("--dtype", options.dtype, "--modalities", *modalities),
        )
    for name in ("constant", *models):
        folder = options.out / "eval" / name
        stage("eval", "score", folder / "answers.jsonl", "--gold", data, "--split", "test", "--out", folder)
    named = [f"{name}={options.out / 'eval' / name}" for name in ("constant", *models)]
    stage(
        "eval",
        "report",
        *named,
        "--gold",
        data,
        "--out",
        options.out,
        "--title",
        "affectllm quickstart",
        "--note",
        NOTE,
    )


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
