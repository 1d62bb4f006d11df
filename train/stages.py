"""Run the stages of a recipe one after the other, each from the adapter of the one before.

    affectllm train stages --config train/configs/strict_nano.yaml --data data/conversations.jsonl --out runs/strict
    affectllm train stages --config RECIPE --data DATA --out runs/r1 --stages.grpo.data other/conversations.jsonl

A recipe names its stages in order under `stages:`. Each says which script it is (`script: sft`, `grpo` or `dpo`) and
may set any option of that script. Every stage is a process of its own with a folder of its own under --out; killed at
any moment, the same command skips what is finished and resumes the rest. All options are checked before the first
stage starts.
"""

import importlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import yaml

from affectllm import jsonl, versions
from affectllm.errors import AffectError
from affectllm.options import command, flat, parse
from affectllm.training.run_folder import RunFolder

SCRIPTS = ("sft", "grpo", "dpo")


@dataclass(frozen=True, kw_only=True)
class Stages:
    data: Path
    """Conversations for every stage that names no data of its own."""
    out: Path
    """Folder in which each stage gets a folder of its name."""
    model: str = "nano"
    """Model or adapter that the first stage starts from."""
    media: Path | None = None
    """Root folder of the clips' paths. By default it is the folder of each data file."""
    launcher: tuple[str, ...] = ()
    """Command that starts each stage in place of this Python, e.g. accelerate launch --num_processes 8."""
    stages: dict[str, Any] = field(default_factory=dict)
    """Each stage's name, with its script and options. --stages.NAME.OPTION VALUE sets one of them."""


class Stage(NamedTuple):
    name: str
    options: Any
    words: list[str]
    """The command that runs it."""


def main(options: Stages) -> None:
    # Each stage is a process of its own and would say it again.
    versions.say_outside()
    chain = read_chain(options.stages, options.model, options.data, options.media, options.out, options.launcher)
    for stage in chain:
        if RunFolder(flat(stage.options)).is_finished():
            continue
        print(f"Stage {stage.name}: {' '.join(stage.words)}", flush=True)
        done = subprocess.run(stage.words, check=False)
        if done.returncode:
            raise AffectError(
                f"Stage '{stage.name}' ended with exit code {done.returncode}; its messages are above. Correct the "
                "cause, and start the same command again: finished stages are skipped."
            )


def read_chain(
    stages: dict[str, Any], model: str, data: Path, media: Path | None, out: Path, launcher: Sequence[str]
) -> list[Stage]:
    """All stages with their options checked. Raises AffectError for what a script would refuse."""
    recipe = nested(stages)
    if not recipe:
        raise AffectError(
            "The recipe names no stages. Give a --config with 'stages:', e.g. train/configs/strict_nano.yaml"
        )
    chain = []
    for name, options in recipe.items():
        script = options.pop("script", None) if isinstance(options, dict) else None
        if script not in SCRIPTS:
            raise AffectError(f"Stage '{name}' needs 'script:' with one of {', '.join(SCRIPTS)}, it has {script!r}.")
        fixed = {"model": model, "out": str(out / name)}
        if given := fixed.keys() & options.keys():
            raise AffectError(f"Stage '{name}' sets {given.pop()!r}, which follows from the chain. Leave it out.")
        shared = {"data": str(data)} | ({} if media is None else {"media": str(media)})
        config = out / f"{name}.yaml"
        write_config(config, {**shared, **options, **fixed})
        words = [*(launcher or (sys.executable,)), "-m", f"affectllm.train.{script}", "--config", str(config)]
        chain.append(Stage(name, options_of(script, config), words))
        model = str(out / name)
    return chain


def nested(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options with dotted keys, as flags give them, put where they belong.

    >>> nested({"a": {"script": "sft", "steps": 1}, "a.steps": 5})
    {'a': {'script': 'sft', 'steps': 5}}
    """
    found = {key: dict(value) if isinstance(value, dict) else value for key, value in options.items() if "." not in key}
    for key, value in options.items():
        name, dot, option = key.partition(".")
        if not dot:
            continue
        if name not in found:
            raise AffectError(f"--stages.{key}: the recipe has no stage '{name}'. It has: {', '.join(found)}.")
        found[name][option] = value
    return found


def write_config(path: Path, options: dict[str, Any]) -> None:
    jsonl.write_text(path, yaml.safe_dump(options, sort_keys=False, allow_unicode=True))


def options_of(script: str, config: Path) -> Any:
    """A stage's options as its script will read them, so that a typo in the last stage costs seconds."""
    main_of_stage = importlib.import_module(f"affectllm.train.{script}").main
    return parse(get_type_hints(main_of_stage)["options"], ["--config", str(config)])


if __name__ == "__main__":
    command(main)
