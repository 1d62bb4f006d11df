"""Our vocabulary: what each word becomes, and what must hold for all of them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectllm.answers.coverage import coverage
from affectllm.commands import verbs
from affectllm.errors import AffectError
from affectllm.vocabulary import lexicon
from affectllm.vocabulary.tables import rows, tables

BASIC = ["happy", "sad", "angry", "fearful", "surprised", "disgusted", "neutral"]
ENTRIES = tables().entries
WHEELS = lexicon.load_wheels()


@pytest.mark.parametrize(
    ("word", "base"),
    {
        "Happy!": "happy",
        "happily": "happy",
        "worriedly": "worried",
        "very  happy": "happy",
        "sense of urgency": "urgency",
        "concern about others' evaluations": "concern",
        "light-heartedness": "lightheartedness",
        "negative sentiments": "negative",
        "h\u200bappy": "happy",
        "hаppy": "happy",  # the second letter is Cyrillic
        "ｈａｐｐｙ": "happy",
        "感到高兴": "高兴",
        "悲伤的情绪": "悲伤",
        "fearless": "fearless",
        "not annoyed": None,
        "lack of warmth": None,
        "likely": None,
        "blorp": None,
    }.items(),
)
def test_every_form_finds_its_base(word: str, base: str | None) -> None:
    assert lexicon.base(word) == base


def test_basic_words_lie_apart_where_the_taxonomy_tells_them_apart() -> None:
    for wheel in tables().sectors:
        groups = [lexicon.groups(word)[wheel][0] for word in BASIC]
        # Shaver and Parrott file disgust under anger: theirs is the one wheel with six.
        assert len(set(groups)) == (6 if wheel == "shaver" else 7), (wheel, groups)


def test_fear_is_fear_and_power_is_not() -> None:
    """MER2025's assets put fear among the happy words, and power among the sad ones."""
    fear = lexicon.groups("fear")
    assert all(fear[wheel][0] in ("fear", "scared") for wheel in fear)
    assert lexicon.valence("power") == 1


@pytest.mark.parametrize(("word", "sign"), {"joyful": 1, "furious": -1, "surprised": 0, "calm": 1, "委屈": -1}.items())
def test_valence_signs(word: str, sign: int) -> None:
    assert lexicon.valence(word) == sign


def test_unknown_words_are_groups_of_their_own_on_every_wheel() -> None:
    assert set(WHEELS.groups(" Blorp ")) == {"blorp"}
    assert lexicon.valence("blorp") is None


def test_a_known_word_without_a_sector_keeps_to_its_synonyms() -> None:
    """Willcox's feeling wheel has no place for surprise: surprised and startled still agree there."""
    column = WHEELS.at("willcox/level1")[0]
    assert WHEELS.groups("surprised")[column] == WHEELS.groups("startled")[column] == "surprise"


def test_wheels_name_themselves_and_their_data() -> None:
    assert WHEELS.protocol == "affectllm-1"
    assert len(WHEELS.columns) == 14
    assert len(WHEELS.at("level1")) == len(WHEELS.at("level2")) == 7
    assert len(WHEELS.hash) == 16


def test_every_word_of_a_taxonomy_keeps_its_own_sector() -> None:
    for wheel, level2_of in tables().terms.items():
        for word, level2 in level2_of.items():
            assert lexicon.groups(word)[wheel] == (tables().sectors[wheel][level2], level2), (wheel, word)


def test_every_sector_is_named_by_a_word_that_lies_in_it() -> None:
    for wheel, level1_of in tables().sectors.items():
        for level2, level1 in level1_of.items():
            assert lexicon.groups(level2)[wheel] == (level1, level2), (wheel, level2)


def test_no_sector_shares_its_name_with_a_group_of_other_words() -> None:
    """A concept without a sector lends its name to a group; that name must not already mean a sector."""
    for wheel, level1_of in tables().sectors.items():
        for name, concept in tables().concepts.items():
            if wheel not in concept.sectors:
                assert name not in {*level1_of, *level1_of.values()}, (wheel, name)


def test_every_concept_has_words_and_at_least_one_wheel() -> None:
    used = {entry.concept for entry in ENTRIES.values()}
    assert used == set(tables().concepts)
    assert all(concept.sectors for concept in tables().concepts.values())


