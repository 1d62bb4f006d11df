"""Every command and verb answers --help: exit code 0, its own name, examples that can be pasted."""

import importlib
import re
import shlex

import pytest

from affectllm.commands import cli
from affectllm.commands.catalogue import all_sets


def every_command() -> list[tuple[str, ...]]:
    """All that can be called, found where the command line itself looks."""
    scripts = [(family, name.replace("_", "-")) for family in cli.FAMILIES for name in cli.scripts_of(family)]
    verbs = [
        (group, verb)
        for group in cli.VERBS
        for verb in importlib.import_module(f"affectllm.commands.{group}").VERBS
        if verb
    ]
    return [*scripts, *((name,) for name in cli.COMMANDS), *verbs]


def help_of(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    code: object = 0
    try:
        cli.main([*words, "--help"])
    except SystemExit as left:
        code = left.code
    assert code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_a_command_says_its_name_and_what_it_does(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    printed = help_of(words, capsys)
    assert f"\nusage: affectllm {' '.join(words)} " in printed
    first = printed.partition("\n")[0]
    assert first[0].isupper() or first.startswith("affectllm")
    assert len(first) > 20


def test_the_first_page_names_every_command() -> None:
    page = cli.__doc__ or ""
    for words in every_command():
        if words[0] != "build":
            form = rf"affectllm {words[0]}" + (rf" (\S+\|)*{words[1]}\b" if len(words) > 1 else r"\b")
            assert re.search(form, page.replace("| vocab", "\naffectllm vocab")), words


@pytest.mark.parametrize("group", [*cli.VERBS, *cli.FAMILIES])
def test_a_group_lists_its_verbs(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = help_of((group,), capsys)
    known = (
        [name.replace("_", "-") for name in cli.scripts_of(group)]
        if group in cli.FAMILIES
        else [verb for verb in importlib.import_module(f"affectllm.commands.{group}").VERBS if verb]
    )
    for name in known:
        assert re.search(rf"affectllm {group} (\S+\|)*{name}\b", printed), name


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_its_examples_are_commands(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of help that begin with `affectllm` name a command that exists, and can be split as a shell does."""
    about = help_of(words, capsys).partition("\nusage:")[0]
    about = re.sub(r"\\\n *", " ", about)
    assert not re.search(r"\S {5,}--", about), "a continued line lost its backslash"
    for line in re.findall(r"^ *affectllm ([a-z].*?)(?:  |$)", about, re.MULTILINE):
        first, *rest = shlex.split(line)
        assert first in {*cli.FAMILIES, *cli.COMMANDS, *cli.VERBS}, line
        if first in cli.FAMILIES and rest and not rest[0].startswith("-"):
            named = {name.replace("_", "-") for name in cli.scripts_of(first)}
            named |= set(all_sets()) if first == "build" else set()
            assert rest[0] in named or rest[0].isupper() or rest[0].endswith(".py"), line
