"""Reward terms: each reads one completion and its gold, in a stated range, and calls the evaluator's own score.

A term gives None if it does not apply (gold that no wheel maps, no clues annotated): TRL then leaves it out
instead of punishing a good answer for a gap in the annotation.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache

from affectllm import answers
from affectllm.answers import THINK_END, Parsed, read_number
from affectllm.answers.lists import plain_list, split_labels
from affectllm.answers.structure import plain_frame
from affectllm.records import Target
from affectllm.scores.families import clues
from affectllm.scores.families import wheels as wheel_scores
from affectllm.vocabulary import Wheels, lexicon

Term = Callable[..., float | None]

TERMS: dict[str, Term] = {}
"""Every term by its name."""
MEASURED: dict[str, str] = {}
"""Terms that read a number about a completion that only the trainer knows, and the column that holds it."""


def term(measured: str | None = None) -> Callable[[Term], Term]:
    """Make a function a reward term under its own name. `measured` is a column of the trainer that it reads as well."""

    def add(function: Term) -> Term:
        TERMS[function.__name__] = function
        if measured:
            MEASURED[function.__name__] = measured
        return function

    return add


SHORT_THINK, LONG_THINK = 3, 160
"""Words of reasoning that cost nothing."""
LONG_ANSWER = 24
"""Words of an answer that cost nothing: nine labels of two words with room to spare."""
# Invisible characters (soft hyphen, zero-width and direction marks), Greek and Cyrillic letters.
ODD = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u0370-\u052f]")
CHINESE = re.compile("[\u4e00-\u9fff]")
TAG = re.compile(r"</?(?:think|answer)>")
STEP = 1024
"""Number of completions that are remembered while all terms read them. More would not fit the processor's cache."""


@lru_cache(maxsize=STEP)
def read(text: str) -> Parsed:
    """The one parser; several terms read the same completion."""
    return answers.parse(text)


@lru_cache(maxsize=STEP)
def reasoning_labels(text: str) -> tuple[str, ...]:
    """Emotion words named in the think text."""
    reasoning = read(text).reasoning
    return tuple(answers.parse(reasoning).labels) if reasoning else ()


def framed(text: str) -> str | None:
    """The answer block's text when the whole completion is one think and one answer block, each tag once; else None."""
    if (frame := plain_frame(text)) and frame.reasoning and frame.answer:
        return frame.answer
    text = text.strip()
    if not (text.startswith("<think>") and text.endswith("</answer>")) or text.count("<answer>") != 1:
        return None
    think, _, answer = text.removeprefix("<think>").removesuffix("</answer>").partition("<answer>")
    think = think.rstrip()
    if not think.endswith(THINK_END) or think == THINK_END or not answer:
        return None
    return None if TAG.search(think.removesuffix(THINK_END) + answer) else answer


@term()
def format(text: str, gold: Target, wheels: Wheels) -> float:
    """1 when the whole completion is one think block and one answer block, each tag exactly once; else 0."""
    return float(framed(text) is not None)


