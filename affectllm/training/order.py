"""The order in which rows are learnt: data sets are mixed by weight, and a batch has rows of similar length.

The order of an epoch depends only on the seed and the epoch's number, so that a resumed run continues with the very
next batch, and every process of a distributed run has the same.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch.utils.data import Sampler

POOL = 64
"""Number of batches whose rows are sorted by length together: few enough to leave most of the order to chance."""


class Mix(NamedTuple):
    """How often the rows of several data sets are taken."""

    source_of_row: Sequence[int]
    weights: Sequence[float]
    """Shares of the samples, in any unit. With one data set they have no effect."""


class BatchOrder(Sampler[int]):
    """Row numbers, in batches of similar length. An epoch is as long as all data sets together.

    A data set of w weights among W gives w / W of an epoch, whatever its size: a small one is repeated,
    and in a large one each epoch continues where the last one ended, so that no row comes twice before all came once.
    """

    def __init__(
        self, lengths: Sequence[int], mix: Mix, batch: int, seed: int, grouped: bool = True, processes: int = 1
    ) -> None:
        self.lengths, self.mix, self.batch, self.seed, self.grouped = lengths, mix, batch, seed, grouped
        self.processes = processes
        self.epoch = 0
        self.rows = [
            [row for row, source in enumerate(mix.source_of_row) if source == wanted]
            for wanted in range(len(mix.weights))
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of every epoch, resumed or not."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed} {self.epoch}")
        taken = [row for source in range(len(self.rows)) for row in self.taken(source)]
        rng.shuffle(taken)
        return iter(self.in_groups(taken, rng) if self.grouped else taken)

    def taken(self, source: int) -> list[int]:
        """The rows of one data set that this epoch takes, from its own endless sequence of shuffles."""
        rows, count = self.rows[source], shares(len(self.lengths), self.mix.weights)[source]
        found: list[int] = []
        place = self.epoch * count
        while len(found) < count:
            turn, start = divmod(place, len(rows))
            shuffled = rows.copy()
            random.Random(f"{self.seed} {source} {turn}").shuffle(shuffled)
            found += shuffled[start : start + count - len(found)]
            place = (turn + 1) * len(rows)
        return found

    def in_groups(self, rows: list[int], rng: random.Random) -> list[int]:
        """Whole batches of similar length in random order, then the remaining rows, which do not fill a batch.

        Batches that processes take at the same time stay side by side, since the fastest waits for the slowest.
        """
        size = self.batch * self.processes
        whole = len(rows) // size * size
        groups: list[list[int]] = []
        for start in range(0, whole, POOL * size):
            pool = sorted(rows[start : min(start + POOL * size, whole)], key=lambda row: self.lengths[row])
            groups += [pool[i : i + size] for i in range(0, len(pool), size)]
        rng.shuffle(groups)
        rest = sorted(rows[whole:], key=lambda row: self.lengths[row])
        return [row for group in [*groups, rest] for row in group]


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """`total` split by weight into whole numbers. The largest remainders are rounded up.

    >>> shares(10, [2, 1])
    [7, 3]
    """
    exact = [total * weight / sum(weights) for weight in weights]
    found = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: found[i] - exact[i])
    for i in by_remainder[: total - sum(found)]:
        found[i] += 1
    return found


def padding_share(lengths: Sequence[int], batch: int) -> float:
    """Share of the tokens computed that are padding, when rows of these lengths are taken in this order.

    >>> padding_share([3, 1, 2, 2], 2)
    0.2
    """
    batches = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
    return 1 - sum(lengths) / sum(max(rows) * len(rows) for rows in batches)
