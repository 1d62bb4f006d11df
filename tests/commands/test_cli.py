"""One command line: quick to start, helpful about typos, exit code 2 for a user's mistake."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from affectllm import __version__
from affectllm.commands import cli
from affectllm.options import is_group


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "affectllm", *words], capture_output=True, text=True, check=False)


def leave(words: list[str]) -> int | None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    return end.value.code  # type: ignore[return-value]


@pytest.mark.parametrize("code", ["import affectllm", "from affectllm.commands.cli import main; main(['--help'])"])
def test_starting_imports_nothing_heavy(code: str) -> None:
    check = code + "; import sys; assert not {'torch', 'numpy', 'transformers', 'av', 'msgspec'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    assert "affectllm build NAME" in capsys.readouterr().out
    cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "sft"], "Perhaps you meant 'train'"),
        (["train", "stf"], "Perhaps you meant 'sft'"),
        (["eval", "predikt"], "Perhaps you meant 'predict'"),
        (["build", "nothing-like-it"], "Known: "),
    ],
)
def test_unknown_commands_suggest_the_nearest(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("affectllm: ")
    assert message in error


def test_a_family_alone_lists_its_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["build"])
    listed = capsys.readouterr().out
    assert "affectllm build meld" in listed
    assert "affectllm build mer-caption" in listed
    assert "television dialogues" in listed


def test_a_users_mistake_is_one_line_without_traceback(tmp_path: Path) -> None:
    done = run("build", "meld", "--source", str(tmp_path / "dev_sent_emo.csv"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["train", "sft"], ["train", "grpo"], ["eval", "predict"], ["eval", "score"], ["eval", "report"]]
)
def test_every_option_has_a_sentence_of_help(words: list[str]) -> None:
    """An option without a docstring shows as its bare name."""
    main = cli.find_script(*words).main
    (options,) = [hint for name, hint in get_type_hints(main).items() if name != "return"]
    check_help(options)


def check_help(options: type) -> None:
    """Every field is a group of options, or has a sentence of help."""
    source = "".join(inspect.getsource(kind) for kind in options.__mro__ if dataclasses.is_dataclass(kind))
    for name, hint in get_type_hints(options).items():
        if is_group(hint):
            check_help(hint)
        else:
            _, _, after = source.partition(f"\n    {name}:")
            assert after.partition("\n")[2].lstrip().startswith('"""'), f"{name} has no help"
