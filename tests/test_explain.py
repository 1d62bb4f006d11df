"""One clip in, an explanation out; and the page around it."""

from pathlib import Path

import msgspec
import pytest

from affectllm.errors import AffectError
from affectllm.explain import Explainer, by_modality, default_model
from affectllm.models import load
from affectllm.models.speech import Transcript
from demo.app import build_page, check_length, show
from tests.clips import write_clip
from tests.tiny_models import save_tiny_affect, save_tiny_qwen_vl


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    backbone = load(str(save_tiny_affect(tmp_path_factory.mktemp("model"))), dtype="float32")
    backbone.model.eval()
    return Explainer(backbone)


def test_every_modality_has_its_influence(explainer: Explainer, tmp_path: Path) -> None:
    found = explainer.explain(write_clip(tmp_path / "a.mp4"), subtitle="I won.", max_new_tokens=6)
    assert set(found.evidence) == {"face", "voice", "words"}
    assert all(evidence.influence is not None for evidence in found.evidence.values())
    assert found.notes == []


@pytest.mark.parametrize(("video", "audio", "absent"), [(True, False, "voice"), (False, True, "face")])
def test_what_a_clip_lacks_is_noted(
    explainer: Explainer, tmp_path: Path, video: bool, audio: bool, absent: str
) -> None:
    found = explainer.explain(write_clip(tmp_path / "a.mp4", video=video, audio=audio), max_new_tokens=4)
    assert found.evidence[absent].influence is None
    assert found.evidence["words"].influence is None
    assert len(found.notes) == 2


def test_a_model_without_ears_explains_what_it_sees(tmp_path: Path) -> None:
    backbone = load(str(save_tiny_qwen_vl(tmp_path / "model")), dtype="float32")
    backbone.model.eval()
    found = Explainer(backbone).explain(write_clip(tmp_path / "a.mp4"), subtitle="I won.", max_new_tokens=4)
    assert found.notes == ["the model takes no audio: that of the clip was not used"]
    assert found.evidence["face"].influence is not None
    assert found.evidence["voice"].influence is None
    with pytest.raises(AffectError, match=r"takes video, and .* has only audio"):
        Explainer(backbone).explain(write_clip(tmp_path / "b.mp4", video=False))


def test_a_file_that_is_no_clip_is_refused(explainer: Explainer, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("<html>")
    with pytest.raises(AffectError, match=r"a\.mp4"):
        explainer.explain(tmp_path / "a.mp4")


def test_statements_are_told_apart_by_modality() -> None:
    found = by_modality("The face shows a smile. The voice is bright. She says she won. It is sunny.")
    assert found == {
        "face": ["The face shows a smile."],
        "voice": ["The voice is bright."],
        "words": ["She says she won."],
    }


def test_the_page_escapes_and_shows(explainer: Explainer, tmp_path: Path) -> None:
    found = explainer.explain(write_clip(tmp_path / "a.mp4"), subtitle="Hi", max_new_tokens=4)
    hostile = msgspec.structs.replace(found, labels=["<b>x</b>"], reasoning="<script>alert(1)</script>")
    page = show(hostile)
    assert "<script>" not in page
    assert "&lt;b&gt;x" in page
    assert build_page(explainer, 60.0) is not None


def test_long_clips_are_refused_on_the_page(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=2.0)
    with pytest.raises(AffectError, match="takes up to 1 s"):
        check_length(clip, 1.0)


def test_without_an_adapter_the_way_to_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AffectError, match="make quickstart"):
        default_model()


def test_a_subtitle_written_by_a_speech_model_is_marked(
    explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affectllm.models.speech.transcribe", lambda wave, model, language: Transcript("I won.", model))
    found = explainer.explain(write_clip(tmp_path / "a.mp4"), asr="toy", max_new_tokens=4)
    assert found.notes == ["subtitle by toy, automatic: I won."]
    assert found.evidence["words"].influence is not None
