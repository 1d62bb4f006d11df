"""Merged models say what adapted ones say; whole checkpoints keep all but the Thinker; foreign adapters fit or fail."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.models.base.backbone import Backbone, Sample
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import conversation, write_toy_data
from tests.fake_hub import serve
from tests.tiny_models import TINY, families, save_tiny_omni
from train.merge import Merge, main

OMNI = {
    "Qwen2.5-Omni Thinker": ("Qwen2_5OmniForConditionalGeneration", "Qwen2_5OmniConfig"),
    "Qwen3-Omni Thinker": ("Qwen3OmniMoeForConditionalGeneration", "Qwen3OmniMoeConfig"),
}


def save_adapter(model: Path, folder: Path) -> Path:
    """An adapter that changes the answer, as a run leaves it."""
    backbone = load(str(model), "float32", trainable=True)
    make_trainable(backbone, Tuning(rank=4), 7)
    torch.manual_seed(1)
    for name, parameter in backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    backbone.model.peft_config["default"].base_model_name_or_path = str(model)
    backbone.model.save_pretrained(folder)
    return folder


def logits(backbone: Backbone, sample: Sample) -> torch.Tensor:
    backbone.model.eval()
    ids = torch.tensor([sample.prompt_ids])
    with torch.no_grad():
        return backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), **sample.media).logits


def sample_of(backbone: Backbone, folder: Path) -> Sample:
    return backbone.sample(conversation("clip0", ["happy"], parts=backbone.modalities), folder)


def save_full(name: str, folder: Path) -> Path:
    """A whole Omni checkpoint in several shards, with weights that are not the Thinker's."""
    kind, config = OMNI[name]
    thinker = load(str(TINY[name](folder.with_name("thinker"))), "float32")
    whole = getattr(transformers, kind)(
        getattr(transformers, config)(thinker_config=thinker.core.config.to_dict(), enable_audio_output=False)
    )
    whole.save_pretrained(folder, max_shard_size="300KB")
    thinker.processor.save_pretrained(folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    last = folder / max(index["weight_map"].values())
    save_file({**load_file(last), "talker.one": torch.arange(3.0)}, last, metadata={"format": "pt"})
    index["weight_map"]["talker.one"] = last.name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "spk_dict.pt").write_bytes(b"voices")
    return folder


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_merged_and_adapted_models_agree(family: str, tmp_path: Path) -> None:
    write_toy_data(tmp_path, count=1)
    model = TINY[family](tmp_path / "model")
    adapter = save_adapter(model, tmp_path / "adapter")
    adapted = load(str(adapter), "float32", trainable=True)
    sample = sample_of(adapted, tmp_path)
    main(Merge(adapter=adapter, out=tmp_path / "merged"))
    merged = load(str(tmp_path / "merged"), "float32")
    torch.testing.assert_close(logits(merged, sample), logits(adapted, sample), atol=1e-5, rtol=1e-5)
    plain = load(str(model), "float32")
    assert (logits(merged, sample) - logits(plain, sample)).abs().max() > 1e-3
    assert not list((tmp_path / "merged").glob("*.bin"))
    assert sample_of(merged, tmp_path).prompt_ids == sample.prompt_ids


@pytest.mark.parametrize("family", OMNI)
def test_a_whole_checkpoint_gets_the_merged_thinker(family: str, tmp_path: Path) -> None:
    write_toy_data(tmp_path, count=1)
    full = save_full(family, tmp_path / "full")
    adapter = save_adapter(full, tmp_path / "adapter")
    main(Merge(adapter=adapter, out=tmp_path / "merged", full=full))
    adapted, merged = load(str(adapter), "float32"), load(str(tmp_path / "merged"), "float32")
    sample = sample_of(adapted, tmp_path)
    torch.testing.assert_close(logits(merged, sample), logits(adapted, sample), atol=1e-5, rtol=1e-5)
    changed = 0
    for shard in sorted(full.glob("*.safetensors")):
        before, after = load_file(shard), load_file(tmp_path / "merged" / shard.name)
        assert before.keys() == after.keys()
        different = {name for name in before if not before[name].equal(after[name])}
        assert all(name.startswith("thinker.model.layers.") for name in different)
        changed += len(different)
    assert changed > 0
    assert (tmp_path / "merged" / "spk_dict.pt").read_bytes() == b"voices"
    assert (tmp_path / "merged" / "config.json").read_text() == (full / "config.json").read_text()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    full = save_full("Qwen2.5-Omni Thinker", tmp_path / "full")
    shard = min(full.glob("*.safetensors"))
    weights = load_file(shard)
    lost = next(name for name in weights if name.startswith("thinker."))
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, shard)
    adapter = save_adapter(tmp_path / "thinker", tmp_path / "adapter")
    with pytest.raises(AffectError, match=f"1 weights are in only one of the two, such as {lost}"):
        main(Merge(adapter=adapter, out=tmp_path / "merged", full=full))
    assert not (tmp_path / "merged").exists()


