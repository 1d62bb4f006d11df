"""The family of docs/extend/model_family.md: its file alone lets a model be listed, loaded, and see."""

import re
from pathlib import Path

import pytest
import torch

from affectllm import models
from affectllm.models import families, load
from affectllm.models.base.generation import generate
from tests.clips import conversation, write_clip
from tests.tiny_models import save_tiny_qwen2_vl

PAGE = Path(__file__).parents[1] / "docs" / "extend" / "model_family.md"


def test_the_page_is_followed_to_a_model_that_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "qwen2_vl.py").write_text(source, encoding="utf-8")
    # As if the file were in the folder of families.
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path / "more")])
    found = tuple(families.declared(tmp_path / "more"))
    assert [family.name for family in found] == ["Qwen2-VL"]
    monkeypatch.setattr(models, "FAMILIES", (*models.FAMILIES, *found))

    backbone = load(str(save_tiny_qwen2_vl(tmp_path / "model")), dtype="float32")
    backbone.model.eval()
    for i in range(2):
        write_clip(tmp_path / f"clip{i}.mp4", seed=i)
    rows = [conversation(f"clip{i}", ["happy"], parts=backbone.modalities) for i in range(2)]
    own, other = (backbone.sample(row, tmp_path) for row in rows)
    assert own.prompt_ids == other.prompt_ids
    ids = torch.tensor([own.prompt_ids])
    with torch.no_grad():
        seen = [backbone.model(input_ids=ids, **sample.media).logits for sample in (own, other)]
    assert (seen[0] - seen[1]).abs().max() > 1e-6
    assert len(generate(backbone, [own, other], 4)[0]) == 2
