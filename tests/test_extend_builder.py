"""docs/extend/builder.md is true: its builder is run as written, and its folder is checked and read as any other."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from affectllm.commands import catalogue, cli
from affectllm.data.reading import read_split
from affectllm.training.run_folder import fingerprint

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extend" / "builder.md"
BUILDER, TEST = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ROWS = "clip,text,emotion,split\nc1,Lovely tea!,Joy,train\nc2,Well.,boredom,train\nc3,,calm,test\n"


def leave(words: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    return end.value.code


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "tearoom.py"
    path.write_text(BUILDER, encoding="utf-8")
    return path


def test_a_file_outside_the_package_builds_a_folder_that_is_checked_and_trained_on(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips.csv").write_text(ROWS)
    out = tmp_path / "out"
    assert not leave(["build", str(script), "--source", str(tmp_path), "--out", str(out)])
    assert "3 rows in, 2 conversations, 1 rejected" in capsys.readouterr().out
    assert leave(["data", "check", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["folders"][str(out)]["splits"] == {"train": 1, "test": 1}
    data = out / "conversations.jsonl"
    (row,) = read_split(data, "train")
    assert (row.id, row.target.basic, row.media.video) == ("c1", "joy", "c1.mp4")
    assert fingerprint(data)["manifest_sha256"]


def test_its_help_shows_its_docstring_and_options(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["build", str(script), "--help"]) == 0
    said = capsys.readouterr().out
    assert "Tea room: short recordings" in said
    assert "Language of what the guests say" in said


def test_a_path_that_holds_no_builder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["build", str(tmp_path / "absent.py")]) == 2
    assert "No file" in capsys.readouterr().err
    (tmp_path / "empty_builder.py").write_text("")
    assert leave(["build", str(tmp_path / "empty_builder.py")]) == 2
    assert "has no function main" in capsys.readouterr().err


def test_in_the_package_it_is_listed_without_another_change(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module(catalogue.BUILDERS)
    monkeypatch.delitem(sys.modules, f"{catalogue.BUILDERS}.tearoom", raising=False)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(script.parent)])
    assert catalogue.describe("tearoom", catalogue.all_sets()["tearoom"])["command"] == "affectllm build tearoom"
    sys.modules.pop(f"{catalogue.BUILDERS}.tearoom")
    monkeypatch.delattr(package, "tearoom", raising=False)


def test_the_test_on_the_page_passes(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: ModuleType = cli.load_file(script)
    monkeypatch.setitem(sys.modules, "data_builders.tearoom", module)
    names: dict[str, object] = {}
    exec(TEST, names)
    (test,) = [found for name, found in names.items() if name.startswith("test_")]
    folder = tmp_path / "page"
    folder.mkdir()
    test(folder)  # type: ignore[operator]
