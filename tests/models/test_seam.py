"""The key-value cache goes by the name that the installed transformers gives it, and decoding steps are known by it."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from affectllm.models import load, seam
from affectllm.models.tokens import add_token_types
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY, save_tiny_affect

TYPED = ("Qwen2.5-VL", "Qwen3-VL", "Gemma 4")
"""Families whose bodies want the kind of every token of a prompt."""


class Body(torch.nn.Module):
    """A model's body that says which tokens it takes for a video."""

    config = SimpleNamespace(image_token_id=5, video_token_id=6)

    def forward(self, input_ids: torch.Tensor, mm_token_type_ids: Any = None, **cache: Any) -> Any:
        return None if mm_token_type_ids is None else mm_token_type_ids.tolist()


def filled(tokens: int) -> DynamicCache:
    """A cache of one layer that holds this many tokens."""
    cache = DynamicCache()
    if tokens:
        cache.update(torch.zeros(1, 1, tokens, 2), torch.zeros(1, 1, tokens, 2), 0)
    return cache


@pytest.mark.parametrize("name", seam.CACHE_NAMES)
def test_a_prompt_gets_token_types_and_a_decoding_step_does_not(name: str) -> None:
    body = Body()
    body.register_forward_pre_hook(add_token_types, with_kwargs=True)
    ids = torch.tensor([[7, 6, 5]])
    assert body(input_ids=ids, **{name: None}) == [[0, 2, 1]]
    assert body(input_ids=ids, **{name: filled(0)}) == [[0, 2, 1]]
    assert body(input_ids=ids, **{name: filled(3)}) is None


@pytest.mark.parametrize("family", TYPED)
def test_generation_types_the_prompt_alone_and_warns_of_no_old_name(family: str, tmp_path: Path) -> None:
    backbone = load(str(TINY[family](tmp_path / "model")), dtype="float32")
    write_clip(tmp_path / "clip.mp4", seconds=1.0)
    sample = backbone.sample(conversation("clip", ["happy"], parts=("video",)), tmp_path)
    seen: list[tuple[int, bool]] = []

    def watch(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append((kwargs["input_ids"].shape[1], kwargs.get("mm_token_type_ids") is not None))

    backbone.core.model.register_forward_pre_hook(watch, with_kwargs=True)
    backbone.core.generation_config.eos_token_id = None
    ids = torch.tensor([sample.prompt_ids])
    with warnings.catch_warnings():
        # Set after `load`, whose filters hide the old names that TRL still uses.
        warnings.simplefilter("error", FutureWarning)
        backbone.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False, **sample.media
        )
    assert seen == [(len(sample.prompt_ids), True), (1, False), (1, False)]


@pytest.fixture(scope="module")
def affect(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(str(save_tiny_affect(tmp_path_factory.mktemp("affect"))), dtype="float32").core.eval()


@pytest.mark.parametrize("name", seam.CACHE_NAMES)
def test_the_composed_model_takes_its_cache_under_either_name(affect: Any, name: str) -> None:
    ids = torch.tensor([[20, 21, 22, 23]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        whole = affect(input_ids=ids).logits[:, -1]
        read = affect(input_ids=ids[:, :-1], use_cache=True)
        step = affect(input_ids=ids[:, -1:], **{name: getattr(read, seam.CACHE)})
    torch.testing.assert_close(step.logits[:, -1], whole, atol=1e-5, rtol=1e-5)
    assert seam.cache_in(dict(step)).get_seq_length() == 4


def test_the_composed_models_cache_stays_where_it_is_on_several_devices(affect: Any) -> None:
    assert seam.CACHE in affect._skip_keys_device_placement
