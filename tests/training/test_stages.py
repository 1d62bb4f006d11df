"""A recipe runs its stages from each other's adapters, is checked whole before it starts, and skips what is done."""

import json
from pathlib import Path
from typing import Any

import pytest

from affectllm import rewards
from affectllm.errors import AffectError
from affectllm.options import parse
from affectllm.training.grpo.curriculum import draw
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect
from train.stages import Stage, Stages, main, nested, read_chain

CONFIGS = Path(__file__).parents[2] / "train" / "configs"
RECIPES = sorted(path for path in CONFIGS.glob("*.yaml") if path.name.startswith(("strict_", "affectgpt_r1_")))
GRPO_STAGE = {
    "script": "grpo", "steps": 1, "prompts": 1, "group": 2, "max_new_tokens": 4, "dtype": "float32",
    "rewards": "tests.training.test_scripts:variety",
}  # fmt: skip


def recipe(folder: Path, **stages: Any) -> Stages:
    chain = {"sft": {"script": "sft", "steps": 1, "batch": 1, "dtype": "float32"}, "first": GRPO_STAGE}
    return Stages(
        data=folder / "conversations.jsonl", out=folder / "out", model=str(folder / "model"),
        stages={**chain, **stages},
    )  # fmt: skip


def chain_of(options: Stages) -> list[Stage]:
    return read_chain(**vars(options))


@pytest.mark.slow
def test_a_chain_goes_from_adapter_to_adapter_and_skips_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toy_data(tmp_path, count=2)
    save_tiny_affect(tmp_path / "model")
    main(recipe(tmp_path))
    starts = {"sft": tmp_path / "model", "first": tmp_path / "out" / "sft"}
    for name, start in starts.items():
        assert json.loads((tmp_path / "out" / name / "run.json").read_text())["options"]["model"] == str(start)
    capsys.readouterr()
    main(recipe(tmp_path))
    assert capsys.readouterr().out.count("is finished already") == 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_accepted_by_its_scripts(path: Path, tmp_path: Path) -> None:
    words = ["--config", str(path), "--data", str(tmp_path / "d.jsonl"), "--out", str(tmp_path)]
    chain = chain_of(parse(Stages, words))
    assert len(chain) >= 2
    assert [stage.options.model.model for stage in chain[1:]] == [
        str(stage.options.runtime.out) for stage in chain[:-1]
    ]
    assert chain[-1].words[-3] == "affectllm.train.grpo"


@pytest.mark.parametrize("penalty", [1, 2])
def test_the_other_length_penalties_are_reward_files(penalty: int) -> None:
    first, _ = rewards.load(str(CONFIGS / f"rewards_affectgpt_r1_p{penalty}.yaml"))
    assert first.options.times == [f"label_count_{penalty}"]  # type: ignore[attr-defined]


def test_a_typo_in_the_last_stage_is_found_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="unknown key 'stps'"):
        chain_of(recipe(tmp_path, last={**GRPO_STAGE, "stps": 3}))
    with pytest.raises(AffectError, match="script"):
        chain_of(recipe(tmp_path, last={"steps": 3}))
    with pytest.raises(AffectError, match="follows from the chain"):
        chain_of(recipe(tmp_path, last={**GRPO_STAGE, "model": "nano"}))
    with pytest.raises(AffectError, match="no stages"):
        chain_of(Stages(data=tmp_path, out=tmp_path))


def test_flags_reach_into_a_stage() -> None:
    assert nested({"a": {"script": "sft"}, "a.steps": 5}) == {"a": {"script": "sft", "steps": 5}}
    with pytest.raises(AffectError, match="no stage 'b'"):
        nested({"a": {}, "b.steps": 5})


def test_clips_are_drawn_by_the_seed() -> None:
    rows: Any = list(range(50))
    one, same, other = (draw(rows, 10, None, seed) for seed in (1, 1, 2))
    assert one == same == sorted(one)
    assert one != other
    assert draw(rows, 99, None, 1) == rows
