"""The answer reader: every mode and spelling, what it must not do, and its speed of growth."""

import random
import time
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectllm.answers import Parsed, parse, read_pairs
from affectllm.answers.lists import split_labels

LISTS = {
    "['a','b']": ["a", "b"],
    "[a, b]": ["a", "b"],
    "a,b": ["a", "b"],
    "a": ["a"],
    '["Happy", "Let down"]': ["happy", "let down"],
    "['don't care', 'sad']": ["don't care", "sad"],
    "don’t care；happy": ["don't care", "happy"],
    "happy; sad / angry、glad，calm ；shy": ["happy", "sad", "angry", "glad", "calm", "shy"],
    "happy and sad": ["happy", "sad"],
    "happy, sad, and angry.": ["happy", "sad", "angry"],
    "shocked,care,serious": ["shocked", "care", "serious"],
    "高兴、激动": ["高兴", "激动"],
    "高兴和激动": ["高兴", "激动"],
    "温和，和蔼": ["温和", "和蔼"],
    "very happy, a bit sad": ["happy", "sad"],
    "非常高兴，无比激动": ["高兴", "激动"],
    "非常高兴，有点紧张": ["高兴", "紧张"],
    "Happy, happy, HAPPY": ["happy"],
    "lack_of_concern": ["lack of concern"],
    "neutral": ["neutral"],
    "blorp, qux": ["blorp", "qux"],
    "sense of urgency, concern about others' evaluations": ["sense of urgency", "concern about others' evaluations"],
}


@pytest.mark.parametrize(("text", "labels"), LISTS.items())
def test_every_spelling_of_a_list_is_clean(text: str, labels: list[str]) -> None:
    found = parse(text)
    assert (found.labels, found.status) == (labels, "ok")


@pytest.mark.parametrize(
    ("text", "labels"),
    {
        "- happy\n- **very sad**": ["happy", "sad"],
        "1. happy\n2. sad": ["happy", "sad"],
        "**Happy**, *sad*": ["happy", "sad"],
        "```\nhappy, sad\n```": ["happy", "sad"],
        "Emotions: happy, sad": ["happy", "sad"],
        "情绪：高兴、激动": ["高兴", "激动"],
        "happy (he smiles), sad": ["happy", "sad"],
        "happy, sad<|im_end|>": ["happy", "sad"],
        "happy, sad###": ["happy", "sad"],
        "not angry but hurt": ["hurt"],
        "supportive, not annoyed, calm": ["supportive", "calm"],
        "I think he is neither happy nor calm; he is quite worried.": ["worried"],
        "She can't hide her joy.": ["joy"],
        "Not only angry but also hurt": ["angry", "hurt"],
        "He is without fear, but he lacks joy and feels a lack of trust.": ["joy", "lack of trust"],
        "他没有生气，只是很失望。": ["失望"],
        "他不仅高兴，而且激动": ["高兴", "激动"],
        "因此推测他的情感状态为生气。": ["生气"],
        'The subtitle reads, "I am so happy to see you", yet his voice is sad.': ["sad"],
        "In the video he roared. Therefore, it is inferred that his emotional state is anger.": ["anger"],
        "Labels: happy, sad\nReasoning: the voice trembles with fear": ["happy", "sad"],
    }.items(),
)
def test_labels_are_read_around_damage_and_in_prose(text: str, labels: list[str]) -> None:
    found = parse(text)
    assert (found.labels, found.status) == (labels, "recovered")


@pytest.mark.parametrize(
    "text", ["", " ", "[]", "none", "nan", "...", "无", "N/A", "The man wears a hat.", "<answer></answer>", "{}"]
)
def test_nothing_found_is_a_failure_and_never_neutral(text: str) -> None:
    found = parse(text)
    assert (found.labels, found.status) == ([], "failed")


def test_template_of_describe_mode_is_clean() -> None:
    assert parse("The character's emotional state is tense, very worried.").labels == ["tense", "worried"]
    assert parse("The character’s emotional state is calm.").status == "ok"
    assert parse("角色的情绪状态是高兴、激动。") == Parsed(["高兴", "激动"], status="ok")


