"""A clean clone is run by its own commands, and becomes one row; with a toy repository in place of this one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks import fresh

MAKEFILE = """
VENV = .venv$(addprefix -,$(filter-out locked,$(PACKAGES)))
$(VENV)/ready:
\tmkdir -p $(VENV)/bin && ln -s $(PYTHON) $(VENV)/bin/python && touch $@
quickstart-mini: $(VENV)/ready
\t@echo "cache $$AFFECTLLM_CACHE, home $$HF_HOME, native [$$AFFECTLLM_NATIVE_BFLOAT16], path [$$PYTHONPATH]"
quickstart: quickstart-mini
test: $(VENV)/ready
\t@echo "===== 5 passed, 1 skipped in 0.10s (0:00:01) ====="
"""
TABLE = "# Environments\n\n| date | result |\n| --- | --- |\n| old | ok |\n\nAfter the table.\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose Makefile has the commands of the README and takes no time; temporary folders lie beside it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    commit(folder, MAKEFILE)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(fresh, "ROOT", folder)
    return folder


def commit(folder: Path, makefile: str) -> None:
    (folder / "Makefile").write_text(makefile, encoding="utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "toy"], check=True)


def run(tmp_path: Path, *words: str) -> int:
    return fresh.main(["--python", sys.executable, "--logs", str(tmp_path / "logs"), *words])


def cells(printed: str) -> dict[str, str]:
    heads, _, row = printed.splitlines()
    return dict(zip(*([cell.strip() for cell in line.strip("|").split("|")] for line in (heads, row)), strict=True))


def test_the_readme_s_commands_become_one_row_and_leave_nothing_but_their_logs(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    row = cells(capsys.readouterr().out)
    assert row["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert row["packages"].startswith("locked")
    assert row["native bfloat16"] == "machine"
    assert row["set-up"].endswith(" min")
    assert row["quickstart"].endswith(" min (mini)")
    assert row["tests"].endswith(" min")
    assert row["result"] == "ok: 5 passed, 1 skipped"
    assert list((tmp_path / "temporary").iterdir()) == []
    (folder,) = (tmp_path / "logs").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["make-quickstart-mini.log", "make-test.log"]


def test_caches_are_new_and_nothing_of_the_shell_reaches_into_the_clone(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AFFECTLLM_CACHE", "HF_HOME", "PYTHONPATH", "MAKEFLAGS", "AFFECTLLM_NATIVE_BFLOAT16"):
        monkeypatch.setenv(name, "of-the-shell")
    assert run(tmp_path, "--no-tests") == 0
    (log,) = (tmp_path / "logs").glob("*/make-quickstart-mini.log")
    text = log.read_text(encoding="utf-8")
    assert "of-the-shell" not in text
    assert f"cache {tmp_path / 'temporary'}{os.sep}affectllm-fresh-" in text
    assert "native [], path []" in text


@pytest.mark.parametrize(("asked", "set_to"), [("on", "1"), ("off", "0")])
def test_native_bfloat16_is_set_for_the_whole_run_and_named_in_the_row(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, set_to: str
) -> None:
    assert run(tmp_path, "--no-tests", "--native-bfloat16", asked, "--packages", "oldest", "--quickstart", "whole") == 0
    row = cells(capsys.readouterr().out)
    assert (row["native bfloat16"], row["tests"]) == (asked, "-")
    assert row["packages"].startswith("oldest")
    (log,) = (tmp_path / "logs").glob("*/make-quickstart.log")
    assert f"native [{set_to}]" in log.read_text(encoding="utf-8")


def test_a_stage_that_fails_is_named_with_its_log_and_ends_the_run(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, MAKEFILE + "\t@echo '===== 2 failed, 3 passed in 9.10s ====='; exit 1\n")
    assert run(tmp_path) == 1
    row = cells(capsys.readouterr().out)
    assert row["result"] == "failed: make test (exit code 2, 2 failed, 3 passed, log make-test.log)"
    assert row["quickstart"].endswith(" min (mini)")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_set_up_that_fails_is_named_and_no_minutes_are_given_for_what_did_not_run(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, MAKEFILE.replace("&& touch $@", "&& false"))
    assert run(tmp_path) == 1
    row = cells(capsys.readouterr().out)
    assert row["result"].startswith("failed: set-up of make quickstart-mini (exit code 2, log ")
    assert (row["quickstart"], row["tests"]) == ("-", "-")


def test_a_row_is_appended_to_the_end_of_the_table_only_when_asked(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "environments.md"
    table.write_text(TABLE, encoding="utf-8")
    run(tmp_path, "--quickstart", "none", "--table", str(table))
    assert table.read_text(encoding="utf-8") == TABLE
    capsys.readouterr()
    run(tmp_path, "--quickstart", "none", "--table", str(table), "--append")
    row = capsys.readouterr().out.splitlines()[-1]
    assert table.read_text(encoding="utf-8") == TABLE.replace("| old | ok |\n", f"| old | ok |\n{row}\n")


def test_a_run_of_nothing_or_of_an_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--quickstart", "none", "--no-tests"], ["--python", "no-such-python"]):
        with pytest.raises(SystemExit):
            fresh.parse(words)
    said = capsys.readouterr().err
    assert "leaves nothing to run" in said
    assert "no-such-python" in said
