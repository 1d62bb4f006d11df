"""What a GRPO run writes down, and how it bears clips, rewards and options that fail."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Conversation
from affectllm.training.grpo.batch import put_rows
from affectllm.training.grpo.resampling import alive
from affectllm.training.grpo.step_log import StepLog, likely_cause
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect
from train.grpo import GRPO
from train.grpo import main as grpo
from train.sft import SFT
from train.sft import main as sft

FIELDS = {
    "step", "reward", "reward_parts", "labels_per_answer", "think_tokens", "answer_tokens", "kl", "entropy",
    "zero_std_share", "parse_rate", "clip_fraction", "seconds",
}  # fmt: skip
REWARD = "tests.training.test_scripts:variety"


def equal(completions: list[str], **_: object) -> list[float]:
    return [1.0] * len(completions)


def sometimes_equal(completions: list[str], id: list[str], **_: object) -> list[float]:
    """No signal on the first two clips."""
    return [
        0.5 if name in ("clip0", "clip1") else len(set(text)) / 50 for text, name in zip(completions, id, strict=True)
    ]


def fails_on_clip2(completions: list[str], id: list[str], **_: object) -> list[float]:
    if "clip2" in id:
        raise KeyError("no such clue")
    return [len(set(text)) / 50 for text in completions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    data = write_toy_data(made)
    rows = list(jsonl.read(data, Conversation))
    jsonl.write(data, [*rows, *(msgspec.structs.replace(row, id=f"dev_{row.id}", split="dev") for row in rows[:2])])
    save_tiny_affect(made / "model")
    sft(grouped(SFT, model=str(made / "model"), data=data, out=made / "start", steps=1, batch=2))
    return made


def options(folder: Path, out: Path, **more: Any) -> GRPO:
    defaults = {
        "model": str(folder / "start"), "data": folder / "conversations.jsonl", "out": out, "steps": 3, "prompts": 2,
        "group": 2, "max_new_tokens": 6, "rewards": REWARD, "rate": 1e-2, "save_every": 2, "dtype": "float32",
    }  # fmt: skip
    return grouped(GRPO, **{**defaults, **more})


def lines(path: Path) -> list[dict[str, Any]]:
    return list(jsonl.read_dicts(path))


def test_a_resumed_run_writes_every_step_and_completion_once(folder: Path, tmp_path: Path) -> None:
    grpo(options(folder, tmp_path / "whole", steps=4, trainer={"save_total_limit": 9}))
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed, ignore=shutil.ignore_patterns("run.json", "checkpoint-4"))
    text = (killed / "options.json").read_text().replace(str(tmp_path / "whole"), str(killed))
    (killed / "options.json").write_text(text)
    with (killed / "log.jsonl").open("a") as torn:
        torn.write('{"step": 5, "rew')
    grpo(options(folder, killed, steps=4, trainer={"save_total_limit": 9}))
    for run in (tmp_path / "whole", killed):
        steps = lines(run / "log.jsonl")
        assert [line["step"] for line in steps] == [1, 2, 3, 4]
        assert set(steps[0]) >= FIELDS
        assert {"generation", "rewards", "log_probs", "step"} <= steps[0]["seconds"].keys()
        said = lines(run / "completions.jsonl")
        assert [row["step"] for row in said] == [step for step in (1, 2, 3, 4) for _ in range(4)]
    same = ("id", "text", "reward", "parts")
    whole, again = (lines(run / "completions.jsonl") for run in (tmp_path / "whole", killed))
    assert [[row[key] for key in same] for row in whole] == [[row[key] for key in same] for row in again]
    assert whole[0]["clip"].endswith(".mp4")
    assert whole[0]["gold"]
    assert whole[0]["parts"] == {"variety": pytest.approx(whole[0]["reward"])}
    first = [row["reward"] for row in whole if row["step"] == 1]
    assert lines(tmp_path / "whole" / "log.jsonl")[0]["reward"] == pytest.approx(sum(first) / 4)


@pytest.mark.parametrize("way", ["shared", "rows"])
def test_groups_without_a_signal_are_drawn_anew_and_resume_exactly(folder: Path, tmp_path: Path, way: str) -> None:
    more = {
        "rewards": "tests.training.grpo.test_runs:sometimes_equal", "dynamic_sampling": 3, "steps": 4,
        "grpo_step": way, "trainer": {"save_total_limit": 9},
    }  # fmt: skip
    grpo(options(folder, tmp_path / "whole", **more))
    said = lines(tmp_path / "whole" / "completions.jsonl")
    trained = [row for row in said if row.get("trained", True)]
    assert len(trained) == 4 * 4
    assert {row["id"] for row in trained} <= {"clip2", "clip3"}
    assert {row["id"] for row in said if not row.get("trained", True)} >= {"clip0", "clip1"}
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-2", killed / "checkpoints" / "checkpoint-2")
    text = (tmp_path / "whole" / "options.json").read_text().replace(str(tmp_path / "whole"), str(killed))
    (killed / "options.json").write_text(text)
    grpo(options(folder, killed, **more))
    one, other = (load_file(run / "adapter_model.safetensors") for run in (tmp_path / "whole", killed))
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=1e-6, rtol=1e-5, msg=name)


def test_a_reward_that_raises_is_named_with_its_row_and_the_run_is_saved(folder: Path, tmp_path: Path) -> None:
    run = options(
        folder, tmp_path / "run", rewards="tests.training.grpo.test_runs:fails_on_clip2", prompts=1, steps=8,
        save_every=100,
    )  # fmt: skip
    with pytest.raises(AffectError, match=r"(?s)'fails_on_clip2' fails on 'clip2', completion .*KeyError") as caught:
        grpo(run)
    steps = len(lines(tmp_path / "run" / "log.jsonl"))
    assert (tmp_path / "run" / "checkpoints" / f"checkpoint-{steps}").is_dir() == (steps > 0)
    assert not steps or f"saved as of step {steps}" in str(caught.value)


def test_a_clip_that_vanishes_is_quarantined_and_the_run_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = MediaStore.sample

    def sample(store: Any, conversation: Conversation, *rest: Any) -> Any:
        if conversation.id == "clip1":
            raise AffectError("clip1.mp4: the system says 'No such file'.")
        return stock(store, conversation, *rest)

    monkeypatch.setattr(MediaStore, "sample", sample)
    grpo(options(folder, tmp_path / "run", steps=4))
    assert [row["id"] for row in lines(tmp_path / "run" / "quarantine.jsonl")] == ["clip1"]
    assert lines(tmp_path / "run" / "log.jsonl")[-1]["quarantined"] == 1
    said = lines(tmp_path / "run" / "completions.jsonl")
    assert len(said) == 4 * 4
    assert "clip1" not in {row["id"] for row in said}
    assert capsys.readouterr().err.count("Quarantined 'clip1'") == 1


def test_no_clip_left_ends_the_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(*_: Any) -> Any:
        raise AffectError("gone.")

    monkeypatch.setattr(MediaStore, "sample", sample)
    with pytest.raises(AffectError, match="None of 4 clips"):
        grpo(options(folder, tmp_path / "run"))


def test_steps_without_a_signal_raise_an_alarm(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grpo(options(folder, tmp_path / "run", rewards="tests.training.grpo.test_runs:equal", alarm_after=2, steps=3))
    alarms = [line["step"] for line in lines(tmp_path / "run" / "log.jsonl") if "alarm" in line]
    assert alarms == [2]
    assert "Raise --max-new-tokens" in capsys.readouterr().err


def test_the_likely_cause_follows_what_the_step_shows() -> None:
    fine = {"reward": 0.4, "truncated": 0.1, "parse_rate": 0.9, "constant_share": 0.2}
    assert "gold" in likely_cause({**fine, "reward": None})
    assert "same" in likely_cause({**fine, "constant_share": 0.95})
    assert "supervised" in likely_cause({**fine, "parse_rate": 0})
    assert "gate" in likely_cause({**fine, "reward": 0})
    assert "--dynamic-sampling" in likely_cause(fine)


def test_a_group_that_does_not_divide_is_refused_before_the_model_loads(folder: Path, tmp_path: Path) -> None:
    run = options(folder, tmp_path / "run", model="/nowhere", trainer={"per_device_train_batch_size": 3})
    with pytest.raises(AffectError, match=r"(?i)divisible"):
        grpo(run)


def test_advantages_over_the_whole_batch_exclude_dynamic_sampling(folder: Path, tmp_path: Path) -> None:
    run = options(folder, tmp_path / "run", dynamic_sampling=1, trainer={"scale_rewards": "batch"})
    with pytest.raises(AffectError, match="dynamic-sampling"):
        grpo(run)


def test_the_dev_score_chooses_the_adapter_and_ends_the_run(folder: Path, tmp_path: Path) -> None:
    run = options(folder, tmp_path / "run", steps=6, dev_every=1, patience=2)
    grpo(run)
    scores = lines(tmp_path / "run" / "dev.jsonl")
    assert [row["step"] for row in scores] == list(range(len(scores)))
    best = json.loads((tmp_path / "run" / "best" / "dev.json").read_text())
    assert best["set_f1"] == max(row["set_f1"] for row in scores)
    assert len(scores) == min(7, best["step"] + 3)
    kept, written = (
        load_file(place / "adapter_model.safetensors") for place in (tmp_path / "run" / "best", tmp_path / "run")
    )
    assert all(kept[name].equal(written[name]) for name in kept)
    assert {"clue_face", "clue_voice", "low", "high", "n"} <= scores[0].keys()


def test_a_group_is_alive_when_rewards_differ() -> None:
    assert alive([0.0, 0.1])
    assert not alive([0.2, 0.2, None])
    assert not alive([None, None])


def test_rows_are_put_into_a_batch_of_another_width() -> None:
    into, new = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6, 7]])
    assert put_rows(into, slice(1, 2), new, left=True, pad=0).tolist() == [[0, 1, 2], [5, 6, 7]]
    assert put_rows(into, slice(0, 1), new[:, :1], left=False, pad=9).tolist() == [[5, 9], [3, 4]]


def test_the_log_counts_silent_steps_in_a_row(tmp_path: Path) -> None:
    log = StepLog(tmp_path, alarm_after=2)
    shares = [1.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    found = [log.line(i, {"reward": 0.5, "frac_reward_zero_std": share}) for i, share in enumerate(shares)]
    assert [i for i, line in enumerate(found) if line and "alarm" in line] == [3, 5]
    assert log.line(7, {"train_runtime": 3.0}) is None
