"""Leaks, repeats, doubtful labels and broken clips are found; what is merely alike is not."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectllm.commands import verbs
from affectllm.data.checks import labels, leaks, scripts
from affectllm.data.checks import media as clips
from affectllm.data.report import check, size_differences
from affectllm.errors import AffectError
from affectllm.records import Conversation
from tests.clips import write_clip
from tests.data.test_report import row, write

LONG = "I did not expect to see you here after all these years in the same old house by the lake"


def test_names_meet_whatever_list_they_come_from() -> None:
    assert leaks.name_key("clips/Sample_1.mp4") == leaks.name_key("sample_1")
    assert leaks.name_key("dr.who_1") == "dr.who_1"


def test_near_texts_are_found_across_splits_and_short_or_equal_ones_are_not() -> None:
    rows = [
        row("a", "train", LONG, ["happy"]),
        row("b", "test", LONG + " again", ["happy"]),
        row("c", "train", LONG, ["sad"]),
        row("d", "test", "Yes, sure.", []),
        row("e", "test", "The weather was fine and nobody wanted to go home before it was dark", []),
    ]
    (pair,) = leaks.near_duplicates(rows)
    assert (pair.first.id, pair.second.id) == ("a", "b")
    # 19 pairs of neighbouring words in one text, one more in the other.
    assert pair.similarity == pytest.approx(19 / 20)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=30, max_size=30), st.integers(0, 29))
def test_a_text_with_one_word_changed_is_a_candidate(words: list[str], place: int) -> None:
    names = [f"{word}{i}" for i, word in enumerate(words)]
    other = [*names[:place], "another", *names[place + 1 :]]
    pieces = [leaks.shingles(" ".join(it)) for it in (names, other)]
    assert leaks.candidates(pieces, [True, False]) == {(0, 1)}


def test_chinese_is_compared_by_characters() -> None:
    assert leaks.shingles("你怎么来了") == {"你 怎", "怎 么", "么 来", "来 了"}


def test_repeats_need_the_same_media_and_labels() -> None:
    rows = [
        row("a", "train", LONG, ["sad"], "1.mp4"),
        row("b", "train", LONG, ["sad"], "1.mp4"),
        row("c", "train", LONG, ["sad"], "2.mp4"),
        row("d", "train", LONG, ["happy"], "1.mp4"),
    ]
    assert list(leaks.repeats(rows)) == [["a", "b"]]


def test_doubts_are_those_of_the_paper() -> None:
    rows = [
        row(name, "train", "", [label]) for name, label in (("a", "sad"), ("b", "sad"), ("c", "happy"), ("d", "sad"))
    ]
    scores = {
        "a": {"sad": 0.9, "happy": 0.1},
        "b": {"sad": 0.2, "happy": 0.8},
        "c": {"sad": 0.3, "happy": 0.7},
        "d": {"sad": 0.4, "happy": 0.6},
    }
    # Thresholds: sad (0.9 + 0.2 + 0.4) / 3 = 0.5, happy 0.7. Row d reaches neither: nothing is sure, so no doubt.
    assert labels.doubts(rows, scores) == [labels.Doubt("b", "sad", "happy", 0.2, -0.6)]
    with pytest.raises(AffectError, match="leave out its label 'sad'"):
        labels.doubts(rows, {"a": {"happy": 1.0}})
    with pytest.raises(AffectError, match="exactly one label"):
        labels.doubts(rows, {})


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
def test_divergence_is_between_zero_and_one(counts: dict[str, int]) -> None:
    assert labels.divergence(counts, counts) == 0
    other = {name: n + 1 for name, n in counts.items()} | {"e": 3}
    assert 0 < labels.divergence(counts, other) <= 1
    assert labels.divergence(counts, other) == labels.divergence(other, counts)


def test_the_tail_and_the_groups() -> None:
    rows = [row(f"a{i}", "train", "", ["sad"]) for i in range(30)]
    rows += [msgspec.structs.replace(row(f"b{i}", "train", "", ["happy"]), dataset="other") for i in range(30)]
    rows += [row("c", "train", "", ["wistful"])]
    told = labels.describe(rows)
    assert told["tail"] == {"labels": 1, "share": round(1 / 61, 4)}
    found = labels.groups(rows)
    assert set(found) == {"dataset"}
    assert found["dataset"]["largest"] == {"name": "toy", "rows": 31, "share": round(31 / 61, 4)}
    assert math.isclose(
        found["dataset"]["most_unlike"]["other"],
        labels.divergence({"happy": 30}, {"happy": 30, "sad": 30, "wistful": 1}),
    )


def test_clips_are_probed_once_and_a_killed_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_clip(media / "a.mp4")
    (media / "b.mp4").write_bytes((media / "a.mp4").read_bytes())
    (media / "broken.mp4").write_bytes((media / "a.mp4").read_bytes()[:500])
    write_clip(media / "silent.mp4", audio=False)
    rows = [
        row("a", "train", "", ["sad"], "a.mp4"), row("b", "test", "", ["sad"], "b.mp4"),
        row("c", "train", "", ["sad"], "broken.mp4"), row("d", "train", "", ["sad"], "gone.mp4"),
        asked_for_sound(row("e", "train", "", ["sad"], "silent.mp4")),
    ]  # fmt: skip
    folder = write(tmp_path / "data", rows)
    report = check([folder], media)
    assert report["problems"]["clip-missing"] == ["d: gone.mp4"]
    assert report["problems"]["clip-in-train-and-test"] == ["a = b"]
    assert report["problems"]["clip-without-sound"] == ["e: silent.mp4"]
    assert "broken.mp4" in report["problems"]["clip-unreadable"][0]
    assert report["media"]["durations_s"]["1-2"] == 3
    notes = folder / "media_probe.jsonl"
    lines = notes.read_text().splitlines(keepends=True)
    # Killed while the third clip was written down.
    notes.write_text("".join(lines[:2]) + lines[2][:9])
    opened: list[str] = []
    stock = clips.probe_all

    def counting(root: Path, paths: list[str], verify: bool) -> Iterator[clips.Probed]:
        opened.extend(paths)
        return stock(root, paths, verify)

    monkeypatch.setattr(clips, "probe_all", counting)
    assert check([folder], media) == report
    assert len(opened) == 2
    # A look at the packets does not stand for decoding everything; the other way round it does.
    check([folder], media, verify=True)
    assert len(opened) == 2 + 4
    # Only what could not be read is tried again.
    check([folder], media)
    check([folder], media, verify=True)
    assert opened[6:] == ["broken.mp4"] * 2


def asked_for_sound(conversation: Conversation) -> Conversation:
    told = msgspec.to_builtins(conversation)
    told["messages"][0]["content"] = [{"type": "video"}, {"type": "audio"}, {"type": "text", "text": "?"}]
    return msgspec.convert(told, Conversation)


def test_the_page_holds_what_the_json_says_and_escapes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "a", [row("<b>1", "train", LONG, ["happy"])])
    b = write(tmp_path / "b", [row("b1", "test", LONG, ["<i>sad"])])
    (tmp_path / "scores.jsonl").write_text(
        json.dumps({"id": "<b>1", "scores": {"happy": 0.2, "sad": 0.8}}) + "\n"
        + json.dumps({"id": "b1", "scores": {"happy": 0.5, "<i>sad": 0.5}}) + "\n"
    )  # fmt: skip
    words = ["check", str(a), str(b), "--json", "--html", str(tmp_path / "page.html")]
    assert verbs.run("data", [*words, "--scores", str(tmp_path / "scores.jsonl")]) == 1
    report = json.loads(capsys.readouterr().out)
    page = (tmp_path / "page.html").read_text()
    assert report["problems"] == {"text-in-train-and-test": ["<b>1 = b1"]}
    assert "text-in-train-and-test" in page
    assert "&lt;b&gt;1 = b1" in page
    assert "<i>sad" not in page
    assert "http" not in page


def test_a_leak_shows_though_its_text_repeats_within_a_split() -> None:
    near = LONG + " again"
    rows = [row("a", "test", LONG, []), row("b", "train", LONG, []), row("c", "test", near, [])]
    assert [(pair.first.id, pair.second.id) for pair in leaks.near_duplicates(rows)] == [("a", "c"), ("b", "c")]


def test_an_acted_sentence_is_said_once_for_each_held_out_row() -> None:
    rows = [row(f"a{i}", "train", LONG, []) for i in range(2000)] + [
        row(f"b{i}", "test", LONG, []) for i in range(2000)
    ]
    found = leaks.shared_between_splits((leaks.text_key(it.subtitle), it) for it in rows)
    assert len(found) == 2000
    assert found[-1] == "a0 = b1999"


def test_repeats_without_words_need_a_clip() -> None:
    rows = [row("a", "train", "", ["sad"], "1.mp4"), row("b", "train", "", ["sad"], "1.mp4")]
    rows += [row("c", "train", "", ["sad"]), row("d", "train", "", ["sad"])]
    assert list(leaks.repeats(rows)) == [["a", "b"]]


def test_labels_of_each_split() -> None:
    rows = [row(f"a{i}", "train", "", ["sad"]) for i in range(10)]
    rows += [row("b", "test", "", ["sad", "wistful"]), row("c", "test", "", [])]
    told = labels.by_split(rows)["test"]
    assert labels.by_split(rows[10:])["test"]["new"] is None
    # Of two labels one is rare over all rows, and train never says it.
    assert told == {
        "rows": 2,
        "empty_sets": 1,
        "tail_share": 0.5,
        "new": 0.5,
        "most_frequent": {"sad": 1, "wistful": 1},
    }


@pytest.mark.parametrize(
    ("text", "language", "foreign"),
    [
        ("Oh my god!", "en", False), ("2:17.", "en", False), ("你怎么来了", "en", True), ("你怎么 OK", "zh", False),
        ("Hello there", "zh", True), ("ありがとう", "ja", False), ("Да", "ru", False), ("Da", "ru", True),
        ("anything", "sr", False), ("anything", None, False), (None, "en", False),
    ],
)  # fmt: skip
def test_scripts(text: str | None, language: str | None, foreign: bool) -> None:
    assert scripts.is_foreign(text, language) is foreign


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "a"}, "record 1 must hold 'id' and 'scores', it holds id"),
        ({"id": "a", "scores": {"sad": 3}}, "'a' scores 'sad' 3. Give probabilities"),
        ({"id": "a", "scores": {"sad": "high"}}, "'a' scores 'sad' 'high'"),
    ],
)
def test_scores_that_are_none_are_explained(tmp_path: Path, line: dict[str, object], message: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(AffectError, match=message):
        labels.read_scores(path)


@pytest.mark.parametrize(
    ("published", "there", "said"),
    [
        (1109, 1109, []),
        ({"train": 5, "test": 2}, {"train": 5}, []),
        ({"train": 5, "test": 2}, {"train": 5, "test": 3}, [", test: 3 rows, published 2"]),
        ({"fine": 4487, "coarse": 28618}, 4487, []),
        ({"fine": 4487, "coarse": 28618}, 4486, [": 4486 rows, published 4487 or 28618"]),
        ({"train.csv": None}, {"train.csv": 3}, []),
    ],
)
def test_published_sizes(tmp_path: Path, published: object, there: object, said: list[str]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"published_rows": published, "table_rows": there}))
    assert list(size_differences(tmp_path)) == [f"{tmp_path}{line}" for line in said]
