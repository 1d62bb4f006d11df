"""Clue overlap: sums by hand, negation, and the floor that a real overlap must beat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.records import Clues
from affectllm.scores.clues import clue_scores, content_words, overlap, shuffled_floor

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
    assert overlap("A wide smile. Bright and lively.", SMILE).f1 == pytest.approx(1.0)


def test_chinese_clues_share_character_pairs() -> None:
    assert clue_scores("他眉头紧皱。", Clues(visual=["眉头紧皱"]))["visual"] == pytest.approx(2 * 3 / (4 + 3))


def test_inflections_meet() -> None:
    assert content_words("smiling") == content_words("smiled") == content_words("smiles")


def test_own_clues_beat_shuffled_ones() -> None:
    golds = [Clues(visual=[f"{word} brows"]) for word in ("raised", "knitted", "calm", "lowered")]
    texts = [f"The face has {clue.visual[0]}." for clue in golds]
    own = sum(overlap(text, gold).recall for text, gold in zip(texts, golds, strict=True)) / 4
    assert own == pytest.approx(1.0)
    assert shuffled_floor(texts, golds) == pytest.approx(0.5)  # 'brows' alone


def test_a_floor_needs_two_clips() -> None:
    with pytest.raises(ValueError, match="at least two"):
        shuffled_floor(["a"], [SMILE])


TEXT = st.text("ab smile.,;!no 笑不", max_size=40)


@given(TEXT, st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3))
def test_scores_are_shares(reasoning: str, visual: list[str], audio: list[str]) -> None:
    gold = Clues(visual=visual, audio=audio)
    assert all(value is None or 0 <= value <= 1 for value in clue_scores(reasoning, gold).values())
    assert all(0 <= value <= 1 for value in overlap(reasoning, gold))
