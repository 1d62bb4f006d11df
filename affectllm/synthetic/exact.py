"""Computes numbers that are the same on every CPU and with every numpy.

IEEE 754 fixes every digit of plus, minus, times, divide and rounding. It does not fix sine, tanh, logarithm and what is
made from them, such as normal numbers: the C library and numpy choose their code by the CPU, and the last digit
differs. Also, numpy's Generator may draw other numbers in a later version; its bit generators may not (NEP 19).
"""

import math
from random import Random
from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)
SINE = [(-1) ** n / math.factorial(2 * n + 1) for n in range(7)]
"""Taylor's series around 0, for x, x ** 3, x ** 5 ..."""


def sine(x: Number) -> Number:
    """sin(x), right to 1e-9.

    >>> round(sine(math.pi / 6), 8)
    0.5
    """
    turns = x * (1 / (2 * math.pi))
    turns = turns - np.rint(turns)
    # x is folded into the first quarter, where a short series is enough; the sign is restored at the end.
    z = 2 * math.pi * (0.25 - abs(abs(turns) - 0.25))
    square, series = z * z, SINE[-1]
    for term in SINE[-2::-1]:
        series = series * square + term
    return np.copysign(z * series, turns)


def saturate(x: Number) -> Number:
    """tanh(x) for x from -4 to 4, right to 2e-5: the first terms of its continued fraction.

    >>> round(saturate(1.0), 4)
    0.7616
    """
    square = x * x
    above = 135135 + square * (17325 + square * (378 + square))
    return x * above / (135135 + square * (62370 + square * (3150 + square * 28)))


def bell(rng: Random) -> float:
    """A number of mean 0 and variance 1, nearly normal and never beyond 6: the sum of twelve uniform ones."""
    return sum(rng.random() for _ in range(12)) - 6


def noise(seed: int, count: int) -> np.ndarray:
    """float32 (count,) of mean 0 and variance 1, nearly normal and never beyond 3.5: the sum of four random bytes."""
    words = np.random.PCG64(seed).random_raw((count + 1) // 2).astype("<u8")
    pieces = words.view(np.uint8).reshape(-1, 4)[:count].astype(np.float32)
    spread = np.float32(math.sqrt(4 * (256**2 - 1) / 12))
    return (pieces[:, 0] + pieces[:, 1] + pieces[:, 2] + pieces[:, 3] - 510) / spread
