"""The ranges come from the installed metadata, and one line a run names what lies outside them."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from affectllm import models, versions
from affectllm.errors import AffectError

ROOT = Path(__file__).resolve().parents[1]
FILE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An affectllm that asks for three packages, and the versions that stand for what is installed."""
    message = Message()
    message["Provides-Extra"] = "train"
    message["Provides-Extra"] = "dev"
    message["Provides-Extra"] = "all"
    for line in (
        "numpy<3,>=2.0",
        'trl<1.17,>=1.12; extra == "train"',
        "nowhere>=1; sys_platform == 'no such system' and extra == 'train'",
        'ruff<1; extra == "dev"',
        'affectllm[train,dev]; extra == "all"',
    ):
        message["Requires-Dist"] = line
    installed = {"numpy": "2.4.6", "trl": "1.16.0", "ruff": "2.0"}
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: message)
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    for name in (versions.SAID, *versions.RANKS):
        monkeypatch.delenv(name, raising=False)
    return installed


def test_every_package_comes_once_with_its_extra_and_its_range_in_order(metadata: dict[str, str]) -> None:
    assert versions.needed() == (
        versions.Needed("numpy", "", ">=2.0,<3", True),
        versions.Needed("trl", "train", ">=1.12,<1.17", True),
        versions.Needed("ruff", "dev", "<1", True),
    )


def test_versions_on_the_bounds_of_a_range_are_judged_as_pip_does(metadata: dict[str, str]) -> None:
    trl = [versions.Needed("trl", "train", ">=1.12,<1.17", True)]
    for version in ("1.12", "1.15.0rc1", "1.16.9+local"):
        metadata["trl"] = version
        assert versions.outside(trl) == []
    for version in ("1.11.9", "1.17", "of today"):
        metadata["trl"] = version
        assert versions.outside(trl) == [versions.Outside("trl", version, ">=1.12,<1.17")]


def test_one_line_names_package_version_and_range_once_a_run(
    metadata: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    metadata["trl"] = "1.17.0"
    versions.say_outside()
    versions.say_outside()
    said = capsys.readouterr()
    assert said.out == ""
    # The odd ruff is a tool of development, which no run uses.
    assert said.err.splitlines() == [
        "affectllm: not tried with trl 1.17.0 (tried: >=1.12,<1.17). If something fails, go back to tried versions; "
        "affectllm doctor gives the commands."
    ]


def test_nothing_is_said_where_all_lies_inside_or_by_any_process_but_the_first(
    metadata: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.say_outside()
    monkeypatch.delenv(versions.SAID)
    metadata["trl"] = "1.17.0"
    monkeypatch.setenv("RANK", "1")
    versions.say_outside()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    versions.say_outside()
    assert "trl 1.17.0" in capsys.readouterr().err


def test_a_process_that_a_run_starts_does_not_repeat_the_line(metadata: dict[str, str]) -> None:
    metadata["trl"] = "1.17.0"
    versions.say_outside()
    child = "import os; print(os.environ['AFFECTLLM_VERSIONS_SAID'])"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert os.environ[versions.SAID] == "1"


def test_without_an_installation_the_ranges_are_not_known_and_the_run_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Message:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    monkeypatch.delenv(versions.SAID, raising=False)
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(AffectError, match="is not installed"):
        versions.needed()
    versions.say_outside()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_range_of_the_package_has_a_bound_below_and_above() -> None:
    lines = [*FILE["dependencies"], *(line for lines in FILE["optional-dependencies"].values() for line in lines)]
    for requirement in map(Requirement, lines):
        if requirement.name != "affectllm":
            signs = {part.operator for part in requirement.specifier}
            assert signs == {">=", "<"}, requirement


def test_the_lock_has_an_exact_version_of_every_package_inside_its_range_and_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    locked = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    lines = [*FILE["dependencies"], *(line for lines in FILE["optional-dependencies"].values() for line in lines)]
    for asked in map(Requirement, lines):
        pins = [pin for pin in locked if pin.name == asked.name]
        assert pins or asked.name == "affectllm", f"{asked.name} is not in constraints.txt: make lock"
        for pin in pins:
            ((operator, version),) = [(part.operator, part.version) for part in pin.specifier]
            assert operator == "==", pin
            assert asked.specifier.contains(version), f"{pin}: make lock"


def test_a_model_that_is_loaded_says_it_before_anything_of_the_packages_can_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (versions.SAID, *versions.RANKS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(versions, "outside", lambda packages: [versions.Outside("trl", "1.17.0", ">=1.12,<1.17")])
    with pytest.raises(AffectError, match="nowhere"):
        models.load("nowhere/of-this-name")
    assert capsys.readouterr().err.startswith("affectllm: not tried with trl 1.17.0")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "sft", "--help"]])
def test_help_and_version_stay_light_and_say_nothing(words: list[str]) -> None:
    script = (
        "import contextlib, sys\n"
        "from affectllm.commands.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({words})\n"
        "assert not {'torch', 'transformers', 'packaging.requirements'} & set(sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != versions.SAID}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
