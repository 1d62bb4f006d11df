"""AffectGPT's checkpoint: every weight finds its place, the sizes are the published ones, nothing is guessed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from affectllm.commands import verbs
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.models.families.affect.affectgpt import MAPS, merge
from affectllm.models.families.affect.prefusion import AffectGPTFusion
from tests.models.test_variants import SPEECH, VISION
from tests.tiny_models import END, START, byte_tokenizer

# Of the released code's modules, for CLIP ViT-L/14 (768), chinese-hubert-large (1024) and Qwen2.5-7B (3584).
PUBLISHED = {
    "video_attention_mlp": (1, 768),
    "affectgpt_proj": (3584, 768),
    "audio_attention_mlp": (1, 1024),
    "audio_llama_proj": (3584, 1024),
    "multi_video_embs": (1024, 768),
    "multi_audio_embs": (1024, 1024),
    "attention_mlp": (1024, 2048),
    "fc_att": (2, 1024),
    "multi_llama_proj": (3584, 1024),
}
WIDTH, FACE, VOICE = 16, 12, 16
RANK = 2


def config(face: int, voice: int, width: int) -> Any:
    return SimpleNamespace(
        face_size=face,
        voice_size=2 * voice,
        fusion_size=max(face, voice),
        text_config=SimpleNamespace(hidden_size=width),
    )


def test_the_published_sizes_fit() -> None:
    with torch.device("meta"):
        places = AffectGPTFusion(config(768, 1024, 3584)).state_dict()
    assert {theirs: tuple(places[f"{ours}.weight"].shape) for theirs, ours in MAPS.items()} == PUBLISHED
    assert {f"{ours}.{part}" for ours in MAPS.values() for part in ("weight", "bias")} == set(places)


def test_the_fusion_computes_what_affectgpt_does() -> None:
    torch.manual_seed(0)
    fusion = AffectGPTFusion(config(3, 5, 7))
    face, voice = torch.randn(2, 8, 3), torch.randn(2, 8, 10)
    both = torch.tensor([True, True])
    told = fusion(face, voice, None, both, both)
    sound = voice[..., :5]
    for row in range(2):
        seen = sum(fusion.weigh_face(face[row, t]) * face[row, t] for t in range(8))
        heard = sum(fusion.weigh_voice(sound[row, t]) * sound[row, t] for t in range(8))
        a, b = fusion.meet_face(face[row].mean(0)), fusion.meet_voice(sound[row].mean(0))
        weights = fusion.share(fusion.mix(torch.cat([a, b])))
        wanted = (fusion.face_out(seen), fusion.voice_out(heard), fusion.both_out(weights[0] * a + weights[1] * b))
        for mine, theirs in zip(told, wanted, strict=True):
            torch.testing.assert_close(mine[row, 0], theirs, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored parts as a user has them, small."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    tokenizer = byte_tokenizer([START, END])
    shape = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    llm = transformers.Qwen2Config(**shape, num_key_value_heads=1, vocab_size=len(tokenizer))
    transformers.Qwen2ForCausalLM(llm).save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    vision = transformers.CLIPVisionConfig(**VISION["clip_vision_model"])
    transformers.CLIPVisionModelWithProjection(vision).save_pretrained(folder / "vision")
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size=size, crop_size=size).save_pretrained(folder / "vision")
    transformers.HubertModel(transformers.HubertConfig(**SPEECH)).save_pretrained(folder / "audio")
    return folder


def weights(parts: Path) -> dict[str, Tensor]:
    """A checkpoint of AffectGPT's names for these parts."""
    torch.manual_seed(1)
    with torch.device("meta"):
        places = AffectGPTFusion(config(FACE, VOICE, WIDTH)).state_dict()
    found = {
        f"{theirs}.{part}": torch.randn(places[f"{ours}.{part}"].shape)
        for theirs, ours in MAPS.items()
        for part in ("weight", "bias")
    }
    found |= {"image_llama_proj.weight": torch.randn(WIDTH, FACE), "image_llama_proj.bias": torch.randn(WIDTH)}
    llm = transformers.Qwen2ForCausalLM.from_pretrained(parts / "llm")
    for name, layer in llm.model.layers.named_modules():
        if isinstance(layer, torch.nn.Linear):
            out, into = layer.weight.shape
            place = f"llama_model.base_model.model.model.layers.{name}.lora_"
            found |= {
                f"{place}A.default.weight": torch.randn(RANK, into),
                f"{place}B.default.weight": torch.randn(out, RANK),
            }
    return found


def bring_in(parts: Path, out: Path, model: dict[str, Tensor]) -> None:
    torch.save({"model": model, "epoch": 60, "config": {"run": {"seed": 42}}}, out.with_suffix(".pth"))
    words = [f"--{part}={parts / part}" for part in ("llm", "vision", "audio")]
    verbs.run("models", ["affectgpt", str(out.with_suffix(".pth")), *words, "--out", str(out), "--dtype", "float32"])


def test_every_weight_finds_its_place(parts: Path, tmp_path: Path) -> None:
    given = weights(parts)
    bring_in(parts, tmp_path / "model", given)
    backbone = load(str(tmp_path / "model"), "float32")
    body = backbone.core.model
    for theirs, ours in MAPS.items():
        for part in ("weight", "bias"):
            assert body.fusion.state_dict()[f"{ours}.{part}"].equal(given[f"{theirs}.{part}"])
    name = "layers.1.mlp.down_proj"
    stored = transformers.Qwen2ForCausalLM.from_pretrained(parts / "llm").model.get_submodule(name).weight
    a, b = (given[f"llama_model.base_model.model.model.{name}.lora_{it}.default.weight"] for it in "AB")
    torch.testing.assert_close(body.language_model.get_submodule(name).weight, stored + 32 / RANK * b @ a)
    assert (body.config.fusion, body.config.fusion_tokens) == ("affectgpt", 1)


def test_what_does_not_fit_is_named(parts: Path, tmp_path: Path) -> None:
    given = weights(parts)
    gone = {name: tensor for name, tensor in given.items() if name != "fc_att.bias"} | {
        "video_Qformer.x": torch.ones(1)
    }
    with pytest.raises(AffectError, match=r"Missing: fc_att\.bias \(1\); without a place: video_Qformer\.x \(1\)"):
        bring_in(parts, tmp_path / "a", gone)
    with pytest.raises(AffectError, match=r"fc_att\.weight .* is \(2, 3\)"):
        bring_in(parts, tmp_path / "b", given | {"fc_att.weight": torch.ones(2, 3)})
    assert not (tmp_path / "a").exists()
    adapted = "llama_model.base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight"
    with pytest.raises(AffectError, match=r"up_proj' is incomplete"):
        bring_in(parts, tmp_path / "c", {name: tensor for name, tensor in given.items() if name != adapted})
    with pytest.raises(AffectError, match="no adapter"):
        merge(torch.nn.Linear(1, 1), {}, 32.0)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path}, tmp_path / "code.pth")
    with pytest.raises(AffectError, match="cannot be read as plain tensors"):
        verbs.run("models", ["affectgpt", str(tmp_path / "code.pth"), "--out", str(tmp_path / "out")])
    with pytest.raises(AffectError, match="No checkpoint"):
        verbs.run("models", ["affectgpt", str(tmp_path / "none.pth"), "--out", str(tmp_path / "out")])
