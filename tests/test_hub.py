"""Folders go to the hub whole, privately, and a refusal costs nothing."""

from pathlib import Path

import pytest

from affectllm import hub
from affectllm.errors import AffectError
from tests.fake_hub import serve


def folder_at(path: Path) -> Path:
    (path / "data").mkdir(parents=True)
    (path / "README.md").write_text("---\nlicense: other\n---\nHello")
    (path / "data" / "train.parquet").write_bytes(b"123")
    (path / "rejected.jsonl").write_text("{}")
    return path


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_folder_is_sent_privately(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_at(tmp_path / "out")
    with serve(monkeypatch) as there:
        address = hub.send(folder, "me/mine", kind, leave_out=["rejected.jsonl"])  # type: ignore[arg-type]
    assert there.files == {"README.md": (folder / "README.md").read_bytes(), "data/train.parquet": b"123"}
    (made,) = there.repositories
    assert (made["organization"], made["name"], made["visibility"]) == ("me", "mine", "private")
    assert made.get("type", "model") == kind
    assert address.startswith(there.url)
    assert "me/mine" in address


@pytest.mark.parametrize(("name", "said"), [("me/mine", "401"), ("me/two words", "two words")])
def test_a_refusal_says_how_to_send_later(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_at(tmp_path / "out")
    with serve(monkeypatch, refuses=True), pytest.raises(AffectError, match=rf"{said}.*hf auth login"):
        hub.send(folder, name, "dataset")


def test_a_hub_out_of_reach_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(monkeypatch):
        pass
    with pytest.raises(AffectError, match="did not take me/mine"):
        hub.send(folder_at(tmp_path / "out"), "me/mine", "dataset")
