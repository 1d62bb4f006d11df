"""What is missing or was not tried is named with the command that repairs it."""

import importlib.metadata

import pytest

from affectllm import versions
from affectllm.commands import doctor

TRL = versions.Needed("trl", "train", ">=1.12,<1.17", everywhere=True)
DECORD = versions.Needed("decord", "train", ">=0.6,<0.7", everywhere=False)
RUFF = versions.Needed("ruff", "dev", ">=0.8,<1", everywhere=True)
NUMPY = versions.Needed("numpy", "", ">=2.0,<3", everywhere=True)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions that stand for what is installed; any other package is missing."""
    found: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(versions, "needed", lambda: (NUMPY, TRL, DECORD, RUFF))
    return found


def test_a_missing_package_is_named_with_its_extra(
    installed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    installed["numpy"] = "2.4.6"
    doctor.show(list(doctor.packages()))
    lines = capsys.readouterr().out.splitlines()
    assert any("numpy" in line and "ok" in line and "2.4.6" in line for line in lines)
    assert any("trl" in line and "missing" in line and "pip install 'affectllm[train]'" in line for line in lines)
    # A package that some systems have no wheels of may be absent.
    assert any("decord" in line and "optional" in line for line in lines)


def test_a_version_outside_its_range_is_named_with_the_range_and_is_not_called_missing(
    installed: dict[str, str],
) -> None:
    installed.update(numpy="2.4.6", trl="1.17.0")
    (found,) = [finding for finding in doctor.packages() if finding.what == "trl"]
    assert (found.state, found.seen) == ("untried", "1.17.0 (tried: >=1.12,<1.17)")
    assert found.mend == "pip install 'trl>=1.12,<1.17'"


def test_tools_of_development_are_listed_only_where_their_version_was_not_tried(installed: dict[str, str]) -> None:
    installed["ruff"] = "0.17.6"
    assert "ruff" not in [finding.what for finding in doctor.packages()]
    installed["ruff"] = "1.0"
    assert "ruff" in [finding.what for finding in doctor.packages()]
