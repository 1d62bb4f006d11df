"""Weights spread over two processes by FSDP2, with the shipped preset, train the same adapter as one process."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file

from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.training.spread import check_media
from tests.clips import conversation
from tests.training.launched import GRPO_OPTIONS, Data, assert_same_training, launched_as, log, prepared, run
from train.grpo import GRPO, check_spread
from train.grpo import main as grpo


def assert_same(one: Path, two: Path, printed: str, given: Data) -> None:
    assert launched_as(two) == (2, "FSDP")
    found = re.findall(r"sharded (\d+) of (\d+) parameters, (\d+) of (\d+) values here", printed)
    assert len(found) == 2
    for spread, parameters, _, _ in found:
        assert spread == parameters
    # Each value lies on one of the two, and neither holds much more than half.
    assert sum(int(here) for _, _, here, _ in found) == int(found[0][3])
    assert max(int(here) for _, _, here, _ in found) < 0.6 * int(found[0][3])
    assert_same_training(one, two, given)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["AffectLLM", "Qwen2.5-Omni Thinker"])
def test_supervised_steps(tmp_path: Path, family: str) -> None:
    given = prepared(tmp_path, family)
    options = "--steps 3 --trainer.gradient_checkpointing true"
    run("sft", given, tmp_path / "of1", "alone", f"{options} --batch 2")
    printed = run("sft", given, tmp_path / "of2", "fsdp", f"{options} --batch 1")
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
    options = f"{GRPO_OPTIONS} --steps 2 --grpo-step {way} {'--check-exact' if way == 'shared' else ''}"
    run("grpo", given, tmp_path / "of1", "alone", f"{options} --prompts 2", draw)
    printed = run("grpo", given, tmp_path / "of2", "fsdp", f"{options} --prompts 1", draw)
    assert_same(tmp_path / "of1", tmp_path / "of2", printed, given)
    if draw == "early":
        assert log(tmp_path / "of2")[0]["answer_tokens"] == pytest.approx(3.0)


@pytest.mark.slow
def test_a_resumed_run_ends_where_it_would_have(tmp_path: Path) -> None:
    given, out = prepared(tmp_path, "AffectLLM"), tmp_path / "out"
    # PyTorch loads no optimiser state without tensors, such as plain SGD's.
    options = f"{GRPO_OPTIONS} --steps 2 --prompts 1 --save-every 1 --trainer.save_total_limit 2"
    options += " --trainer.optim adamw_torch"
    run("grpo", given, out, "fsdp", options)
    whole = load_file(out / "adapter_model.safetensors")
    shutil.rmtree(out / "checkpoints" / "checkpoint-2")
    for name in ("run.json", "adapter_model.safetensors"):
        (out / name).unlink()
    run("grpo", given, out, "fsdp", options)
    assert [line["step"] for line in log(out)] == [1, 2]
    resumed = load_file(out / "adapter_model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(weight.equal(resumed[name]) for name, weight in whole.items())


def test_fsdp_that_accelerate_would_leave_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prepared(tmp_path, "AffectLLM")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(AffectError, match="leaves out on CPUs"):
        grpo(grouped(GRPO, model=given.model, data=given.data, out=tmp_path / "out", prompts=1, group=2))
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


def checked(options: GRPO, config: Any, functions: list[Any], rows: list[Any]) -> None:
    groups = options.sampling, options.loss, options.held_out, options.runtime
    check_spread(config, functions, rows, options.model.dtype, *groups)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dev_every": 1}, "--dev-every"),
        ({"rollout": "vllm-server"}, "--rollout"),
        ({"sft_weight": 0.1}, "--sft-weight"),
    ],
)
def test_what_processes_do_on_their_own_is_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    run = grouped(GRPO, data=tmp_path / "data.jsonl", out=tmp_path / "out", **options)
    asked = conversation("clip0", ["happy"])
    unanswered = msgspec.structs.replace(asked, messages=asked.messages[:1])
    third = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
    with pytest.raises(AffectError, match=named):
        checked(run, third, [], [asked, unanswered])
    second = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=2))
    checked(run, second, [], [asked, unanswered])


def test_rewards_that_ask_the_model_again_are_refused(tmp_path: Path) -> None:
    run = grouped(GRPO, data=tmp_path / "data.jsonl", out=tmp_path / "out")
    third = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
    with pytest.raises(AffectError, match="influence"):
        checked(run, third, [SimpleNamespace(measured="influence")], [])
