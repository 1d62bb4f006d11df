"""Every form of learning changes what it should and nothing else, and what is written is what was trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from affectllm.errors import AffectError
from affectllm.models import load, load_shape
from affectllm.models.base.backbone import Backbone
from affectllm.models.base.quantise import check, nf4, quantised
from affectllm.options import grouped
from affectllm.training.plan import Work, count_parameters, memory_gib
from affectllm.training.tuning import Tuning, make_trainable, modules_of, part_of
from tests.clips import conversation, write_toy_data
from tests.tiny_models import TINY, families, save_tiny_affect, save_tiny_omni, save_tiny_qwen_vl
from tests.trainers import sft_trainer
from train.sft import SFT, check_tuning, main

SWITCHES = ["vision", "audio", "projector"]


def learning(backbone: Backbone) -> set[str]:
    return {part_of(backbone, name) for name, p in backbone.model.named_parameters() if p.requires_grad}


def logits(backbone: Backbone, folder: Path) -> torch.Tensor:
    backbone.model.eval()
    sample = backbone.sample(conversation("clip0", ["happy"], parts=backbone.modalities), folder)
    ids = torch.tensor([sample.prompt_ids])
    with torch.no_grad():
        return backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), **sample.media).logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tuning")
    write_toy_data(made)
    save_tiny_omni(made / "model")
    return made


def run(folder: Path, out: Path, **options: Any) -> SFT:
    given = grouped(
        SFT, model=str(folder / "model"), data=folder / "conversations.jsonl", out=out, steps=2, batch=1, rate=1e-2,
        dtype="float32", **options,
    )  # fmt: skip
    main(given)
    return given


@pytest.mark.parametrize("form", [pytest.param("lora", marks=pytest.mark.slow), "rslora", "dora"])
def test_each_form_of_adapter_is_written_and_read(folder: Path, tmp_path: Path, form: Any) -> None:
    run(folder, tmp_path / "out", tune=form, rank=4)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["use_rslora"], config["use_dora"]) == (form == "rslora", form == "dora")
    lengths = [name for name in load_file(tmp_path / "out" / "adapter_model.safetensors") if "magnitude" in name]
    assert bool(lengths) == (form == "dora")
    merged, adapted = load(str(tmp_path / "out"), "float32"), load(str(tmp_path / "out"), "float32", trainable=True)
    torch.testing.assert_close(logits(merged, folder), logits(adapted, folder), atol=1e-4, rtol=1e-4)
    plain = load(str(folder / "model"), "float32")
    assert (logits(merged, folder) - logits(plain, folder)).abs().max() > 1e-4


@pytest.mark.parametrize("part", SWITCHES)
def test_a_switch_trains_its_part_beside_the_adapter(folder: Path, tmp_path: Path, part: str) -> None:
    run(folder, tmp_path / "out", rank=2, **{f"train_{part}": True})
    before, after = load(str(folder / "model"), "float32"), load(str(tmp_path / "out"), "float32")
    own = dict(after.core.named_parameters())
    changed = {part_of(before, name) for name, p in before.core.named_parameters() if not p.equal(own[name])}
    assert changed == {part, "llm"}


@pytest.mark.parametrize("parts", [("vision", "llm"), ("audio", "projector")])
def test_full_training_changes_what_is_switched_on(folder: Path, tmp_path: Path, parts: tuple[str, ...]) -> None:
    switches = {f"train_{part}": part in parts for part in [*SWITCHES, "llm"]}
    run(folder, tmp_path / "out", tune="full", **switches)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    before, after = load(str(folder / "model"), "float32"), load(str(tmp_path / "out"), "float32")
    own = dict(after.model.named_parameters())
    changed = {part_of(before, name) for name, p in before.model.named_parameters() if not p.equal(own[name])}
    assert changed == set(parts)


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_parts_are_found_in_every_family(family: str, tmp_path: Path) -> None:
    backbone = load(str(TINY[family](tmp_path)), "float32", trainable=True)
    wanted = [part for part in SWITCHES if part in backbone.modalities or part == "projector"]
    if "vision" not in wanted:
        wanted.append("vision")
    for part in wanted:
        if not backbone.encoders_in_forward and part != "projector":
            with pytest.raises(AffectError, match="cannot learn"):
                make_trainable(backbone, Tuning(**{f"train_{part}": True}), 7)
            continue
        fresh = load(str(tmp_path), "float32", trainable=True)
        make_trainable(fresh, Tuning(rank=2, **{f"train_{part}": True}), 7)
        assert learning(fresh) == {part, "adapter"} | ({"projector"} if fresh.trained_modules else set())


def test_parts_learn_at_their_own_rates(folder: Path, tmp_path: Path) -> None:
    from affectllm import jsonl
    from affectllm.media.cache import FeatureCache
    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation

    options = grouped(
        SFT, data=folder / "conversations.jsonl", out=tmp_path, steps=20, rate=1e-3, train_vision=True,
        vision_rate=1e-5, train_projector=True, projector_rate=5e-4, dtype="float32",
        trainer={"use_cpu": True, "weight_decay": 0.1},
    )  # fmt: skip
    backbone = load(str(folder / "model"), "float32", trainable=True)
    make_trainable(backbone, options.tuning, 7)
    rows = list(jsonl.read(folder / "conversations.jsonl", Conversation))
    trainer = sft_trainer(MediaStore(backbone, folder, FeatureCache(tmp_path / "c")), rows, options)
    trainer.create_optimizer_and_scheduler(20)
    names = {id(p): name for name, p in backbone.model.named_parameters()}
    peaks: dict[str, set[float]] = {}
    decays: dict[float, int] = {}
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            peaks.setdefault(part_of(backbone, names[id(parameter)]), set()).add(group["initial_lr"])
            decays[group["weight_decay"]] = decays.get(group["weight_decay"], 0) + 1
    assert peaks == {"adapter": {1e-3}, "vision": {1e-5}, "projector": {5e-4}}
    assert set(decays) == {0.0, 0.1}
    assert sum(decays.values()) == sum(p.requires_grad for p in backbone.model.parameters())


def test_encoders_and_heads_keep_their_precision(tmp_path: Path) -> None:
    """NF4 runs on a CPU too: loss, gradients of the adapter, and nothing quantised but the language model's layers."""
    pytest.importorskip("bitsandbytes")
    data = write_toy_data(tmp_path, count=2)
    save_tiny_omni(tmp_path / "model", hidden=128)
    backbone = load(str(tmp_path / "model"), "float32", trainable=True, quantise=True)
    found = quantised(backbone.model)
    assert len(found) == 2 * 7
    assert all("language_model" in name for name in found)
    # The plan made from the config alone knows what will lie in memory; the rest are tables and norms.
    planned = memory_gib(load_shape(str(tmp_path / "model"), "float32"), 10, {}, Work(1, 1, 1, quantised=True))
    real = memory_gib(backbone, 10, {}, Work(1, 1, 1, quantised=True))
    assert planned["weights"] == pytest.approx(real["weights"], rel=0.03)
    assert count_parameters(backbone) == count_parameters(load(str(tmp_path / "model"), "float32"))
    main(
        grouped(
            SFT, model=str(tmp_path / "model"), data=data, out=tmp_path / "out", steps=2, batch=1, quantise=True, rank=4
        )
    )
    steps = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert all(step["loss"] > 0 for step in steps if "loss" in step)
    trained = load(str(tmp_path / "out"), "float32")
    assert not quantised(trained.model)


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_every_family_learns_on_4_bits(family: str, tmp_path: Path) -> None:
    """Loss and gradients are numbers, adapters alone get any, and what is loaded again is the whole model with them."""
    pytest.importorskip("bitsandbytes")
    data = write_toy_data(tmp_path, count=2)
    model = str(TINY[family](tmp_path / "model"))
    kinds = load(model, "float32").modalities
    options: dict[str, Any] = {"trainer": {"max_grad_norm": 1e9}, "modalities": kinds, "steps": 2, "rank": 4}
    main(grouped(SFT, model=model, data=data, out=tmp_path / "out", batch=1, quantise=True, **options))
    steps = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()][:2]
    assert all(0 < step["loss"] < 20 and 0 < step["grad_norm"] < 1e3 for step in steps)
    quantised_model = load(model, "float32", trainable=True, quantise=True).model
    assert quantised(quantised_model)
    assert all("language_model" in name for name in quantised(quantised_model))
    trained, plain = (dict(load(name, "float32").core.named_parameters()) for name in (str(tmp_path / "out"), model))
    changed = {name for name, weight in trained.items() if not weight.equal(plain[name])}
    assert changed
    assert all("language_model" in name or ".fusion." in name for name in changed)


