"""A clip that cannot be read costs its row and nothing else, and a run without it resumes exactly."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.options import grouped
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect
from train.sft import SFT, main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four conversations, the clip of one gone and that of another cut off."""
    write_toy_data(tmp_path)
    save_tiny_affect(tmp_path / "model")
    (tmp_path / "clip1.mp4").unlink()
    (tmp_path / "clip3.mp4").write_bytes((tmp_path / "clip3.mp4").read_bytes()[:300])
    return tmp_path


def options(folder: Path, out: Path, **more: Any) -> SFT:
    defaults = {
        "model": str(folder / "model"), "data": folder / "conversations.jsonl", "out": out, "steps": 6, "batch": 2,
        "dtype": "float32", "rate": 1e-2,
    }  # fmt: skip
    return grouped(SFT, **{**defaults, **more})


@pytest.mark.parametrize("batch", [1, 2])
def test_the_run_goes_on_and_says_what_it_lost(folder: Path, capsys: pytest.CaptureFixture[str], batch: int) -> None:
    run = options(folder, folder / "out", batch=batch, align_steps=3)
    main(run)
    lost = {row["id"]: row["reason"] for row in jsonl.read_dicts(run.runtime.out / "quarantine.jsonl")}
    assert set(lost) == {"clip1", "clip3"}
    assert "clip1.mp4: the system says" in lost["clip1"]
    said = capsys.readouterr().err
    assert said.count("Quarantined 'clip1'") == 1
    assert "2 conversations were left out" in said
    assert len([row for row in jsonl.read_dicts(run.runtime.out / "log.jsonl") if "loss" in row]) == 6


def test_a_resumed_run_without_a_clip_equals_one_that_was_not_stopped(folder: Path) -> None:
    run = options(folder, folder / "whole", save_every=2, trainer={"save_total_limit": 9})
    main(run)
    killed = folder / "killed"
    shutil.copytree(run.runtime.out / "checkpoints" / "checkpoint-2", killed / "checkpoints" / "checkpoint-2")
    shutil.copy(run.runtime.out / "quarantine.jsonl", killed)
    text = (run.runtime.out / "options.json").read_text().replace(str(run.runtime.out), str(killed))
    (killed / "options.json").write_text(text)
    # The clip is back, but a run that has lost it once goes on without it.
    shutil.copy(folder / "clip0.mp4", folder / "clip1.mp4")
    main(options(folder, killed, save_every=2, trainer={"save_total_limit": 9}))
    one, other = (load_file(out / "adapter_model.safetensors") for out in (run.runtime.out, killed))
    assert all(one[name].equal(other[name]) for name in one)


def test_no_clip_left_ends_the_run(folder: Path) -> None:
    run = options(folder, folder / "out")
    for name in ("clip0", "clip2"):
        (folder / f"{name}.mp4").unlink()
    with pytest.raises(AffectError):
        main(run)
