"""Sharing a prompt among its completions changes nothing but the work done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from affectllm import jsonl
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.backbone import Backbone, Sample
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Conversation, Part
from affectllm.training.grpo.batch import group_rows, regroup
from affectllm.training.grpo.shared import pack
from affectllm.training.grpo.trainer import ClipGRPOTrainer
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import write_toy_data
from tests.tiny_models import TINY, families, save_tiny_affect, save_tiny_omni
from tests.trainers import grpo_trainer
from train.grpo import GRPO, row_of
from train.grpo import main as grpo

FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}
ENCODERS = ("Qwen2_5OmniVisionEncoder", "Qwen2_5OmniAudioEncoder", "FaceExpressionEncoder", "VoiceEncoder")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(tmp_path_factory.mktemp(request.param), FAMILIES[request.param])


def write_family(folder: Path, save: Callable[[Path], Path]) -> Path:
    """A random model, and clips whose questions differ in length, so that prompts are padded."""
    modalities = load(str(save(folder / "model")), dtype="float32").modalities
    rows = list(jsonl.read(write_toy_data(folder), Conversation))
    for i, row in enumerate(rows):
        parts: list[Part] = row.messages[0].content  # type: ignore[assignment]
        parts[:] = [part for part in parts if part.type in ("text", *modalities)]
        parts.append(Part(type="text", text=" Look again." * i))
    jsonl.write(folder / "conversations.jsonl", rows)
    return folder


def rows_of(folder: Path) -> list[Conversation]:
    return list(jsonl.read(folder / "conversations.jsonl", Conversation))


def adapted(folder: Path, dtype: str = "float32", **options: Any) -> Backbone:
    """The folder's model with an adapter that says something."""
    backbone = load(str(folder / "model"), dtype=dtype, **options)
    make_trainable(backbone, Tuning(rank=4), 7)
    # An adapter that has learnt nothing is zero: its gradients would hide half of the errors.
    with torch.no_grad():
        for name, weight in backbone.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return backbone


def trainer_of(folder: Path, out: Path, **options: Any) -> ClipGRPOTrainer:
    store = MediaStore(adapted(folder, options.get("dtype", "float32")), folder, FeatureCache(folder / "cache"))
    options = {
        "prompts": 2, "group": 3, "rewards": "tests.training.test_scripts:variety", "dtype": "float32", **options,
    }  # fmt: skip
    return grpo_trainer(store, rows_of(folder), grouped(GRPO, data=folder / "conversations.jsonl", out=out, **options))


def batch_of(trainer: ClipGRPOTrainer, folder: Path) -> tuple[list[Sample], Tensor, Tensor, int]:
    """Six rows of two prompts in mixed order, left and right padded as TRL pads; one completion is masked out."""
    two = [trainer.store.sample(row) for row in rows_of(folder)[:2]]
    samples = [two[i] for i in (0, 1, 0, 1, 1, 0)]
    longest = max(len(sample.prompt_ids) for sample in two)
    lengths = [4, 9, 7, 1, 9, 0]
    random = torch.Generator().manual_seed(1)
    ids, mask = [], []
    for sample, length in zip(samples, lengths, strict=True):
        said = torch.randint(20, 250, (9,), generator=random).tolist()
        front = longest - len(sample.prompt_ids)
        ids.append([0] * front + sample.prompt_ids + said[:length] + [0] * (9 - length))
        mask.append([0] * front + [1] * (len(sample.prompt_ids) + length) + [0] * (9 - length))
    return samples, torch.tensor(ids), torch.tensor(mask), 9


def scores(trainer: ClipGRPOTrainer, folder: Path, way: str) -> tuple[Tensor, Tensor]:
    samples, ids, mask, keep = batch_of(trainer, folder)
    if way == "rows":
        log_probs, entropies, _ = trainer.log_probs.score_each(trainer.model, samples, ids, mask, keep)
    else:
        assert trainer.log_probs.shared is not None
        log_probs, entropies = trainer.log_probs.shared.score(trainer.model, samples, ids[:, -keep:], mask[:, -keep:])  # type: ignore[assignment]
    return log_probs, entropies


