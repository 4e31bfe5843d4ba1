"""The Ising model on the two-dimensional torus, exactly: Kaufman, Phys. Rev. 76 (1949) 1232.

With K = beta, the sum over the spins is that over four sorts of free fermions, periodic or antiperiodic along each
axis,

    Z = 2^{V-1} [Z_AA + Z_AP + Z_PA + (sinh 2K - 1) Z_PP'],   Z = prod_p w(p)^{1/2},   w(p) = cosh^2 2K - sinh 2K (cos
    p_0 + cos p_1),

with momenta 2 pi k/L or 2 pi (k + 1/2)/L; Z_PP' leaves out p = 0, where w = (sinh 2K - 1)^2 and its root changes sign
at the critical point sinh 2K = 1. As products over both momenta the four are of one size from high to low temperature,
so that nothing cancels. Extents 1 and 2 count bonds as `roll` does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

CRITICAL = 0.5 * math.log(1.0 + math.sqrt(2.0))  # sinh 2K = 1


class Solved(NamedTuple):
    """ln Z, and the mean of -(1/V) sum_x sum_mu s(x) s(x+mu), the energy per site."""

    log_z: float
    energy: float


class Sort(NamedTuple):
    """A sort of fermions: ln of its product without the zero mode, the factor of that mode, and the derivatives of both by K."""

    log: float
    slope: float
    zero: float
    zero_slope: float


def solved(lattice: tuple[int, int], beta: float) -> Solved:
    """Return ln Z and the energy per site of S = -beta sum_x sum_mu s(x) s(x+mu) on a torus.

    Raises ValueError for a lattice that is not two-dimensional and for beta < 0.

    >>> found = solved((8, 8), CRITICAL)
    >>> round(found.log_z, 9), round(found.energy, 8)
    (60.141780789, -1.49158911)
    """
    if len(lattice) != 2 or not beta >= 0.0:
        raise ValueError(
            f"Kaufman's solution is for a torus of two extents and beta >= 0, got {tuple(lattice)} and {beta}"
        )
    sorts = [_fermions(lattice, beta, antiperiodic) for antiperiodic in ((1, 1), (1, 0), (0, 1), (0, 0))]
    top, sites = max(one.log for one in sorts), math.prod(lattice)
    total = sum(math.exp(one.log - top) * one.zero for one in sorts)
    slope = sum(math.exp(one.log - top) * (one.zero * one.slope + one.zero_slope) for one in sorts)
    return Solved((sites - 1) * math.log(2.0) + top + math.log(total), -slope / (total * sites))


def ring(sites: int, beta: float) -> Solved:
    """Return the same of a ring, Z = (2 cosh K)^L + (2 sinh K)^L: a torus of one column without its bonds to itself.

    >>> round(ring(3, 0.5).log_z, 12) == round(math.log((2 * math.cosh(0.5)) ** 3 + (2 * math.sinh(0.5)) ** 3), 12)
    True
    """
    column = solved((sites, 1), beta)
    return Solved(column.log_z - beta * sites, column.energy + 1.0)


def observables(lattice: tuple[int, ...], beta: float) -> dict[str, float]:
    """Return ln_Z and E of a ring or of a torus, nothing in more dimensions.

    >>> sorted(observables((4, 4), 0.4)), observables((4, 4, 4), 0.4)
    (['E', 'ln_Z'], {})
    """
    if len(lattice) > 2:
        return {}
    found = ring(lattice[0], beta) if len(lattice) == 1 else solved((lattice[0], lattice[1]), beta)
    return {"ln_Z": found.log_z, "E": found.energy}


def _fermions(lattice: tuple[int, int], beta: float, antiperiodic: tuple[int, int]) -> Sort:
    """One sort of fermions; hyperbolic functions are in units of e^{2K}, which overflows at low temperature."""
    x = math.exp(-2.0 * beta)
    sinh, cosh = 0.5 * (1.0 - x * x), 0.5 * (1.0 + x * x)
    waves = [
        numpy.cos(2.0 * math.pi * (numpy.arange(extent) + 0.5 * half) / extent)
        for extent, half in zip(lattice, antiperiodic, strict=True)
    ]
    zero = antiperiodic == (0, 0)
    sums = (waves[0][:, None] + waves[1][None, :]).ravel()[int(zero) :]
    w = cosh * cosh - x * sinh * sums
    log = 2.0 * beta * math.prod(lattice) + 0.5 * float(numpy.log(w).sum())
    slope = float(numpy.sum(cosh * (2.0 * sinh - x * sums) / w))
    return Sort(log, slope, sinh - x, 2.0 * cosh) if zero else Sort(log, slope, 1.0, 0.0)
