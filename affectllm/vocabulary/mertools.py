"""The MERTools emotion vocabulary, from the user's own copy of its asset files, under the published look-up rule.

Source: github.com/zeroQiaoba/MERTools, `emotion_wheel/` (data) and `my_affectgpt/evaluation/wheel.py` (rule) of MER2025
and MER2026. The look-up of a label is: surface form -> base words -> wheel words -> group of a wheel.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from affectllm.errors import AffectError
from affectllm.vocabulary.wheels import Groups, Wheels

WHEELS = tuple(f"wheel{i}" for i in range(1, 6))
LEVELS = ("level1", "level2")
COLUMNS = ("M1", "M2", *(f"{wheel}/{level}" for wheel in WHEELS for level in LEVELS))
TABLES = ("format.csv", "synonym.xlsx", *(f"{wheel}.xlsx" for wheel in WHEELS))
ARCHIVE = "wheel_mapping.npz"
RUNS = range(1, 9)


class Vocabulary(NamedTuple):
    """The three look-ups of the official code, lower-cased."""

    bases: dict[str, list[str]]
    """Surface form -> base words (`format_mapping`)."""
    canonical: dict[str, list[str]]
    """Base word -> words that are on a wheel (`raw_mapping`)."""
    groups: dict[str, dict[str, dict[str, str]]]
    """Wheel -> level -> word -> group (`wheel_map_whole`)."""


def load(protocol: str, assets: Path) -> Wheels:
    """The wheels of a MERTools protocol: 2026's archive for `mer2026`, the tables of 2025 for all others.

    `assets` is the `emotion_wheel` folder of a MERTools checkout, or the folder above it.
    Raises AffectError naming the files expected when they are not there or belong to another year.
    """
    folder = assets / "emotion_wheel" if (assets / "emotion_wheel").is_dir() else assets
    expected = [ARCHIVE] if protocol == "mer2026" else list(TABLES)
    missing = [name for name in expected if not (folder / name).is_file()]
    if missing:
        raise AffectError(
            f"Protocol {protocol} needs {', '.join(expected)} in {folder}, missing: {', '.join(missing)}. "
            "Point --assets at the emotion_wheel folder of your MERTools copy."
        )
    if protocol != "mer2026" and (folder / ARCHIVE).exists():
        # The 2026 folder also holds tables of the 2025 names, with 30 surface forms less and other groups for 'fear'.
        raise AffectError(
            f"{folder} holds the vocabulary of MER2026 ({ARCHIVE}); protocol {protocol} is defined on that of MER2025. "
            "Point --assets at MER2025/emotion_wheel, or choose --protocol mer2026."
        )
    vocabulary = read_archive(folder / ARCHIVE) if protocol == "mer2026" else read_tables(folder)
    table = {form: find_groups(form, vocabulary) for form in vocabulary.bases}
    unknown: Groups = (None,) * len(COLUMNS)
    return Wheels(protocol, COLUMNS, hash_table(table), lambda label: table.get(label, unknown))


def find_groups(form: str, vocabulary: Vocabulary) -> Groups:
    """Group of a known surface form in each of COLUMNS, by the official rule.

    M1 (`case1`) is the alphabetically first base word, M2 (`case2`) that word's first wheel word. A wheel's group
    (`case3`) is that of the alphabetically first candidate that is on the wheel. This moves words off their own
    sector ('satisfied' is genius on wheel 4): a published quirk, kept.
    """
    bases = sorted(vocabulary.bases[form])
    candidates = sorted(word for base in bases for word in vocabulary.canonical[base])
    groups: list[str | None] = [bases[0], sorted(vocabulary.canonical[bases[0]])[0]]
    for wheel in WHEELS:
        for level in LEVELS:
            on_wheel = vocabulary.groups[wheel][level]
            groups.append(next((on_wheel[word] for word in candidates if word in on_wheel), None))
    return tuple(groups)


def hash_table(table: dict[str, Groups]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the whole look-up: equal data, equal hash, whatever the files."""
    return hashlib.sha256(json.dumps(sorted(table.items())).encode()).hexdigest()[:16]


