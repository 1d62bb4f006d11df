"""A MERTools asset folder of a few words, in the published file forms."""

import csv
from pathlib import Path

import numpy as np
import openpyxl

FORMS = {"happy": "happily,happier", "sad": "sadly", "glad": ""}
SYNONYMS = [("Happy", "['glad', 'cheerful']"), ("Sad", "['glad']")]


def write_tables(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "format.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "format"])
        writer.writerows(FORMS.items())
    write_sheet(
        folder / "synonym.xlsx",
        [f"{name}_run{run}" for run in range(1, 9) for name in ("word", "synonym")],
        [[*pair] * 8 for pair in SYNONYMS],
    )
    for i in range(1, 6):
        rows = [["Joy", "Happy", "proud"], [None, "Amused", "glad"], ["Grief", "Sad", "hurt"]]
        write_sheet(folder / f"wheel{i}.xlsx", ["level1", "level2", "level3"], rows)
    return folder


def write_sheet(path: Path, header: list[str], rows: list[list[str | None]]) -> None:
    book = openpyxl.Workbook()
    for row in [header, *rows]:
        book.worksheets[0].append(row)
    book.save(path)


def write_archive(folder: Path) -> Path:
    """2026's form: pickled dictionaries in one archive."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = {"level1": {"happy": "joy"}, "level2": {"happy": "happy"}}
    np.savez_compressed(
        folder / "wheel_mapping.npz",
        format_mapping=np.array({"happy": ["happy"], "happily": ["happy"]}, dtype=object),
        raw_mapping=np.array({"happy": ["happy"]}, dtype=object),
        wheel_map_whole=np.array({f"wheel{i}": levels for i in range(1, 6)}, dtype=object),
    )
    return folder
