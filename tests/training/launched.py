"""Training scripts in processes of their own: alone, under DDP, FSDP2 or DeepSpeed; and whether two runs agree."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.models import load
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY

ROOT = Path(__file__).parents[2]
GRPO_OPTIONS = "--group 2 --max-new-tokens 5 --beta 0.04 --rewards tests.training.test_two_processes:by_place"
Launch = Literal["alone", "ddp", "fsdp", "zero2", "zero3"]


class Data(NamedTuple):
    model: str
    data: Path
    modalities: tuple[str, ...]


def prepared(folder: Path, family: str) -> Data:
    """A tiny model of the family, and four clips that show all it can see and hear."""
    model = str(TINY[family](folder / "model"))
    kinds = load(model, "float32").modalities
    rows = [conversation(f"clip{i}", ["happy", "sad"][: i % 2 + 1], parts=kinds) for i in range(4)]
    for i, row in enumerate(rows):
        write_clip(folder / f"{row.id}.mp4", seed=i, seconds=1 + i % 2)
    data = folder / "conversations.jsonl"
    data.write_text("".join(jsonl.dumps(row) + "\n" for row in rows))
    return Data(model, data, kinds)


def run(script: str, given: Data, out: Path, launch: Launch, options: str, draw: str = "by place") -> str:
    """What the run prints; it has a cache of its own, so that it encodes its clips itself."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    file = str(ROOT / "train" / f"{script}.py")
    starts = {"ddp": [*torchrun, file], "fsdp": [*torchrun, "-m", "tests.training.fsdp_on_cpu", script]}
    words = ["--model", given.model, "--data", str(given.data), "--out", str(out), "--rate", "1e-2"]
    words += ["--modalities", *given.modalities]
    words += ["--dtype", "float32", "--trainer.optim", "sgd", "--trainer.max_grad_norm", "1e9", *options.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"DRAW_BY_PLACE": draw, "AFFECTLLM_CACHE": f"{out}-cache"}
    if launch in ("zero2", "zero3"):
        words += ["--trainer.use_cpu", "false"]
        words += ["--trainer.deepspeed", str(ROOT / "train" / "deepspeed" / f"{launch}.json")]
        environment |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    else:
        environment |= {"ACCELERATE_USE_CPU": "true", **(preset() if launch == "fsdp" else {})}
    done = subprocess.run(
        [sys.executable, *starts.get(launch, [file]), *words],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout + done.stderr


def preset() -> dict[str, str]:
    """The environment that `accelerate launch` makes of train/accelerate/fsdp2.yaml for its processes."""
    from accelerate.commands.config.config_args import load_config_from_file

    config: Any = load_config_from_file(str(ROOT / "train" / "accelerate" / "fsdp2.yaml"))
    plain = {name: str(value) for name, value in config.fsdp_config.items()}
    switches = {name: value.lower() for name, value in plain.items() if value in ("True", "False")}
    return {"ACCELERATE_USE_FSDP": "true", **{name.upper(): value for name, value in (plain | switches).items()}}


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def launched_as(out: Path) -> tuple[int, str]:
    record = json.loads((out / "run.json").read_text())
    return record["processes"], record["distributed"]


def assert_same_training(one: Path, two: Path, given: Data) -> None:
    """The same numbers in the log, and the same adapter, whole, which is not the one they began with."""
    for a, b in zip(log(one), log(two), strict=True):
        for key in {"loss", "grad_norm", "reward", "kl", "answer_tokens"} & a.keys():
            assert b[key] == pytest.approx(a[key], rel=1e-4, abs=1e-6), key
    assert max(line.get("grad_norm", 0.0) for line in log(one)) > 1e-3
    adapters = [load_file(out / "adapter_model.safetensors") for out in (one, two)]
    assert adapters[0].keys() == adapters[1].keys()
    for name, weight in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], weight, atol=1e-6, rtol=1e-4, msg=name)
    before = dict(load(given.model, "float32").core.named_parameters())
    after = load(str(two), "float32").core
    assert any(not weight.equal(before[name]) for name, weight in after.named_parameters())