def test_think_and_answer_once_and_in_order_are_clean() -> None:
    found = parse("<think>His mouth\ncurves up.</think>\n<answer>Happy,\nrelieved</answer>")
    assert found == Parsed(["happy", "relieved"], "His mouth\ncurves up.", status="ok")
    confident = parse("<think>x</think><answer>happy</answer><confidence>90%</confidence>")
    assert (confident.confidence, confident.status) == (0.9, "ok")


@pytest.mark.parametrize(
    ("text", "labels", "reasoning"),
    [
        ("<think>angry?</think> happy, sad", ["happy", "sad"], "angry?"),
        ("he smiles</think><answer>happy</answer>", ["happy"], "he smiles"),
        ("<think>he smiles<answer>happy</answer>", ["happy"], "he smiles"),
        ("<think>he smiles</think><answer>happy", ["happy"], "he smiles"),
        ("<think>a</think><answer>sad</answer><answer>happy</answer>", ["happy"], "a"),
        ("<THINK>a</THINK> < answer >happy</ answer >!", ["happy"], "a"),
        ("<context>two men</context><think>a</think><answer>happy</answer>", ["happy"], "two men\na"),
        ("<answer>happy</answer>", ["happy"], None),
    ],
)
def test_missing_doubled_or_foreign_tags_are_recovered(text: str, labels: list[str], reasoning: str | None) -> None:
    found = parse(text)
    assert (found.labels, found.reasoning, found.status) == (labels, reasoning, "recovered")


def test_a_thought_that_was_cut_off_is_no_answer() -> None:
    found = parse("<think>he could be happy, or")
    assert (found.labels, found.status, found.reasoning) == ([], "failed", "he could be happy, or")


def test_json_mode_gives_every_field() -> None:
    text = (
        '{"labels": ["Happy", "very sad"], "reasoning": "he smiles", "confidence": "9/10",'
        ' "clues": {"visual": ["a smile"], "audio": ["a warm voice"]}, "preference": "a2"}'
    )
    found = parse(text)
    assert (found.labels, found.reasoning, found.confidence, found.preference) == (
        ["happy", "sad"],
        "he smiles",
        0.9,
        "a2",
    )
    assert found.clues is not None
    assert (found.clues.visual, found.clues.audio, found.clues.text) == (["a smile"], ["a warm voice"], [])
    assert found.status == "ok"


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"labels": ["happy", "sad"]}\n```',
        "{'labels': ['happy', 'sad']}",
        '{"labels": ["happy", "sad",]}',
        'Here it is: {"labels": ["happy", "sad"], "confidence": 0.5} I hope.',
        '{"labels": ["happy", "sad"], "reasoning": "the voice',
        '{"emotion": "happy, sad", "note": NaN',
    ],
)
def test_damaged_json_is_recovered(text: str) -> None:
    found = parse(text)
    assert (found.labels, found.status) == (["happy", "sad"], "recovered")


@pytest.mark.parametrize(
    ("text", "confidence"),
    {
        "happy (confidence: 0.9)": 0.9,
        "happy, confidence 90%": 0.9,
        "Emotion: happy\nConfidence: 9/10": 0.9,
        "I am 90% sure it is anger.": 0.9,
        "高兴，置信度：0.9": 0.9,
        "happy, confidence: 1": 1.0,
        "happy, confidence: 90": None,
        "happy, confidence: 1.7": None,
        "happy": None,
    }.items(),
)
def test_confidence_is_a_share_or_missing(text: str, confidence: float | None) -> None:
    assert parse(text).confidence == confidence
    assert parse(text).labels


@pytest.mark.parametrize(
    ("text", "choice"),
    {
        "D": "D",
        "(B)": "B",
        "B, C": "B,C",
        "C,B": "B,C",
        "**C**": "C",
        "B. Happy": "B",
        "Answer: C": "C",
        "option A is right": "A",
        "答案是D": "D",
        "我选 B。": "B",
        "A man smiles.": None,
        "He looks sad.": None,
        "happy, sad": None,
        "A. happy\nB. sad": None,
    }.items(),
)
def test_choice_is_the_letter_that_is_meant(text: str, choice: str | None) -> None:
    assert parse(text).choice == choice


@pytest.mark.parametrize(
    ("text", "preference"),
    {
        "a1": "a1",
        "A2": "a2",
        "same": "same",
        "a2 is better than a1": "a2",
        "I prefer the first description over the second one.": "a1",
        "Both are equally good.": "same",
        "第二个更好": "a2",
        "两者相同": "same",
        "a1 or a2 is better": None,
        "happy at the same time": None,
        "The first sound is a laugh.": None,
    }.items(),
)
def test_preference_is_read_where_one_is_stated(text: str, preference: str | None) -> None:
    assert parse(text).preference == preference


def test_what_was_taken_away_is_told() -> None:
    assert parse("very happy, not annoyed").stripped == ["very", "not annoyed"]
    assert "<|im_end|>" in parse("happy<|im_end|>").stripped


def test_data_set_cells_keep_every_label() -> None:
    assert split_labels("[supportive, not annoyed, very calm]") == ["supportive", "not annoyed", "very calm"]
    assert split_labels("[]") == []


FRAGMENTS = [
    "happy", "sad", "very ", "not ", " but ", " and ", ", ", "; ", "、", "，", "和", "不", "生气", "{", "}", "[", "]",
    "<think>", "</think>", "<answer>", "</answer>", '"labels"', ":", "'", '"', "```json\n", "\n- ", "1. ", "(", "）",
    "A", ".", "The answer is ", "90%", "9/10", "confidence ", "a1", " better", "emotion is ", " than ", "none", "_",
    "The character's emotional state is ", "\u200b", "<|im_end|>", "\\", "\ud800", "don't care", "**", "NaN",
    "情感状态为",
]  # fmt: skip


