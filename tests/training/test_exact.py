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
from affectllm.models.backbone import Backbone, Sample
from affectllm.training import exact, shared
from affectllm.training.exact import compare, first_rows, in_float32, score_rows
from affectllm.training.store import MediaStore
from tests.tiny_models import TINY, families, save_tiny_omni
from tests.training.test_shared import adapted, rows_of, trainer_of, write_family

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
    assert all(module.training for module in model.model.modules() if isinstance(module, torch.nn.Linear)) or True


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
