"""Every family trains and answers in bfloat16 as it does in float32, but for rounding."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.explain import Explainer
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.generation import answer_log_probabilities, generate
from affectllm.models.families.affect import AffectForConditionalGeneration
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Conversation, Part
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import write_toy_data
from tests.tiny_models import TINY, families, save_tiny_affect, save_tiny_omni
from train.grpo import GRPO
from train.grpo import main as grpo
from train.merge import Merge
from train.merge import main as merge
from train.sft import SFT
from train.sft import main as sft

PRECISIONS = ("float32", "bfloat16")
# bfloat16 has 8 bits: a sum of some hundred products is off by some of its 1/256.
ROUNDING = 0.05


def written(folder: Path, family: str) -> Path:
    """Model and clips of a family, whose questions name what it can see and hear."""
    modalities = load(str(TINY[family](folder / "model")), "float32").modalities
    rows = list(jsonl.read(write_toy_data(folder, 2), Conversation))
    for row in rows:
        parts: list[Part] = row.messages[0].content  # type: ignore[assignment]
        parts[:] = [part for part in parts if part.type in ("text", *modalities)]
    jsonl.write(folder / "conversations.jsonl", rows)
    return folder


def store_of(folder: Path, dtype: str, model: Path | None = None) -> MediaStore:
    backbone = load(str(model or folder / "model"), dtype)
    backbone.model.eval()
    return MediaStore(backbone, folder, FeatureCache(folder / "cache"), backbone.modalities)


def rows_of(folder: Path) -> list[Conversation]:
    return list(jsonl.read(folder / "conversations.jsonl", Conversation))


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_likelihoods_agree_between_precisions(family: str, tmp_path: Path) -> None:
    folder, found = written(tmp_path, family), []
    for dtype in PRECISIONS:
        store = store_of(folder, dtype)
        samples = [store.sample(row) for row in rows_of(folder)]
        answers = [store.backbone.answer_ids("happy, proud") for _ in samples]
        found.append(answer_log_probabilities(store.backbone, samples, answers))
        texts, _ = generate(store.backbone, samples, 4)
        assert len(texts) == 2
    assert found[0] == pytest.approx(found[1], rel=ROUNDING)
    assert found[0] != found[1]


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_stages_run_in_bfloat16_and_learn_in_float32(family: str, tmp_path: Path) -> None:
    folder = written(tmp_path, family)
    common: dict[str, Any] = {"data": folder / "conversations.jsonl", "dtype": "bfloat16", "rate": 1e-2}
    common["modalities"] = load(str(folder / "model"), "float32").modalities
    align = {"align_steps": 2} if family == "AffectLLM" else {}
    sft(grouped(SFT, model=str(folder / "model"), out=tmp_path / "sft", steps=2, batch=2, **common, **align))
    for way in ("shared", "rows"):
        grpo(
            grouped(
                GRPO, model=str(tmp_path / "sft"), out=tmp_path / way, steps=1, prompts=1, group=3, max_new_tokens=4,
                grpo_step=way, rewards="tests.training.test_scripts:variety", **common,
            )
        )  # fmt: skip
    before = load_file(tmp_path / "sft" / "adapter_model.safetensors")
    for stage in ("sft", "shared", "rows"):
        record = json.loads((tmp_path / stage / "run.json").read_text())
        assert record["precision"]["forwards"] == "bf16"
        assert list(record["precision"]["learnt"]) == ["float32"]
        assert record["precision"]["frozen"]["bfloat16"] > 0
        assert torch.isfinite(torch.tensor([step["loss"] for step in record["log"] if "loss" in step])).all()
        after = load_file(tmp_path / stage / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in after.values()} == {torch.float32}
        assert stage == "sft" or any(not before[name].equal(after[name]) for name in before)
    merge(Merge(adapter=tmp_path / "shared", out=tmp_path / "merged"))
    sample = store_of(folder, "bfloat16", tmp_path / "merged")
    assert len(generate(sample.backbone, [sample.sample(rows_of(folder)[0])], 4)[0]) == 1


@pytest.mark.parametrize("family", families("AffectLLM"))
def test_explanations_in_bfloat16(family: str, tmp_path: Path) -> None:
    folder = written(tmp_path, family)
    explainer = Explainer(load(str(folder / "model"), "bfloat16"))
    found = explainer.explain(folder / "clip0.mp4", "A line.", max_new_tokens=8)
    assert isinstance(found.evidence["words"].influence, float)


def test_losses_of_a_run_agree_between_precisions(tmp_path: Path) -> None:
    """The same steps, from the same start: what is left is rounding."""
    folder, losses = written(tmp_path, "AffectLLM"), []
    for dtype in PRECISIONS:
        out = tmp_path / dtype
        data = folder / "conversations.jsonl"
        sft(grouped(SFT, model=str(folder / "model"), data=data, out=out, steps=4, batch=2, dtype=dtype, rate=1e-3))
        log = json.loads((out / "run.json").read_text())["log"]
        losses.append([step["loss"] for step in log if "loss" in step])
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] != losses[1]


def test_what_was_learnt_keeps_its_digits_in_a_bfloat16_model(tmp_path: Path) -> None:
    folder = written(tmp_path, "AffectLLM")
    data = folder / "conversations.jsonl"
    sft(grouped(SFT, model=str(folder / "model"), data=data, out=tmp_path / "sft", steps=1, batch=2, dtype="bfloat16"))
    saved = load_file(tmp_path / "sft" / "adapter_model.safetensors")
    again = load(str(tmp_path / "sft"), "bfloat16").core.model.fusion
    for name, weight in again.state_dict().items():
        if "prosody_" not in name:
            assert weight.equal(saved[f"base_model.model.model.fusion.{name}"]), name


@pytest.mark.parametrize("save", [save_tiny_affect, save_tiny_omni])
@pytest.mark.parametrize("form", ["lora", "full"])
def test_weights_that_learn_are_float32(save: Any, form: Any, tmp_path: Path) -> None:
    backbone = load(str(save(tmp_path)), "bfloat16", trainable=True)
    make_trainable(backbone, Tuning(tune=form, rank=2, train_projector=save is save_tiny_omni), seed=0)
    kinds = {learns: set() for learns in (True, False)}
    for parameter in backbone.model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds[True] == {torch.float32}
    assert torch.bfloat16 in kinds[False]


def test_a_clip_is_encoded_anew_for_another_precision(tmp_path: Path) -> None:
    folder = written(tmp_path, "AffectLLM")
    for dtype, reads in (("float32", 1), ("bfloat16", 1), ("bfloat16", 0)):
        store = store_of(folder, dtype)
        store.sample(rows_of(folder)[0])
        assert store.reads == reads


def test_the_composed_model_alone_takes_media_of_any_precision(tmp_path: Path) -> None:
    """As any model of transformers is used: no backbone, no autocast around it."""
    folder = written(tmp_path, "AffectLLM")
    sample = store_of(folder, "float32").sample(rows_of(folder)[0])
    ids = torch.tensor([sample.prompt_ids])
    logits = []
    for dtype in (torch.float32, torch.bfloat16):
        model = AffectForConditionalGeneration.from_pretrained(folder / "model", dtype=dtype).eval()
        assert next(model.model.fusion.parameters()).dtype == torch.float32
        with torch.no_grad():
            raw = model.encode_media(face_pixels=torch.zeros(1, 8, 64, 64))
            assert raw["face_features"].dtype == dtype
            logits.append(model(input_ids=ids, **sample.media).logits[:, -1].float().log_softmax(-1))
    torch.testing.assert_close(*logits, atol=ROUNDING, rtol=0)
