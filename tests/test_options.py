"""Defaults, file and flags through one parser."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from affectllm.errors import AffectError
from affectllm.options import command, flat, grouped, parse


@dataclass(frozen=True)
class Inner:
    """The adapter."""

    rank: int = 4
    """Rank."""


@dataclass(frozen=True)
class Options:
    steps: int = 1
    """Steps."""
    title: str = "t"
    """Title."""
    out: Path | None = Path("here")
    """Folder."""
    names: tuple[str, ...] = ("a",)
    """Names."""
    fast: bool = False
    """Fast."""
    adapter: Inner = field(default_factory=Inner)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Passed on."""


def config(folder: Path, text: str) -> list[str]:
    (folder / "c.yaml").write_text(text)
    return ["--config", str(folder / "c.yaml")]


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = config(tmp_path, "steps: 2\nfast: true\nrank: 8\n")
    assert parse(Options, []) == Options()
    assert parse(Options, file) == Options(steps=2, fast=True, adapter=Inner(8))
    assert parse(Options, [*file, "--steps", "3", "--rank", "16"]) == Options(steps=3, fast=True, adapter=Inner(16))


def test_lists_may_be_empty(tmp_path: Path) -> None:
    assert parse(Options, config(tmp_path, "names: []\n")).names == ()
    assert parse(Options, ["--names", "x", "y"]).names == ("x", "y")


def test_pass_through_settings_merge_and_are_read_as_yaml(tmp_path: Path) -> None:
    file = config(tmp_path, "trainer: {weight_decay: 0.1, bf16: true}\n")
    parsed = parse(Options, [*file, "--trainer.bf16", "false", "--trainer.optim=adafactor"])
    assert parsed.trainer == {"weight_decay": 0.1, "bf16": False, "optim": "adafactor"}


def test_a_value_may_begin_with_a_dash(tmp_path: Path) -> None:
    assert parse(Options, config(tmp_path, "title: --steps\nsteps: -3\n")) == Options(title="--steps", steps=-3)


def test_null_is_none_where_none_is_allowed(tmp_path: Path) -> None:
    assert parse(Options, config(tmp_path, "out: null\n")).out is None


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    """PyYAML reads 1e-4 as text (YAML 1.1); a trainer would be handed the text."""
    file = config(tmp_path, "trainer: {learning_rate: 1e-4, optim: e5, run: 1e}\n")
    parsed = parse(Options, [*file, "--trainer.weight_decay", "5E-2"])
    assert parsed.trainer == {"learning_rate": 0.0001, "optim": "e5", "run": "1e", "weight_decay": 0.05}


@pytest.mark.parametrize("argv", [["--trainer.bf16", "--steps", "3"], ["--trainer.bf16"], ["--trainer.bf16", "["]])
def test_a_pass_through_flag_without_a_value_does_not_swallow_the_next(argv: list[str]) -> None:
    with pytest.raises(AffectError, match=r"--trainer\.bf16"):
        parse(Options, argv)


def test_a_value_the_parser_refuses_is_traced_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(Options, config(tmp_path, "steps: many\n"))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "--steps" in error
    assert "c.yaml" in error


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match=r"'steps' is there twice.*line 2"):
        parse(Options, config(tmp_path, "steps: 3\nsteps: 4\n"))


def test_a_main_without_options_is_named() -> None:
    def main(run):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    with pytest.raises(SystemExit, match="2"):
        command(main, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps: 2\n", "unknown key 'stepps'. Perhaps you meant 'steps'"),
        ("ranc: 2\n", "unknown key 'ranc'. Perhaps you meant 'rank'"),
        ("- a\n", "must hold 'key: value' lines"),
        ("a: [\n", "is not YAML"),
        ("trainer: 3\n", "'trainer' must be a mapping"),
        ("title:\n", "'title' has no value"),
        ("title: {a: 1}\n", "'title' takes one value"),
        ("fast: 'yes'\n", "'fast' must be true or false"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AffectError, match=r"c\.yaml") as error:
        parse(Options, config(tmp_path, text))
    assert message in str(error.value)


def test_a_config_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AffectError, match=r"c\.yaml is not UTF-8"):
        parse(Options, ["--config", str(tmp_path / "c.yaml")])


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="nowhere"):
        parse(Options, ["--config", str(tmp_path / "nowhere.yaml")])


def test_options_of_a_group_are_shown_together_under_flat_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(Options, ["--help"])
    said = capsys.readouterr().out
    assert "adapter options" in said
    assert "--rank INT" in said[said.index("adapter options") :]


def test_flat_and_grouped_are_opposites() -> None:
    options = Options(steps=2, adapter=Inner(8), trainer={"a": 1})
    assert flat(options)["rank"] == 8
    assert "adapter" not in flat(options)
    assert grouped(Options, **flat(options)) == options
    with pytest.raises(TypeError, match="no option ranc"):
        grouped(Options, ranc=2)
