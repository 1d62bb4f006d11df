"""GRPO's completions from a server: what is sent, what comes back, and what is refused before anything is trained."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.models.base.backbone import Media
from affectllm.options import grouped
from affectllm.records import Conversation
from affectllm.training.grpo.vllm_request import request_of
from affectllm.training.grpo.vllm_sampler import check_options, vllm_name
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect, save_tiny_omni, save_tiny_qwen3_vl
from tests.training.grpo.vllm_server import Server, decode, serving
from train.grpo import GRPO
from train.grpo import main as grpo

REWARD = "tests.training.test_scripts:variety"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rollout")
    write_toy_data(made, 3)
    save_tiny_omni(made / "model")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder / "model")
    with serving(made) as url:
        made.url = url
        yield made


def options(folder: Path, server: Any, out: Path, **more: Any) -> GRPO:
    defaults = {
        "model": str(folder / "model"), "data": folder / "conversations.jsonl", "out": out, "steps": 2, "prompts": 2,
        "group": 3, "max_new_tokens": 8, "rewards": REWARD, "rate": 1e-2, "dtype": "float32", "frames": 4,
        "rollout": "vllm-server", "vllm_url": server.url, "max_pixels": 56 * 56,
    }  # fmt: skip
    return grouped(GRPO, **{**defaults, **more})


def lines(path: Path) -> list[dict[str, Any]]:
    return list(jsonl.read_dicts(path))


def test_a_run_over_http_samples_from_the_newest_adapter_on_the_clips_themselves(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    grpo(options(folder, server, tmp_path / "run", group=2, beta=0.04))
    assert [body["n"] for body in server.asked] == [2] * 4
    # Adapters: one a step, of changing weights, under the published checkpoint's names, and none left behind.
    assert len({body["model"] for body in server.asked}) == len(server.weights) == 2
    assert all(name.startswith("base_model.model.thinker.model.layers.") for name in server.weights[0])
    for before, after in zip(server.weights, server.weights[1:], strict=False):
        assert any(not torch.equal(before[name], weight) for name, weight in after.items())
    assert not server.adapters
    assert not (tmp_path / "run" / "rollout").exists()
    # The server read all of it from the requests and the adapters: had one thing been lost, it would think otherwise.
    log = lines(tmp_path / "run" / "log.jsonl")
    assert [line["sampler_gap"] < 1e-4 for line in log] == [True] * 2
    assert [line["reward"] is not None for line in log] == [True] * 2
    # What it said is what was rewarded and written down.
    backbone = load(str(folder / "model"), "float32")
    said = [row["text"] for row in lines(tmp_path / "run" / "completions.jsonl")]
    assert sorted(said) == sorted(backbone.tokenizer.batch_decode(server.completions, skip_special_tokens=True))
    barred = {str(token) for token in backbone.media_token_ids}
    assert all(body["logit_bias"].keys() == barred for body in server.asked)
    assert not barred & {str(token) for row in server.completions for token in row}
    # Frames and sound arrive as the reader gives them, without a value changed.
    clips = {row.id: row for row in jsonl.read(folder / "conversations.jsonl", Conversation)}
    backbone.look_at(4, 56 * 56)
    read = [backbone.read(row.media, folder, ("video", "audio")) for row in clips.values()]
    for media in server.media:
        same = [own for own in read if np.array_equal(own.frames_THWC, media.frames_THWC)]
        assert len(same) == 1
        assert np.array_equal(same[0].wave, media.wave)
        assert media.wave.dtype == np.float32
        assert np.diff(media.times_s) == pytest.approx(np.diff(same[0].times_s).mean())


def test_annotated_answers_and_groups_drawn_anew_go_with_a_server(folder: Path, server: Server, tmp_path: Path) -> None:
    more = {"replay": 1, "dynamic_sampling": 1, "rewards": "tests.training.grpo.test_runs:sometimes_equal"}
    grpo(options(folder, server, tmp_path / "run", steps=1, group=2, max_new_tokens=100, **more))
    said = lines(tmp_path / "run" / "completions.jsonl")
    # Two of the three clips have no signal, so that at least one of a batch of two is drawn anew.
    assert {row["id"] for row in said if not row.get("trained", True)} <= {"clip0", "clip1", "clip2"}
    assert sum(not row.get("trained", True) for row in said) >= 2
    assert len(server.asked) == len(said) / 2 > 2
    assert [row.get("replayed", False) for row in said] == [False, True] * (len(said) // 2)
    log = lines(tmp_path / "run" / "log.jsonl")[0]
    # Annotated answers were sampled by nobody: they count in no difference, and make no loss that is not a number.
    assert log["sampler_gap"] < 1e-3
    assert np.isfinite(log["loss"])


def test_a_resumed_run_asks_the_same_questions_of_the_same_adapters(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    more = {"steps": 2, "prompts": 1, "group": 2, "max_new_tokens": 4, "save_every": 1}
    grpo(options(folder, server, tmp_path / "whole", **more, trainer={"save_total_limit": 9}))
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-1", killed / "checkpoints" / "checkpoint-1")
    text = (tmp_path / "whole" / "options.json").read_text().replace(str(tmp_path / "whole"), str(killed))
    (killed / "options.json").write_text(text)
    # Left by the run that was killed: an adapter that nobody asks for any more.
    (killed / "rollout" / "affectllm-old-0").mkdir(parents=True)
    grpo(options(folder, server, killed, **more, trainer={"save_total_limit": 9}))
    assert not (killed / "rollout").exists()
    whole, again = server.asked[1], server.asked[2]
    assert len(server.asked) == 3
    assert whole | {"model": ""} == again | {"model": ""}
    # Loaded: steps 0 and 1 of the whole run, then the start of the resumed one, and its checkpoint.
    for name, weight in server.weights[1].items():
        torch.testing.assert_close(server.weights[3][name], weight, msg=name)
    assert server.completions[2:4] == server.completions[4:6]


def test_a_server_that_samples_from_another_model_is_found_out(folder: Path, server: Server, tmp_path: Path) -> None:
    server.shift = -2.0
    with pytest.raises(AffectError, match=r"differ from the trainer's by 2\.\d+ nats .* not sample from the model"):
        grpo(options(folder, server, tmp_path / "run"))


def test_a_server_that_reads_prompts_in_another_way_is_found_out(
    folder: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.training.grpo.vllm_server.decode", lambda body: decode(body)._replace(wave=np.zeros(9000, "f"))
    )
    with pytest.raises(AffectError, match=r"reads a prompt as \d+ tokens where training reads \d+.*last checkpoint"):
        grpo(options(folder, server, tmp_path / "run"))


@pytest.mark.parametrize(
    ("version", "seen"), [("0.21.3", "vLLM 0.21.3"), ("0.34.0rc1", "vLLM 0.34.0rc1"), ("dev", "vLLM dev")]
)
def test_other_versions_are_refused(folder: Path, server: Server, tmp_path: Path, version: str, seen: str) -> None:
    server.version = version
    with pytest.raises(AffectError, match=rf"{seen}, and --rollout vllm-server is written for 0.22 to 0.33"):
        grpo(options(folder, server, tmp_path / "run"))


def test_what_cannot_work_is_refused_before_training(folder: Path, server: Server, tmp_path: Path) -> None:
    for name, more, match in (
        ("gone", {"vllm_url": "http://127.0.0.1:9"}, r"No vLLM server answers at http://127.0.0.1:9/version"),
        ("quantised", {"quantise": True}, "not those a server samples from"),
        ("beams", {"trainer": {"generation_kwargs": {"num_beams": 2}}}, "trainer.generation_kwargs"),
        ("vespo", {"trainer": {"loss_type": "vespo"}}, "token_truncate"),
    ):
        with pytest.raises(AffectError, match=match):
            grpo(options(folder, server, tmp_path / name, **more))
    server.root = "/models/another"
    with pytest.raises(AffectError, match=r"serves /models/another alias served, and the model .* is .*model\. Start"):
        grpo(options(folder, server, tmp_path / "another"))
    save_tiny_affect(folder / "composed")
    with pytest.raises(AffectError, match=r"family 'affectllm', whose adapters a vLLM server does not take"):
        grpo(options(folder, server, tmp_path / "family", model=str(folder / "composed"), frames=None, max_pixels=None))
    assert not server.asked


def test_an_adapter_the_server_does_not_take_ends_the_run_at_its_start(
    folder: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.training.grpo.vllm_server.attach",
        lambda *_: (_ for _ in ()).throw(ValueError("rank 16 > max_lora_rank")),
    )
    with pytest.raises(AffectError, match=r"/v1/load_lora_adapter answers with 500: .*rank 16 > max_lora_rank"):
        grpo(options(folder, server, tmp_path / "run"))
    assert not server.asked


def test_several_processes_are_refused() -> None:
    config = SimpleNamespace(world_size=2)
    with pytest.raises(AffectError, match="trains on one process, and 2 were started"):
        check_options(config, quantised=False)  # type: ignore[arg-type]


def test_a_weight_without_a_place_is_named() -> None:
    with pytest.raises(AffectError, match=r"base_model\.model\.score\.weight"):
        vllm_name("base_model.model.score.weight", {"lm_head.": "thinker.lm_head."})


def test_a_family_that_reads_times_in_the_prompt_is_told_them(folder: Path) -> None:
    save_tiny_qwen3_vl(folder / "vl")
    backbone = load(str(folder / "vl"), "float32", frames=4)
    row = next(jsonl.read(folder / "conversations.jsonl", Conversation))
    media = backbone.read(row.media, folder, ["video"])
    body = request_of(backbone, row, ["video"], media)
    video = body["media_io_kwargs"]["video"]
    assert [index / video["fps"] for index in video["frames_indices"]] == pytest.approx(list(media.times_s), abs=5e-4)
    assert [part["type"] for part in body["messages"][0]["content"]] == ["video_url", "text"]
    assert request_of(backbone, row, [], Media(None, None, None)).keys() == {"messages"}
