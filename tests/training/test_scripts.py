"""Each training script runs end to end on random models of both families, resumes, and keeps its record."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from affectllm import rewards
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.options import grouped
from eval.predict import Predict
from eval.predict import main as predict
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect, save_tiny_omni
from train.grpo import GRPO
from train.grpo import main as grpo
from train.sft import SFT
from train.sft import main as sft

FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}


def variety(completions: list[str], **_: object) -> list[float]:
    """A reward that differs between random completions, so that groups have a signal."""
    return [len(set(text)) / 50 for text in completions]


@pytest.fixture(scope="module", params=FAMILIES)
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which three SFT and three GRPO steps were run."""
    folder = tmp_path_factory.mktemp(request.param)
    data = write_toy_data(folder)
    model = FAMILIES[request.param](folder / "model")
    align = 3 if request.param == "affect" else 0
    sft(
        grouped(SFT, model=str(model), data=data, out=folder / "sft", steps=3, batch=2, align_steps=align, save_every=2)
    )
    grpo(
        grouped(
            GRPO, model=str(folder / "sft"), data=data, out=folder / "grpo", steps=3, prompts=2, group=2,
            max_new_tokens=8, rewards="tests.training.test_scripts:variety", save_every=2,
        )
    )  # fmt: skip
    return folder


def test_both_stages_change_the_adapter(stages: Path) -> None:
    before, after = (load_file(stages / stage / "adapter_model.safetensors") for stage in ("sft", "grpo"))
    assert before.keys() == after.keys()
    assert any(not before[name].equal(after[name]) for name in before)


def test_the_record_names_options_versions_and_curve(stages: Path) -> None:
    record = json.loads((stages / "grpo" / "run.json").read_text())
    assert record["steps"] == 3
    assert record["options"]["group"] == 2
    assert {"torch", "transformers", "trl", "affectllm"} <= record["versions"].keys()
    steps = [json.loads(line) for line in (stages / "grpo" / "log.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(step["kl"] is not None for step in steps)


def test_a_finished_run_is_not_run_again(stages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = json.loads((stages / "sft" / "options.json").read_text())
    for key in ("data", "out"):
        options[key] = Path(options[key])
    options["modalities"] = tuple(options["modalities"])
    sft(grouped(SFT, **options))
    assert "finished already" in capsys.readouterr().out
    with pytest.raises(AffectError, match="another rate"):
        sft(grouped(SFT, **{**options, "rate": 1.0}))


def test_answers_resume_where_they_stopped(stages: Path) -> None:
    run = grouped(
        Predict,
        model=str(stages / "grpo"),
        data=stages / "conversations.jsonl",
        out=stages / "answers",
        split="train",
        batch=2,
        max_new_tokens=4,
    )
    predict(run)
    whole = (stages / "answers" / "answers.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    # A kill in the middle of the third line: the torn line is cut, the rest is answered again.
    (stages / "answers" / "answers.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
    predict(run)
    again = [json.loads(line) for line in (stages / "answers" / "answers.jsonl").read_text().splitlines()]
    assert [(row["id"], row["text"]) for row in again] == [(r["id"], r["text"]) for r in map(json.loads, lines)]


def test_placeholders_are_never_sampled(stages: Path) -> None:
    backbone = load(str(stages / "grpo"), dtype="float32")
    banned = set(backbone.media_token_ids)
    for row in (stages / "answers" / "answers.jsonl").read_text().splitlines():
        assert not banned & set(backbone.tokenizer(json.loads(row)["text"])["input_ids"])


def test_a_clip_that_cannot_be_read_is_answered_by_its_error(stages: Path, tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=2)
    (tmp_path / "clip1.mp4").write_bytes(b"not a video")
    asked = {"split": "train", "max_new_tokens": 4}
    predict(grouped(Predict, model=str(stages / "sft"), data=data, out=tmp_path / "out", **asked))
    rows = {row["id"]: row for row in map(json.loads, (tmp_path / "out" / "answers.jsonl").read_text().splitlines())}
    assert "clip1.mp4" in rows["clip1"]["error"]
    assert rows["clip1"]["text"] == ""
    assert "error" not in rows["clip0"]


def test_a_modality_that_does_not_reach_the_model_stops_the_run(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=2)
    text = data.read_text().replace('{"type":"video"', '{"type":"image"').replace('{"type":"audio"', '{"type":"image"')
    data.write_text(text)
    with pytest.raises(AffectError, match="none of 2 conversations brings it"):
        sft(grouped(SFT, model=str(save_tiny_affect(tmp_path / "m")), data=data, out=tmp_path / "out", steps=1))


def test_unknown_trainer_options_are_named(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=2)
    with pytest.raises(AffectError, match="weight_decay"):
        sft(
            grouped(
                SFT,
                model=str(save_tiny_affect(tmp_path / "m")),
                data=data,
                out=tmp_path / "o",
                trainer={"weight_decy": 0},
            )
        )


def test_a_missing_split_names_those_there(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="Splits there: train"):
        sft(grouped(SFT, data=write_toy_data(tmp_path, count=1), out=tmp_path / "o", split="tran"))


def test_rewards_know_their_terms(tmp_path: Path) -> None:
    wrong = tmp_path / "rewards.yaml"
    wrong.write_text("source: me\nabout: typo\nterms:\n  wheel_f2: {weight: 1}\n")
    with pytest.raises(AffectError, match="wheel_f1"):
        rewards.load(str(wrong))
