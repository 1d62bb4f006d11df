"""Answers that published evaluators misread, each with the right reading (one row a bug, with where it was seen)."""

import pytest

from affectllm.answers import Rating, parse, read_rating

RATINGS = {
    "EMER evaluation.py took the first number of the scale": ("得分范围为1-10，预测分数：8", Rating(8, 10)),
    "the same in English": ("On a scale of 1-10, score 8", Rating(8, 10)),
    "EIBench get_scores.py did not read capitals": ("{Score: 2/5}", Rating(2, 5)),
    "EIBench get_scores.py did not read fractions": ("{score: 2.5/5}", Rating(2.5, 5)),
    "MME-Emotion needed a space after the colon": ("Step score:1/1", Rating(1, 1)),
    "a reply without a number is none, not the last one": ("I cannot judge this.", None),
    "two bare numbers are not guessed between": ("7 or 8", None),
}


@pytest.mark.parametrize(("text", "rating"), RATINGS.values(), ids=RATINGS.keys())
def test_judge_replies(text: str, rating: Rating | None) -> None:
    assert read_rating(text) == rating


CHOICES = {
    "MTMEUR took the first letter of 'The answer'": ("The answer is D", "D"),
    "AVERE took the article": ("A person looks sad, so (B)", "B"),
    "the article after a cue is no option": ("The answer is A person in pain, so (C).", "C"),
    "HumanOmniV2 compared 'B,C' with 'B, C'": ("B, C", "B,C"),
    "MTMEUR never let two answers be right": ("B and C", "B,C"),
}


@pytest.mark.parametrize(("text", "choice"), CHOICES.values(), ids=CHOICES.keys())
def test_choices(text: str, choice: str) -> None:
    assert parse(text).choice == choice


LABELS = {
    "R1-Omni compared case": ("<think>x</think><answer>Happy</answer>", ["happy"]),
    "R1-Omni's pattern stopped at a newline": ("<think>x</think><answer>\nhappy\n</answer>", ["happy"]),
    "EmoCaliber found contentment in discontentment": ("He shows discontentment.", ["discontentment"]),
    "MERTools keeps the full stop": ("[happy, sad].", ["happy", "sad"]),
    "MERTools keeps the bracket after a space": (" [happy]", ["happy"]),
    "MERTools cuts don't care": ("['don't care', 'sad']", ["don't care", "sad"]),
    "MERTools raises on a lone bracket": ("[", []),
    "MERTools takes one string for one label": ("happy, but anxious", ["happy", "anxious"]),
    "Emotion-LLaMA turned the unreadable into neutral": ("I can't tell from this clip.", []),
    "AffectGPT fork rewarded labels inside the thoughts": ("<think>happy</think><answer></answer>", []),
}


@pytest.mark.parametrize(("text", "labels"), LABELS.values(), ids=LABELS.keys())
def test_labels(text: str, labels: list[str]) -> None:
    assert parse(text).labels == labels


CONFIDENCES = {
    "EmoCaliber did not read percent": ("<think>x</think><answer>sad</answer><confidence>90%</confidence>", 0.9),
    "EmoCaliber refused 1": ("<think>x</think><answer>sad</answer><confidence>1</confidence>", 1.0),
    "a number out of range is no confidence": ("<answer>sad</answer><confidence>7</confidence>", None),
}


@pytest.mark.parametrize(("text", "confidence"), CONFIDENCES.values(), ids=CONFIDENCES.keys())
def test_confidences(text: str, confidence: float | None) -> None:
    assert parse(text).confidence == confidence
