"""One place decides the precision of a run, and nothing may say another."""

from pathlib import Path
from typing import Any

import pytest
import torch

from affectllm import precision
from affectllm.errors import AffectError
from affectllm.training.run_folder import RunFolder

ON_CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


@pytest.mark.parametrize(("given", "native"), [("0", False), ("1", True)])
def test_the_environment_answers_for_the_cpu(monkeypatch: pytest.MonkeyPatch, given: str, native: bool) -> None:
    monkeypatch.setenv(precision.NATIVE, given)
    assert precision.native_bfloat16() is native


def test_another_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.NATIVE, "yes")
    with pytest.raises(AffectError, match="AFFECTLLM_NATIVE_BFLOAT16=yes: it is 0 or 1"):
        precision.native_bfloat16()


@ON_CPU
@pytest.mark.parametrize(("native", "chosen"), [("0", torch.float32), ("1", torch.bfloat16)])
def test_auto_is_what_the_cpu_multiplies(monkeypatch: pytest.MonkeyPatch, native: str, chosen: torch.dtype) -> None:
    monkeypatch.setenv(precision.NATIVE, native)
    assert precision.choose("auto") == chosen


@ON_CPU
def test_float16_without_a_gpu_is_refused_with_the_reason() -> None:
    with pytest.raises(AffectError, match=r"--dtype float16 needs a GPU.*Use --dtype float32, or bfloat16"):
        precision.choose("float16")


@pytest.mark.parametrize(("multiplies", "chosen"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu(monkeypatch: pytest.MonkeyPatch, multiplies: bool, chosen: torch.dtype) -> None:
    gpu(monkeypatch, multiplies)
    assert precision.choose("auto") == chosen


def test_bfloat16_on_a_gpu_that_only_emulates_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, multiplies=False)
    with pytest.raises(AffectError, match=r"Tesla T4 does not multiply it\. Use --dtype float16"):
        precision.choose("bfloat16")


def gpu(monkeypatch: pytest.MonkeyPatch, multiplies: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: multiplies)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")


@pytest.mark.parametrize(
    ("dtype", "trainer", "launched", "said"),
    [
        ("float32", {"bf16": True}, "no", "trainer.bf16 is true, and --dtype float32 says another precision"),
        ("bfloat16", {"bf16": False}, "no", "trainer.bf16 is false, and --dtype bfloat16"),
        ("float32", {"fp16": True}, "no", "trainer.fp16 is true"),
        ("float32", {}, "bf16", "mixed_precision: bf16, and --dtype float32"),
        ("bfloat16", {}, "fp16", "mixed_precision: fp16, and --dtype bfloat16"),
        ("auto", {"bf16": True}, "no", "--dtype auto, which is float32 here, says another"),
    ],
)
def test_a_trainer_or_launch_of_another_precision_is_refused(
    monkeypatch: pytest.MonkeyPatch, dtype: str, trainer: dict[str, Any], launched: str, said: str
) -> None:
    monkeypatch.setenv(precision.NATIVE, "0")
    with pytest.raises(AffectError, match=said):
        precision.settle(dtype, trainer, {"ACCELERATE_MIXED_PRECISION": launched})


@pytest.mark.parametrize(
    ("dtype", "trainer", "launched", "chosen"),
    [
        ("float32", {}, "no", "no"),
        ("float32", {"bf16": False, "fp16": False}, "no", "no"),
        ("bfloat16", {"bf16": True}, "bf16", "bf16"),
        ("bfloat16", {}, "no", "bf16"),
    ],
)
def test_what_agrees_is_taken(dtype: str, trainer: dict[str, Any], launched: str, chosen: str) -> None:
    assert precision.settle(dtype, trainer, {"ACCELERATE_MIXED_PRECISION": launched}) == chosen


@ON_CPU
def test_a_run_goes_on_in_the_precision_it_began_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` may mean another precision on the machine where a run goes on."""
    options = {"data": tmp_path / "data.jsonl", "out": tmp_path / "out", "dtype": "auto", "trainer": {}}
    monkeypatch.setenv(precision.NATIVE, "0")
    assert not RunFolder(options).is_finished()
    monkeypatch.setenv(precision.NATIVE, "1")
    with pytest.raises(AffectError, match=r"another dtype \('float32', now 'bfloat16'\). Go on with the former value"):
        RunFolder(options).is_finished()
    assert not RunFolder({**options, "dtype": "float32"}).is_finished()


def test_what_learns_is_widened_in_place() -> None:
    weights = [torch.nn.Parameter(torch.ones(2, dtype=dtype)) for dtype in (torch.bfloat16, torch.float16)]
    codes = torch.nn.Parameter(torch.ones(2, dtype=torch.uint8), requires_grad=False)
    precision.widen([*weights, codes])
    assert [weight.dtype for weight in (*weights, codes)] == [torch.float32, torch.float32, torch.uint8]