@term()
def wheel_f1(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Wheel-grouped F of labels said against gold, mean over the wheels that map gold, in 0..1.

    The per-clip surrogate of the corpus score, whose harmonic mean of means has no per-clip form.
    """
    value = wheel_scores.f1(read(text).labels, gold.labels, wheels, wheels.level)
    return None if math.isnan(value) else value


@term()
def hit(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Recall of the gold groups, in 0..1; naming everything is never wrong here, so use it with a label count."""
    recalls = [
        r for _, r in wheel_scores.overlap(read(text).labels, gold.labels, wheels, wheels.level) if not math.isnan(r)
    ]
    return sum(recalls) / len(recalls) if recalls else None


@term()
def strict_wheel_f1(text: str, gold: Target, wheels: Wheels) -> float | None:
    """`wheel_f1` under our strict protocol, whatever the composition's own protocol is."""
    return wheel_f1(text, gold, replace(lexicon.load_wheels(), level=wheels.level))


@term()
def unknown_not_wrong(text: str, gold: Target, wheels: Wheels) -> float | None:
    """`wheel_f1` over the labels said that hit gold or contradict it, in 0..1.

    A label that misses gold's groups on most wheels but has the valence of a gold label may be true and merely
    unlisted: it is neither paid nor punished. A label of another valence, or of none known, costs precision.
    """
    signs = {lexicon.valence(label) for label in gold.labels} - {None}
    kept = [label for label in read(text).labels if lexicon.valence(label) not in signs or is_gold(label, gold, wheels)]
    value = wheel_scores.f1(kept, gold.labels, wheels, wheels.level)
    return None if math.isnan(value) else value


def is_gold(label: str, gold: Target, wheels: Wheels) -> bool:
    """Whether a label shares gold's groups on most wheels."""
    hits = [p for p, r in wheel_scores.overlap([label], gold.labels, wheels, wheels.level) if not math.isnan(r)]
    return 2 * sum(hits) > len(hits)


@term()
def first(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Reciprocal rank, among the labels said, of the most relevant gold label (its first), mean over wheels, 0..1."""
    if not gold.labels:
        return None
    said, ranks = [wheels.groups(label) for label in read(text).labels], []
    for column in wheels.at(wheels.level):
        wanted = wheels.groups(gold.labels[0])[column]
        if wanted is not None:
            ranks.append(next((1 / i for i, groups in enumerate(said, 1) if groups[column] == wanted), 0.0))
    return sum(ranks) / len(ranks) if ranks else None


@term()
def basic(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 when the one label said is gold's label of the closed set, in any form of the word; else 0."""
    if gold.basic is None:
        return None
    said = read(text).labels
    return float(len(said) == 1 and same_word(said[0], gold.basic))


def same_word(a: str, b: str) -> bool:
    """Whether two words name one concept: 'anger' and 'angry' do."""
    return a.lower() == b.lower() or (lexicon.knows(a) and lexicon.groups(a) == lexicon.groups(b))


@term()
def choice(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 when the letter chosen is gold's (`basic` holds the letter of a multiple-choice question), else 0."""
    return None if gold.basic is None else float(read(text).choice == gold.basic.upper())


@term()
def sentiment(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 when the one word said is gold's sentiment, else 0."""
    return None if gold.sentiment is None else float(read(text).labels == [gold.sentiment])


@term()
def valence(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 - |said - gold| / 2 for valences in -1..1, in 0..1; 0 when no number in that range was said."""
    if gold.valence is None:
        return None
    value = read_number(text)
    return 1 - abs(value - gold.valence) / 2 if value is not None and abs(value) <= 1 else 0.0


@term()
def preference(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 when the description preferred is gold's, else 0."""
    return None if gold.preference is None else float(read(text).preference == gold.preference)


@term()
def confidence(text: str, gold: Target, wheels: Wheels) -> float | None:
    """1 - (confidence said - F)^2, in 0..1 (Brier); 0 without a confidence, so that hiding it is never better."""
    value, said = wheel_f1(text, gold, wheels), read(text).confidence
    if value is None:
        return None
    return 0.0 if said is None else 1 - (said - value) ** 2


@term()
def repetition(text: str, gold: Target, wheels: Wheels) -> float:
    """1 less the share of repeated three-word sequences, by TRL's own penalty, with words in the place of token ids."""
    return 1.0 + float(repetition_penalty()(completion_ids=[text.lower().split()])[0])


@cache
def repetition_penalty() -> Callable[..., list[float]]:
    from trl.rewards import get_repetition_penalty_reward

    return get_repetition_penalty_reward(ngram_size=3, max_penalty=-1.0)


@term()
def dual(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Wheel-grouped F of the labels named in the reasoning against gold, in 0..1 (AffectGPT-R1's dual reward)."""
    value = wheel_scores.f1(reasoning_labels(text), gold.labels, wheels, wheels.level)
    return None if math.isnan(value) else value


@term()
def alignment(text: str, gold: Target, wheels: Wheels) -> float:
    """Jaccard overlap of the groups named in the reasoning and in the answer, mean over wheels, in 0..1."""
    thought, said = reasoning_labels(text), read(text).labels
    if not thought or not said:
        return 0.0
    shares = []
    for column in wheels.at(wheels.level):
        a = {wheels.groups(label)[column] for label in thought} - {None}
        b = {wheels.groups(label)[column] for label in said} - {None}
        shares.append(len(a & b) / len(a | b) if a | b else 0.0)
    return sum(shares) / len(shares)


@term()
def clue_f1(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Overlap F of the reasoning with the annotated clues, in 0..1; pasting every clue costs precision."""
    if gold.clues is None or not (gold.clues.visual or gold.clues.audio or gold.clues.text):
        return None
    return clues.overlap(read(text).reasoning or "", gold.clues).f1


@term()
def clue_coverage(text: str, gold: Target, wheels: Wheels) -> float | None:
    """Annotated clues in the reasoning, mean over the annotated modalities, in 0..1; more statements cost as in F.

    The recall is the one that `eval score` reports as `clue_face` and `clue_voice`.
    """
    if gold.clues is None or not (gold.clues.visual or gold.clues.audio or gold.clues.text):
        return None
    return clues.coverage(read(text).reasoning or "", gold.clues)


@term()
def label_count_1(text: str, gold: Target, wheels: Wheels) -> float:
    """P1 = 1 / (n - m + 1) for n labels said and m in gold; 1 while n <= m (AffectGPT-R1, length penalty)."""
    n, m = len(read(text).labels), max(1, len(gold.labels))
    return 1.0 if n <= m else 1 / (n - m + 1)


@term()
def label_count_2(text: str, gold: Target, wheels: Wheels) -> float:
    """P2 = m / n; 1 while n <= m."""
    n, m = len(read(text).labels), max(1, len(gold.labels))
    return 1.0 if n <= m else m / n


@term()
def label_count_3(text: str, gold: Target, wheels: Wheels) -> float:
    """P3 = ln m / ln n, and ln 2 / ln (n + 1) for m = 1; 1 while n <= m."""
    n, m = len(read(text).labels), max(1, len(gold.labels))
    if n <= m:
        return 1.0
    return math.log(2) / math.log(n + 1) if m == 1 else math.log(m) / math.log(n)


@term()
def once(text: str, gold: Target, wheels: Wheels) -> float:
    """1 when no label of the answer is said twice, else 0: the scores ignore repetition, so it would be free."""
    answer = framed(text)
    if answer is None:
        answer = text
    # `plain_list` drops repeated items only: if no item is missing, none is repeated.
    if (labels := plain_list(answer)) and len(labels) == answer.count(",") + 1:
        return 1.0
    items = split_labels(answer)
    return float(len(items) == len(set(items)))


@term()
def plain(text: str, gold: Target, wheels: Wheels) -> float:
    """1 when the text is made of ordinary characters, 0 with invisible ones or letters that only look Latin.

    The parser tolerates both, as it should for people; a policy must not be paid for using that.
    """
    return float(text.isascii() or ODD.search(text) is None)


@term()
def think_length(text: str, gold: Target, wheels: Wheels) -> float:
    """1 for 3 to 160 words of reasoning, falling linearly to 0 at 320; 0 for fewer, which is no reasoning.

    The shape is that of DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), as a factor.
    """
    return length_factor(read(text).reasoning or "")


@lru_cache(maxsize=STEP)
def length_factor(reasoning: str) -> float:
    # A text of few characters has few words, and most texts do: counting would take longer than all other factors.
    if reasoning.isascii() and len(reasoning) < 2 * LONG_THINK:
        return float(len(reasoning.split(None, SHORT_THINK)) >= SHORT_THINK)
    words = think_words(reasoning)
    return 0.0 if words < SHORT_THINK else min(1.0, max(0.0, 2 - words / LONG_THINK))


@term()
def answer_length(text: str, gold: Target, wheels: Wheels) -> float:
    """1 for up to 24 words in the answer block (of the whole text without one), falling linearly to 0 at 48."""
    answer = framed(text)
    words = len((text if answer is None else answer).split())
    return min(1.0, max(0.0, 2 - words / LONG_ANSWER))


def think_words(reasoning: str) -> int:
    """Words of the reasoning. Chinese is written without spaces; two characters make about a word."""
    return len(reasoning.split()) + len(CHINESE.findall(reasoning)) // 2


@term()
def parsed(text: str, gold: Target, wheels: Wheels) -> float:
    """1 when the answer follows its mode cleanly, 0 when it had to be recovered or could not be read: a gate."""
    return float(read(text).status == "ok")


@term("influence")
def modality(text: str, gold: Target, wheels: Wheels, influence: float | None = None) -> float | None:
    """1 - exp(-nats) of likelihood that the answer loses a token without the decisive modality, in 0..1.

    The trainer measures `influence` (training/grpo/influence.py): an answer that is as likely without the face (or the
    voice, or the clip) that decides earns 0. None if nothing was measured.
    """
    return None if influence is None else 1 - math.exp(-max(0.0, influence))


@term("completion_ids")
def overlong(text: str, gold: Target, wheels: Wheels, punishment: float | None = None) -> float | None:
    """1 up to the composition's `overlong.longest - overlong.soft` tokens, falling to 0 at `longest` and beyond.

    DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13) by TRL's own helper, as a share.
    """
    return None if punishment is None else 1 + punishment
