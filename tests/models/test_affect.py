"""The composed model is an ordinary Hugging Face model: it saves, loads, generates, and takes any modalities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

from affectllm.models import load
from affectllm.models.base.backbone import Backbone, Media
from affectllm.models.base.generation import answer_log_probabilities, generate
from affectllm.models.families.affect.processing_affect import FACE, FUSION, VOICE
from tests.clips import conversation, write_clip
from tests.tiny_models import save_tiny_affect


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = save_tiny_affect(tmp_path_factory.mktemp("affect"))
    for i in range(2):
        write_clip(made / f"clip{i}.mp4", seed=i)
    return made


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    loaded = load(str(folder), dtype="float32")
    loaded.model.eval()
    return loaded


def test_the_auto_classes_load_what_was_saved(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    backbone.model.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    again = AutoModelForMultimodalLM.from_pretrained(tmp_path).eval()
    processor = AutoProcessor.from_pretrained(tmp_path)
    sample = backbone.sample(conversation("clip0", ["happy"]), folder)
    ids = torch.tensor([sample.prompt_ids])
    with torch.no_grad():
        torch.testing.assert_close(again(ids, **sample.media).logits, backbone.model(ids, **sample.media).logits)
    assert processor.chat_template == backbone.processor.chat_template
    assert processor.feature_extractor.to_dict() == backbone.processor.feature_extractor.to_dict()


def test_placeholders_widen_to_the_tokens_they_take(backbone: Backbone) -> None:
    widen = backbone.processor.widen
    assert widen(f"a{FACE}{VOICE}b") == "a" + FACE * 8 + VOICE * 9 + FUSION * 4 + "b"
    assert widen(f"a{VOICE}b") == "a" + VOICE * 9 + FUSION * 4 + "b"
    assert widen("ab") == "ab"


@pytest.mark.parametrize("modalities", [("video", "audio"), ("video",), ("audio",), ()])
def test_any_subset_of_modalities_answers(folder: Path, backbone: Backbone, modalities: tuple[str, ...]) -> None:
    sample = backbone.sample(conversation("clip0", ["happy"]), folder, modalities)
    ((text,), (count,)) = generate(backbone, [sample], max_new_tokens=5)
    assert isinstance(text, str)
    assert 0 <= count <= 5
    assert set(sample.media) == {
        "video": {"face_features"}, "audio": {"voice_features", "prosody"}
    }.get("".join(modalities), {"face_features", "voice_features", "prosody"} if modalities else set())  # fmt: skip


def test_mixed_modalities_in_a_batch_equal_single_rows(folder: Path, backbone: Backbone) -> None:
    row = conversation("clip0", ["happy"])
    kinds = [("video", "audio"), ("audio",), (), ("video",)]
    samples = [backbone.sample(row, folder, kind) for kind in kinds]
    together, _ = generate(backbone, samples, max_new_tokens=6)
    assert together == [generate(backbone, [sample], max_new_tokens=6)[0][0] for sample in samples]


def test_encoded_and_raw_media_give_the_same_output(folder: Path, backbone: Backbone) -> None:
    media = backbone.read(conversation("clip0", ["happy"]).media, folder, ("video", "audio"))
    assert media.frames_THWC is not None
    prompt = f"<|im_start|>user\n{FACE}{VOICE}Which?<|im_end|>\n"
    raw = backbone.processor(prompt, videos=[media.frames_THWC], audio=[media.wave])
    encoded = backbone.preprocess(media)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.model(**raw).logits, backbone.model(input_ids=raw["input_ids"], **encoded).logits
        )


def test_media_without_placeholders_are_an_error(folder: Path, backbone: Backbone) -> None:
    sample = backbone.sample(conversation("clip0", ["happy"]), folder)
    ids = torch.tensor([[token for token in sample.prompt_ids if token != backbone.core.config.voice_token_id]])
    with pytest.raises(ValueError, match=r"0 voice placeholders, the media give 9"):
        backbone.model(ids, **sample.media)


def test_encoders_stay_frozen_in_training_mode(backbone: Backbone) -> None:
    backbone.model.train()
    assert not backbone.core.model.face_encoder.training
    assert not any(p.requires_grad for p in backbone.core.model.voice_encoder.parameters())
    assert any(p.requires_grad for p in backbone.core.model.fusion.parameters())
    backbone.model.eval()


def test_silence_and_single_frames_are_media_too(backbone: Backbone) -> None:
    tiny = Media(np.zeros((1, 20, 30, 3), np.uint8), np.zeros(1), np.zeros(100, np.float32))
    made = backbone.preprocess(tiny)
    assert made["face_features"].shape == (1, 8, 2048)
    assert all(torch.isfinite(tensor).all() for tensor in made.values())


def test_an_answers_probability_is_that_of_its_tokens(folder: Path, backbone: Backbone) -> None:
    sample = backbone.sample(conversation("clip0", ["happy"]), folder)
    longer = backbone.answer_ids("hi there, a longer answer")
    value, other = answer_log_probabilities(backbone, [sample, sample], [backbone.answer_ids("hi"), longer])
    assert other == pytest.approx(answer_log_probabilities(backbone, [sample], [longer])[0], abs=1e-4)
    ids, total = list(sample.prompt_ids), 0.0
    for token in backbone.answer_ids("hi"):
        with torch.no_grad():
            logits = backbone.model(torch.tensor([ids]), **sample.media).logits[0, -1]
        total += float(logits.log_softmax(-1)[token])
        ids.append(token)
    assert value == pytest.approx(total / len(backbone.answer_ids("hi")), abs=1e-4)