def test_short_names_would_let_encoders_through(tmp_path: Path) -> None:
    """Why the list holds full paths, and that the check after loading sees it."""
    pytest.importorskip("bitsandbytes")
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

    save_tiny_omni(tmp_path, hidden=128)
    model = Thinker.from_pretrained(tmp_path, quantization_config=nf4(["nothing"], torch.float32))
    with pytest.raises(AffectError, match="4 bits reached"):
        check(model, "tiny")


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_every_family_names_its_encoders_in_full(family: str, tmp_path: Path) -> None:
    backbone = load(str(TINY[family](tmp_path)), "float32")
    kept = nf4(backbone.never_quantised, torch.float32).llm_int8_skip_modules
    linears = [name for name, m in backbone.model.named_modules() if isinstance(m, torch.nn.Linear)]
    open_to_4_bits = [name for name in linears if not any(f"{name}.".startswith(f"{path}.") for path in kept)]
    assert open_to_4_bits
    assert all(name.startswith("model.language_model.") for name in open_to_4_bits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tune": "full", "quantise": True}, "Use one or the other"),
        ({"train_llm": False}, "needs --tune full"),
        ({"tune": "full", "train_llm": False}, "Nothing would learn"),
        ({"vision_rate": 1e-4}, "--vision-rate is given, but the vision does not learn"),
    ],
)
def test_contradictions_are_refused(folder: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AffectError, match=message):
        run(folder, tmp_path / "out", **options)


