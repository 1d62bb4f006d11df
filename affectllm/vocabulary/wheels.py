"""What every vocabulary offers to the scores: a label in, its group on each wheel out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

Groups = tuple[str | None, ...]
"""One group per column of the wheels; None where the label is not on that wheel."""


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
    """First 16 hexadecimal digits of the SHA-256 of the vocabulary data; printed beside every number."""
    find: Callable[[str], Groups]
    """Groups of a lower-cased, stripped label."""

    def groups(self, label: str) -> Groups:
        """Group of a label in each of `columns`."""
        return self.find(label.lower().strip())

    def at(self, level: str) -> tuple[int, ...]:
        """Indices of the columns of one level ('level1') or of one column by name ('M1', 'wheel2/level1')."""
        return self._indices[level]

    @cached_property
    def _indices(self) -> dict[str, tuple[int, ...]]:
        indices: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(self.columns)}
        for level in {name.partition("/")[2] for name in self.columns} - {""}:
            indices[level] = tuple(i for i, name in enumerate(self.columns) if name.endswith(f"/{level}"))
        return indices
