"""Commands in README and docs are commands: every line is read by the parser that would run it."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from affectllm.commands import cli, verbs
from affectllm.options import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Lines that show a form, such as `affectllm build NAME --source PATH` or `affectllm cache stat|prune`.
FORM = re.compile(r"\[|\||\.\.\.|<|(?<![/\w])[A-Z]+(?![_/.\w])")


def commands(page: Path) -> Iterator[str]:
    """The lines that call affectllm, continued ones joined, comments taken off."""
    for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        # In columns, what a command does is written after two spaces.
        bare = re.sub(r"  +(?!-)[^ ].*$", "", line.strip())
        # A builder in a file of one's own is run by the test of its page.
        own = re.match(r"affectllm build \S+\.py ", bare)
        if re.match(r"(accelerate launch|affectllm) ", bare) and not own and not FORM.search(bare):
            yield bare


LINES = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)]


def options_of(words: list[str]) -> object:
    """What the command line would hand to the command; SystemExit or AffectError for what it would refuse."""
    first, *rest = words
    if first in cli.VERBS:
        known = importlib.import_module(f"affectllm.commands.{first}").VERBS
        name = rest[0] if rest and rest[0] in known else verbs.ALONE
        return parse(known[name].options, rest[1:] if name else rest)
    if first in cli.COMMANDS:
        main, flags = importlib.import_module(cli.COMMANDS[first]).main, rest
    else:
        name, *flags = cli.with_card(rest) if first == "build" else rest
        main = cli.find_script(first, name).main
    (options,) = [hint for name, hint in get_type_hints(main).items() if name != "return"]
    return parse(options, flags)


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda value: value)
def test_a_line_is_understood(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    if words[0] == "accelerate":
        script = next(word for word in words if word.endswith(".py"))
        folder, _, name = script.removesuffix(".py").rpartition("/")
        words = ["affectllm", folder, name, *words[words.index(script) + 1 :]]
    if (words[1] == "build" and "--list" in words) or (len(words) < 3 and words[1] in cli.FAMILIES):
        return
    assert options_of(words[1:]) is not None


def test_the_pages_have_commands() -> None:
    assert len(LINES) > 40