def check(found: Parsed) -> None:
    assert len(set(found.labels)) == len(found.labels)
    assert all(label == label.lower().strip() != "" for label in found.labels)
    assert (found.status == "failed") == (not (found.labels or found.choice or found.preference))
    assert found.confidence is None or 0 <= found.confidence <= 1


@settings(max_examples=1500, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join)))
def test_any_text_parses_the_same_twice(text: str) -> None:
    found = parse(text)
    check(found)
    assert parse(text) == found


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["happy", "let down", "don't care", "sense of urgency", "sad"]), min_size=1, unique=True)
)
def test_every_spelling_of_one_list_reads_alike(labels: list[str]) -> None:
    joined = ", ".join(labels)
    spellings = [joined, f"[{joined}]", str(labels), joined.upper(), f"<think>x</think><answer>{joined}</answer>"]
    assert all(parse(text).labels == labels for text in spellings)


PIECES = ["(", "<think>", "{", "[", "a ", "not ", "不", "高兴", "9", "{'a':", "a,", "A. ", "than ", "\n", "比"]


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_with_length_not_faster(piece: str) -> None:
    short, long = piece * (10_000 // len(piece)), piece * (40_000 // len(piece))
    # Four times the text; quadratic time would be sixteen times. The floor absorbs the clock's noise.
    assert seconds_to_parse(long) < 10 * max(seconds_to_parse(short), 0.01)


def seconds_to_parse(text: str) -> float:
    # Of this process, and the best of several: other work on the machine takes no part.
    return min(timeit.repeat(lambda: parse(text), timer=time.process_time, number=1, repeat=5))


@pytest.mark.slow
def test_a_million_fuzzed_answers_parse() -> None:
    draw = random.Random(7)
    for _ in range(1_000_000):
        check(parse("".join(draw.choices(FRAGMENTS, k=draw.randrange(12)))))


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("5 surprise 2; 5 surprise 5", [(5, "surprise", 2), (5, "surprise", 5)]),
        ("(5, Surprise, 2), (5, surprise, 2)", [(5, "surprise", 2)]),
        ("U3 - joy - U1", [(3, "joy", 1)]),
        ("none", []),
        ("没有", []),
        ("She is surprised by what he said.", None),
        ("", None),
    ],
)
def test_pairs_of_emotion_and_cause(text: str, pairs: list[tuple[int, str, int]] | None) -> None:
    assert read_pairs(text) == pairs
