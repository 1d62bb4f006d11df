"""Both stages run through every family: TRL's fused heads and generation find clips where the stock classes do."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.models import load
from affectllm.options import grouped
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY, families
from train.grpo import GRPO
from train.grpo import main as grpo
from train.sft import SFT
from train.sft import main as sft


# The two that other tests take through every stage.
@pytest.mark.parametrize("family", families("Qwen3-Omni Thinker", "Qwen2.5-VL"))
def test_supervised_and_grpo_steps(family: str, tmp_path: Path) -> None:
    model = str(TINY[family](tmp_path / "model"))
    modalities = load(model, "float32").modalities
    rows = [conversation(f"clip{i}", ["happy", "sad"][: i + 1], parts=modalities) for i in range(2)]
    for i, row in enumerate(rows):
        write_clip(tmp_path / f"{row.id}.mp4", seed=i, seconds=1 + i)
    data = tmp_path / "conversations.jsonl"
    data.write_text("".join(jsonl.dumps(row) + "\n" for row in rows))
    sft(grouped(SFT, model=model, data=data, out=tmp_path / "sft", steps=2, batch=1, modalities=modalities))
    grpo(
        grouped(
            GRPO, model=str(tmp_path / "sft"), data=data, out=tmp_path / "grpo", steps=1, prompts=1, group=4,
            max_new_tokens=6, rewards="tests.training.test_scripts:variety", modalities=modalities, rate=1e-2,
        )
    )  # fmt: skip
    before, after = (load_file(tmp_path / stage / "adapter_model.safetensors") for stage in ("sft", "grpo"))
    assert any(not before[name].equal(after[name]) for name in before)
    step = json.loads((tmp_path / "grpo" / "run.json").read_text())["log"][0]
    # The reference is the adapter that the run starts from, so that the first step lies on it.
    assert step["kl"] == pytest.approx(0.0, abs=1e-4)
