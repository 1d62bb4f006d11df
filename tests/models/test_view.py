"""Frames and pixels: what is asked for reaches the prompt, and a model sees clips as it was trained on them."""

from pathlib import Path

import numpy as np
import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.explain import load as explainer
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.backbone import Backbone, Media
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Conversation
from tests.clips import write_toy_data
from tests.tiny_models import TINY, save_tiny_affect, save_tiny_omni
from train.merge import Merge
from train.merge import main as merge
from train.sft import SFT
from train.sft import main as sft


def video_tokens(backbone: Backbone) -> int:
    frames = np.zeros((backbone.num_frames, 112, 112, 3), np.uint8)
    media = backbone.preprocess(Media(frames, np.arange(backbone.num_frames) * 0.5, None))
    return backbone.video_tokens(media)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("family", ["Qwen2.5-Omni Thinker", "Qwen2.5-VL", "Qwen3-VL"])
def test_fewer_frames_and_pixels_are_fewer_tokens(family: str, tmp_path: Path) -> None:
    folder = str(TINY[family](tmp_path / "model"))
    patch = 28 if "2.5" in family else 32
    small = (56 if "2.5" in family else 64) ** 2
    eight, four = (load(folder, "float32", frames=n, max_pixels=small) for n in (8, 4))
    assert (eight.num_frames, four.num_frames) == (8, 4)
    assert video_tokens(four) == 2 * small // patch**2
    assert video_tokens(eight) == 4 * small // patch**2
    assert len({it.fingerprint for it in (eight, four, load(folder, "float32", frames=8, max_pixels=4 * small))}) == 3
    with pytest.raises(AffectError, match="--max-pixels 100"):
        load(folder, "float32", max_pixels=100)


def test_an_adapter_remembers_what_it_was_shown(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path)
    model = save_tiny_omni(tmp_path / "model")
    sft(
        grouped(
            SFT, model=str(model), data=data, out=tmp_path / "run", steps=1, batch=2, frames=4, max_pixels=56 * 56,
            dtype="float32",
        )
    )  # fmt: skip
    merge(Merge(adapter=tmp_path / "run", out=tmp_path / "merged"))
    row = next(iter(jsonl.read(data, Conversation)))
    found = []
    for name in ("run", "merged"):
        backbone = load(str(tmp_path / name), "float32")
        assert (backbone.num_frames, backbone.view) == (4, {"frames": 4, "max_pixels": 3136})
        found.append(MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache")).sample(row).prompt_ids)
    asked = load(str(model), "float32", frames=4, max_pixels=56 * 56)
    trained = MediaStore(asked, tmp_path, FeatureCache(tmp_path / "cache")).sample(row).prompt_ids
    assert found == [trained, trained]
    assert explainer(str(tmp_path / "run"), "float32").backbone.num_frames == 4
    assert load(str(tmp_path / "run"), "float32", frames=6).num_frames == 6


def test_a_composed_model_has_the_frames_it_was_made_for(tmp_path: Path) -> None:
    folder = str(save_tiny_affect(tmp_path / "model"))
    assert load(folder, frames=load(folder).num_frames).view["frames"] == load(folder).num_frames
    with pytest.raises(AffectError, match="--num-frames"):
        load(folder, frames=3)
    with pytest.raises(AffectError, match="--max-pixels"):
        load(folder, max_pixels=4096)
    with pytest.raises(AffectError, match="--frames 0"):
        load(str(save_tiny_omni(tmp_path / "omni")), frames=0)
