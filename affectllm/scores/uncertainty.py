"""Percentile bootstrap of the statistic that is reported, fast enough to stand beside every number.

Nearly every score is a function of sums over clips: a mean, the wheel score (sums of P, of R and of clips counted per
wheel), weighted F (sums of a confusion table), CCC (sums of moments). Resampling clips then only changes how often each
clip's row enters the sums, so all draws are one matrix product. Efron & Tibshirani (1993), ch. 13.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""From sums of shape (draws, columns) to values of shape (draws,)."""

DRAWS = 10_000
# Small enough for the cache of one core.
BLOCK_CELLS = 100_000


class Interval(NamedTuple):
    low: float
    high: float


class Difference(NamedTuple):
    """Of two models on the same clips."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided: twice the smaller share of draws on either side of zero, counting the draw that was observed."""


def mean_of(sums: Values) -> Values:
    """The statistic of columns (value, 1): a mean."""
    return divide(sums[:, 0], sums[:, 1])


def divide(above: Values, below: Values) -> Values:
    """above / below, nan where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def with_count(values: Sequence[float] | Values) -> Values:
    """Columns of a mean from one value a clip; nan leaves a clip out."""
    array = np.asarray(values, float)
    counted = ~np.isnan(array)
    return np.stack([np.where(counted, array, 0.0), counted.astype(float)], 1)


def bootstrap(
    columns: Values,
    statistic: Statistic = mean_of,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of `statistic` over resampled clips, or resampled groups of clips (dialogues, speakers).

    `columns` has one row a clip. A draw without a value (0/0) is left out; without any draw both ends are nan.
    """
    return percentiles(statistic(draw_sums(columns, groups, draws, seed)), level)


def compare(
    first: Values,
    second: Values,
    statistic: Statistic = mean_of,
    groups: Sequence[str] | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Paired difference `first - second`: both models are resampled on the same clips."""
    if first.shape != second.shape:
        raise ValueError(f"Paired models need the same clips: {first.shape} and {second.shape}")
    width = first.shape[1]
    sums = draw_sums(np.concatenate([first, second], 1), groups, draws, seed)
    differences = statistic(sums[:, :width]) - statistic(sums[:, width:])
    observed = float((statistic(first.sum(0)[None]) - statistic(second.sum(0)[None]))[0])
    low, high = percentiles(differences, level)
    one_side = min((differences <= 0).sum(), (differences >= 0).sum())
    return Difference(observed, low, high, min(1.0, 2 * (int(one_side) + 1) / (draws + 1)))


def percentiles(values: Values, level: float) -> Interval:
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def draw_sums(columns: Values, groups: Sequence[str] | None, draws: int, seed: int) -> Values:
    """Column sums of resampled rows, shape (draws, columns)."""
    rows = np.asarray(columns, float) if groups is None else sum_groups(columns, groups)
    n = len(rows)
    if n == 0:
        return np.zeros((draws, rows.shape[1]))
    random = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // n)
    parts = [count_draws(random, min(block, draws - i), n) @ rows for i in range(0, draws, block)]
    return np.concatenate(parts)


def count_draws(random: np.random.Generator, draws: int, n: int) -> Values:
    """How often each of n rows enters each draw, shape (draws, n)."""
    picked = random.integers(0, n, (draws, n), dtype=np.uint32)
    picked += (np.arange(draws, dtype=np.uint32) * np.uint32(n))[:, None]
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(float)


def sum_groups(columns: Values, groups: Sequence[str]) -> Values:
    """One row per group: whole dialogues or speakers are drawn, since their clips resemble each other."""
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    table = np.zeros((int(numbers.max(initial=-1)) + 1, columns.shape[1]))
    np.add.at(table, numbers, columns)
    return table
