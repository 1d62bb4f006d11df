"""MERTools' vocabulary: toy tables by hand, then every word of the golden file."""

import json
import zipfile
from pathlib import Path

import pytest

from affectllm import vocabulary
from affectllm.errors import AffectError
from affectllm.vocabulary import mertools
from tests.vocabulary.mertools_assets import write_archive, write_tables


def test_a_form_goes_to_base_to_wheel_word_to_group(tmp_path: Path) -> None:
    wheels = vocabulary.load("mer2025", write_tables(tmp_path))
    found = dict(zip(wheels.columns, wheels.groups(" Happily "), strict=True))
    assert found["M1"] == "happy"
    assert found["M2"] == "happy"
    assert found["wheel1/level1"] == "joy"
    assert found["wheel5/level2"] == "happy"


def test_candidates_are_tried_in_alphabetical_order(tmp_path: Path) -> None:
    # 'glad' is a synonym of happy and of sad, and stands on the wheel itself: happy comes first in the alphabet.
    wheels = vocabulary.load("mer2025", write_tables(tmp_path))
    assert dict(zip(wheels.columns, wheels.groups("glad"), strict=True))["wheel1/level2"] == "happy"


def test_a_sector_name_goes_to_its_alphabetically_first_family(tmp_path: Path) -> None:
    wheel = mertools.read_wheel(write_tables(tmp_path) / "wheel1.xlsx")
    assert wheel["level1"] == dict.fromkeys(["joy", "happy", "proud", "amused", "glad"], "joy") | dict.fromkeys(
        ["grief", "sad", "hurt"], "grief"
    )
    assert wheel["level2"]["joy"] == "amused"


def test_an_unknown_word_has_no_group(tmp_path: Path) -> None:
    wheels = vocabulary.load("unibench", write_tables(tmp_path))
    assert wheels.groups("neutral") == (None,) * 12


def test_the_folder_above_will_do(tmp_path: Path) -> None:
    write_tables(tmp_path / "emotion_wheel")
    assert vocabulary.load("ovmer", tmp_path).protocol == "ovmer"


def test_equal_words_have_equal_hash_and_changed_words_another(tmp_path: Path) -> None:
    first = vocabulary.load("mer2025", write_tables(tmp_path / "a"))
    second = vocabulary.load("mer2025", write_tables(tmp_path / "b"))
    third = vocabulary.load("mer2026", write_archive(tmp_path / "c"))
    assert first.hash == second.hash != third.hash


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "wheel3.xlsx").unlink()
    with pytest.raises(AffectError, match=r"missing: wheel3\.xlsx"):
        vocabulary.load("mer2025", tmp_path)
    with pytest.raises(AffectError, match=r"wheel_mapping\.npz"):
        vocabulary.load("mer2026", tmp_path)
    with pytest.raises(AffectError, match="--assets"):
        vocabulary.load("mer2025")


def test_the_folder_of_the_other_year_is_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    write_archive(tmp_path)
    with pytest.raises(AffectError, match="MER2026"):
        vocabulary.load("unibench", tmp_path)


def test_a_broken_spreadsheet_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "synonym.xlsx").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(AffectError, match=r"synonym\.xlsx"):
        vocabulary.load("mer2025", tmp_path)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    path = write_archive(tmp_path) / "wheel_mapping.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AffectError, match="not a whole"):
        vocabulary.load("mer2026", tmp_path)


def test_an_archive_without_the_mappings_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wheel_mapping.npz", "w"):
        pass
    with pytest.raises(AffectError, match="format_mapping"):
        vocabulary.load("mer2026", tmp_path)


@pytest.mark.parametrize("year", ["MER2025", "MER2026"])
def test_every_golden_word(shared_data: Path, year: str) -> None:
    golden = json.loads((shared_data / "golden_wheel.json").read_text())["words"]
    wheels = vocabulary.load(year.lower(), shared_data / "emotion_wheel" / year.lower())
    for word, expected in golden.items():
        found = dict(zip(wheels.columns, wheels.groups(word), strict=True))
        for metric, group in expected[year].items():
            if metric != "in_vocab":
                assert (found[column_of(metric)] or "") == group, (word, metric)


def test_every_golden_list(shared_data: Path) -> None:
    golden = json.loads((shared_data / "golden_wheel.json").read_text())["string_to_list"]
    for text, expected in golden.items():
        # The official code raises IndexError on '['.
        assert mertools.split_list(text) == ([] if isinstance(expected, dict) else expected), text


def test_vocabulary_sizes(shared_data: Path) -> None:
    read = mertools.read_tables(shared_data / "emotion_wheel" / "mer2025")
    assert (len(read.bases), len(read.canonical)) == (7386, 1255)
    assert [len(groups["level1"]) for groups in read.groups.values()] == [114, 126, 78, 102, 77]


def column_of(metric: str) -> str:
    """Our column for the official name: 'case3_wheel1_level2' -> 'wheel1/level2'."""
    return {"case1": "M1", "case2": "M2"}.get(metric) or metric.removeprefix("case3_").replace("_", "/")
