"""Elementary functions and random numbers in the bodies of backends/compiled/vector.py, accurate to one or two ulp."""

from __future__ import annotations

import math
from typing import Any

from haarflow.backends.kernels.threefry import PARITY, ROTATIONS

Number = Any  # simd.Lanes
Words = Any  # simd.Words
LN2 = (0.693147180369123816490, 1.90821492927058770002e-10)  # ln 2 in two parts, the first short: k times it is exact
HALVINGS = 5  # of the argument of 1 - e^{-x}


def uniforms(key: tuple[Words, Words], counters: list[Words], purpose: int) -> list[Number]:
    """The numbers in (0, 1) that `core.random` makes of an even number of counters, 20 rounds of Threefry-2x32.

    Two counters share a register, and all of them pass a round before the next begins: each round depends on the one
    before, and the work on the other counters fills the waiting time.
    """
    key0, key1 = (word.beside(word) for word in key)
    schedule = (key0, key1, key0 ^ key1 ^ PARITY)
    pairs = [(a.beside(b) + key0, key1 + purpose) for a, b in zip(counters[::2], counters[1::2], strict=True)]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            pairs = [(x0 + x1, x1) for x0, x1 in pairs]
            pairs = [(x0, x1.rotated(rotation) ^ x0) for x0, x1 in pairs]
        first, second = schedule[(group + 1) % 3], schedule[(group + 2) % 3] + (group + 1)
        pairs = [(x0 + first, x1 + second) for x0, x1 in pairs]
    return [high.unit(low) for x0, x1 in pairs for high, low in zip(x0.halves(), x1.halves(), strict=True)]


def logarithm(x: Number) -> Number:
    """ln x = k ln 2 + ln m, 2/3 <= m < 4/3, ln m = 2 artanh s with s = (m - 1) / (m + 1), |s| <= 1/5: the series of artanh.

    Twelve terms leave 0.2^25 / 25 = 1e-19. 1 - x is exact for x close to 1, so that the relative error stays small there.
    """
    half = x.fraction().below(4.0 / 3.0, 1.0, 0.5)
    k, m = x.exponent() + (2.0 - 2.0 * half), x.fraction() * half
    s = (m - 1.0) / (m + 1.0)
    square, series = s * s, 0.0
    for n in range(23, 1, -2):
        series = square * (1.0 / n + series)
    return k * LN2[0] + (2.0 * (s + s * series) + k * LN2[1])


def logarithm_beside_one(y: Number) -> Number:
    """ln(1 + y), y > -1: the logarithm of the rounded sum, corrected by the rounding error, which is known exactly near 1."""
    x = 1.0 + y
    return logarithm(x) + (y - (x - 1.0)) / x


def one_minus_exponential(x: Number) -> Number:
    """1 - e^{-x} for 0 <= x <= 4: Taylor's series at x / 2^5, then 1 - (1 - f)^2 = f (2 - f), accurate for small x."""
    x, series = x * 0.5**HALVINGS, 0.0
    for n in range(11, 1, -1):
        series = x * ((-1.0) ** (n + 1) / math.factorial(n) + series)
    f = x + x * series
    for _ in range(HALVINGS):
        f = f * (2.0 - f)
    return f


def sine_and_cosine_of_turns(v: Number) -> tuple[Number, Number]:
    """sin 2 pi v and cos 2 pi v: subtract the nearest quarter turn, then Taylor's series at no more than pi/4."""
    quarter = (4.0 * v).rounded()
    x = (2.0 * math.pi) * (v - 0.25 * quarter)
    square, sine, cosine = x * x, 0.0, 0.0
    for n in range(19, 2, -2):
        sine = square * ((-1.0) ** (n // 2) / math.factorial(n) + sine)
        cosine = square * ((-1.0) ** (n // 2) / math.factorial(n - 1) + cosine)
    sine, cosine = x + x * sine, 1.0 + cosine
    odd = quarter - 2.0 * (0.5 * quarter).floor()
    turned = (odd.below(0.5, sine, cosine), odd.below(0.5, cosine, sine))
    signs = (_sign(quarter), _sign(quarter + 1.0))
    return turned[0] * signs[0], turned[1] * signs[1]


def _sign(quarter: Number) -> Number:
    """1 for 0 and 1 quarter turns, -1 for 2 and 3, and so on."""
    return 1.0 - 2.0 * (0.5 * quarter - 2.0 * (0.25 * quarter).floor()).floor()
