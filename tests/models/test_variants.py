"""Composed models of other encoders and other fusions: they see, hear, train, save, and cost the tokens they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from affectllm.commands import verbs
from affectllm.errors import AffectError
from affectllm.models import load
from affectllm.models.base.backbone import Backbone, join_media
from affectllm.models.base.generation import generate
from affectllm.models.families.affect import AffectConfig
from affectllm.models.families.affect.encoders import ImageEncoder, SpeechEncoder, normalised
from affectllm.models.families.affect.prefusion import WeightedSum
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import conversation, write_clip
from tests.tiny_models import END, START, byte_tokenizer, save_tiny_affect

IMAGE = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SPEECH = {**TOWER, "conv_dim": [8, 8], "conv_stride": [5, 8], "conv_kernel": [10, 8], "num_feat_extract_layers": 2}
SPEECH |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
VISION = {
    "clip_vision_model": {**TOWER, "image_size": 32, "patch_size": 8, "projection_dim": 12},
    "siglip_vision_model": {**TOWER, "image_size": 32, "patch_size": 8},
    "dinov2": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "CLIP + HuBERT, attention": {
        "vision": "clip_vision_model", "audio": "hubert", "fusion": "attention", "face_tokens": 1, "voice_tokens": 1,
        "fusion_tokens": 1,
    },
    "SigLIP + WavLM, attention with softmax": {
        "vision": "siglip_vision_model", "audio": "wavlm", "fusion": "attention_softmax", "face_tokens": 3,
        "voice_tokens": 2, "fusion_tokens": 2,
    },
    "DINOv2 + Whisper, qformer": {
        "vision": "dinov2", "audio": "whisper", "fusion": "qformer", "face_tokens": 2, "voice_tokens": 5,
    },
    "CLIP + HuBERT, affectgpt": {
        "vision": "clip_vision_model", "audio": "hubert", "fusion": "affectgpt", "face_tokens": 1, "voice_tokens": 1,
        "fusion_tokens": 1,
    },
    "CLIP + WavLM, none": {"vision": "clip_vision_model", "audio": "wavlm", "fusion": "none", "fusion_tokens": 0},
    "SigLIP + HuBERT, queries": {"vision": "siglip_vision_model", "audio": "hubert", "fusion": "queries"},
}  # fmt: skip


def save_variant(folder: Path, vision: str, audio: str, **options: Any) -> Path:
    parts: dict[str, Any] = {"vision_config": {"model_type": vision, **VISION[vision]}, "fusion": "queries"}
    if audio != "whisper":
        parts["audio_config"] = {"model_type": audio, **SPEECH}
    return save_tiny_affect(folder, image=IMAGE, **{**parts, **options})


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, Backbone]:
    folder = tmp_path_factory.mktemp("variant")
    for i in range(2):
        write_clip(folder / f"clip{i}.mp4", seed=i, seconds=1 + i)
    backbone = load(str(save_variant(folder / "model", **VARIANTS[request.param])), "float32")
    backbone.model.eval()
    return VARIANTS[request.param], folder, backbone


def test_a_clip_costs_the_tokens_it_should(variant: tuple[dict, Path, Backbone]) -> None:
    options, folder, backbone = variant
    ids = backbone.sample(conversation("clip0", ["happy"]), folder).prompt_ids
    counts = {name: ids.count(token) for name, token in backbone.placeholders.items()}
    slices = 8 + (options["fusion"] == "queries")
    assert counts == {
        "video": options.get("face_tokens", 8),
        "audio": options.get("voice_tokens", slices),
        "fusion": options.get("fusion_tokens", 4),
    }


@pytest.mark.parametrize("modalities", [("video", "audio"), ("video",), ("audio",), ()])
def test_any_subset_of_modalities_answers_alone_as_in_a_batch(
    variant: tuple[dict, Path, Backbone], modalities: tuple[str, ...]
) -> None:
    _, folder, backbone = variant
    samples = [backbone.sample(conversation("clip0", ["happy"]), folder, modalities)]
    samples.append(backbone.sample(conversation("clip1", ["happy"]), folder))
    together = generate(backbone, samples, max_new_tokens=3)[0]
    assert together == [generate(backbone, [sample], max_new_tokens=3)[0][0] for sample in samples]


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_each_modality_reaches_the_loss(variant: tuple[dict, Path, Backbone], kind: str) -> None:
    _, folder, backbone = variant
    own, other = (backbone.sample(conversation(f"clip{i}", ["happy"]), folder) for i in range(2))
    name = {"video": "face_features", "audio": "voice_features"}[kind]
    ids = torch.tensor([own.prompt_ids])
    with torch.no_grad():
        a = backbone.model(ids, **own.media).logits
        b = backbone.model(ids, **{**own.media, name: other.media[name]}).logits
    assert (a - b).abs().max() > 1e-6


def test_the_fusion_learns_and_the_encoders_do_not(variant: tuple[dict, Path, Backbone]) -> None:
    _, folder, backbone = variant
    trained = load(backbone.name, "float32", trainable=True)
    make_trainable(trained, Tuning(rank=2), 7)
    samples = [trained.sample(conversation(f"clip{i}", ["happy"]), folder) for i in range(2)]
    ids = torch.tensor([sample.prompt_ids for sample in samples])
    loss = trained.model(input_ids=ids, labels=ids, **join_media(samples)).loss
    loss.backward()
    assert loss.isfinite()
    gradients = {name: p.grad for name, p in trained.model.named_parameters() if p.requires_grad}
    fusion = [gradient for name, gradient in gradients.items() if "fusion" in name]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in fusion)
    assert not [name for name in gradients if "encoder" in name]


def test_what_is_saved_is_loaded(variant: tuple[dict, Path, Backbone], tmp_path: Path) -> None:
    _, folder, backbone = variant
    backbone.model.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    again = load(str(tmp_path), "float32")
    again.model.eval()
    row = conversation("clip1", ["happy"])
    one, two = backbone.sample(row, folder), again.sample(row, folder)
    assert one.prompt_ids == two.prompt_ids
    ids = torch.tensor([one.prompt_ids])
    with torch.no_grad():
        torch.testing.assert_close(again.model(ids, **two.media).logits, backbone.model(ids, **one.media).logits)


def test_weighted_sums_by_hand() -> None:
    """Features 1 and 3, weights equal to the features: 1*1 + 3*3 without softmax, a convex mean with it."""
    features, present = torch.tensor([[[1.0], [3.0]]]), torch.ones(1, 2, dtype=torch.bool)
    for softmax, expected in ((False, 10.0), (True, (np.e + 3 * np.e**3) / (np.e + np.e**3))):
        layer = WeightedSum(1, 1, softmax)
        torch.nn.init.ones_(layer.weigh.weight)
        torch.nn.init.zeros_(layer.weigh.bias)
        assert layer(features, present).item() == pytest.approx(expected, rel=1e-5)
    absent = torch.tensor([[True, False]])
    assert layer(features, absent).item() == pytest.approx(1.0)


def test_clip_gives_its_projected_embedding() -> None:
    config = transformers.CLIPVisionConfig(**VISION["clip_vision_model"])
    encoder = ImageEncoder(config).eval()
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 12)


def test_speech_is_the_mean_of_the_last_layers_at_true_length() -> None:
    torch.manual_seed(0)
    encoder = SpeechEncoder(transformers.HubertConfig(**SPEECH), layers=2).eval()
    short, long = normalised(torch.randn(2000)), normalised(torch.randn(3000))
    waves = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    mask = (torch.arange(3000) < torch.tensor([[2000], [3000]])).long()
    with torch.no_grad():
        states, kept = encoder(waves, mask)
        hidden = encoder.tower(short[None], output_hidden_states=True).hidden_states
    expected = (hidden[-1] + hidden[-2])[0] / 2
    torch.testing.assert_close(states[0, : len(expected)], expected)
    assert kept.sum(1).tolist() == [len(expected), states.shape[1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "attntion"}, "No fusion 'attntion'. Known: queries, attention"),
        ({"fusion": "none"}, "set fusion_tokens to 0"),
        ({"face_tokens": 3}, "pools nothing"),
        ({"vision_config": {"model_type": "vit"}}, "No encoder of the kind 'vit'. Known: clip_vision_model"),
        ({"audio_config": {"model_type": "whisper", "num_mel_bins": 128}}, "128 mel bands"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AffectError, match=message):
        AffectConfig(**options)


def test_a_model_is_composed_from_stored_parts(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(["<|endoftext|>", START, END])
    llm = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, **TOWER)
    )
    llm.save_pretrained(tmp_path / "llm")
    tokenizer.save_pretrained(tmp_path / "llm")
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=VISION["clip_vision_model"], text_config=TOWER, projection_dim=12)
    )
    clip.save_pretrained(tmp_path / "clip")
    transformers.CLIPImageProcessor(crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path / "clip")
    hubert = transformers.HubertModel(transformers.HubertConfig(**SPEECH))
    hubert.save_pretrained(tmp_path / "hubert")
    parts = [f"--{part}={tmp_path / name}" for part, name in (("llm", "llm"), ("vision", "clip"), ("audio", "hubert"))]
    options = ["--fusion=attention", "--face-tokens=1", "--voice-tokens=1", "--fusion-tokens=1", "--fusion-size=16"]
    assert verbs.run("models", ["compose", *parts, f"--out={tmp_path / 'mine'}", "--dtype=float32", *options]) == 0
    mine = load(str(tmp_path / "mine"), "float32")
    assert mine.core.lm_head.weight[: len(llm.lm_head.weight)].equal(llm.lm_head.weight)
    assert mine.core.model.face_encoder.tower.visual_projection.weight.equal(clip.visual_projection.weight)
    stored = hubert.state_dict()
    assert all(weight.equal(stored[name]) for name, weight in mine.core.model.voice_encoder.tower.state_dict().items())
    write_clip(tmp_path / "clip0.mp4")
    sample = mine.sample(conversation("clip0", ["happy"]), tmp_path)
    assert isinstance(generate(mine, [sample], max_new_tokens=3)[0][0], str)
