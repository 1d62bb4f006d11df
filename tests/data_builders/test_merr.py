"""MERR: both files, their oddities, and the copy that was edited by hand."""

import json
from pathlib import Path

import pytest

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation, Rejected
from data_builders.merr import Merr, main, read_emotions

FINE = {
    "samplenew_00000011": {
        "AU_list": {"AU04_r": 1.2}, "visual_prior_list": ["Brow lowerer", " Lip corner depressor "],
        "audio_prior_list": "a trembling voice", "peak_index": "37", "peak_AU_list": ["AU04_r"], "pseu_emotion": "sad",
        "text": "I cannot go on.", "smp_reason_caption": "Her brow is lowered and her voice trembles: she is sad.",
    },
    "sample_00000002": {
        "visual_prior_list": [], "audio_prior_list": "", "peak_index": "0", "peak_AU_list": [],
        "pseu_emotion": "doubt", "text": "怎么可能", "smp_reason_caption": "He asks \"怎么可能\" and doubts it.",
    },
    "sample_00000003": {"pseu_emotion": "happy", "text": "NA", "smp_reason_caption": " "},
    "sample_00000004": {"visual_prior_list": "a smile", "smp_reason_caption": "He smiles."},
}  # fmt: skip


def test_fine_grained_clues_words_and_oddities(tmp_path: Path) -> None:
    source = tmp_path / "MERR_fine_grained.json"
    source.write_bytes(json.dumps(FINE, ensure_ascii=False, indent=4).replace("\n", "\r\n").encode())
    main(Merr(source=tmp_path, out=tmp_path / "out"))
    first, second = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    assert first.target.clues is not None
    assert first.target.clues.visual == ["Brow lowerer", "Lip corner depressor"]
    assert first.target.clues.audio == ["a trembling voice"]
    assert (first.subtitle, first.meta.defects) == ("I cannot go on.", [])
    assert first.messages[-1].content == (
        "<think>Her brow is lowered and her voice trembles: she is sad.</think>\n<answer>sad</answer>"
    )
    assert second.meta.defects == ["no-peak-action-units", "subtitle-not-english", "mixed-language"]
    assert second.target.clues is None
    lost = list(jsonl.read(tmp_path / "out" / "rejected.jsonl", Rejected))
    assert [(row.id, row.row) for row in lost] == [("sample_00000003", 3), ("sample_00000004", 4)]
    assert lost[0].reason == "no name or no description"
    assert lost[1].reason.startswith("field 'visual_prior_list'")
    assert lost[1].data == FINE["sample_00000004"]


def test_coarse_captions_take_emotion_and_words_from_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "MERR_coarse_grained.json"
    source.write_text(json.dumps({"a": {"caption": "He frowns."}, "b": {"caption": "She smiles."}}))
    (tmp_path / "list.txt").write_text("a 64 angry\nc 12 happy -10\n\n")
    (tmp_path / "words.csv").write_text("name,sentence\na,None\n")
    main(
        Merr(
            source=source, out=tmp_path / "out", labels=tmp_path / "list.txt", transcripts=tmp_path / "words.csv"
        )
    )  # fmt: skip
    first, second = jsonl.read(tmp_path / "out" / "conversations.jsonl", Conversation)
    # 'None' is what somebody said.
    assert (first.subtitle, first.target.labels) == ("None", ["angry"])
    assert first.messages[-1].content == "<think>He frowns.</think>\n<answer>angry</answer>"
    assert second.messages[-1].content == "She smiles."
    assert second.meta.defects == ["no-subtitle", "no-labels"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "a": {"caption": "x"} // sure?\n}', "line 2, column 25 is not JSON"),
        ('{"a": {"caption": "two\nlines"}}', "line 1, column 23 is not JSON"),
        ('{"a": {"caption": "x"}, "a": {"caption": "y"}}', "holds 'a' twice"),
        ('[{"caption": "x"}]', "it holds a list"),
    ],
)
def test_a_file_edited_by_hand_is_refused_by_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "merr.json").write_text(text)
    with pytest.raises(AffectError, match=said):
        main(Merr(source=tmp_path / "merr.json", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_list_line_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a 64 angry\nb happy\n")
    with pytest.raises(AffectError, match="line 2 must be"):
        read_emotions(tmp_path / "list.txt")
