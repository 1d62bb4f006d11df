"""Metrics by name: what is read from the source is what a loaded metric says, and only its own family is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from affectllm.errors import AffectError
from affectllm.scores import registry
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import Declaration, Metric, metric

DOCS = Path(__file__).parents[2] / "docs" / "scores"
FIELDS = ("name", "about", "gold", "predictions", "needs", "reads", "lower_is_better")

# Scores a file against itself, then prints which modules were loaded.
SCORE = """
import json, sys
from affectllm.commands.cli import main
try:
    main(["eval", "score", sys.argv[1], "--gold", sys.argv[1], "--metric", sys.argv[2]])
except SystemExit:
    print(json.dumps(sorted(sys.modules)))
"""


def facts(declaration: Declaration) -> list[object]:
    return [getattr(declaration, field) for field in FIELDS]


def test_what_is_read_from_the_source_is_what_the_metric_says() -> None:
    for name, declaration in registry.known().items():
        assert facts(registry.load(name)) == facts(declaration)


def test_no_name_is_declared_twice() -> None:
    assert len(registry.known()) == sum(len(metrics) for metrics in registry.declared().values())


@pytest.mark.parametrize(("name", "families"), [("waf", {"classes"}), ("mae", {"dimensional"})])
def test_scoring_imports_the_family_that_is_asked_for(tmp_path: Path, name: str, families: set[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    label = '"labels": ["sad"]' if name == "waf" else '"valence": 1.5'
    rows.write_text(f'{{"id": "a", {label}}}\n{{"id": "b", {label}}}\n')
    done = subprocess.run([sys.executable, "-c", SCORE, str(rows), name], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    prefix = f"{registry.FAMILIES}."
    assert {module.removeprefix(prefix) for module in loaded if module.startswith(prefix)} == families
    assert not {"pydantic", "scipy", "torch", "transformers"} & {module.partition(".")[0] for module in loaded}


def test_the_table_in_the_docs_is_that_of_the_declarations() -> None:
    page = (DOCS / "README.md").read_text("utf-8")
    written = page.partition(registry.TABLE_START)[2].partition(registry.TABLE_END)[0].strip()
    command = "python -m affectllm.scores.registry docs/scores/README.md"
    assert written == registry.docs_table(), f"Metrics have changed. Renew the table: {command}"


def test_every_family_has_a_page() -> None:
    assert [family for family in registry.declared() if not (DOCS / f"{family}.md").is_file()] == []


def test_the_table_is_written_between_its_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{registry.TABLE_START}\nold\n{registry.TABLE_END}\nafter\n")
    registry.write_docs(page)
    text = page.read_text("utf-8")
    assert text == f"before\n{registry.TABLE_START}\n{registry.docs_table()}\n{registry.TABLE_END}\nafter\n"
    page.write_text("no table here")
    with pytest.raises(AffectError, match="has no lines"):
        registry.write_docs(page)


def test_the_help_names_every_metric() -> None:
    known = registry.help_text().partition("Known: ")[2].partition(". ")[0]
    assert known.replace(";", ",").split(", ") == list(registry.known())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AffectError, match=r"No metric 'hitrate'\. Perhaps you meant 'hit_rate'\."):
        registry.load("hitrate")


def test_a_file_without_literals_cannot_be_read() -> None:
    source = '@metric(name, gold="-", predictions="-")\ndef own(case):\n    "A number."\n'
    assert registry.scan(f'name = "own"\n{source}')["own"].about == "A number."
    with pytest.raises(AffectError, match=r"not 'name' \(line 1\)"):
        registry.scan(source)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "no module 'no_such_module'"),
        ("json:loads", "json:loads is not a metric"),
        ("json:absent", "has no attribute 'absent'"),
    ],
)
def test_a_metric_of_ones_own_that_is_none_is_named(name: str, message: str) -> None:
    with pytest.raises(AffectError, match=message):
        registry.load(name)


def test_a_declaration_has_a_sentence_and_tuples() -> None:
    with pytest.raises(AffectError, match="has no docstring"):

        @metric("own", gold="-", predictions="-")
        def silent(case: Case) -> Measured:
            raise NotImplementedError

    with pytest.raises(AffectError, match="are tuples of words"):
        metric("own", gold="-", predictions="-", reads="laughs")
    with pytest.raises(AffectError, match="needs 'wheel'"):
        metric("own", gold="-", predictions="-", needs=("wheel",))


def test_fields_make_a_row_valid_only_without_wheels() -> None:
    assert registry.load("map").fields == ("scores",)
    # A confidence without labels could only be scored as a wrong answer.
    assert registry.load("ece").reads == ("confidence",)
    assert registry.load("ece").fields == ()
    assert isinstance(registry.load("ece"), Metric)
