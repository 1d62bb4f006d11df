"""Dialogues as data sets number them: turns by number, what came before, numbers left out, times of day."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from affectllm.records import Turn

TIME = re.compile(r"(\d+):(\d{2}):(\d{2})[,.](\d{1,3})")
LONGEST_S, SHORTEST_S = 30.0, 0.3


class Place(NamedTuple):
    """Where an utterance is: its dialogue, and its number there.

    >>> str(Place("dia0", 3))
    'dia0_utt3'
    """

    dialogue: str
    number: int

    def __str__(self) -> str:
        return f"{self.dialogue}_utt{self.number}"


def by_dialogue(turns: Iterable[tuple[Place, Turn]]) -> dict[str, dict[int, Turn]]:
    """Every dialogue's turns by their number, in the order of the numbers."""
    found: dict[str, dict[int, Turn]] = defaultdict(dict)
    for place, turn in turns:
        found[place.dialogue][place.number] = turn
    return {dialogue: dict(sorted(numbered.items())) for dialogue, numbered in found.items()}


def earlier(dialogues: Mapping[str, Mapping[int, Turn]], place: Place, window: int) -> list[Turn]:
    """The last `window` turns with a smaller number, never the turn itself or a later one.

    `dialogues` as `by_dialogue` gives them, in the order of the numbers.
    """
    before = [turn for number, turn in dialogues[place.dialogue].items() if number < place.number]
    return before[-window:] if window else []


def absent(dialogues: Mapping[str, Mapping[int, Turn]], first: int) -> list[Place]:
    """Numbers that a dialogue leaves out between `first` and its last turn."""
    return [
        Place(dialogue, number)
        for dialogue, turns in sorted(dialogues.items(), key=lambda item: in_order(item[0]))
        for number in range(first, max(turns))
        if number not in turns
    ]


def in_order(name: str) -> list[tuple[int, str]]:
    """Sorts 'dia2' before 'dia10'.

    >>> sorted(["dia10", "dia2"], key=in_order)
    ['dia2', 'dia10']
    """
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def seconds(time: str) -> float | None:
    """`00:20:57,256`, `0:20:57,99` and `00:20:57.256` in seconds; the last field is milliseconds."""
    found = TIME.fullmatch(time.strip())
    if found is None:
        return None
    hours, minutes, whole, milliseconds = map(int, found.groups())
    return hours * 3600 + minutes * 60 + whole + milliseconds / 1000


def time_defects(start: str, end: str) -> list[str]:
    """What is odd about the times of an utterance, by name."""
    start_s, end_s = seconds(start), seconds(end)
    if start_s is None or end_s is None:
        return ["time-unreadable"]
    if end_s <= start_s:
        return ["ends-before-it-starts"]
    if end_s - start_s > LONGEST_S:
        return [f"longer-than-{LONGEST_S:.0f}-s"]
    return [f"shorter-than-{SHORTEST_S}-s"] if end_s - start_s < SHORTEST_S else []
