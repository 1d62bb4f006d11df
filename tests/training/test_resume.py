"""A run that was killed and started again ends where the uninterrupted one does."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affectllm.options import grouped
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect
from train.grpo import GRPO
from train.grpo import main as grpo
from train.sft import SFT
from train.sft import main as sft

KEEP = {"save_total_limit": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resume")
    write_toy_data(made)
    save_tiny_affect(made / "model")
    sft(
        grouped(SFT, model=str(made / "model"), data=made / "conversations.jsonl", out=made / "start", steps=1, batch=2)
    )
    return made


def run(stage: str, folder: Path, out: Path) -> dict[str, torch.Tensor]:
    data, reward = folder / "conversations.jsonl", "tests.training.test_scripts:variety"
    if stage == "sft":
        options = grouped(
            SFT, model=str(folder / "model"), data=data, out=out, steps=4, batch=2, save_every=2, trainer=KEEP
        )
        sft(options)
    else:
        grpo(
            grouped(
                GRPO, model=str(folder / "start"), data=data, out=out, steps=4, prompts=2, group=2, max_new_tokens=6,
                rewards=reward, save_every=2, rate=1e-2, trainer=KEEP,
            )
        )  # fmt: skip
    return load_file(out / "adapter_model.safetensors")


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_resuming_gives_the_same_adapter(folder: Path, tmp_path: Path, stage: str) -> None:
    whole = run(stage, folder, tmp_path / "whole")
    # What a kill behind the first checkpoint leaves: the options, that checkpoint, and half of the next.
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-2", killed / "checkpoints" / "checkpoint-2")
    shutil.copy(tmp_path / "whole" / "options.json", killed / "options.json")
    text = (killed / "options.json").read_text().replace(str(tmp_path / "whole"), str(killed))
    (killed / "options.json").write_text(text)
    resumed = run(stage, folder, killed)
    start = load_file(tmp_path / "whole" / "checkpoints" / "checkpoint-2" / "adapter_model.safetensors")
    assert any(not start[name].equal(whole[name]) for name in whole)
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=1e-5, msg=name)
