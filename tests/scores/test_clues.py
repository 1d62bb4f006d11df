"""Clue overlap: sums by hand, negation, and the floor that a real overlap must beat."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.errors import AffectError
from affectllm.records import Clues
from affectllm.scores.families import clue_words
from affectllm.scores.families.clue_words import content_words
from affectllm.scores.families.clues import clue_scores, coverage, overlap, shuffled_floor

SMILE = Clues(visual=["a wide smile"], audio=["bright and lively"])


@pytest.mark.parametrize(
    ("reasoning", "visual", "audio"),
    [
        ("The face shows a wide smile. The voice is bright and lively.", 1.0, 1.0),
        ("A lively, bright voice; wide smiles.", 1.0, 0.5 + 0.5 / 3),  # 'lively' | 'bright voice': F of {bright} is 2/3
        ("There is no wide smile.", 0.0, 0.0),
        ("She is smiling.", 2 / 3, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_recall_by_hand(reasoning: str, visual: float, audio: float) -> None:
    found = clue_scores(reasoning, SMILE)
    assert found["visual"] == pytest.approx(visual)
    assert found["audio"] == pytest.approx(audio)
    assert found["text"] is None


def test_one_clause_answers_one_clue() -> None:
    gold = Clues(visual=["raised brows", "raised brows"])
    assert clue_scores("He has raised brows.", gold)["visual"] == pytest.approx(0.5)


def test_pasting_every_clue_costs_precision() -> None:
    pasted = "A wide smile. Lowered brows. Drooping corners. Bright and lively. Slow and quiet. Loud and harsh."
    assert overlap(pasted, SMILE).recall == pytest.approx(1.0)
    assert overlap(pasted, SMILE).f1 == pytest.approx(0.5)
    # One sentence with commas is no way out.
    assert overlap(pasted.replace(".", ","), SMILE).f1 <= 0.5
    assert overlap("A wide smile. Bright and lively.", SMILE).f1 == pytest.approx(1.0)


def test_leaving_a_modality_out_is_never_better_than_a_guess() -> None:
    """With one clue of the face and one of the voice: half the clues are 1/2, however the other half was missed."""
    assert coverage("A wide smile. Bright and lively.", SMILE) == pytest.approx(1.0)
    assert coverage("A wide smile.", SMILE) == pytest.approx(0.5)
    assert coverage("A wide smile. A low tune.", SMILE) == pytest.approx(0.5)
    assert overlap("A wide smile.", SMILE).f1 > overlap("A wide smile. A low tune.", SMILE).f1
    # Four more statements than the two of gold: 2 * 2 / (2 + 6).
    assert coverage("A wide smile. Bright and lively. Rain. Snow. Wind. Fog.", SMILE) == pytest.approx(0.5)
    assert coverage("", SMILE) == coverage("A wide smile.", Clues()) == 0.0


def test_each_modality_weighs_the_same() -> None:
    gold = Clues(visual=["a wide smile", "raised brows", "bright eyes"], audio=["bright and lively"])
    assert coverage("Bright and lively.", gold) == pytest.approx(
        0.5 * (1 + 2 / 3 / 3)
    )  # {bright} of "bright eyes": F 2/3


def test_chinese_clues_share_character_pairs() -> None:
    # 眉头, 头紧, 紧皱 of both; 他眉 holds a pronoun and does not count.
    assert clue_scores("他眉头紧皱。", Clues(visual=["眉头紧皱"]))["visual"] == pytest.approx(1.0)
    assert clue_scores("她眉头皱起。", Clues(visual=["眉头紧皱"]))["visual"] == pytest.approx(2 * 1 / (3 + 3))


@pytest.mark.parametrize(
    ("reasoning", "clue"),
    [
        ("The face isn’t smiling.", "a smile"),
        ("She won't smile.", "a smile"),
        ("There is no laughter and no smile.", "a smile"),
        ("There is no laughter and smile.", "a smile"),
        ("Without a smile, she goes on.", "a smile"),
        ("Nothing suggests a smile.", "a smile"),
        ("The absence of any smile is plain.", "a smile"),
        ("A smile is there.", "no smile"),
        ("他没有微笑。", "微笑"),
        ("他不再微笑，眉头紧皱。", "微笑"),
    ],
)
def test_denied_clues_do_not_match(reasoning: str, clue: str) -> None:
    assert clue_scores(reasoning, Clues(visual=[clue]))["visual"] == 0.0


@pytest.mark.parametrize(
    ("reasoning", "clue"),
    [
        ("There is no smile.", "no smile"),
        ("No anger is in the voice; he smiles.", "he smiles"),
        ("He does not frown and his brows are raised.", "raised brows"),
        ("Not only a smile, tears too.", "a smile"),
        ("She never stops smiling.", "a smile"),
        ("他没有生气而微笑。", "微笑"),
        ("不满。", "不满"),
        ("他忍不住微笑。", "微笑"),
    ],
)
def test_a_negation_ends_where_its_clause_does(reasoning: str, clue: str) -> None:
    found = clue_scores(reasoning, Clues(visual=[clue]))["visual"]
    assert found is not None
    assert found > 0


WORDS = ["no", "smile", "and", "he", ",", "wide", "the", "only", "while", "smiling", "isn't", "2", "2nd", "-", "笑"]
SENTENCE = st.lists(st.sampled_from([*WORDS, "high-pitched"]), max_size=12).map(" ".join)


@given(SENTENCE)
def test_the_fast_way_reads_what_the_long_way_reads(sentence: str) -> None:
    fast = clue_words.plain_clauses(sentence)
    assert fast is None or fast == clue_words.mixed_clauses(sentence)


def test_the_fast_way_is_taken() -> None:
    assert clue_words.plain_clauses("the face shows a wide smile, and he laughs") == [{"wid", "smil"}, {"laugh"}]
    assert clue_words.plain_clauses("there is no smile") is None


def test_inflections_meet() -> None:
    assert content_words("smiling") == content_words("smiled") == content_words("smiles")
    assert content_words("stopped crying") == content_words("stopping cries")
    assert content_words("happily") == content_words("happy")


def test_own_clues_beat_shuffled_ones() -> None:
    golds = [Clues(visual=[f"{word} brows"]) for word in ("raised", "knitted", "calm", "lowered")]
    texts = [f"The face has {clue.visual[0]}." for clue in golds]
    own = sum(overlap(text, gold).recall for text, gold in zip(texts, golds, strict=True)) / 4
    assert own == pytest.approx(1.0)
    assert shuffled_floor(texts, golds) == pytest.approx(0.5)  # 'brows' alone


def test_a_floor_needs_two_clips() -> None:
    with pytest.raises(AffectError, match="at least two"):
        shuffled_floor(["a"], [SMILE])


TEXT = st.text("ab smile.,;!no 笑不", max_size=40)


@given(TEXT, st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3))
def test_scores_are_shares(reasoning: str, visual: list[str], audio: list[str]) -> None:
    gold = Clues(visual=visual, audio=audio)
    assert all(value is None or 0 <= value <= 1 for value in clue_scores(reasoning, gold).values())
    assert all(0 <= value <= 1 for value in overlap(reasoning, gold))


CLUE_WORDS = st.sampled_from(["smile", "wide", "brows", "raised", "眉头", "tears"])


@given(st.lists(st.lists(CLUE_WORDS, min_size=1), min_size=1))
def test_gold_said_word_for_word_is_best(words: list[list[str]]) -> None:
    statements = [" ".join(group) for group in words]
    gold = Clues(visual=statements)
    assert overlap(". ".join(statements), gold).recall == pytest.approx(1.0)
    assert overlap(". ".join(reversed(statements)), gold).f1 == pytest.approx(1.0)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT of one layer: it knows no meaning, but a sentence is most like itself."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *map("##{}".format, "abcdefghijklmnopqrstuvwxyz"),
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def test_clues_by_meaning(encoder: str) -> None:
    from affectllm.scores.families.clue_vectors import ClueEncoder, sentences_and_clauses

    model = ClueEncoder(encoder)
    assert sentences_and_clauses("He smiles, then cries. Yes.") == [
        "He smiles, then cries",
        "He smiles",
        "then cries",
        "Yes",
    ]
    assert model.table(["a wide smile"], ["a wide smile"])[0][0] == pytest.approx(1.0)
    scores = model.clue_scores("A wide smile. Loud.", Clues(visual=["a wide smile"], audio=["a low voice"]))
    assert scores["visual"] == pytest.approx(1.0)
    assert scores["audio"] is not None
    assert scores["audio"] < 1
    assert model.clue_scores("", Clues(visual=["a wide smile"])) == {"visual": 0.0, "audio": None, "text": None}
    assert model.overlap("a wide smile", Clues(visual=["a wide smile"])) == pytest.approx((1.0, 1.0, 1.0))


def test_a_folder_without_an_encoder_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from affectllm.scores.families.clue_vectors import ClueEncoder

    with pytest.raises(AffectError, match="--clue-encoder"):
        ClueEncoder(str(tmp_path))
