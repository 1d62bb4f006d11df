"""Two processes over half of the clips each train the same adapter as one process over all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.clips import write_toy_data
from tests.tiny_models import TINY, save_tiny_affect
from tests.training.launched import assert_same_training, launched_as, prepared, run

pytestmark = pytest.mark.slow


def by_place(completions: list[str], **_: object) -> list[float]:
    return [float(i % 2) for i in range(len(completions))]


END = 2
"""Id of the composed model's end of turn."""


def likeliest_by_place(probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
    """In the place of a draw: the likeliest token for even rows, the second for odd ones, on any process.

    With DRAW_BY_PLACE=early the second of two groups ends at once.
    """
    found = probabilities.topk(2, dim=-1).indices
    drawn = found.gather(1, (torch.arange(len(found)) % 2)[:, None])
    if os.environ["DRAW_BY_PLACE"] == "early":
        rows = torch.arange(len(found)) + len(found) * int(os.environ.get("RANK", "0"))
        drawn[rows >= 2] = END
    return drawn


# The trainer's processes import this module for its reward.
if os.environ.get("DRAW_BY_PLACE"):
    torch.multinomial = likeliest_by_place  # type: ignore[assignment]


@pytest.mark.parametrize("way", ["shared", "rows"])
def test_two_processes_equal_one(tmp_path: Path, way: str) -> None:
    data = write_toy_data(tmp_path)
    model = save_tiny_affect(tmp_path / "model")
    options = ["--model", str(model), "--data", str(data), "--grpo-step", way, "--steps", "2", "--group", "2"]
    options += ["--max-new-tokens", "5", "--rate", "1e-2", "--dtype", "float32", "--beta", "0.04"]
    options += ["--rewards", "tests.training.test_two_processes:by_place"]
    options += ["--trainer.optim", "sgd", "--trainer.max_grad_norm", "1e9"]
    options += ["--check-exact"] if way == "shared" else []
    root = Path(__file__).parents[2]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    environment["DRAW_BY_PLACE"] = "1"
    for processes in (1, 2):
        out = tmp_path / f"of{processes}"
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", f"{processes}"]
        words += [str(root / "train" / "grpo.py"), *options, "--prompts", str(2 // processes), "--out", str(out)]
        done = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("of1", "of2")
    ]
    assert [line["step"] for line in logs[1]] == [1, 2]
    for one, two in zip(*logs, strict=True):
        assert one["grad_norm"] > 1e-3
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert two["reward"] == pytest.approx(one["reward"])
        assert two["kl"] == pytest.approx(one["kl"], abs=1e-6)
        assert two["answer_tokens"] == pytest.approx(one["answer_tokens"])
    said = [(tmp_path / name / "completions.jsonl").read_text().splitlines() for name in ("of1", "of2")]
    assert len(said[0]) == len(said[1]) == 8
    adapters = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("of1", "of2")]
    for name, weight in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], weight, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", TINY)
def test_supervised_steps_of_every_family(tmp_path: Path, family: str) -> None:
    given = prepared(tmp_path, family)
    run("sft", given, tmp_path / "of1", "alone", "--steps 2 --batch 2")
    run("sft", given, tmp_path / "of2", "ddp", "--steps 2 --batch 1")
    assert launched_as(tmp_path / "of2") == (2, "MULTI_CPU")
    assert_same_training(tmp_path / "of1", tmp_path / "of2", given)
