"""The `modality` reward: an answer must lose when what decides it is taken away."""

import json
import math
from pathlib import Path

import msgspec
import pytest
import torch

from affectllm import jsonl, rewards
from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.generation import answer_log_probabilities
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Clues, Conversation, Target
from affectllm.training.grpo.influence import decisive, influence
from tests.clips import conversation, write_toy_data
from tests.tiny_models import save_tiny_affect, save_tiny_omni
from train.grpo import GRPO
from train.grpo import main as grpo

FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}


@pytest.mark.parametrize(
    ("target", "lost"),
    [
        (Target(decisive="audio", clues=Clues(visual=["a smile"])), ["audio"]),
        (Target(clues=Clues(visual=["a smile"])), ["video"]),
        (Target(clues=Clues(audio=["loud"])), ["audio"]),
        (Target(clues=Clues(visual=["a smile"], audio=["loud"])), ["video", "audio"]),
        (Target(labels=["happy"]), ["video", "audio"]),
    ],
)
def test_what_decides(target: Target, lost: list[str]) -> None:
    row = msgspec.structs.replace(conversation("a", ["happy"]), target=target)
    assert decisive(row, ["video", "audio"]) == lost


def test_a_modality_that_was_not_shown_decides_nothing() -> None:
    row = msgspec.structs.replace(conversation("a", ["happy"]), target=Target(clues=Clues(audio=["loud"])))
    assert decisive(row, ["video"]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_influence_is_what_the_answer_loses(family: str, tmp_path: Path) -> None:
    write_toy_data(tmp_path)
    backbone = load(str(FAMILIES[family](tmp_path / "model")), dtype="float32")
    backbone.model.eval()
    store = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"))
    first, second = list(jsonl.read(tmp_path / "conversations.jsonl", Conversation))[:2]
    blind = msgspec.structs.replace(second, target=Target(decisive="video"))
    said = [backbone.answer_ids("happy"), backbone.answer_ids("sad, and so on")]
    found = influence(store, [first, blind], said)
    by_hand = answer_log_probabilities(backbone, [store.sample(blind), store.sample(blind, ["audio"])], [said[1]] * 2)
    assert found[1] == pytest.approx(by_hand[0] - by_hand[1], abs=1e-4)
    assert found[0] is not None
    assert abs(found[0]) > 1e-6
    text = msgspec.structs.replace(first, messages=[msgspec.structs.replace(first.messages[0], content="Hello")])
    assert influence(store, [text], [said[0]]) == [None]
    assert not torch.is_inference_mode_enabled()


def test_the_term_pays_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "source: me\nabout: x\nterms:\n  modality: {weight: 1, gates: [format], times: [label_count_1]}\n"
    )
    (reward,) = rewards.load(str(tmp_path / "r.yaml"))
    honest = "<think>A wide smile is there.</think><answer>happy</answer>"
    gold = [Target(labels=["happy"])] * 4
    paid = reward(completions=[honest, honest, honest, "happy"], target=gold, influence=[1.0, -2.0, None, 1.0])
    assert paid == [pytest.approx(1 - math.exp(-1)), 0.0, None, 0.0]
    with pytest.raises(AffectError, match="does not give"):
        reward(completions=[honest], target=gold[:1])


def test_a_measured_term_is_no_factor(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("source: me\nabout: x\nterms:\n  hit: {weight: 1, times: [modality]}\n")
    with pytest.raises(AffectError, match="cannot multiply or gate"):
        rewards.load(str(tmp_path / "r.yaml"))


def test_the_trainer_measures_it(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path)
    model = save_tiny_affect(tmp_path / "model")
    (tmp_path / "r.yaml").write_text("source: me\nabout: x\nterms:\n  modality: {weight: 1}\n")
    options = {"model": str(model), "data": data, "out": tmp_path / "run", "rewards": str(tmp_path / "r.yaml")}
    grpo(grouped(GRPO, **options, steps=1, prompts=2, group=2, max_new_tokens=6))
    (line,) = [row for row in jsonl.read_dicts(tmp_path / "run" / "log.jsonl") if "reward" in row]
    assert "modality" in json.dumps(line)
