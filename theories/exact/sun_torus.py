"""SU(N) on the two-dimensional torus, solved exactly: V plaquettes, any shape, any N >= 2, beta >= 0.

S = -(beta/N) sum_P Re tr U_P, normalised Haar measure. With the character coefficients c_r (`characters`), d_r = chi_r(1)
and a_r = c_r/d_r: Z = sum_r a_r^V, and a contractible Wilson loop <(1/N) Re tr> of area A has a disc of Euler number 1
inside and a torus with a hole, of Euler number -1, outside:

    W(A) = 1/(N Z) sum_s sum_{r in s x conj(fundamental)} (d_r/d_s) a_r^A a_s^(V-A),    plaquette = W(1) = (1/V) d ln Z/d beta

The sums run over shells of representations (length of the first row) until one adds less than 1e-18 of the whole.
In infinite volume W(A) = (a_fundamental/a_0)^A. Accuracy 1e-13 relative; all in ratios to a_0, no overflow.

Source: Migdal, Sov. Phys. JETP 42 (1975) 413; Gross, Witten, Phys. Rev. D 21 (1980) 446.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from haarflow.theories.exact import characters
from haarflow.theories.exact.characters import Rows

ENOUGH = 1e-18
LARGEST = {2: 1e4, 3: 500.0, 4: 50.0}  # beta up to which the sums take seconds, by N; 20 beyond


def feasible(n: int, beta: float) -> bool:
    """Return whether the sums over representations take seconds rather than hours.

    >>> feasible(3, 6.0), feasible(3, 1e6)
    (True, False)
    """
    return beta <= LARGEST.get(n, 20.0)


def log_z(n: int, beta: float, sites: int) -> float:
    """Return ln Z = ln sum_r a_r^V, normalised Haar measure. Raises ValueError for n < 2, beta < 0 and sites < 1.

    >>> round(log_z(3, 6.0, 256) / 256, 9)
    1.235890092
    """
    _check(n, beta, sites)
    return sites * log_c0(n, beta) + math.log(_sum(n, lambda rows: ratio(rows, beta) ** sites))


def plaquette(n: int, beta: float, sites: int) -> float:
    """Return <(1/N) Re tr U_P> = (1/V) d ln Z / d beta.

    >>> round(plaquette(3, 6.0, 16), 12)
    0.422532056631
    """
    return wilson_loop(n, beta, sites, 1)


def wilson_loop(n: int, beta: float, sites: int, area: int) -> float:
    """Return <(1/N) Re tr> of a contractible Wilson loop of the given area, which does not touch itself.

    Raises ValueError unless 0 <= area <= sites.

    >>> round(wilson_loop(2, 2.7, 16, 1), 12)
    0.532980575657
    """
    _check(n, beta, sites)
    if not 0 <= area <= sites:
        raise ValueError(f"a Wilson loop on {sites} plaquettes has an area from 0 to {sites}, got {area}")

    def fused(rows: Rows) -> float:
        inner = sum(characters.dimension(low) * ratio(low, beta) ** area for low in characters.lowered(rows))
        return ratio(rows, beta) ** (sites - area) * inner / (n * characters.dimension(rows))

    return _sum(n, fused) / _sum(n, lambda rows: ratio(rows, beta) ** sites)


def infinite_plaquette(n: int, beta: float) -> float:
    """Return <(1/N) Re tr U_P> in infinite volume, a_fundamental/a_0 = d ln c_0 / d beta; W(A) is its power A.

    >>> round(infinite_plaquette(4, 8.0), 12)
    0.278892275871
    """
    _check(n, beta, 1)
    return ratio((1, *(0,) * (n - 1)), beta)


def holonomy_square(n: int, beta: float, sites: int) -> float:
    """Return <|tr H|^2> of a loop H that winds once around the torus, in either direction.

    With two holonomies A, B the weight is sum_r d_r a_r^V chi_r(A B A^+ B^+), and integrating over B leaves
    sum_r a_r^V |chi_r(A)|^2, so it is sum_r a_r^V m_r / sum_r a_r^V, m_r the number of representations in r x fundamental.

    >>> holonomy_square(3, 0.0, 4), round(holonomy_square(2, 1000.0, 1), 2)
    (1.0, 1.97)
    """
    _check(n, beta, sites)
    whole = _sum(n, lambda rows: ratio(rows, beta) ** sites)
    return _sum(n, lambda rows: ratio(rows, beta) ** sites * len(characters.lowered(rows))) / whole


def ess_uniform(n: int, beta: float, sites: int) -> float:
    """Return the ESS of uniform links as a model, Z(beta)^2 / Z(2 beta).

    >>> 0 < ess_uniform(3, 1.0, 16) < 1
    True
    """
    return math.exp(2 * log_z(n, beta, sites) - log_z(n, 2 * beta, sites))


def ess_sweep(n: int, beta: float, sites: int) -> float:
    """Return the ESS of an untrained sweep flow, whose first V - 1 plaquettes are independent and the last closes them:
    Z(beta)^2 / (c_0(beta)^(V-1) sum_r a_r(beta)^(V-1) a_r(2 beta)).

    >>> round(ess_sweep(3, 6.0, 256), 3)
    0.112
    """
    _check(n, beta, sites)
    whole = _sum(n, lambda rows: ratio(rows, beta) ** sites)
    closing = _sum(n, lambda rows: ratio(rows, beta) ** (sites - 1) * ratio(rows, 2 * beta))
    return math.exp(2 * log_c0(n, beta) - log_c0(n, 2 * beta)) * whole**2 / closing


def log_c0(n: int, beta: float) -> float:
    """Return ln c_0, c_0 = int dU e^{(beta/N) Re tr U} the partition function of one plaquette.

    >>> log_c0(3, 0.0)
    0.0
    """
    return characters.log_scale(n, beta) + math.log(characters.coefficient((0,) * n, beta))


def ratio(rows: Rows, beta: float) -> float:
    """Return a_r/a_0 = <chi_r/d_r> in the distribution of one plaquette, in (0, 1] for beta > 0.

    >>> round(ratio((1, 0), 2.2), 12)
    0.46447902527
    """
    there = characters.coefficient(rows, beta) / characters.dimension(rows)
    return there / characters.coefficient((0,) * len(rows), beta)


def _sum(n: int, term: Callable[[Rows], float]) -> float:
    """The sum of a positive term over all representations, shell by shell."""
    total, width = 0.0, 0
    while True:
        added = math.fsum(term(rows) for rows in characters.shell(n, width))
        total, width = total + added, width + 1
        if added <= ENOUGH * total:
            return total


def _check(n: int, beta: float, sites: int) -> None:
    if n < 2 or sites < 1 or not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"SU(N) on the torus needs N >= 2, beta >= 0 and sites >= 1, got {n}, {beta} and {sites}")
