"""Percentile bootstrap of the statistic that is reported, fast enough to be printed with every number.

Resampling clips only changes how often each clip counts, so every score here is a function of such counts. Nearly all
are functions of sums over clips: a mean, the wheel score (sums of P, of R and of clips counted per wheel), weighted F
(sums of a confusion table), CCC (sums of moments); then all draws are one matrix product (`drawn_sums`). Rankings
(AUROC, average precision) take the counts themselves. Efron & Tibshirani (1993), ch. 13.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""From sums of shape (draws, columns) to values of shape (draws,)."""
Drawn = Callable[[Values], Values]
"""From how often each clip counts, shape (draws, clips), to values of shape (draws,)."""

DRAWS = 10_000
# Small enough for the cache of one core.
BLOCK_CELLS = 100_000


class Interval(NamedTuple):
    low: float
    high: float


class Difference(NamedTuple):
    """Difference of two models on the same clips."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided p-value: twice the smaller share of draws on either side of zero, the observed draw included."""


def mean_of(sums: Values) -> Values:
    """The statistic of columns (value, 1): a mean."""
    return divide(sums[:, 0], sums[:, 1])


def divide(above: Values, below: Values) -> Values:
    """above / below, or nan if below is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def with_count(values: Sequence[float] | Values) -> Values:
    """Columns of a mean from one value per clip. nan leaves a clip out."""
    array = np.asarray(values, float)
    counted = ~np.isnan(array)
    return np.stack([np.where(counted, array, 0.0), counted.astype(float)], 1)


def drawn_sums(columns: Values, statistic: Statistic) -> Drawn:
    """A statistic of column sums as a function of how often each clip counts. `columns` has one row per clip."""
    return lambda counts: statistic(counts @ columns)


def drawn_mean(values: Sequence[float] | Values) -> Drawn:
    """The mean of one value per clip as a function of how often each clip counts. nan leaves a clip out."""
    return drawn_sums(with_count(values), mean_of)


def only(drawn: Drawn, kept: Sequence[int] | Values) -> Drawn:
    """A statistic of the clips at the places `kept` as a statistic of all clips."""
    places = np.asarray(kept, np.intp)
    return lambda counts: drawn(counts[:, places])


def value_of_sums(columns: Values, statistic: Statistic) -> float:
    """A statistic of column sums on every clip once."""
    return float(statistic(columns.sum(0)[None])[0])


def value_of(drawn: Drawn, n: int) -> float:
    """The statistic on every clip once."""
    return float(drawn(np.ones((1, n)))[0])


def interval(
    drawn: Drawn,
    n: int,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic over resampled clips, or resampled groups of clips (dialogues, speakers).

    A draw without a value (0/0) is left out. If no draw has a value, both ends are nan.
    """
    return percentiles(np.concatenate([drawn(counts) for counts in resample(n, groups, draws, seed)]), level)


def difference(
    first: Drawn,
    second: Drawn,
    n: int,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Paired difference `first - second` of two models on the same n clips: both are resampled on the same clips."""
    observed = value_of(first, n) - value_of(second, n)
    drawn = np.concatenate([first(counts) - second(counts) for counts in resample(n, groups, draws, seed)])
    low, high = percentiles(drawn, level)
    one_side = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return Difference(observed, low, high, min(1.0, 2 * (int(one_side) + 1) / (draws + 1)))


def bootstrap(
    columns: Values,
    statistic: Statistic = mean_of,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`interval` of a statistic of column sums. `columns` has one row per clip."""
    return interval(drawn_sums(columns, statistic), len(columns), groups, draws, level, seed)


def compare(
    first: Values,
    second: Values,
    statistic: Statistic = mean_of,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """`difference` of a statistic of column sums. Both have one row per clip."""
    if first.shape != second.shape:
        raise ValueError(f"Paired models need the same clips: {first.shape} and {second.shape}")
    both = drawn_sums(first, statistic), drawn_sums(second, statistic)
    return difference(*both, len(first), groups, draws, level, seed)


def percentiles(values: Values, level: float) -> Interval:
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def draw_sums(columns: Values, groups: Sequence[str] | None, draws: int, seed: int) -> Values:
    """Column sums of resampled rows, shape (draws, columns)."""
    return np.concatenate([counts @ columns for counts in resample(len(columns), groups, draws, seed)])


def resample(n: int, groups: Sequence[str] | None, draws: int, seed: int) -> Iterator[Values]:
    """How often each of n clips counts, in blocks of shape (draws, n) that together have `draws` rows.

    With `groups`, whole dialogues or speakers are drawn, since their clips resemble each other.
    """
    if n == 0:
        yield np.zeros((draws, 0))
        return
    numbers = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = n if numbers is None else int(np.max(numbers)) + 1
    random = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // n)
    for start in range(0, draws, block):
        counts = count_draws(random, min(block, draws - start), units)
        yield counts if numbers is None else counts[:, numbers]


def count_draws(random: np.random.Generator, draws: int, n: int) -> Values:
    """How often each of n rows enters each draw, shape (draws, n)."""
    picked = random.integers(0, n, (draws, n), dtype=np.uint32)
    picked += (np.arange(draws, dtype=np.uint32) * np.uint32(n))[:, None]
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(float)