def test_an_encoder_that_is_not_there_cannot_learn(tmp_path: Path) -> None:
    backbone = load(str(save_tiny_qwen_vl(tmp_path)), "float32", trainable=True)
    with pytest.raises(AffectError, match="has no audio encoder"):
        make_trainable(backbone, Tuning(train_audio=True), 7)


def test_an_adapter_takes_no_switches_after_the_fact(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "first", rank=2)
    backbone = load(str(tmp_path / "first"), "float32", trainable=True)
    for tuning, message in (
        (Tuning(train_vision=True), "holds no whole vision"),
        (Tuning(tune="full"), "Merge it first"),
    ):
        with pytest.raises(AffectError, match=message):
            make_trainable(backbone, tuning, 7)


def test_a_composed_model_trains_its_fusion_at_its_own_rate(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=2)
    model = str(save_tiny_affect(tmp_path / "model"))
    main(grouped(SFT, model=model, data=data, out=tmp_path / "out", steps=1, batch=1, projector_rate=1e-2))
    assert list(modules_of(load(model, "float32"), "projector")) == []


@pytest.mark.parametrize(
    "name", ["qwen2_5_omni_7b_qlora", "qwen3_omni_30b_sft", "qwen3_vl_8b_sft", "qwen2_5_omni_7b_sft"]
)
def test_recipes_are_options_of_this_stage(name: str, tmp_path: Path) -> None:
    from trl import SFTConfig

    from affectllm.options import parse
    from affectllm.training.config import check_trainer_keys

    file = Path(__file__).parents[2] / "train" / "configs" / f"{name}.yaml"
    run = parse(SFT, ["--config", str(file), "--data", "d", "--out", str(tmp_path)])
    check_trainer_keys(SFTConfig, run.runtime.trainer)
    check_tuning(run.tuning, run.model.quantise)
    assert run.tuning.whole == []


def test_no_save_asks_the_hub_for_a_model_of_that_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(name: str, *_: Any, **__: Any) -> bool:
        raise AssertionError(f"The hub was asked for {name}.")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", asked)
    backbone = load(str(folder / "model"), "float32")
    backbone.model.name_or_path = "nano"
    make_trainable(backbone, Tuning(rank=2), seed=7)
    backbone.model.save_pretrained(tmp_path / "out")
    assert not any("embed_tokens" in name for name in load_file(tmp_path / "out" / "adapter_model.safetensors"))
