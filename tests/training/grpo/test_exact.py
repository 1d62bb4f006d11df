"""The check of shared prompts sees what it is for, in every precision, and lets through what is exact."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trl.trainer.utils import add_fused_lm_head

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Sample
from affectllm.models.base.quantise import quantised
from affectllm.models.store import MediaStore
from affectllm.training.grpo import shared
from affectllm.training.grpo.exact import compare, first_rows
from affectllm.training.grpo.float32 import InFloat32, in_float32
from affectllm.training.grpo.rows import score_alone
from tests.tiny_models import TINY, families
from tests.training.grpo.test_shared import adapted, rows_of, trainer_of, write_family

PRECISIONS = ("float32", "bfloat16", "float16")
# What a sample holds of the picture, and of the voice.
MEDIA = ("video_tokens", "pixel_values_videos", "voice_features")


def wrong_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = shared.SharedForward.positions
    monkeypatch.setattr(shared.SharedForward, "positions", lambda self, sample: stock(self, sample) * 2)


def wrong_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions see those in front of them."""
    stock = shared.attention_mask
    monkeypatch.setattr(shared, "attention_mask", lambda sees, model: stock(torch.ones_like(sees).tril(), model))


def swapped_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = shared.pack

    def pack(*given: Any) -> shared.Packed:
        packed = stock(*given)
        order = [1, 0, *range(2, len(packed.places))]
        return packed._replace(places=packed.places[order])

    monkeypatch.setattr(shared, "pack", pack)


def missing_medium(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = shared.SharedForward.media

    def media(self: shared.SharedForward, samples: list[Sample]) -> dict[str, Tensor]:
        found = stock(self, samples)
        return {name: torch.zeros_like(tensor) if name in MEDIA else tensor for name, tensor in found.items()}

    monkeypatch.setattr(shared.SharedForward, "media", media)


FAULTS = (wrong_positions, wrong_mask, swapped_rows, missing_medium)
Batch = tuple[list[Sample], Tensor, Tensor, int]


def batch_of(backbone: Backbone, folder: Path) -> Batch:
    """Three rows of two prompts, padded as TRL pads them."""
    two = [backbone.sample(row, folder, backbone.modalities) for row in rows_of(folder)[:2]]
    longest = max(len(sample.prompt_ids) for sample in two)
    samples, lengths = [two[0], two[1], two[0]], (4, 6, 3)
    random = torch.Generator().manual_seed(1)
    ids, mask = [], []
    for sample, length in zip(samples, lengths, strict=True):
        said = torch.randint(20, 250, (length,), generator=random).tolist()
        front, back = longest - len(sample.prompt_ids), 6 - length
        ids.append([0] * front + sample.prompt_ids + said + [0] * back)
        mask.append([0] * front + [1] * (len(sample.prompt_ids) + length) + [0] * back)
    return samples, torch.tensor(ids), torch.tensor(mask), 6


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Backbone, Batch]]:
    """A family's model in float32 and a batch for it; each is made once. Skips families that cannot share."""
    known: dict[str, tuple[Backbone, Batch]] = {}

    def prepare(family: str) -> tuple[Backbone, Batch]:
        if family not in known:
            folder = write_family(tmp_path_factory.mktemp("family"), TINY[family])
            backbone = adapted(folder)
            add_fused_lm_head(backbone.core, outputs=("log_probs", "entropy"))
            known[family] = backbone, batch_of(backbone, folder)
        reason = shared.obstacle(known[family][0])
        if reason:
            pytest.skip(f"{family} cannot share prompts: {reason}")
        return known[family]

    return prepare


def cast(backbone: Backbone, precision: str) -> Backbone:
    """A copy whose weights are all of this precision."""
    made = copy.copy(backbone)
    made.model = copy.deepcopy(backbone.model).to(getattr(torch, precision)).train()
    # TRL binds its forward to the model that it was given.
    del made.core.forward
    add_fused_lm_head(made.core, outputs=("log_probs", "entropy"))
    return made


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-VL"))
def test_a_healthy_model_passes(family: str, precision: str, prepared: Any) -> None:
    backbone, batch = prepared(family)
    model = cast(backbone, precision)
    assert compare(model.model, model, *batch) <= 1e-5
    assert model.core.dtype == getattr(torch, precision)
    assert model.model.training


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-VL"))
def test_each_fault_is_caught(
    family: str, precision: str, fault: Callable[..., None], prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, batch = prepared(family)
    model = cast(backbone, precision)
    fault(monkeypatch)
    with pytest.raises(AffectError, match=r"up to .* \(allowed: 1e-04\).* of completion \d\. Train with --grpo-step"):
        compare(model.model, model, *batch)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("autocast", [False, True])
def test_what_half_precision_scores_in_float32_are_the_scores_of_its_weights_in_float32(
    precision: str, autocast: bool, prepared: Any
) -> None:
    """Autocast and TRL's own function for log-probabilities lead no operation around it."""
    backbone, batch = prepared("Qwen2.5-VL")
    half, dtype = cast(backbone, precision), getattr(torch, precision)
    whole = cast(half, "float32")
    weights = {name: weight.clone() for name, weight in half.model.state_dict().items()}
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast):
        with in_float32():
            found = score_alone(half.model, *batch)
        with torch.autocast("cpu", enabled=False):
            wanted = score_alone(whole.model, *batch)
        plain = score_alone(half.model, *batch)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert (plain - wanted).abs().max() > 1e-4
    assert all(weight.equal(weights[name]) for name, weight in half.model.state_dict().items())


