"""affectllm: from clips and annotations to a model that explains emotion, and numbers about it.

  data      affectllm build NAME --source PATH --out DIR        data set in, conversations out; build --list shows them
            affectllm data check|ask|export|import              a report about built data, other questions, other forms
            affectllm media probe|frames|audio|subtitle|faces   look at a clip the way training does
            affectllm cache stat|prune|verify                   what is kept of clips read before
  train     affectllm train sft|grpo|dpo|reward --config FILE   conversations in, adapter out
            affectllm train stages --config RECIPE              sft, then grpo, then grpo ... each from the one before
            affectllm train merge --adapter DIR                 a whole model that other programs read
            affectllm models list|compose|affectgpt             families of models; one of your own parts
            affectllm grpo view RUN                             one page about a GRPO run, with its alarms
            affectllm rewards probe|list                        what GRPO would pay for
  judge     affectllm eval predict|prefer|baseline              adapter in, answers out; the best constant answer
            affectllm eval score|report|compare                 answers in, scores and pages out
            affectllm vocab WORD | vocab coverage FILE          where a word lands on every wheel
  use       affectllm explain CLIP                              labels, reasoning and evidence for one clip
            affectllm demo                                      the same in a browser
  set up    affectllm setup-nano                                fetch the embedded CPU model once
            affectllm doctor                                    what is installed, missing or not tried, and the repair
            affectllm quickstart                                the whole way on drawn clips

Every command answers --help.
"""

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from affectllm import __version__
from affectllm.commands import verbs
from affectllm.errors import AffectError, closest
from affectllm.options import command

# Families are folders of scripts: the second word names the file. Single commands are one module each.
FAMILIES = {
    "build": "affectllm.data_builders",
    "train": "affectllm.train",
    "eval": "affectllm.eval",
}
COMMANDS = {
    "demo": "affectllm.demo.app",
    "doctor": "affectllm.commands.doctor",
    "explain": "affectllm.demo.explain",
    "quickstart": "affectllm.demo.quickstart",
    "setup-nano": "affectllm.commands.setup_nano",
}
# Groups of verbs (`affectllm media probe FILE`): one module each in affectllm.commands.
VERBS = ("cache", "data", "grpo", "media", "models", "rewards", "vocab")


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
    elif words[0] == "--version":
        print(__version__)
    else:
        run(words)


def run(words: list[str]) -> None:
    """Import the one module that a command needs and hand it the rest of the line."""
    first, rest = words[0], words[1:]
    try:
        if words[:2] == ["build", "--list"]:
            module = importlib.import_module("affectllm.commands.catalogue")
            return command(module.main, rest[1:], "affectllm build --list", module.__doc__)
        if first in FAMILIES:
            if not rest or rest[0].startswith("-"):
                return show_scripts(first)
            name, *flags = with_card(rest) if first == "build" else rest
            script = load_file(Path(name)) if name.endswith(".py") else find_script(first, name)
            return command(script.main, flags, f"affectllm {first} {name}", script.__doc__)
        if first in COMMANDS:
            module = importlib.import_module(COMMANDS[first])
            return command(module.main, rest, f"affectllm {first}", module.__doc__)
        if first in VERBS:
            sys.exit(verbs.run(first, rest))
        raise AffectError(
            f"No command '{first}'.{closest(first, [*FAMILIES, *COMMANDS, *VERBS])} See: affectllm --help"
        )
    except AffectError as error:
        print(f"affectllm: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of the output (head, less) has ended; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def with_card(words: list[str]) -> list[str]:
    """`NAME ...` of a data set that has a card and no script of its own, as `table --name NAME ...`."""
    scripts = scripts_of("build")
    if words[0].replace("-", "_") in scripts or words[0].endswith(".py"):
        return words
    from affectllm.data.dataset_cards import card_names

    if words[0] in card_names():
        return ["table", "--name", *words]
    from affectllm.commands.catalogue import all_sets

    sets = all_sets()
    if words[0] in sets:
        raise AffectError(
            f"'{words[0]}' has a builder of another name: affectllm build {sets[words[0]].builder} --help"
        )
    names = [*(script.replace("_", "-") for script in scripts), *sets]
    raise AffectError(
        f"No '{words[0]}' under 'affectllm build'.{closest(words[0], names)} Known: {', '.join(dict.fromkeys(names))}."
    )


def find_script(family: str, name: str) -> ModuleType:
    """The module of `affectllm FAMILY NAME`, or an error that names the nearest script."""
    scripts = scripts_of(family)
    name = name.replace("-", "_")
    if name not in scripts:
        raise AffectError(
            f"No '{name}' under 'affectllm {family}'.{closest(name, scripts)} "
            f"Known: {', '.join(scripts).replace('_', '-')}."
        )
    return importlib.import_module(f"{FAMILIES[family]}.{name}")


def load_file(path: Path) -> ModuleType:
    """The module in a user's own file, which has a `main` as the builders of the package have."""
    if not path.is_file():
        raise AffectError(f"No file {path}. Give the path of a Python file with a function main.")
    # The module gets a name of its own: a file called json.py must not replace the library's json.
    name = f"{FAMILIES['build']}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a name that ends in .py"
    assert spec.loader is not None, "a file has a loader"
    # Options are read by the name of their module.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "main"):
        raise AffectError(f"{path} has no function main. docs/extend/builder.md shows one.")
    return module


def scripts_of(family: str) -> dict[str, str]:
    """Script name -> its source, read without importing it; only files with a `main` are scripts."""
    found = sorted(files(FAMILIES[family]).iterdir(), key=lambda file: file.name)
    sources = {file.name.removesuffix(".py"): file.read_text("utf-8") for file in found if file.name.endswith(".py")}
    return {name: source for name, source in sources.items() if "\ndef main(" in source}


def show_scripts(family: str) -> None:
    for name, source in scripts_of(family).items():
        first_line = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        print(f"  affectllm {family} {name.replace('_', '-'):<14} {first_line}")
