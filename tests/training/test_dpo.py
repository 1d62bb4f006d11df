"""DPO on preference pairs: the clip reaches policy and reference, both orders are needed, and the judge learns."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.generation import answer_log_probabilities
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Target
from affectllm.training.dpo import PairCollator, decided_pairs
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import write_clip
from tests.tiny_models import save_tiny_affect, save_tiny_omni
from tests.trainers import dpo_trainer
from train.dpo import DPO
from train.dpo import main as dpo

FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}


def pair(name: str, preference: str | None, choices: tuple[str, str]) -> Conversation:
    row = Annotation(
        id=name, dataset="emoprefer", split="train", media=Clip(video=f"{name.removesuffix('_swap')}.mp4"),
        language="en", target=Target(preference=preference), meta=Meta(licence="CC0-1.0"),  # type: ignore[arg-type]
    )  # fmt: skip
    return compose(row, task="preference", mode="labels", seed=7, choices=choices)


@pytest.fixture(scope="module", params=[pytest.param("affect", marks=pytest.mark.slow), "omni"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    rows = []
    for i in range(2):
        write_clip(made / f"clip{i}.mp4", seed=i)
        rows += [
            pair(f"clip{i}", "a1", ("He smiles.", "He cries.")),
            pair(f"clip{i}_swap", "a2", ("He cries.", "He smiles.")),
        ]
    rows += [pair("tie", "same", ("One.", "Two.")), pair("open", None, ("One.", "Two."))]
    jsonl.write(made / "pairs.jsonl", rows)
    FAMILIES[request.param](made / "model")
    return made


def options(folder: Path, out: Path, **more: Any) -> DPO:
    defaults = {"model": str(folder / "model"), "data": folder / "pairs.jsonl", "out": out, "dtype": "float32"}
    return grouped(DPO, **{**defaults, "steps": 12, "batch": 4, "rate": 1e-2, "rank": 4, **more})  # type: ignore[arg-type]


def test_only_decided_pairs_in_both_orders_are_used(folder: Path) -> None:
    rows = list(jsonl.read(folder / "pairs.jsonl", Conversation))
    assert [row.id for row in decided_pairs(rows)] == ["clip0", "clip0_swap", "clip1", "clip1_swap"]
    with pytest.raises(AffectError, match="--swap"):
        decided_pairs(rows[1:])
    with pytest.raises(AffectError, match="build emoprefer"):
        decided_pairs(rows[4:])


def test_swapping_the_clip_changes_policy_and_reference(folder: Path, tmp_path: Path) -> None:
    backbone = load(str(folder / "model"), dtype="float32")
    make_trainable(backbone, Tuning(rank=4), 7)
    store = MediaStore(backbone, folder, FeatureCache(folder / "cache"))
    rows = decided_pairs(list(jsonl.read(folder / "pairs.jsonl", Conversation)))
    trainer = dpo_trainer(store, rows, options(folder, tmp_path))
    found = []
    for clip in ("clip0.mp4", "clip1.mp4"):
        swapped = msgspec.structs.replace(rows[0], media=Clip(video=clip))
        batch = PairCollator(store, 4096)([{"conversation": jsonl.dumps(swapped)}])
        assert batch["input_ids"].shape[0] == 2
        rows_of_batch = zip(batch["input_ids"], batch["completion_mask"], strict=True)
        said = [backbone.tokenizer.decode(ids[mask == 1]) for ids, mask in rows_of_batch]
        assert said == ["a1<|im_end|>", "a2<|im_end|>"]
        found.append(torch.stack(trainer.compute_ref_log_probs(trainer.model, batch)))
    assert (found[0] - found[1]).abs().max() > 1e-6


def test_the_judge_learns_what_is_preferred_in_both_orders(folder: Path, tmp_path: Path) -> None:
    dpo(options(folder, tmp_path / "run"))
    rows = decided_pairs(list(jsonl.read(folder / "pairs.jsonl", Conversation)))
    margins = []
    for model in (folder / "model", tmp_path / "run"):
        backbone = load(str(model), dtype="float32")
        backbone.model.eval()
        store = MediaStore(backbone, folder, FeatureCache(folder / "cache"))
        samples = [store.sample(row) for row in rows[:2]]
        right, wrong = (
            answer_log_probabilities(backbone, samples, [backbone.answer_ids(text) for text in said])
            for said in (("a1", "a2"), ("a2", "a1"))
        )
        margins.append(sum(right) - sum(wrong))
    assert margins[1] > margins[0]
    log = list(jsonl.read_dicts(tmp_path / "run" / "log.jsonl"))
    assert "rewards/accuracies" in log[0]