def test_operations_in_float32_by_hand() -> None:
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    with InFloat32():
        assert (half + 2**-12).tolist() == [1 + 2**-12, 2 + 2**-12]
        assert half.to(torch.float16).dtype == torch.empty(2, dtype=torch.bfloat16).dtype == torch.float32
        assert torch.nn.functional.embedding(torch.tensor([1]), half[:, None]).dtype == torch.float32
        # A view is the weight itself, and what is written to one arrives there.
        assert half[:1].data_ptr() == half.data_ptr()
        assert half[:1].add_(1) is not half
        assert torch.mul(half, 2, out=half) is half
    assert half.dtype == torch.bfloat16
    assert half.tolist() == [4.0, 4.0]


def test_tf32_is_off_within_the_check_alone() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with in_float32():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", families("AffectLLM"))
def test_a_model_in_4_bits_is_checked_too(
    family: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    write_family(tmp_path, TINY[family])
    # Weights of 4 bits are made by the loader, which takes no float16 on a CPU: what is left of it is cast.
    backbone = adapted(tmp_path, "float32" if precision == "float32" else "bfloat16", quantise=True)
    assert quantised(backbone.core)
    for module in backbone.model.modules():
        if isinstance(module, torch.nn.Linear) and hasattr(module, "compute_dtype"):
            module.compute_dtype = getattr(torch, precision)
    if shared.obstacle(backbone):
        pytest.skip(f"{family} cannot share prompts: {shared.obstacle(backbone)}")
    add_fused_lm_head(backbone.core, outputs=("log_probs", "entropy"))
    batch = batch_of(backbone, tmp_path)
    backbone.model.train()
    assert compare(backbone.model, backbone, *batch) <= 1e-5
    for fault in FAULTS:
        with monkeypatch.context() as planted:
            fault(planted)
            with pytest.raises(AffectError, match="Sharing prompts changes"):
                compare(backbone.model, backbone, *batch)


@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", families("AffectLLM"))
def test_a_run_stops_before_its_first_step(
    family: str,
    precision: str,
    fault: Callable[..., None] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_family(tmp_path, TINY[family])
    options = {"steps": 1, "max_new_tokens": 6, "check_exact": True, "dtype": precision, "beta": 0.04}
    trainer = trainer_of(tmp_path, tmp_path / "out", **options)
    if not trainer.log_probs.shared:
        pytest.skip(f"{family} cannot share prompts: {shared.obstacle(trainer.store.backbone)}")
    if fault is None:
        trainer.train()
        assert trainer.state.global_step == 1
        assert "differ by at most" in capsys.readouterr().err
        return
    fault(monkeypatch)
    with pytest.raises(AffectError, match="--grpo-step rows and another --out"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_media_kept_of_another_clip_are_noticed(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways would read the same wrong features, so the clip is read again."""
    write_family(tmp_path, TINY["AffectLLM"])
    trainer = trainer_of(tmp_path, tmp_path / "out", steps=1, check_exact=True, dtype=precision)
    stock, rows = MediaStore.encoded_sample, rows_of(tmp_path)

    def exchanged(store: MediaStore, conversation: Any) -> Sample:
        other = rows[0] if conversation.id == rows[1].id else rows[1]
        return Sample(stock(store, conversation).prompt_ids, stock(store, other).media)

    monkeypatch.setattr(MediaStore, "encoded_sample", exchanged)
    with pytest.raises(AffectError, match=r"The media kept of the clip of conversation 'clip\d'"):
        trainer.train()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_spread_weights_are_checked_in_float32_alone(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_family(tmp_path, TINY["AffectLLM"])
    monkeypatch.setattr("affectllm.training.grpo.trainer.is_spread", lambda trainer: True)
    trainer = trainer_of(tmp_path, tmp_path / "out", steps=1, check_exact=True, dtype=precision)
    if precision == "float32":
        wrong_mask(monkeypatch)
        with pytest.raises(AffectError, match="Sharing prompts changes"):
            trainer.train()
    else:
        with pytest.raises(AffectError, match="Check with --dtype float32"):
            trainer.train()


def test_a_row_with_the_prompt_of_another_clip_is_named(prepared: Any) -> None:
    backbone, (samples, ids, mask, keep) = prepared("AffectLLM")
    with pytest.raises(AffectError, match="Completion 1 of the batch has another prompt"):
        compare(backbone.model, backbone, samples[::-1][1:] + samples[:1], ids, mask, keep)


def test_rounding_of_a_model_is_measured_where_it_exceeds_the_bound(
    prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that carry noise of 1e-3 pass; noise of 0.1 is no rounding, and nothing can be told from it."""
    backbone, batch = prepared("AffectLLM")
    model = cast(backbone, "float32")
    random = torch.Generator().manual_seed(5)
    stock = model.core.forward

    def noisy(*given: Any, **named: Any) -> Any:
        output = stock(*given, **named)
        output.log_probs = output.log_probs + size * (2 * torch.rand(output.log_probs.shape, generator=random) - 1)
        return output

    model.core.forward = noisy
    size = 1e-3
    assert 1e-4 < compare(model.model, model, *batch) < 4e-3
    size = 0.1
    with pytest.raises(AffectError, match="cannot be checked"):
        compare(model.model, model, *batch)


def test_the_rows_that_are_compared() -> None:
    one, two, three = (Sample([i], {}) for i in range(3))
    valid = torch.tensor([[1], [1], [1], [0], [1], [1], [1], [1]])
    assert first_rows([two, one, two, two, one, one, three, two], valid) == [0, 1, 2, 4, 7]
    assert first_rows([one, one], torch.zeros(2, 3, dtype=torch.long)) == []