def foreign(adapter: Path, folder: Path, names: Any, targets: Any) -> Path:
    """The same adapter as another program stores it."""
    shutil.copytree(adapter, folder)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({names(name): tensor for name, tensor in weights.items()}, folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": targets}))
    return folder


def thinker_names(name: str) -> str:
    return name.replace("base_model.model.model.language_model.", "base_model.model.thinker.model.")


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        pytest.param(thinker_names, r"^(thinker\.model(?=\.).*\.(q_proj|k_proj|v_proj|o_proj))$", id="ms-swift"),
        pytest.param(thinker_names, ["q_proj", "k_proj", "v_proj", "o_proj"], id="llama-factory"),
        pytest.param(lambda name: name.replace("model.language_model.", "model."), ["q_proj"], id="older transformers"),
    ],
)
def test_adapters_of_other_programs_fit(names: Any, targets: Any, tmp_path: Path) -> None:
    write_toy_data(tmp_path, count=1)
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    other = foreign(adapter, tmp_path / "other", names, targets)
    with safe_open(other / "adapter_model.safetensors", "pt") as stored:
        assert not any("language_model" in name for name in stored.keys())  # noqa: SIM118
    ours, theirs = load(str(adapter), "float32"), load(str(other), "float32")
    sample = sample_of(ours, tmp_path)
    torch.testing.assert_close(logits(theirs, sample), logits(ours, sample), atol=1e-6, rtol=0)


@pytest.mark.parametrize("names", [thinker_names, lambda name: name], ids=["foreign", "own"])
def test_missing_weights_are_listed(names: Any, tmp_path: Path) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    own = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    other = foreign(adapter, tmp_path / "other", names, own)
    weights = load_file(other / "adapter_model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if "layers.1.self_attn.q_proj" not in name},
        other / "adapter_model.safetensors",
    )
    with pytest.raises(AffectError, match=r"lacks \d weights: .*layers\.1\.self_attn\.q_proj"):
        load(str(other), "float32")


def test_weights_without_a_place_are_listed(tmp_path: Path) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    extra = "base_model.model.model.language_model.layers.7.mlp.up_proj.lora_A.weight"
    save_file({**load_file(file), extra: torch.zeros(4, 32)}, file)
    with pytest.raises(AffectError, match=r"has no place here for 1 weights: .*layers\.7"):
        load(str(adapter), "float32")


def test_an_adapter_of_another_size_is_refused(tmp_path: Path) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    larger = save_tiny_omni(tmp_path / "larger", hidden=64)
    with pytest.raises(AffectError, match="for a model of another size"):
        main(Merge(adapter=adapter, model=str(larger), out=tmp_path / "merged"))


def test_what_is_trained_on_is_what_was_loaded(tmp_path: Path) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    loaded = load(str(adapter), "float32", trainable=True)
    stored = load_file(adapter / "adapter_model.safetensors")
    now = get_peft_model_state_dict(loaded.model)
    assert all(now[name].equal(tensor) for name, tensor in stored.items())
    assert any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_card_says_where_it_comes_from_and_how_good_it_is(tmp_path: Path) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    manifest = {"sources": {"train_sent_emo.csv": "ab"}, "rows_in": 9, "rows_out": 8, "licence": "GPL-3.0"}
    record = {"steps": 3, "git": "1234", "versions": {"torch": "2"}, "options": {"rank": 4, "data": "/home/me/x"}}
    (adapter / "run.json").write_text(json.dumps({**record, "data_manifest": manifest}))
    (tmp_path / "results.json").write_text(json.dumps({"set_f1": 0.5, "n": 120, "protocol": "affectllm-1"}))
    main(Merge(adapter=adapter, out=tmp_path / "m", results=tmp_path / "results.json", licence="apache-2.0"))
    text = (tmp_path / "m" / "README.md").read_text()
    for part in ('license: "apache-2.0"', "train_sent_emo.csv", "GPL-3.0", "| set_f1 | 0.500 |", "rank=4", "## Limits"):
        assert part in text
    assert "/home/me" not in text
    with pytest.raises(AffectError, match="exists"):
        main(Merge(adapter=adapter, out=tmp_path / "m"))


def test_the_merged_model_is_sent_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = save_adapter(save_tiny_omni(tmp_path / "model"), tmp_path / "adapter")
    with serve(monkeypatch) as hub:
        main(Merge(adapter=adapter, out=tmp_path / "quiet"))
        assert hub.repositories == []
        main(Merge(adapter=adapter, out=tmp_path / "m", push="me/mine"))
    assert hub.repositories[0]["visibility"] == "private"
    sent = {path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert set(hub.files) == sent >= {"README.md", "config.json"}
