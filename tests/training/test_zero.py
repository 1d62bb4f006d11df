"""GRPO under DeepSpeed's ZeRO-2 and ZeRO-3: one process trains what it trains without. Several processes need GPUs."""

import importlib.util
from pathlib import Path

import pytest

from affectllm.errors import AffectError
from affectllm.options import grouped
from tests.training.launched import GRPO_OPTIONS, ROOT, Launch, assert_same_training, launched_as, prepared, run
from train.sft import SFT
from train.sft import main as sft

pytestmark = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")


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
def test_grpo_steps(tmp_path: Path, family: str, way: str, stage: Launch) -> None:
    given = prepared(tmp_path, family)
    options = f"{GRPO_OPTIONS} --steps 2 --grpo-step {way} --prompts 2 --trainer.gradient_checkpointing true"
    options += " --check-exact" if way == "shared" else ""
    run("grpo", given, tmp_path / "without", "alone", options)
    printed = run("grpo", given, tmp_path / "under", stage, options)
    assert launched_as(tmp_path / "under") == (1, "DEEPSPEED")
    # Groups share their prompts there too, rather than falling back to rows.
    assert "row by row" not in printed
    assert_same_training(tmp_path / "without", tmp_path / "under", given)


def test_deepspeed_that_accelerate_would_leave_out_is_refused(tmp_path: Path) -> None:
    given = prepared(tmp_path, "AffectLLM")
    for stage in ("zero2", "zero3"):
        trainer = {"deepspeed": str(ROOT / "train" / "deepspeed" / f"{stage}.json"), "use_cpu": True}
        with pytest.raises(AffectError, match="left out on a CPU"):
            sft(grouped(SFT, model=given.model, data=given.data, out=tmp_path / stage, steps=1, trainer=trainer))
        assert not (tmp_path / stage / "run.json").exists()
