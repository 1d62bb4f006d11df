"""Tricks that a policy would find, next to the honest answer: what does a composition of rewards pay for each?

A reward can be hacked where a trick is paid as much as the honest answer. `affectllm rewards probe` shows it for any
preset or file; the default preset must rank the honest answer above every trick, for gold sets of one to nine words.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from affectllm.records import Clues, Target

# Frequent words of open-vocabulary label sets, from which gold sets are drawn when none are given.
WORDS = (
    "happy", "sad", "angry", "fearful", "surprised", "disgusted", "worried", "relieved", "curious", "proud", "ashamed",
    "grateful", "lonely", "jealous", "hopeful", "bored", "confused", "calm", "excited", "serious",
)  # fmt: skip
CHINESE = {
    "happy": "高兴", "sad": "悲伤", "angry": "愤怒", "fearful": "害怕", "surprised": "惊讶", "disgusted": "厌恶",
    "worried": "担忧", "curious": "好奇", "proud": "自豪", "lonely": "孤独", "bored": "无聊", "calm": "平静",
    "excited": "激动",
}  # fmt: skip
JUNK = ("table", "blorp", "seven", "quickly", "Paris")
CLUES = {
    "visual": ("a wide smile", "lowered brows", "drooping mouth corners", "wide eyes", "a wrinkled nose"),
    "audio": ("bright and lively", "loud and harsh", "slow and quiet", "high and trembling", "low and drawn out"),
}


class Probe(NamedTuple):
    gold: list[str]
    kind: str
    completion: str
    reward: float
    parts: dict[str, float | None]
    """Value of each term before its weight. None if the term does not apply."""


def gold_sets(seed: int = 7, sets: int = 2) -> list[Target]:
    """Targets with one to nine labels and one clue per modality."""
    rng = Random(seed)
    return [
        Target(
            labels=rng.sample(WORDS, size),
            clues=Clues(visual=[rng.choice(CLUES["visual"])], audio=[rng.choice(CLUES["audio"])]),
        )
        for size in range(1, 10)
        for _ in range(sets)
    ]


def answer(think: str, labels: Sequence[str]) -> str:
    return f"<think>{think}</think>\n<answer>{', '.join(labels)}</answer>"


def completions(gold: Target) -> dict[str, str]:
    """The honest answer, a variant that must be paid like it, and tricks that must not; by name."""
    clues = gold.clues or Clues()
    think = describe(clues.visual, clues.audio) or "The face and the voice show it."
    labels = gold.labels
    others = [word for word in WORDS if word not in labels]
    constant = [word for word in ("happy", "angry", "worried", "sad") if labels != [word]][:3]
    honest = answer(think, labels)
    lookalikes = str.maketrans("aeo", "\u0430\u0435\u043e")  # Cyrillic letters
    found = {
        "honest": honest,
        "honest: another order": answer(think, labels[::-1]),
        "honest: Chinese words": answer(think, [CHINESE.get(label, label) for label in labels]),
        "honest: capitals": answer(think, [label.capitalize() for label in labels]),
        "empty": "",
        "constant of three words": answer(think, constant),
        "every word": answer(think, WORDS),
        "gold and five junk words": answer(think, [*labels, *JUNK]),
        "unknown words": answer(think, JUNK[: len(labels)]),
        "labels repeated": answer(think, [*labels, *labels]),
        "untagged list": ", ".join(labels),
        "answer inside think": f"<think>{think} <answer>{', '.join(labels)}</answer></think>",
        "two answers": honest + f"\n<answer>{', '.join(others[:3])}</answer>",
        "two think blocks": f"<think>{think}</think>" + honest,
        "prompt echo": "Which emotions does the person show? " + honest,
        "zero-width characters": answer(think, ["\u200b".join(label) for label in labels]),
        "homoglyphs": answer(think, [label.translate(lookalikes) + "\u200b" for label in labels]),
        "very long think": answer(think + " The person shows it." * 120, labels),
        "sure and wrong": answer(think, [*others[: len(labels)], "confidence: 1.0"]),
        "denied": answer(think, [f"not {label}" for label in labels]),
        "no reasoning": answer("x", labels),
        "another clip": answer("The face shows nothing.", others[: len(labels)]),
    }
    if clues.visual or clues.audio:
        # Without annotated clues nobody can tell that these were pasted.
        found["every clue pasted"] = answer(describe(CLUES["visual"], CLUES["audio"]), labels)
    return found


def describe(visual: Sequence[str], audio: Sequence[str]) -> str:
    return " ".join([*(f"The face shows {clue}." for clue in visual), *(f"The voice is {clue}." for clue in audio)])


def probe(functions: Sequence[Callable[..., Any]], targets: Sequence[Target]) -> list[Probe]:
    """The weighted sum of the reward functions for every completion of every target."""
    rows = []
    for gold in targets:
        for kind, text in completions(gold).items():
            parts = {f.__name__: f(completions=[text], target=[gold])[0] for f in functions}
            weights = {f.__name__: getattr(f, "weight", 1.0) for f in functions}
            total = sum(weights[name] * value for name, value in parts.items() if value is not None)
            rows.append(Probe(gold.labels, kind, text, total, parts))
    return rows


def is_honest(kind: str) -> bool:
    return kind.startswith("honest")


def beaten(rows: Sequence[Probe]) -> list[Probe]:
    """Tricks that are paid as much as the honest answer to the same gold, or more."""
    honest = {tuple(row.gold): row.reward for row in rows if row.kind == "honest"}
    return [row for row in rows if not is_honest(row.kind) and row.reward >= honest[tuple(row.gold)] - 1e-9]
