"""Modified Bessel functions I_n(x) of integer order for x >= 0, as ratios to I_0, without overflow at any x.

r_n = I_n/I_{n-1} obeys r_n = 1/(2n/x + r_{n+1}) (continued fraction, downwards, all terms positive), and
e^x = I_0 + 2 sum_n I_n gives I_0. Accuracy: a few ulp of the result, for ratios above 1e-30.
"""

from __future__ import annotations

import math

import numpy as np


def orders(x: float) -> int:
    """Return an order beyond which I_n(x)/I_0(x) is below 1e-30. Raises ValueError for x > 10^7, whose table would be long.

    >>> orders(0.0) < orders(1000.0) < 600
    True
    """
    if x > 1e7:
        raise ValueError(f"tables of Bessel functions are made for x <= 10^7, got {x}")
    return 30 + int(15 * math.sqrt(x))


def ratios(x: float, highest: int | None = None) -> np.ndarray:
    """Return I_n(x)/I_0(x) for n = 0..highest (default: `orders(x)`). Raises ValueError unless x >= 0 and finite.

    >>> ratios(2.0, 1).round(12).tolist()
    [1.0, 0.697774657964]
    """
    if not (math.isfinite(x) and x >= 0):
        raise ValueError(f"Bessel functions are implemented for finite x >= 0, got {x}")
    highest = orders(x) if highest is None else highest
    if x == 0:
        at_zero: np.ndarray = np.eye(1, highest + 1)[0]
        return at_zero
    step, ratio = np.ones(highest + 1), 0.0
    for n in range(highest + orders(x), 0, -1):
        ratio = x / (2 * n + x * ratio)
        if n <= highest:
            step[n] = ratio
    return np.cumprod(step)


def log_i0(x: float) -> float:
    """Return ln I_0(x) for x >= 0.

    >>> round(log_i0(1.0), 12), round(log_i0(1000.0), 8)
    (0.235914358507, 995.62730889)
    """
    return x - math.log1p(2 * float(np.sum(ratios(x)[1:])))