def assert_exact(trainer: ClipGRPOTrainer, folder: Path) -> None:
    trainer.model.train()
    found: dict[str, Any] = {}
    for way in ("rows", "shared"):
        trainer.model.zero_grad()
        log_probs, entropies = scores(trainer, folder, way)
        weights = torch.randn(log_probs.shape, generator=torch.Generator().manual_seed(2))
        (log_probs * weights).sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        found[way] = (log_probs.detach(), entropies.detach(), gradients)
    assert (found["rows"][0] != 0).sum() == 30
    assert (found["rows"][0] - found["shared"][0]).abs().max() <= 1e-5
    assert (found["rows"][1] - found["shared"][1]).abs().max() <= 1e-4
    difference = (found["rows"][2] - found["shared"][2]).norm() / found["rows"][2].norm()
    assert found["rows"][2].norm() > 0
    assert difference <= 1e-5


@pytest.mark.parametrize(
    ("attention", "checkpointing"),
    [("sdpa", False), ("sdpa", True), pytest.param("eager", False, marks=pytest.mark.slow)],
)
def test_log_probabilities_and_gradients_are_those_of_the_rows(
    folder: Path, tmp_path: Path, attention: str, checkpointing: bool
) -> None:
    trainer = trainer_of(folder, tmp_path, trainer={"gradient_checkpointing": checkpointing})
    trainer.store.backbone.core.set_attn_implementation(attention)
    assert_exact(trainer, folder)


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-VL"))
def test_every_family_shares_exactly_or_says_that_it_cannot(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_family(tmp_path, TINY[family])
    trainer = trainer_of(tmp_path, tmp_path / "out", steps=3, max_new_tokens=4)
    if not trainer.log_probs.shared:
        assert family == "Gemma 4"
        assert "row by row" in capsys.readouterr().err
        return
    assert_exact(trainer, tmp_path)
    trainer.train()
    assert trainer.state.global_step == 3


def test_swapping_the_clip_changes_shared_log_probabilities(folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(folder, tmp_path)
    shared = trainer.log_probs.shared
    assert shared is not None
    own, other = (trainer.store.sample(row) for row in rows_of(folder)[:2])
    said = torch.tensor([[40, 41, 42]])
    with torch.no_grad():
        found = [
            trainer.log_probs.shared.score(trainer.model, [Sample(own.prompt_ids, media)], said, torch.ones_like(said))[
                0
            ]
            for media in (own.media, other.media)
        ]
    assert (found[0] - found[1]).abs().max() > 1e-6


def test_greedy_answers_are_those_of_the_row_path(folder: Path, tmp_path: Path) -> None:
    said = []
    for way in ("rows", "shared"):
        trainer = trainer_of(folder, tmp_path, grpo_step=way, max_new_tokens=12)
        trainer.generation_config.do_sample = False
        asked = [row_of(row) for row in rows_of(folder)[:3] for _ in range(3)]
        read = trainer.store.encoded_sample if way == "shared" else trainer.store.sample
        inputs = trainer.reader.read(asked, read, [], step=1)
        ids, _, _ = trainer._tokenize_prompts([row["prompt"] for row in inputs])
        said.append(trainer._generate_single_turn(ids, None, {}, 3)[0])
    assert said[0] == said[1]
    assert len({tuple(answer) for answer in said[0]}) > 1


@pytest.fixture
def encoder_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each encoder was called in any model."""
    calls: dict[str, int] = {}
    stock = torch.nn.Module.__call__

    def counted(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        name = type(module).__name__
        if name in ENCODERS:
            calls[name] = calls.get(name, 0) + 1
        return stock(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    return calls


def test_each_clip_is_encoded_once_a_run(folder: Path, tmp_path: Path, encoder_calls: dict[str, int]) -> None:
    """Generation, old policy, reference and policy together, over one and a half epochs."""
    trainer = trainer_of(folder, tmp_path, steps=6, beta=0.04, trainer={"num_iterations": 2})
    trainer.store.cache = FeatureCache(tmp_path / "cache")
    encoder_calls.clear()
    trainer.train()
    prompts = {row["id"] for row in jsonl.read_dicts(tmp_path / "completions.jsonl")}
    assert len(prompts) == 4
    assert set(encoder_calls.values()) == {len(prompts)}
    assert trainer.store.reads == len(prompts)


def test_without_a_cache_each_clip_is_encoded_once_a_step(
    folder: Path, tmp_path: Path, encoder_calls: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(folder, tmp_path, steps=2, beta=0.04, trainer={"num_iterations": 2})
    monkeypatch.setattr(trainer.store, "encoded_sample", trainer.store.sample)
    for row in rows_of(folder):
        trainer.store.sample(row)
    encoder_calls.clear()
    trainer.train()
    unique_prompts = 2
    # The composed model's features are what preprocessing gives: its encoders have run already.
    composed = not hasattr(trainer.store.backbone.core.model, "visual")
    assert set(encoder_calls.values()) == (set() if composed else {unique_prompts})


@pytest.mark.parametrize("start", [pytest.param("model", marks=pytest.mark.slow), "adapter"])
def test_both_ways_train_the_same_adapter(folder: Path, tmp_path: Path, start: str) -> None:
    """Over two steps of two accumulated micro-batches, which the shared way composes anew.

    The reference is the adapter switched off, or a copy of the adapter that the run starts from.
    """
    if start == "adapter":
        backbone = trainer_of(folder, tmp_path).store.backbone
        backbone.model.peft_config["default"].base_model_name_or_path = backbone.name
        backbone.model.save_pretrained(folder / start, selected_adapters=["default"])
    found = []
    for way in ("rows", "shared"):
        options = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4, "max_grad_norm": 1e9}
        grpo(
            grouped(
                GRPO, model=str(folder / start), data=folder / "conversations.jsonl", out=tmp_path / way, steps=2,
                prompts=2, group=4, max_new_tokens=6, rate=1e-3, beta=0.04, grpo_step=way, check_exact=True,
                rewards="tests.training.test_scripts:variety", dtype="float32", trainer={**options, "optim": "sgd"},
            )
        )  # fmt: skip
        found.append(load_file(tmp_path / way / "adapter_model.safetensors"))
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, atol=2e-6, rtol=1e-4, msg=name)


def test_a_model_that_cannot_share_goes_row_by_row_and_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affectllm.training.grpo.log_probs.obstacle", lambda backbone: "its layers slide")
    trainer = trainer_of(folder, tmp_path, steps=1)
    assert trainer.log_probs.shared is None
    trainer.train()
    assert capsys.readouterr().err.count("row by row") == 1


def test_a_packed_group_by_hand() -> None:
    sample = Sample([7, 8, 9], {})
    said = torch.tensor([[11, 12], [13, 0]])
    packed = pack(group_rows([sample, sample]), [torch.tensor([0, 1, 2])], said, (said > 0).long(), pad_id=0)
    assert packed.input_ids.tolist() == [[7, 8, 9, 11, 9]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert packed.labels.tolist() == [[-100, -100, 11, 12, 13]]
    assert packed.places.tolist() == [[2, 3], [4, 0]]
    assert packed.sees[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_regrouping_keeps_every_row_and_joins_groups() -> None:
    samples = [Sample([i // 2], {}) for i in range(6)]
    samples = [samples[0], samples[0], samples[2], samples[2], samples[4], samples[4]]
    shuffled = [
        {"media_row": torch.tensor([4, 0, 3]), "x": torch.tensor([40, 0, 30]), "n": torch.tensor(6)},
        {"media_row": torch.tensor([2, 5, 1]), "x": torch.tensor([20, 50, 10]), "n": torch.tensor(6)},
    ]
    found = regroup(shuffled, samples)
    assert [batch["media_row"].tolist() for batch in found] == [[4, 5, 0], [1, 3, 2]]
    assert [batch["x"].tolist() for batch in found] == [[40, 50, 0], [10, 30, 20]]
    assert found[1]["n"] == 6
