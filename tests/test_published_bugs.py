"""What published evaluators get wrong, each with the right result (one row a bug, with where it was seen)."""

from collections.abc import Callable

import pytest

from affectllm import vocabulary
from affectllm.answers import Rating, parse, read_rating
from affectllm.scores import registry
from affectllm.scores.engine.case import make_case
from affectllm.scores.engine.tables import Row
from affectllm.scores.engine.uncertainty import value_of
from affectllm.scores.families import sentiment
from affectllm.scores.families import wheels as rule
from tests.scores.toys import value as number

WHEELS = vocabulary.load()

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


def swapped(first: str, second: str) -> float:
    """Swap consistency of one clip and of its copy with both descriptions exchanged."""
    rows = {"X": Row(cells={"preference": first}), "X_swap": Row(cells={"preference": second})}
    return value_of(registry.load("swap_consistency")(make_case(rows, rows, list(rows))).drawn, 2)


NUMBERS: dict[str, tuple[Callable[[], float], float]] = {
    "EmoCaliber's last bin was open: wrong answers at confidence 1.0 had no error": (
        lambda: number("ece", [{"labels": ["happy"], "confidence": 1.0}] * 4, [["sad"]] * 4),
        1.0,
    ),
    "Emotion-LLaMA v2 left spurious labels out of micro F1": (
        lambda: number("multi_micro_f1", [["happy", "blorp", "snarf"]], [["happy"]], classes=["happy", "sad"]),
        0.5,
    ),
    "constant scores had the average precision of their lucky order": (
        lambda: number("map", [{"scores": {"happy": 0.0}}] * 4, [["happy"], ["happy"], [], []]),
        0.5,
    ),
    "words outside the wheels were free": (lambda: rule.f1(["happy", "blorp"], ["happy"], WHEELS), 2 / 3),
    "neutral could not be scored": (lambda: rule.f1(["neutral"], ["neutral"], WHEELS), 1.0),
    "fear stood among the happy words": (lambda: rule.f1(["fear"], ["happy"], WHEELS), 0.0),
    "R1-Omni's accuracy knew no inflection": (lambda: rule.f1(["Happiness"], ["happy"], WHEELS), 1.0),
    "an answer 'same' counted as a1": (
        lambda: number("preference_accuracy", [{"preference": "same"}], [{"preference": "a1"}]),
        0.0,
    ),
    "answering a1 always was consistent": (lambda: swapped("a1", "a1"), 0.0),
    "EIBench kept the last rating where one could not be read": (
        lambda: number("trigger_recall", [{"rating": "2/4"}, {"rating": "I cannot judge this."}], [{}] * 2),
        0.5,
    ),
    "MME-Emotion counted an unrated answer as 0": (
        lambda: number("step_cot", [{"recognition": 1.0, "steps": [True]}, {}], [{}] * 2),
        1.0,
    ),
    "repeating a label paid": (lambda: rule.f1(["happy", "happy", "sad"], ["happy"], WHEELS), 2 / 3),
    "a neutral sentiment counted as negative on clips whose gold is 0": (
        lambda: sentiment.unibench([0.0, 1.0], [0.0, 2.0]),
        1.0,
    ),
}


@pytest.mark.parametrize(("score", "value"), NUMBERS.values(), ids=NUMBERS.keys())
def test_scores(score: Callable[[], float], value: float) -> None:
    assert score() == pytest.approx(value)
