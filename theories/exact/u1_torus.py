"""U(1) on the two-dimensional torus, solved exactly: V plaquettes, any shape, beta >= 0.

Z = sum_n I_n(beta)^V in normalised Haar measure, <cos theta_P> = (1/V) d ln Z / d beta, and the R x T Wilson loop of
area A is sum_n I_n^(V-A) I_{n+1}^A / Z. The charge: with f_nu = (1/pi) int_0^pi e^{beta cos x} cos(nu x) dx and
Z(nu) = sum_n f_{n+nu}^V,  p(Q) = int_0^1 dnu e^{2 pi i nu Q} Z(nu)/Z(0)  (Q's characteristic function is band-limited,
so an equidistant sum over nu is exact). f_nu is I_n interpolated: f_nu = sum_k I_k sinc(nu - k).

All is in ratios to I_0: no overflow at any beta or V. Relative accuracy 1e-13 for the plaquette and Wilson loops above
1e-15, absolute 1e-12 for p(Q) and <Q^2>/V.
"""

from __future__ import annotations

import math

import numpy as np

from haarflow.theories.exact import bessel

LARGEST = 1e6  # beta up to which the sums take seconds
FAINT = 1e-30  # of the largest term: terms below are left out


def log_z(beta: float, sites: int) -> float:
    """Return ln Z = ln sum_n I_n(beta)^V, normalised Haar measure.

    >>> round(log_z(1.0, 4), 11)
    1.02031916682
    """
    return sites * bessel.log_i0(beta) + math.log1p(2 * float(np.sum(bessel.ratios(beta)[1:] ** sites)))


def wilson_loop(beta: float, sites: int, area: int) -> float:
    """Return <cos> of a contractible Wilson loop of the given area, sum_n I_n^(V-A) I_{n+1}^A / Z.

    Raises ValueError unless 0 <= area <= sites.

    >>> round(wilson_loop(2.0, 16, 1), 12)
    0.699251926818
    """
    if not 0 <= area <= sites:
        raise ValueError(f"a Wilson loop on {sites} plaquettes has an area from 0 to {sites}, got {area}")
    both = _both(bessel.ratios(beta))
    return float(np.sum(both[:-1] ** (sites - area) * both[1:] ** area) / np.sum(both**sites))


def plaquette(beta: float, sites: int) -> float:
    """Return <cos theta_P>.

    >>> round(plaquette(7.0, 64), 12)
    0.925700364351
    """
    return wilson_loop(beta, sites, 1)


