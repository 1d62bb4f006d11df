"""Annotated answers in GRPO: replayed in groups, learnt beside it; and clips in the order of a curriculum."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.models.base.generation import answer_log_probabilities
from affectllm.records import Conversation
from affectllm.training.grpo.curriculum import draw
from affectllm.training.grpo.guidance import supervised_loss
from tests.training.grpo.test_runs import folder, lines, options
from train.grpo import main as grpo

__all__ = ["folder"]
EQUAL = "tests.training.grpo.test_runs:equal"


def test_the_supervised_loss_is_a_mean_over_tokens() -> None:
    log_probs = torch.tensor([[-1.0, -2.0, -9.0], [-3.0, -9.0, -9.0]])
    valid = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert supervised_loss(log_probs, valid) == pytest.approx((1 + 2 + 3) / 3)


def test_the_supervised_loss_is_that_of_the_annotated_answers_both_ways(folder: Path, tmp_path: Path) -> None:
    rows = list(jsonl.read(folder / "conversations.jsonl", Conversation))
    for way in ("shared", "rows"):
        grpo(
            options(
                folder, tmp_path / way, rewards=EQUAL, sft_weight=1.0, beta=0.0, steps=1, prompts=1, grpo_step=way,
            )
        )  # fmt: skip
    asked = lines(tmp_path / "rows" / "completions.jsonl")[0]["id"]
    backbone = load(str(folder / "start"), dtype="float32")
    row = next(row for row in rows if row.id == asked)
    answer = row.messages[-1].content
    assert isinstance(answer, str)
    sample = backbone.sample(row, folder)
    expected = -answer_log_probabilities(backbone, [sample], [backbone.answer_ids(answer)])[0]
    adapters = []
    for way in ("shared", "rows"):
        assert lines(tmp_path / way / "log.jsonl")[0]["sft_loss"] == pytest.approx(expected, rel=1e-4)
        adapters.append(load_file(tmp_path / way / "adapter_model.safetensors"))
    start = load_file(folder / "start" / "adapter_model.safetensors")
    # Equal rewards teach nothing, so that the weights moved by the supervised loss alone.
    assert any(not torch.equal(start[name], weight) for name, weight in adapters[0].items())
    for name, weight in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], weight, atol=1e-5, rtol=1e-4, msg=name)


def test_replayed_answers_stand_in_the_groups_and_in_no_mean(folder: Path, tmp_path: Path) -> None:
    answers = {row.id: row.messages[-1].content for row in jsonl.read(folder / "conversations.jsonl", Conversation)}
    grpo(options(folder, tmp_path / "run", replay=1, max_new_tokens=128, steps=2))
    said = lines(tmp_path / "run" / "completions.jsonl")
    assert [row.get("replayed", False) for row in said] == [False, True] * 4
    assert all(row["text"] == answers[row["id"]] for row in said if row.get("replayed"))
    sampled = [row for row in said if row["step"] == 1 and not row.get("replayed")]
    parsed = sum(row["status"] == "ok" for row in sampled) / len(sampled)
    assert lines(tmp_path / "run" / "log.jsonl")[0]["parse_rate"] == pytest.approx(parsed)


def test_an_answer_too_long_for_a_completion_is_not_replayed(folder: Path, tmp_path: Path) -> None:
    grpo(options(folder, tmp_path / "run", replay=1, max_new_tokens=4, steps=1))
    assert not any(row.get("replayed") for row in lines(tmp_path / "run" / "completions.jsonl"))


def test_a_group_of_replayed_answers_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="--replay 2"):
        grpo(options(folder, tmp_path / "run", replay=2))


def test_a_curriculum_begins_with_the_clips_of_highest_mean_reward(folder: Path, tmp_path: Path) -> None:
    rewards = [("clip0", 0.2), ("clip2", 0.9), ("clip0", 0.4), ("clip3", 0.1), ("clip3", None)]
    easy = tmp_path / "completions.jsonl"
    easy.write_text("".join(json.dumps({"id": name, "reward": reward}) + "\n" for name, reward in rewards))
    run = options(folder, tmp_path / "run", curriculum=easy, prompts=1, steps=4)
    rows = [row for row in jsonl.read(folder / "conversations.jsonl", Conversation) if row.split == "train"]
    assert [row.id for row in draw(rows, None, easy, run.runtime.seed)] == ["clip2", "clip0", "clip3", "clip1"]
    grpo(run)
    said = lines(tmp_path / "run" / "completions.jsonl")
    assert [row["id"] for row in said[::2]] == ["clip2", "clip0", "clip3", "clip1"]
    with pytest.raises(AffectError, match=r"completions\.jsonl of a GRPO run"):
        draw(rows, None, tmp_path / "none", 7)
