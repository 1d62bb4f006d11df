"""What every vocabulary gives to the scores: a label in, its group on each wheel out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import itemgetter

Groups = tuple[str | None, ...]
"""One group per column of the wheels; None where the label is not on that wheel."""
Sets = tuple[set[str | None], ...]
"""The groups named on each wheel; None is never among them."""


@dataclass(frozen=True)
class Wheels:
    """Emotion wheels of one protocol, and which data they were made from.

    A MERTools vocabulary gives None for words it does not know, so the official rule drops them. Our own vocabulary
    never gives None: an unknown word is a group of its own, so the same scoring code makes it cost precision.
    """

    protocol: str
    columns: tuple[str, ...]
    """What is looked up, e.g. 'M1', 'wheel1/level1', 'wheel1/level2'."""
    hash: str
    """First 16 hexadecimal digits of the SHA-256 of the vocabulary data; printed next to every number."""
    find: Callable[[str], Groups]
    """Groups of a lower-cased, stripped label."""
    level: str = "level1"
    """The ring that rewards use."""

    def groups(self, label: str) -> Groups:
        """Group of a label in each of `columns`."""
        return self.find(label.lower().strip())

    @cached_property
    def sets(self) -> Callable[[frozenset[str], str], Sets]:
        """The groups that labels are in, one set per wheel of the level.

        Words that a wheel does not know are left out: a published quirk. Our own vocabulary knows every word. Results
        are remembered: all completions of a clip are compared with the same gold, and often say the same.
        """
        return lru_cache(maxsize=8192)(self._sets)

    def _sets(self, labels: frozenset[str], level: str) -> Sets:
        row = self._row
        found = tuple(map(set, zip(*[row(label, level) for label in labels], strict=True)))
        for groups in found:
            groups.discard(None)
        return found or tuple(set() for _ in self.at(level))

    @cached_property
    def _row(self) -> Callable[[str, str], Groups]:
        """A label's groups on the wheels of one level. Results are remembered: models say few words often."""
        return lru_cache(maxsize=65536)(lambda label, level: self._pick[level](self.groups(label)))

    def at(self, level: str) -> tuple[int, ...]:
        """Indices of the columns of one level ('level1') or of one column by name ('M1', 'wheel2/level1')."""
        return self._indices[level]

    @cached_property
    def _pick(self) -> dict[str, Callable[[Groups], Groups]]:
        return {level: picker(columns) for level, columns in self._indices.items()}

    @cached_property
    def _indices(self) -> dict[str, tuple[int, ...]]:
        indices: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(self.columns)}
        for level in {name.partition("/")[2] for name in self.columns} - {""}:
            indices[level] = tuple(i for i, name in enumerate(self.columns) if name.endswith(f"/{level}"))
        return indices


def picker(columns: tuple[int, ...]) -> Callable[[Groups], Groups]:
    """A function that takes the columns of one level out of a label's groups."""
    if len(columns) == 1:
        return lambda groups: (groups[columns[0]],)
    return itemgetter(*columns)
