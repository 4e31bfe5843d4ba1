"""Normal numbers on the host in vector registers, words to Box-Muller: `core.random.normal` to rounding, sooner.

NumPy makes five passes over memory for the words and one each for logarithm, root, sine and cosine; here a number never
leaves its register. Needs the compiled kernels of backends/simd.py and declines without.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy

from haarflow.backends import simd
from haarflow.backends.host_words import PARITY, ROTATIONS

Number = Any  # simd.Lanes
CHUNK = 256  # pairs at a time
LN2 = (0.693147180369123816490, 1.90821492927058770002e-10)  # ln 2 in two parts, the first short: k times it is exact


def normal(key: numpy.ndarray, count: int, purpose: int) -> numpy.ndarray | None:
    """Return `count` standard normal float64 numbers for each key `(*batch, 2)`, or None without compiled kernels.

    >>> found = normal(numpy.zeros(2, dtype=numpy.int32), 3, 3)
    >>> found is None or found.shape
    (3,)
    """
    if not simd.is_present():
        return None
    from haarflow.backends.host_normals_loop import fill

    keys = numpy.ascontiguousarray(key).reshape(-1, 2)
    found = numpy.empty((len(keys), count))
    fill(keys, found, CHUNK, purpose, _compiled().address)
    return found.reshape(*key.shape[:-1], count)


@cache
def _compiled() -> simd.Code:
    return simd.compiled(body, rows=3, stride=CHUNK * simd.BYTES, fixed=1)


def body(counters: Any, normals: Any, given: Any) -> None:
    """From the counters of two uniforms two normal numbers; `given` are the key's words and the purpose."""
    key0, key1, purpose = (given[number].word() for number in range(3))
    u, v = (_uniform(key0, key1, counters[number].word(), purpose) for number in range(2))
    radius = (-2.0 * logarithm(u)).sqrt()
    sine, cosine = sine_and_cosine_of_turns(v)
    normals[0], normals[1] = radius * cosine, radius * sine


def _uniform(key0: simd.Words, key1: simd.Words, x0: simd.Words, x1: simd.Words) -> Number:
    """Threefry-2x32 with 20 rounds as in `core.random.threefry`, and its two words as a number in (0, 1)."""
    schedule = (key0, key1, key0 ^ key1 ^ PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x1.rotated(rotation) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + (group + 1)
    return x0.unit(x1)


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


def sine_and_cosine_of_turns(v: Number) -> tuple[Number, Number]:
    """sin 2 pi v and cos 2 pi v: the nearest quarter turn is taken away, then Taylor's series of at most pi/4."""
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
