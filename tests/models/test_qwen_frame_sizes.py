"""Frames reach Qwen models in the sizes that qwen-vl-utils, their authors' own package, gives them."""

from pathlib import Path

import numpy as np
import pytest

from affectllm.models import load_shape
from tests.tiny_models import TINY

utils = pytest.importorskip("qwen_vl_utils", reason="qwen-vl-utils comes with the extra 'dev'")
FRAMES = 4
SIZES = [(48, 48), (90, 160), (360, 640), (33, 200), (720, 404), (28, 29)]


@pytest.mark.parametrize(
    ("family", "limited"),
    [("Qwen2.5-Omni Thinker", 1), ("Qwen3-Omni Thinker", 1), ("Qwen2.5-VL", 1), ("Qwen3-VL", FRAMES)],
)
def test_sizes_are_those_of_qwen_vl_utils(family: str, limited: int, tmp_path: Path) -> None:
    """`limited` is the number of frames that share a model's limits on pixels: Qwen3-VL's hold for the whole clip."""
    backbone = load_shape(str(TINY[family](tmp_path)), "float32")
    video, limits = backbone.processor.video_processor, backbone.frame_size  # type: ignore[attr-defined]
    least, most = limits["shortest_edge"] // limited, limits["longest_edge"] // limited
    for size in SIZES:
        frames = np.zeros((FRAMES, *size, 3), np.uint8)
        _, rows, columns = backbone.patches(frames)["video_grid_thw"][0].tolist()  # type: ignore[attr-defined]
        found = rows * video.patch_size, columns * video.patch_size
        assert found == utils.smart_resize(*size, video.patch_size * video.merge_size, least, most), size