def read_archive(path: Path) -> Vocabulary:
    """The vocabulary of MER2026."""
    from affectllm.npz import read_npz

    arrays = read_npz(path)
    names = ("format_mapping", "raw_mapping", "wheel_map_whole")
    if missing := [name for name in names if not isinstance(arrays.get(name), dict)]:
        raise AffectError(f"{path} holds no {', '.join(missing)}: it is not MERTools' {ARCHIVE}.")
    return Vocabulary(*(arrays[name] for name in names))


def read_tables(folder: Path) -> Vocabulary:
    """The vocabulary of MER2024, OV-MER, MER-UniBench and MER2025: spreadsheets."""
    return Vocabulary(
        read_forms(folder / "format.csv"),
        read_synonyms(folder / "synonym.xlsx"),
        {wheel: read_wheel(folder / f"{wheel}.xlsx") for wheel in WHEELS},
    )


def read_forms(path: Path) -> dict[str, list[str]]:
    """Surface form -> base words. A base word is a form of itself; one row has no forms at all."""
    forms: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if {"name", "format"} - set(reader.fieldnames or []):
            raise AffectError(f"{path} needs the columns name and format, it has {reader.fieldnames}.")
        for row in reader:
            base = clean(row["name"])
            for form in [base, *map(clean, split_list(row["format"] or ""))]:
                forms.setdefault(form, []).append(base)
    return forms


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """Base word -> wheel words, the eight runs of `word_runN`, `synonym_runN` taken together."""
    canonical: dict[str, list[str]] = {}
    for row in read_sheet(path, [f"{name}_run{run}" for run in RUNS for name in ("word", "synonym")]):
        for run in RUNS:
            word = clean(row[f"word_run{run}"])
            for base in [word, *map(clean, split_list(row[f"synonym_run{run}"]))]:
                canonical.setdefault(base, []).append(word)
    return canonical


def read_wheel(path: Path) -> dict[str, dict[str, str]]:
    """Word -> group on both levels of one wheel; of a word in two families the last row counts, as officially."""
    sectors: dict[str, str] = {}
    families: dict[str, str] = {}
    inner: dict[str, set[str]] = {}
    level1 = level2 = ""
    for row in read_sheet(path, ["level1", "level2", "level3"]):
        # Only the first row of a merged cell holds its text.
        level1, level2 = clean(row["level1"]) or level1, clean(row["level2"]) or level2
        inner.setdefault(level1, set()).add(level2)
        for word in (level1, level2, clean(row["level3"])):
            sectors[word] = level1
        for word in (level2, clean(row["level3"])):
            families[word] = level2
    # A sector's own name goes to the alphabetically first family inside it: a published quirk, kept.
    families |= {sector: min(words) for sector, words in inner.items()}
    return {"level1": sectors, "level2": families}


def read_sheet(path: Path, columns: list[str]) -> Iterator[dict[str, str]]:
    """Rows of a spreadsheet's first sheet as text by column; empty cells are ''; empty rows are left out."""
    import zipfile

    import openpyxl

    try:
        sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise AffectError(f"{path} is not a whole spreadsheet ({error}). Fetch it again.") from error
    rows: Iterable[tuple[object, ...]] = sheet.iter_rows(values_only=True)
    header: list[str] | None = None
    for cells in rows:
        texts = ["" if cell is None else str(cell) for cell in cells]
        if header is None:
            header = texts
            if missing := set(columns) - set(header):
                raise AffectError(f"{path} needs the columns {', '.join(sorted(missing))}, it has {header}.")
        elif any(texts):
            yield dict(zip(header, texts, strict=False))


def clean(cell: str) -> str:
    return cell.strip().lower()


def split_list(text: str) -> list[str]:
    """An open set as MERTools reads it (`string_to_list`, toolkit/utils/functions.py).

    One bracket is taken off each end, then quotes and commas split. Quirks kept: "don't care" splits at its apostrophe,
    ';', '/', 'and' and full-width commas do not split, a blank before '[' keeps the bracket. The official code
    raises IndexError on a lone '['; here that is an empty set.

    >>> split_list("['happy', 'let down']")
    ['happy', 'let down']
    """
    text = text.removeprefix("[").removesuffix("]")
    for mark in ("'", '"'):
        text = text.replace(mark, ",")
    return [item for part in text.split(",") if (item := part.strip())]
