"""GRPO under DeepSpeed's ZeRO-2 and ZeRO-3: one process trains what it trains without. Several processes need GPUs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from affectllm.errors import AffectError
from tests.training.test_fsdp import GRPO_OPTIONS, ROOT, Data, assert_same_training, prepared, run
from tests.training.test_launch import free_port
from train.sft import SFT
from train.sft import main as sft

pytestmark = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")


def run_zero(given: Data, out: Path, stage: str, options: str) -> None:
    preset = str(ROOT / "train" / "deepspeed" / f"{stage}.json")
    words = ["--model", given.model, "--data", str(given.data), "--out", str(out), "--rate", "1e-2"]
    words += ["--dtype", "float32", "--trainer.optim", "sgd", "--trainer.max_grad_norm", "1e9", *options.split()]
    words += ["--trainer.use_cpu", "false", "--trainer.bf16", "false", "--trainer.deepspeed", preset]
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    environment = {**os.environ, **place, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"DRAW_BY_PLACE": "by place", "AFFECTLLM_CACHE": f"{out}-cache"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "train" / "grpo.py"), *words],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((out / "run.json").read_text())
    assert (record["processes"], record["distributed"]) == (1, "DEEPSPEED")
    # Groups share their prompts there too, rather than going row by row.
    assert ("--grpo-step rows" in options) or "row by row" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "way", "stage"),
    [
        ("AffectLLM", "shared", "zero2"),
        ("AffectLLM", "shared", "zero3"),
        ("AffectLLM", "rows", "zero3"),
        ("Qwen2.5-Omni Thinker", "shared", "zero3"),
    ],
)
def test_grpo_steps(tmp_path: Path, family: str, way: str, stage: str) -> None:
    given = prepared(tmp_path, family)
    options = f"{GRPO_OPTIONS} --steps 2 --grpo-step {way} --prompts 2 --trainer.gradient_checkpointing true"
    run("grpo", given, tmp_path / "without", 1, options)
    run_zero(given, tmp_path / "under", stage, options)
    assert_same_training(tmp_path / "without", tmp_path / "under", given)


def test_deepspeed_that_accelerate_would_leave_out_is_refused(tmp_path: Path) -> None:
    given = prepared(tmp_path, "AffectLLM")
    for stage in ("zero2", "zero3"):
        preset = str(ROOT / "train" / "deepspeed" / f"{stage}.json")
        trainer = {"deepspeed": preset, "use_cpu": True}
        with pytest.raises(AffectError, match="left out on a CPU"):
            sft(SFT(model=given.model, data=given.data, out=tmp_path / stage, steps=1, trainer=trainer))
        assert not (tmp_path / stage / "run.json").exists()
