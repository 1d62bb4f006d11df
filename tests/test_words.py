"""The words that CONTRIBUTING.md rules out are used in no page, docstring, comment or string."""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEADING = "### Words that are not used"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("affectllm", "train", "eval", "data_builders", "demo", "benchmarks")
SCRIPTS = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
# Texts that are data: they are written to files, or spoken in drawn clips.
ALLOWED = {
    ("affectllm/data/card_rows.py", "stands"): "a reason in rejected.jsonl",
    ("affectllm/scores/families/wheels.py", "stands"): "a reason in results.json",
    ("affectllm/synthetic/script.py", "told"): "sentences that drawn people say",
}


def unused_words() -> list[str]:
    """The words of the first column of the table in CONTRIBUTING.md."""
    _, _, rest = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(HEADING)
    rows = re.findall(r"^\| (`.+?`) \|", rest.partition("\n#")[0], re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def prose(source: str) -> str:
    """A Python file in which all but strings and comments is blank, so that places stay as they are."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    kept = [char if char == "\n" else " " for char in source]
    # From Python 3.12 on, an f-string is several tokens.
    wanted = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in wanted:
            first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
            kept[first:last] = source[first:last].replace("#", " ")
    return "".join(kept)


def found(text: str, words: list[str]) -> Iterator[tuple[int, str]]:
    """Line and word of every use, also of a phrase that goes over the end of a line."""
    for word in words:
        pattern = r"\b" + r"\s+".join(map(re.escape, word.split())) + r"\b"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, word


@cache
def uses() -> list[tuple[str, int, str]]:
    """File, line and word of every use."""
    words, places = unused_words(), []
    for file in (*PAGES, *SCRIPTS):
        text = file.read_text(encoding="utf-8")
        for line, word in found(prose(text) if file.suffix == ".py" else text, words):
            places.append((file.relative_to(ROOT).as_posix(), line, word))
    return places


def test_the_words_are_not_used() -> None:
    wrong = [f"{file}:{line}: '{word}'" for file, line, word in uses() if (file, word) not in ALLOWED]
    assert not wrong, "CONTRIBUTING.md says what to write instead:\n" + "\n".join(wrong)


def test_the_allowed_places_use_them() -> None:
    assert {(file, word) for file, _, word in uses()} >= ALLOWED.keys()


def test_the_table_is_read() -> None:
    assert {"behind", "told", "so many", "without a word", "mended"} <= set(unused_words())


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ('"""A plan,\nand behind it a fact."""\n', [(2, "behind")]),
        ("behind = 1  # What is behind.\n", [(1, "behind")]),
        ("# It fails without a\n# word.\n", [(1, "without a word")]),
        ('x = f"{told} was told"\n', [(1, "told")]),
        ("told = mend(behind)\n", []),
        ('"beheading, untold and amended"\n', []),
    ],
)
def test_a_use_is_found_in_text_and_not_in_code(source: str, places: list[tuple[int, str]]) -> None:
    assert sorted(set(found(prose(source), ["behind", "told", "without a word", "mend"]))) == places
