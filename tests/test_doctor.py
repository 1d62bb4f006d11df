"""What is missing is named with the command that mends it."""

import importlib.metadata

import pytest

from affectllm import doctor


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = importlib.metadata.version

    def without_trl(name: str) -> str:
        if name == "trl":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_trl)
    doctor.show([found for found in doctor.packages() if found.what in ("trl", "numpy")])
    lines = capsys.readouterr().out.splitlines()
    assert any("numpy" in line and version("numpy") in line for line in lines)
    assert any("trl" in line and "missing" in line and "pip install 'affectllm[train]'" in line for line in lines)
