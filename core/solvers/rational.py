"""Zolotarev's rational approximation to 1/sqrt(x), the best in relative error, from elliptic functions in plain floats."""

from __future__ import annotations

import math
from typing import NamedTuple

LANDEN = 40  # steps of the arithmetic-geometric mean, which doubles its digits in each


class Rational(NamedTuple):
    """R(x) = scale prod_k (x + zeros_k) / (x + poles_k) = scale (1 + sum_k residues_k / (x + poles_k)) on an interval.

    |sqrt(x) R(x) - 1| <= error there, attained at 2n + 2 points. A solve for R(A) b by `multishift` takes the poles as shifts.

    >>> approximation = zolotarev(8, 0.01)
    >>> f"{approximation.error:.1e}", abs(approximation(0.3) * 0.3**0.5 - 1.0) <= approximation.error
    ('5.2e-10', True)
    """

    scale: float
    zeros: tuple[float, ...]
    poles: tuple[float, ...]
    residues: tuple[float, ...]
    interval: tuple[float, float]
    error: float

    def __call__(self, x: float) -> float:
        """Return R(x)."""
        return self.scale * math.prod(
            (x + zero) / (x + pole) for zero, pole in zip(self.zeros, self.poles, strict=True)
        )

    def holds(self, lowest: float, highest: float) -> bool:
        """Return whether a spectrum lies within the interval, outside of which the error is not bounded.

        >>> zolotarev(4, 0.5, 2.0).holds(0.6, 1.0), zolotarev(4, 0.5, 2.0).holds(0.4, 1.0)
        (True, False)
        """
        return self.interval[0] <= lowest <= highest <= self.interval[1]


def zolotarev(n: int, lowest: float, highest: float = 1.0) -> Rational:
    """Return the approximation to 1/sqrt(x) on [lowest, highest] with n poles whose largest relative error is least.

    With k^2 = 1 - lowest/highest, v = K(k)/(2n + 1) and a_r = (cn/sn)^2(r v), R(x) = scale prod (x + a_{2r-1}) / (x + a_{2r})
    in units of the highest x; the error is d^2 / (1 + sqrt(1 - d^2))^2, d = k^{2n+1} prod_{r odd} sn^4(r v). Raises ValueError
    for n < 1 and unless 0 < lowest < highest. Zolotarev (1877); Chiu et al., hep-lat/0206007.

    >>> [f"{zolotarev(n, 1e-4).error:.1e}" for n in (8, 10, 12)]
    ['3.3e-06', '1.2e-07', '4.6e-09']
    """
    if n < 1 or not 0.0 < lowest < highest < math.inf:
        raise ValueError(f"zolotarev wants n >= 1 poles on 0 < lowest < highest, got n = {n} on [{lowest}, {highest}]")
    kp = math.sqrt(lowest / highest)
    squares = [_sine_squared(r, 2 * n + 1, kp) for r in range(1, 2 * n + 1)]
    roots = [highest * cosine / sine for sine, cosine in squares]
    zeros, poles = tuple(roots[0::2]), tuple(roots[1::2])
    d = math.sqrt(1.0 - kp * kp) ** (2 * n + 1) * math.prod(sine**2 for sine, _ in squares[0::2])
    error = (d / (1.0 + math.sqrt(1.0 - d * d))) ** 2
    product = math.prod((highest + zero) / (highest + pole) for zero, pole in zip(zeros, poles, strict=True))
    scale = (1.0 + error) / (product * math.sqrt(highest))
    return Rational(scale, zeros, poles, _residues(zeros, poles), (lowest, highest), error)


def _residues(zeros: tuple[float, ...], poles: tuple[float, ...]) -> tuple[float, ...]:
    """The residues of prod (x + z) / (x + p) at its poles."""
    return tuple(
        math.prod(zero - pole for zero in zeros) / math.prod(other - pole for other in poles if other != pole)
        for pole in poles
    )


def _sine_squared(r: int, parts: int, kp: float) -> tuple[float, float]:
    """(sn^2, cn^2) at r K / parts, from the half of the period where both are accurate: cn(K - u) = k' sn(u) / dn(u)."""
    if 2 * r <= parts:
        sine, cosine = _jacobi(r / parts, kp)
        return sine**2, cosine**2
    sine, cosine = _jacobi((parts - r) / parts, kp)
    delta = cosine**2 + (kp * sine) ** 2
    return cosine**2 / delta, (kp * sine) ** 2 / delta


def _jacobi(part: float, kp: float) -> tuple[float, float]:
    """(sn, cn) at the given part of the quarter period K, by descending Landen transformations (DLMF 22.20.4).

    With u = part K and K = pi / (2 a_N), the amplitude begins at 2^N a_N u = 2^N part pi / 2.
    """
    a, b, c = 1.0, kp, math.sqrt(1.0 - kp * kp)
    ratios: list[float] = []
    while abs(c) > 1e-17 * a and len(ratios) < LANDEN:
        a, b, c = 0.5 * (a + b), math.sqrt(a * b), 0.5 * (a - b)
        ratios.append(c / a)
    phi = 2.0 ** len(ratios) * part * math.pi / 2
    for step in reversed(ratios):
        phi = 0.5 * (phi + math.asin(step * math.sin(phi)))
    return math.sin(phi), math.cos(phi)
