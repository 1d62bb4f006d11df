"""Options: a dataclass, a YAML file and flags through one parser, so that every mistake gets the same kind of message.

Flags win over the file, the file over the defaults. A field whose type is a dataclass is a group: `--help` shows its
options together, and flags and keys stay flat. A field of type `dict` is a pass-through for another library's settings
(e.g. `trainer:` for TRL): a mapping in the file, `--trainer.KEY VALUE` on the command line.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from affectllm.errors import AffectError, closest

T = TypeVar("T")

CONFIG = "--config FILE reads any of the options from a YAML file; flags win over it."
SCIENTIFIC = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


def command(
    main: Callable[[Any], int | None],
    argv: Sequence[str] | None = None,
    called: str | None = None,
    page: str | None = None,
) -> None:
    """Run `main(options)` with options from the command line. A user's mistake gives one line and exit code 2.

    `called` and `page` are those of `parse`.
    """
    hints = [hint for name, hint in get_type_hints(main).items() if name != "return"]
    try:
        if len(hints) != 1 or not is_group(hints[0]):
            raise AffectError(
                f"{main.__module__}: main needs one argument with a dataclass of options as its type, as in "
                "docs/extend/builder.md."
            )
        sys.exit(main(parse(hints[0], sys.argv[1:] if argv is None else argv, called, page)))
    except AffectError as error:
        print(f"affectllm: {error}", file=sys.stderr)
        sys.exit(2)


def parse(options: type[T], argv: Sequence[str], called: str | None = None, page: str | None = None) -> T:
    """The options of a dataclass from `--config FILE` and flags.

    `--help` prints `page` unchanged, since its examples are meant to be pasted. By default it is the docstring of the
    module that defines the options. `called` is the command in the line of usage, by default the script's file name.
    """
    import tyro

    if not {"-h", "--help"}.isdisjoint(argv):
        about = page or sys.modules[options.__module__].__doc__ or ""
        print(about.strip(), CONFIG, sep="\n\n", end="\n\n", flush=True)
    argv, config = take_config(list(argv))
    settings: dict[str, dict[str, Any]] = {name: {} for name, hint in hints_of(options).items() if is_dict(hint)}
    flags = read_config(config, options, settings) if config else []
    argv = take_passthrough(argv, settings)
    try:
        parsed = tyro.cli(
            options,
            args=[*flags, *argv],
            description="",
            prog=called,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except SystemExit as end:
        # The parser sees flags only, so it cannot say that the value it refuses comes from the file.
        if flags and end.code:
            print(f"affectllm: options came from {config} too; look for the value there.", file=sys.stderr)
        raise
    # A pass-through field starts from its own default; the file and then the flags override it.
    values = flat(parsed)
    merged = {name: {**values[name], **given} for name, given in settings.items() if given}
    return grouped(options, **{**values, **merged})


def hints_of(options: type) -> dict[str, Any]:
    """The type of every option by its name, those inside groups included.

    A field whose type is a dataclass is a group. Its options are flags and keys like all others, under their own names.
    """
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(options).items():
        found |= hints_of(hint) if is_group(hint) else {name: hint}
    return found


def is_group(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def flat(options: Any) -> dict[str, Any]:
    """Every option's value by its name, those inside groups included."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        found |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found


def grouped(options: type[T], **values: Any) -> T:
    """The options with these values, each put into its group: the opposite of `flat`."""
    if unknown := values.keys() - hints_of(options).keys():
        raise TypeError(f"{options.__name__} has no option {', '.join(sorted(unknown))}.")
    given: dict[str, Any] = {}
    for name, hint in get_type_hints(options).items():
        if is_group(hint):
            given[name] = grouped(hint, **{key: values[key] for key in hints_of(hint) if key in values})
        elif name in values:
            given[name] = values[name]
    return options(**given)


def is_dict(hint: Any) -> bool:
    return (get_origin(hint) or hint) is dict


def take_config(argv: list[str]) -> tuple[list[str], Path | None]:
    """Split `--config FILE` (or `--config=FILE`) off the flags."""
    for i, flag in enumerate(argv):
        if flag == "--config":
            if i + 1 == len(argv):
                raise AffectError("--config needs the path of a YAML file after it.")
            return argv[:i] + argv[i + 2 :], Path(argv[i + 1])
        if flag.startswith("--config="):
            return argv[:i] + argv[i + 1 :], Path(flag.removeprefix("--config="))
    return argv, None


def take_passthrough(argv: list[str], settings: dict[str, dict[str, Any]]) -> list[str]:
    """Move `--NAME.KEY VALUE` of pass-through fields from the flags into `settings`; values are read as YAML."""
    import yaml

    rest = []
    flags = iter(argv)
    for flag in flags:
        name, _, key = flag.removeprefix("--").partition(".")
        if not (flag.startswith("--") and key and name in settings):
            rest.append(flag)
            continue
        key, has_value, value = key.partition("=")
        value = value if has_value else next(flags, "--")
        if value.startswith("--"):
            raise AffectError(f"--{name}.{key} needs a value after it, for example --{name}.{key} true.")
        try:
            settings[name][key] = load_yaml(value)
        except yaml.YAMLError as error:
            raise AffectError(f"--{name}.{key}: {value!r} is not a YAML value.") from error
    return rest


def load_yaml(text: str) -> Any:
    """YAML with the numbers of its version 1.2: PyYAML alone reads '1e-4' as text, and a trainer then fails on it."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", SCIENTIFIC, list("-+.0123456789"))
    return yaml.load(text, Loader)


def read_config(path: Path, options: type, settings: dict[str, dict[str, Any]]) -> list[str]:
    """A YAML file as flags for the one parser; mappings of pass-through fields go to `settings`."""
    import yaml

    try:
        values = load_yaml(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise AffectError(f"Cannot read config {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise AffectError(f"Config {path} is not UTF-8 text. Is it the right file?") from error
    except yaml.YAMLError as error:
        raise AffectError(f"Config {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise AffectError(f"Config {path} must hold 'key: value' lines, it holds a {type(values).__name__}.")
    return list(flatten(values, options, path, settings))


def flatten(values: dict[str, Any], options: type, path: Path, settings: dict[str, dict[str, Any]]) -> list[str]:
    hints = hints_of(options)
    flags: list[str] = []
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in hints:
            hint = closest(name, hints) or f" Known keys: {', '.join(hints)}."
            raise AffectError(f"Config {path}: unknown key '{key}'.{hint}")
        flag = "--" + name.replace("_", "-")
        if value is None and type(None) not in get_args(hints[name]):
            raise AffectError(f"Config {path}: '{key}' has no value. Give one, or leave the line out.")
        if is_dict(hints[name]):
            if not isinstance(value, dict):
                raise AffectError(f"Config {path}: '{key}' must be a mapping, it is {value!r}.")
            settings[name].update(value)
        elif isinstance(value, dict):
            raise AffectError(f"Config {path}: '{key}' takes one value, not the mapping {value!r}.")
        elif hints[name] is bool:
            if not isinstance(value, bool):
                raise AffectError(f"Config {path}: '{key}' must be true or false, it is {value!r}.")
            flags.append(flag if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, list):
            flags += [flag, *map(str, value)]
        else:
            # One word, so that a value that begins with a dash is not taken for a flag.
            flags.append(f"{flag}={value}")
    return flags
