"""MER-UniBench: pickled label archives and label csvs of nine sets become gold conversations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.unibench import UniBench, main


def write_archive(path: Path, **corpora: dict[str, Any]) -> None:
    """As MERTools writes them: each corpus a pickled dictionary in a 0-d array."""
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **{name: np.array(clips, dtype=object) for name, clips in corpora.items()})


def rows_of(folder: Path) -> dict[str, Conversation]:
    return {row.id: row for row in jsonl.read(folder / "conversations.jsonl", Conversation)}


def test_numbers_words_and_sessions(tmp_path: Path) -> None:
    four = {"Ses05F_a": {"emo": np.int64(3), "val": -10}, "Ses01F_b": {"emo": np.int64(0), "val": -10}}
    write_archive(tmp_path / "iemocap-process" / "label_4way.npz", whole_corpus=four)
    words = {"s1": {"emo": "worried", "val": np.float64(-0.4)}, "s2": {"emo": "bored", "val": 0}, "s3": 1}
    write_archive(tmp_path / "mer2023-dataset-process" / "label-6way.npz", train_corpus={}, test1_corpus=words)
    (tmp_path / "mer2023-dataset-process" / "transcription-engchi-polish.csv").write_text(
        "\ufeffname,chinese,english\r\ns1,走开,nan\r\n", encoding="utf-8", newline=""
    )
    main(UniBench(source=tmp_path, out=tmp_path / "out", ask="closed"))
    iemocap, mer = rows_of(tmp_path / "out" / "iemocap"), rows_of(tmp_path / "out" / "mer2023")
    assert {name: row.target.basic for name, row in iemocap.items()} == {"Ses05F_a": "angry"}
    assert iemocap["Ses05F_a"].media.video == "iemocap-process/subvideo-tgt/Ses05F_a.avi"
    assert (mer["s1"].target.basic, mer["s1"].subtitle, mer["s1"].language) == ("worried", "走开", "zh")
    assert mer["s1"].messages[-1].content == "worried"
    lost = list(jsonl.read(tmp_path / "out" / "mer2023" / "rejected.jsonl", Rejected))
    assert [row.reason.partition(" is not")[0] for row in lost] == ["label 'bored'", "label None"]
    manifest = json.loads((tmp_path / "out" / "mer2023" / "manifest.json").read_text())
    assert manifest["published_rows"] == 411
    assert manifest["defects"] == {"chinese-subtitle-used": ["s1"]}


def test_valence_is_brought_to_one_and_its_sign_is_the_sentiment(tmp_path: Path) -> None:
    clips = {"a": -3.0, "b": 1.5, "c": 0.0, "d": -10, "e": 3.5, "f": float("nan")}
    write_archive(
        tmp_path / "cmumosi-process" / "label.npz",
        test_corpus={name: {"emo": 0, "val": v} for name, v in clips.items()},
    )
    main(UniBench(source=tmp_path / "cmumosi-process", out=tmp_path / "out", ask="closed"))
    rows = rows_of(tmp_path / "out" / "cmumosi")
    assert {name: (row.target.valence, row.target.sentiment) for name, row in rows.items()} == {
        "a": (-1.0, "negative"), "b": (0.5, "positive"), "c": (0.0, "neutral"),
    }  # fmt: skip
    assert rows["c"].meta.defects == ["valence-zero"]
    lost = jsonl.read(tmp_path / "out" / "cmumosi" / "rejected.jsonl", Rejected)
    assert [row.reason for row in lost] == ["no valence", "valence 3.5 is beyond 3", "valence nan is beyond 3"]


def test_ov_merd_plus_comes_from_two_csvs(tmp_path: Path) -> None:
    folder = tmp_path / "ovmerdplus-process"
    folder.mkdir()
    (folder / "ovlabel.csv").write_text("name,openset\nx,\"['happy', 'shy']\"\ny,[]\n")
    (folder / "subtitle_eng.csv").write_text("name,sentence\nx,None\n")
    main(UniBench(source=tmp_path, out=tmp_path / "out", sets=("ovmerdplus",)))
    (row,) = rows_of(tmp_path / "out" / "ovmerdplus").values()
    assert (row.target.labels, row.subtitle) == (["happy", "shy"], "None")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="holds none of mer2023"):
        main(UniBench(source=tmp_path, out=tmp_path / "out"))
    with pytest.raises(AffectError, match="no folder sims-process"):
        main(UniBench(source=tmp_path, out=tmp_path / "out", sets=("sims",)))
    write_archive(tmp_path / "sims-process" / "label.npz", test_corpus={})
    with pytest.raises(AffectError, match=r"no val_corpus. There: test_corpus"):
        main(UniBench(source=tmp_path, out=tmp_path / "out", split="val"))


def test_the_real_archives(shared_data: Path, tmp_path: Path) -> None:
    main(UniBench(source=shared_data / "merbench_labels", out=tmp_path / "out"))
    meld, sims = rows_of(tmp_path / "out" / "meld"), rows_of(tmp_path / "out" / "sims")
    assert (len(meld), len(sims)) == (2610, 457)
    assert sum(row.target.basic == "neutral" for row in meld.values()) == 1256
    # The published score counts 388 clips: those whose valence is not 0.
    assert sum(row.target.valence != 0 for row in sims.values()) == 388
    assert meld["test_dia0_utt0"].messages[-1].content == "surprise"
