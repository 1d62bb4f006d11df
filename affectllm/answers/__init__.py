"""What a model's answer says: one deterministic reader for training, reward, evaluation and demo.

parse(text)        labels, reasoning, confidence, choice, preference, clues and how well the text was understood
read_number(text)  the one number of an answer about valence
read_pairs(text)   emotion-cause pairs
read_rating(text)  the number of a judge's reply, e.g. 2 of 5 in '{Score: 2/5}'
"""

from typing import Literal, NamedTuple

from affectllm.answers.conclusions import plain_statement, read_statement
from affectllm.answers.fields import (
    Rating,
    read_choice,
    read_confidence,
    read_distribution,
    read_number,
    read_numbers,
    read_pairs,
    read_preference,
    read_rating,
)
from affectllm.answers.lists import plain_list, read_list
from affectllm.answers.structure import JsonAnswer, plain_frame, read_json, read_sections, tidy
from affectllm.records import Clues

__all__ = [
    "THINK_END", "Parsed", "Rating", "parse", "read_distribution", "read_number", "read_numbers", "read_pairs",
    "read_rating",
]  # fmt: skip

THINK_END = "</think>"
"""What closes the reasoning of an answer in the think mode."""


class Parsed(NamedTuple):
    """One answer, read.

    `ok`: the text follows a declared mode cleanly (a list of labels, "The character's emotional state is X, Y.",
    think and answer tags once each and in order, valid JSON). `recovered`: something was found by reading around damage
    or in prose. `failed`: neither a label nor a choice, a preference or clues were found; a failure is never 'neutral'.
    """

    labels: list[str]
    """Lower-cased words as the answer has them, in order, without duplicates."""
    reasoning: str | None = None
    """The think text, or the prose around the labels."""
    confidence: float | None = None
    """The stated confidence in 0..1: `90%` and `9/10` are 0.9. A number out of range is no confidence."""
    choice: str | None = None
    """Capital letter of a multiple-choice answer. Several are joined: 'B,C'."""
    preference: Literal["a1", "a2", "same"] | None = None
    clues: Clues | None = None
    """Evidence statements of a JSON answer."""
    status: Literal["ok", "recovered", "failed"] = "failed"
    stripped: list[str] = []
    """What was removed to find the labels: intensifiers, negated words, markup, special tokens."""

    @property
    def evidence(self) -> str:
        """The reasons that the answer gives: its reasoning, else its clues as one text."""
        if self.reasoning or not self.clues:
            return self.reasoning or ""
        return ". ".join([*self.clues.visual, *self.clues.audio, *self.clues.text])


def parse(text: str) -> Parsed:
    """Read an answer of any mode, English or Chinese. It never raises, and takes time linear in the text.

    >>> parse("<think>He smiles.</think><answer>Happy, very relieved</answer>").labels
    ['happy', 'relieved']
    >>> parse("not angry but hurt").labels
    ['hurt']
    """
    if not text.startswith("<") and (labels := plain_list(text)):
        return Parsed(labels, status="ok")
    if (framed := plain_frame(text)) and (labels := plain_list(framed.answer)):
        return Parsed(labels, framed.reasoning, status="ok")
    text, stripped = tidy(text)
    sections = read_sections(text)
    stripped += sections.stripped
    if labels := plain_list(sections.answer) or plain_statement(sections.answer):
        status = status_of(True, sections.clean and not stripped)
        return Parsed(labels, sections.reasoning, sections.confidence, status=status, stripped=stripped)
    confidence, answer = read_confidence(sections.answer)
    fields = read_json(answer)
    if fields is not None:
        return from_json(fields, sections.reasoning, sections.confidence, stripped, sections.clean)
    choice, preference = read_choice(answer), read_preference(answer)
    said = read_list(answer, choice, preference) or read_statement(answer)
    reasoning = sections.reasoning or said.reasoning
    clean = sections.clean and said.clean and not stripped
    return Parsed(
        said.labels,
        reasoning,
        sections.confidence if sections.confidence is not None else confidence,
        choice,
        preference,
        None,
        status_of(bool(said.labels or choice or preference), clean),
        stripped + said.stripped,
    )


def from_json(
    fields: JsonAnswer, reasoning: str | None, confidence: float | None, stripped: list[str], clean: bool
) -> Parsed:
    return Parsed(
        fields.labels,
        fields.reasoning or reasoning,
        fields.confidence if fields.confidence is not None else confidence,
        fields.choice,
        fields.preference,
        fields.clues,
        status_of(
            bool(fields.labels or fields.choice or fields.preference or fields.clues),
            clean and fields.clean and not stripped,
        ),
        stripped + fields.stripped,
    )


def status_of(found: bool, clean: bool) -> Literal["ok", "recovered", "failed"]:
    if not found:
        return "failed"
    return "ok" if clean else "recovered"
