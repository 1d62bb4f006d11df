"""Weights spread over two processes by FSDP2, with the shipped preset, train the same adapter as one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.training.spread import check_media
from affectllm.training.store import MediaStore
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY
from train.grpo import GRPO, check_spread
from train.grpo import main as grpo

ROOT = Path(__file__).parents[2]
GRPO_OPTIONS = "--group 2 --max-new-tokens 5 --beta 0.04 --rewards tests.training.test_two_processes:by_place"


class Data(NamedTuple):
    model: str
    data: Path


def prepared(folder: Path, family: str) -> Data:
    """A tiny model of the family, and four clips that show all it can see and hear."""
    model = str(TINY[family](folder / "model"))
    rows = [
        conversation(f"clip{i}", ["happy", "sad"][: i % 2 + 1], parts=load(model, "float32").modalities)
        for i in range(4)
    ]
    for i, row in enumerate(rows):
        write_clip(folder / f"{row.id}.mp4", seed=i, seconds=1 + i % 2)
    data = folder / "conversations.jsonl"
    data.write_text("".join(row.model_dump_json() + "\n" for row in rows))
    return Data(model, data)


def preset() -> dict[str, str]:
    """The environment that `accelerate launch` makes of train/accelerate/fsdp2.yaml for its processes."""
    from accelerate.commands.config.config_args import load_config_from_file

    config: Any = load_config_from_file(str(ROOT / "train" / "accelerate" / "fsdp2.yaml"))
    values = {
        key.upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in config.fsdp_config.items()
    }
    return {"ACCELERATE_USE_FSDP": "true", **values}


def run(script: str, given: Data, out: Path, processes: int, options: str, draw: str = "by place") -> str:
    """What the run prints; each process has a cache of its own, so that neither finds a clip that the other encoded."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    launch = (
        [*torchrun, "tests.training.fsdp_on_cpu", script] if processes == 2 else [str(ROOT / "train" / f"{script}.py")]
    )
    words = [
        "--model",
        given.model,
        "--data",
        str(given.data),
        "--out",
        str(out),
        "--rate",
        "1e-2",
        "--dtype",
        "float32",
    ]
    words += ["--trainer.optim", "sgd", "--trainer.max_grad_norm", "1e9", *options.split()]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"DRAW_BY_PLACE": draw, "AFFECTLLM_CACHE": f"{out}-cache"}
    environment |= preset() if processes == 2 else {}
    done = subprocess.run(
        [sys.executable, *launch, *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def assert_same(one: Path, two: Path, printed: str, given: Data) -> None:
    record = json.loads((two / "run.json").read_text())
    assert (record["processes"], record["distributed"]) == (2, "FSDP")
    found = re.findall(r"sharded (\d+) of (\d+) parameters, (\d+) of (\d+) values here", printed)
    assert len(found) == 2
    for spread, parameters, _, _ in found:
        assert spread == parameters
    # Each value lies on one of the two, and neither holds much more than half.
    assert sum(int(here) for _, _, here, _ in found) == int(found[0][3])
    assert max(int(here) for _, _, here, _ in found) < 0.6 * int(found[0][3])
    assert_same_training(one, two, given)


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


@pytest.mark.slow
@pytest.mark.parametrize("family", ["AffectLLM", "Qwen2.5-Omni Thinker"])
def test_supervised_steps(tmp_path: Path, family: str) -> None:
    given = prepared(tmp_path, family)
    options = "--steps 3 --trainer.gradient_checkpointing true"
    run("sft", given, tmp_path / "of1", 1, f"{options} --batch 2")
    printed = run("sft", given, tmp_path / "of2", 2, f"{options} --batch 1")
    assert_same(tmp_path / "of1", tmp_path / "of2", printed, given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "way", "draw"),
    [
        ("AffectLLM", "shared", "by place"),
        ("AffectLLM", "rows", "by place"),
        # One process has its answers long before the other, and must go on gathering weights for it.
        ("AffectLLM", "shared", "early"),
        ("AffectLLM", "rows", "early"),
        ("Qwen2.5-Omni Thinker", "shared", "by place"),
        ("Qwen2.5-Omni Thinker", "rows", "by place"),
        ("Gemma 4", "shared", "by place"),
    ],
)
def test_grpo_steps(tmp_path: Path, family: str, way: str, draw: str) -> None:
    given = prepared(tmp_path, family)
    options = f"{GRPO_OPTIONS} --steps 2 --grpo-step {way}"
    run("grpo", given, tmp_path / "of1", 1, f"{options} --prompts 2", draw)
    printed = run("grpo", given, tmp_path / "of2", 2, f"{options} --prompts 1", draw)
    assert_same(tmp_path / "of1", tmp_path / "of2", printed, given)
    if draw == "early":
        assert log(tmp_path / "of2")[0]["answer_tokens"] == pytest.approx(3.0)


def test_fsdp_that_accelerate_would_leave_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prepared(tmp_path, "AffectLLM")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(AffectError, match="leaves out on CPUs"):
        grpo(GRPO(model=given.model, data=given.data, out=tmp_path / "out", prompts=1, group=2))
    assert not (tmp_path / "out" / "run.json").exists()


def test_media_that_differ_are_refused(tmp_path: Path) -> None:
    """Processes would gather different layers, and wait for each other for ever."""
    given = prepared(tmp_path, "Qwen2.5-Omni Thinker")
    store = MediaStore(load(given.model, "float32"), tmp_path, FeatureCache(tmp_path / "cache", 2**20))
    both, seen, said = (conversation("clip0", ["happy"], parts=parts) for parts in (("video", "audio"), ("video",), ()))
    check_media(store, [both, both])
    for other in (seen, said):
        with pytest.raises(AffectError, match=r"other media than others \(.*video and audio"):
            check_media(store, [both, other])


def test_a_fusion_takes_any_media_but_none(tmp_path: Path) -> None:
    given = prepared(tmp_path, "AffectLLM")
    store = MediaStore(load(given.model, "float32"), tmp_path, FeatureCache(tmp_path / "cache", 2**20))
    both, seen, said = (conversation("clip0", ["happy"], parts=parts) for parts in (("video", "audio"), ("video",), ()))
    check_media(store, [both, seen])
    with pytest.raises(AffectError, match="text alone"):
        check_media(store, [both, said])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dev_every": 1}, "--dev-every"),
        ({"rollout": "vllm-server"}, "--rollout"),
        ({"sft_weight": 0.1}, "--sft-weight"),
    ],
)
def test_what_processes_do_on_their_own_is_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    run = GRPO(data=tmp_path / "data.jsonl", out=tmp_path / "out", **options)
    asked = conversation("clip0", ["happy"])
    unanswered = asked.model_copy(update={"messages": asked.messages[:1]})
    third = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
    with pytest.raises(AffectError, match=named):
        check_spread(run, third, [], [asked, unanswered])
    second = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=2))
    check_spread(run, second, [], [asked, unanswered])


def test_rewards_that_ask_the_model_again_are_refused(tmp_path: Path) -> None:
    run = GRPO(data=tmp_path / "data.jsonl", out=tmp_path / "out")
    third = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
    with pytest.raises(AffectError, match="influence"):
        check_spread(run, third, [SimpleNamespace(measured="influence")], [])