@pytest.mark.parametrize(
    "name", ["concepts.tsv", "words_en.tsv", "words_zh.tsv", "terms.tsv", "sectors.tsv", "forms.tsv"]
)
def test_every_row_names_its_source(name: str) -> None:
    assert all(row[-1].strip() for row in rows(name))


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(sorted(ENTRIES)),
    st.sampled_from(["lower", "upper", "title", "space", "stop", "quote", "zero", "width"]),
)
def test_spelling_does_not_move_a_word(word: str, change: str) -> None:
    spelled = {
        "lower": word.lower(),
        "upper": word.upper(),
        "title": word.title(),
        "space": f"  {word} ",
        "stop": f"{word}.",
        "quote": f"“{word}”",
        "zero": "\u200b".join(word),
        "width": "".join(chr(ord(sign) + 0xFEE0) if sign.isalpha() and sign.isascii() else sign for sign in word),
    }[change]
    assert lexicon.groups(spelled) == lexicon.groups(word)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_any_text_has_one_group_in_every_column(text: str) -> None:
    groups = WHEELS.groups(text)
    assert len(groups) == len(WHEELS.columns)
    assert None not in groups
    assert WHEELS.groups(text) == groups


def test_explanation_tells_the_way_and_the_reason() -> None:
    found = lexicon.explain("Very worriedly")
    assert (found.base, found.rule, found.concept, found.valence) == ("worried", "head word", "worry", -1)
    assert "concerned" in found.synonyms
    assert lexicon.explain("disgust").groups["shaver"] == lexicon.Place("anger", "disgust", "the taxonomy's own word")
    assert lexicon.explain("blorp").groups["ekman"].why == "unknown word: its own group"


@pytest.mark.parametrize(
    ("name", "text"),
    {
        "a.csv": 'name,openset\nx,"[happy, very sad]"\ny,blorp\nz,\n',
        "a.jsonl": '{"labels": ["happy", "very sad"]}\n\n{"target": {"labels": "blorp"}}\n',
        "a.txt": "['happy', 'very sad']\nblorp\n",
    }.items(),
)
def test_coverage_counts_tokens_and_types(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert coverage(tmp_path / name) == {
        "tokens": 3, "mapped_tokens": 2, "types": 3, "mapped_types": 2, "unmapped": ["blorp"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "name,label\nx,happy\n", "no column"),
        ("a.jsonl", "{", "a.jsonl:1"),
        ("a.jsonl", '{"label": 1}', "a.jsonl:1 has no 'labels'"),
        ("a.txt", "", "No labels"),
    ],
)
def test_coverage_says_what_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AffectError, match=said):
        coverage(tmp_path / name)


def test_command_prints_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert verbs.run("vocab", ["happy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"]["ekman"]["level1"] == "happiness"
    (tmp_path / "a.txt").write_text("happy, blorp")
    verbs.run("vocab", ["coverage", str(tmp_path / "a.txt"), "--json"])
    assert json.loads(capsys.readouterr().out)["mapped_tokens"] == 1
    verbs.run("vocab", ["very worried"])
    assert "fear / anxiety" in capsys.readouterr().out


def test_import_is_light() -> None:
    code = "import sys, affectllm.vocabulary.lexicon; print(*{'torch', 'numpy', 'msgspec'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("name", ["mercaption_samples/openset_strings.txt", "ovmerd/check-openset.head25.csv"])
def test_coverage_of_real_labels(shared_data: Path, name: str) -> None:
    found = coverage(shared_data / name)
    assert found["mapped_tokens"] >= 0.9 * found["tokens"]
    assert found["mapped_types"] >= 0.75 * found["types"]


def test_coverage_of_real_predictions(shared_data: Path, tmp_path: Path) -> None:
    import numpy as np

    file = shared_data / "affectgpt_unibench/results-meld/checkpoint_000030_loss_0.602-openset.npz"
    with np.load(file) as stored, (tmp_path / "labels.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["openset"], *([str(cell)] for cell in stored["fileitems"])])
    found = coverage(tmp_path / "labels.csv")
    assert found["mapped_tokens"] >= 0.9 * found["tokens"]
    assert found["mapped_types"] >= 0.75 * found["types"]
