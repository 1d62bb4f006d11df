"""What starts a run on one device, several, or several machines; the presets are read by those they are for."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from affectllm.models import load
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect

ROOT = Path(__file__).parents[2]
PRESETS, STAGES = ROOT / "train" / "accelerate", ROOT / "train" / "deepspeed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("launch")
    write_toy_data(made)
    save_tiny_affect(made / "model")
    return made


def train(folder: Path, out: Path, *words: str, launch: tuple[str, ...] = (), **environment: str) -> Path:
    options = ["--model", str(folder / "model"), "--data", str(folder / "conversations.jsonl"), "--out", str(out)]
    options += ["--steps", "3", "--rate", "1e-2", "--dtype", "float32", *words]
    done = subprocess.run(
        [sys.executable, *launch, str(ROOT / "train" / "sft.py"), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def losses(out: Path) -> list[float]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The run of one process that all others must equal."""
    return train(folder, folder / "alone", "--batch", "2")


def assert_same(out: Path, alone: Path, how: dict[str, Any]) -> None:
    record = json.loads((out / "run.json").read_text())
    assert {key: record[key] for key in how} == how
    assert losses(out) == pytest.approx(losses(alone), abs=1e-5)
    one, other = (load_file(run / "adapter_model.safetensors") for run in (alone, out))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=1e-4, rtol=1e-3, msg=name)


def test_two_processes_equal_one(folder: Path, alone: Path) -> None:
    # accelerate's own --cpu runs one process, whatever --num_processes says; this variable makes it two.
    launch = ("-m", "accelerate.commands.launch", "--config_file", str(PRESETS / "ddp.yaml"))
    launch += ("--num_processes", "2", "--main_process_port", "0")
    out = train(folder, folder / "two", "--batch", "1", launch=launch, ACCELERATE_USE_CPU="true")
    assert_same(out, alone, {"processes": 2, "distributed": "MULTI_CPU"})


# DeepSpeed compiles its communication for CPUs first, which takes minutes where it was never done.
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_one_process_under_zero_equals_none(folder: Path, alone: Path, stage: str) -> None:
    """DeepSpeed's own optimiser steps and gathers; what several processes add needs GPUs."""
    preset = str(STAGES / f"{stage}.json")
    words = ("--batch", "2", "--trainer.use_cpu", "false", "--trainer.deepspeed", preset)
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    out = train(folder, folder / stage, *words, DS_ACCELERATOR="cpu", **place)
    assert_same(out, alone, {"processes": 1, "distributed": "DEEPSPEED"})
    load(str(out), "float32")


def free_port() -> str:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_of_accelerate_are_read_whole(path: Path) -> None:
    """A key that accelerate does not know is an error there."""
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes >= 1
    assert config.use_cpu is False
    assert (config.fsdp_config or {}).get("fsdp_version", 2) == 2
    assert "train/sft.py" in path.read_text()


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
@pytest.mark.parametrize("path", sorted(STAGES.glob("*.json")), ids=lambda path: path.stem)
def test_presets_of_deepspeed_are_read_whole(path: Path) -> None:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    given = json.loads(path.read_text())["zero_optimization"]
    set_later = {key for key, value in given.items() if value == "auto"}
    config = DeepSpeedZeroConfig(**{key: value for key, value in given.items() if key not in set_later})
    assert config.stage == (2 if path.stem == "zero2" else 3)
    assert set_later <= set(DeepSpeedZeroConfig.model_fields) | {
        field.alias for field in DeepSpeedZeroConfig.model_fields.values()
    }


def test_the_slurm_script_is_a_script() -> None:
    path = ROOT / "train" / "slurm" / "sft.sbatch"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert "train/accelerate/multi_node.yaml" in path.read_text()
