"""MER2024's rule on stored groups, by hand and through the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from affectllm.errors import AffectError
from affectllm.scores.families.mer2024 import Overlap, overlap, read_groups
from eval.score import Options, main


@pytest.mark.parametrize(
    ("said", "gold", "expected"),
    [
        (["joyful"], ["happy"], Overlap(1.0, 1.0)),
        (["joyful", "happy", "calm"], ["happy"], Overlap(0.5, 1.0)),
        (["blorp"], ["happy", "calm"], Overlap(0.0, 0.0)),
        ([], ["happy"], Overlap(0.0, 0.0)),
    ],
)
def test_overlap_by_hand(said: list[str], gold: list[str], expected: Overlap) -> None:
    assert overlap(said, gold, [["happy", "joyful"], ["calm"]]) == expected


def test_the_command_averages_both_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, groups in {"a": "[['happy', 'joyful'], ['calm']]", "b": "[['sad', 'down']]"}.items():
        np.save(tmp_path / f"{name}.npy", np.array(groups))
    (tmp_path / "gold.csv").write_text("name,openset\na,\"['happy']\"\nb,\"['sad', 'angry']\"\n")
    (tmp_path / "said.csv").write_text("name,openset\na,\"['joyful', 'calm']\"\nb,\"['down']\"\n")
    files = {"pred": str(tmp_path / "said.csv"), "gold": str(tmp_path / "gold.csv")}
    main(Options(**files, protocol="mer2024", metric="ew", assets=tmp_path, json=True))  # type: ignore[arg-type]
    found = json.loads(capsys.readouterr().out)
    assert (found["precision"], found["recall"]) == (0.75, 0.75)
    assert found["value"] == 0.75
    with pytest.raises(AffectError, match="no hit_rate"):
        main(Options(**files, protocol="mer2024", metric="hit_rate", assets=tmp_path))  # type: ignore[arg-type]


def test_missing_or_damaged_groups_are_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match=r"a\.npy is missing"):
        read_groups(tmp_path, "a")
    np.save(tmp_path / "a.npy", np.array("['happy']"))
    with pytest.raises(AffectError, match="list of non-empty lists"):
        read_groups(tmp_path, "a")
    np.save(tmp_path / "a.npy", np.array("happy"))
    with pytest.raises(AffectError, match="no list of word groups"):
        read_groups(tmp_path, "a")
