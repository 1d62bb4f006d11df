"""Every real data set beside the clone builds, and says what is odd about it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from affectllm import jsonl
from affectllm.commands.cli import main
from affectllm.records import Conversation


class Built(NamedTuple):
    command: str
    """Words after `affectllm build`; {data} stands for the folder of real data."""
    rows: int
    rejected: int = 0
    defects: dict[str, int] = {}
    """Each kind with the number of its ids."""
    folder: str = "."


EMER = {"leaked-prompt-prefix": 6, "mixed-language": 4}
MELD_DEV = {
    "utterance-absent": 4, "double-spaces": 62, "shorter-than-0.3-s": 18, "several-speakers": 4, "no-letters": 1,
    "clip-missing-at-source": 1,
}  # fmt: skip
MELD_TRAIN = {
    "utterance-absent": 9, "double-spaces": 5, "no-letters": 1, "longer-than-30-s": 1, "clip-corrupt-at-source": 1,
    "clip-wrongly-cut-at-source": 1,
}  # fmt: skip
EMORYNLP = {"utterance-absent": 355, "longer-than-30-s": 7, "several-speakers": 4}
CASES = [
    Built("emer --source {data}/emer/final-EMER-reason.head25.csv", 25, 0, EMER),
    Built("emer --source {data}/emer/final-EMER-reason.head25.csv --language zh", 25),
    Built("emer --source {data}/emer/gt-eng.head10.csv", 10),
    Built("emer --source {data}/emer/gt-chi.head10.csv", 10),
    Built("ov-merd --source {data}/ovmerd/check-openset.head25.csv", 25),
    Built("ov-merd --source {data}/ovmerd/predict-openset.head25.csv", 25),
    Built("emer-rewrite --source {data}/humanomni_emer_rewrite/emer_rewrite.head10.json", 10),
    Built(
        "emoprefer --source {data}/emoprefer/preference_emoprefer_with_modelnames.head20.csv --swap",
        40,
        0,
        {"undecided": 6},
    ),
    Built("meld --source {data}/meld/dev_sent_emo.csv", 1109, 0, MELD_DEV),
    Built("meld --source {data}/meld/train_sent_emo.head.csv --split train", 105, 0, MELD_TRAIN),
    Built("emorynlp --source {data}/meld/emorynlp_dev_final.csv", 954, 0, EMORYNLP),
    Built("unibench --source {data}/merbench_labels --sets meld", 2610, folder="meld"),
    Built("unibench --source {data}/merbench_labels --sets sims", 457, 0, {"valence-zero": 69}, "sims"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command.partition(" {data}/")[2])
def test_it_builds_and_names_its_oddities(
    case: Built, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["build", *case.command.format(data=shared_data).split(), "--out", str(tmp_path)])
    assert not end.value.code
    manifest: dict[str, Any] = json.loads((tmp_path / case.folder / "manifest.json").read_text(encoding="utf-8"))
    rows = list(jsonl.read(tmp_path / case.folder / "conversations.jsonl", Conversation))
    assert (len(rows), manifest["rejected"]) == (case.rows, case.rejected)
    assert {kind: len(ids) for kind, ids in manifest["defects"].items()} == case.defects
    said = capsys.readouterr().out
    assert all(f"{kind}: {count} (" in said for kind, count in case.defects.items())