def charge_distribution(beta: float, sites: int) -> dict[int, float]:
    """Return p(Q) for Q = -K..K, where what is left out is below 1e-15 (and no Q beyond V/2 exists).

    >>> round(charge_distribution(7.0, 64)[0], 10)
    0.7845885418
    """
    if sites < 3:  # |sum of V angles| = 2 pi |Q| needs V > 2 |Q|
        return {0: 1.0}
    highest = min((sites - 1) // 2, 4 + int(9 * math.sqrt(_charge_width(beta, sites))))
    points = 4 * highest + 1
    nu = np.arange(points) / points
    z = _twisted(beta, sites, nu)
    charges = np.arange(-highest, highest + 1)
    p = np.cos(2 * math.pi * np.outer(charges, nu)) @ z / (points * z[0])
    return {int(q): max(float(value), 0.0) for q, value in zip(charges, p, strict=True)}


def charge_squared(beta: float, sites: int) -> float:
    """Return <Q^2> = -Z''(0)/(4 pi^2 Z(0)), from the derivatives of sinc at whole numbers.

    >>> round(charge_squared(7.0, 64), 12)
    0.217110832504
    """
    if sites < 3:
        return 0.0
    r = bessel.ratios(beta)
    f, orders = _both(r), np.arange(-len(r) + 1, len(r))
    signed = np.where(orders % 2 == 0, f, -f)
    curvature = 0.0
    for n in range(int(np.sum(r ** (sites - 2) > FAINT))):  # one order at a time: a table of all pairs fills the memory
        inverse, sign = 1.0 / np.where(orders == n, np.inf, n - orders), (-1.0) ** n
        slope, bend = sign * (inverse @ signed), -2 * sign * (inverse**2 @ signed) - math.pi**2 / 3 * r[n]
        term = r[n] ** (sites - 2) * ((sites - 1) * slope**2 + r[n] * bend)
        curvature += float(term if n == 0 else 2 * term)
    curvature *= sites / float(np.sum(f**sites))
    return max(-curvature / (4 * math.pi**2), 0.0)


def ess_uniform(beta: float, sites: int) -> float:
    """Return the ESS of uniform links as a model, Z(beta)^2 / Z(2 beta).

    >>> round(ess_uniform(0.5, 16), 12)
    0.164467270386
    """
    return math.exp(2 * log_z(beta, sites) - log_z(2 * beta, sites))


def ess_sweep(beta: float, sites: int) -> float:
    """Return the ESS of an untrained sweep flow, whose first V - 1 plaquettes are independent and the last closes them:
    Z(beta)^2 / (I_0(beta)^(V-1) sum_n I_n(beta)^(V-1) I_n(2 beta)).

    >>> round(ess_sweep(2.0, 256), 5)
    0.45979
    """
    double = bessel.ratios(2 * beta)
    single = bessel.ratios(beta, len(double) - 1)
    closing = math.log1p(2 * float(np.sum(single[1:] ** (sites - 1) * double[1:])))
    whole = math.log1p(2 * float(np.sum(single[1:] ** sites)))
    return math.exp(2 * (bessel.log_i0(beta) + whole) - bessel.log_i0(2 * beta) - closing)


def ess_blocks(beta: float, sites: int, block: int) -> float:
    """Return the ESS of a model whose fluxes of block x block squares are uniform, but for their sum, and which is exact otherwise:
    (sum_n r_n^V)^2 / sum_n c_n^{V/A}, c_n = sum_m r_m^A r_{n-m}^A, with A = block^2 and r_n = I_n(beta)/I_0(beta).

    Raises ValueError unless blocks of at least one plaquette fill the lattice.

    >>> [round(ess_blocks(beta, 256, 4), 3) for beta in (4.0, 5.0, 6.0, 7.0)], round(ess_blocks(7.0, 256, 8), 4)
    ([0.748, 0.43, 0.199, 0.083], 0.9996)
    """
    area = block * block
    if block < 1 or sites % area:
        raise ValueError(f"blocks of {block} x {block} plaquettes do not fill {sites}")
    powers = _both(bessel.ratios(beta)) ** area
    squares = np.convolve(powers, powers)
    one, two = (float(np.sum((each / each.max()) ** (sites // area))) for each in (powers, squares))
    return min(1.0, one * one / two * math.exp(-sites // area * math.log(squares.max())))


def _charge_width(beta: float, sites: int) -> float:
    """A bound on <Q^2> for the choice of Q's range: V <wrap(theta)^2>/(2 pi)^2 of free plaquettes, 1/12 at beta = 0."""
    r = bessel.ratios(beta)
    n = np.arange(1, len(r))
    return sites * (1 / 12 + float(np.sum((-1.0) ** n * r[1:] / n**2)) / math.pi**2)


def _twisted(beta: float, sites: int, nu: np.ndarray) -> np.ndarray:
    """sum_n (f_{n+nu}/f_0)^V, the same for 1 - nu; far out f_n is e^-beta sin(pi nu)/(pi n) at most, which says where to
    stop.
    """
    r = bessel.ratios(beta)
    tail = (32 - sites * (beta + math.log(math.pi))) / (sites - 1)
    reach = 2 + int(np.sum(r**sites > 1e-20)) + int(math.exp(min(tail, 9.0)))
    f, orders = _both(r), np.arange(-len(r) + 1, len(r))
    signed = np.where(orders % 2 == 0, f, -f)
    sums = {twist: _twisted_sum(f, orders, signed, reach, sites, twist) for twist in {min(x, 1.0 - x) for x in nu}}
    return np.asarray([sums[min(x, 1.0 - x)] for x in nu])


def _twisted_sum(f: np.ndarray, orders: np.ndarray, signed: np.ndarray, reach: int, sites: int, twist: float) -> float:
    """sum_n f_{n+nu}^V with f_{n+nu} = sum_k f_k sinc(n + nu - k), one n at a time."""
    if twist == 0.0:
        return float(np.sum(f**sites))
    scale, total = math.sin(math.pi * twist) / math.pi, 0.0
    for n in range(-reach, reach + 1):
        total += ((-1) ** n * scale * float((1.0 / (n + twist - orders)) @ signed)) ** sites
    return total


def _both(r: np.ndarray) -> np.ndarray:
    """The orders -N..N from 0..N."""
    return np.concatenate([r[:0:-1], r])
