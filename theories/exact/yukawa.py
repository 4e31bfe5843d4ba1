"""The Yukawa model on four sites or fewer by quadrature, with the determinant as a polynomial of the field.

The principal minors of an antisymmetric matrix are squares of Pfaffians, and vanish for an odd number of rows:

    det(D_st + g phi) = sum over sets A of sites of g^|A| prod_(x in A) phi(x) det D_st without the rows and columns of A

so that no matrix of the theory enters. Every site is integrated by the equidistant rule of `quadrature`, which converges
exponentially for this weight, a polynomial times that of phi^4. Bonds and hops count as `roll` counts them.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from haarflow.theories.exact.quadrature import grid

SITES = 4


def tractable(lattice: tuple[int, ...]) -> bool:
    """Return whether a lattice has few enough sites.

    >>> tractable((2, 2)), tractable((4, 2))
    (True, False)
    """
    return math.prod(lattice) <= SITES


def observables(
    lattice: tuple[int, ...], m2: float, lam: float, g: float, antiperiodic: bool = True
) -> dict[str, float]:
    """Return the means of two flavours by name, ln Z among them.

    Raises ValueError for more than four sites and where e^{-S} is not integrable.

    >>> round(observables((2, 2), -4.0, 8.0, 0.0)["chi2"], 9)
    0.450481641
    """
    if not tractable(lattice):
        raise ValueError(f"quadrature of the Yukawa model takes {SITES} sites at most, got the lattice {lattice}")
    return dict(_means(tuple(lattice), float(m2), float(lam), float(g), antiperiodic))


@lru_cache(maxsize=64)
def _means(
    lattice: tuple[int, ...], m2: float, lam: float, g: float, antiperiodic: bool
) -> tuple[tuple[str, float], ...]:
    sites = math.prod(lattice)
    points, h = grid(m2, lam, len(lattice))
    others = np.asarray(list(itertools.product(points, repeat=sites - 1))).reshape(-1, sites - 1)
    polynomial = minors(free_matrix(lattice, antiperiodic))
    lowest = sites * float(np.min(m2 * points**2 + lam * points**4))
    total, z = dict[str, float](), 0.0
    for first in points[points >= 0.0]:  # the weight is even
        fields = np.column_stack([np.full(len(others), first), others]).reshape(-1, *lattice)
        values, log_weight = _measured(fields, m2, lam, g, polynomial)
        weight = np.exp(log_weight + lowest) * (1.0 if first == 0.0 else 2.0)
        z += float(weight.sum())
        for name, numbers in values.items():
            total[name] = total.get(name, 0.0) + float(np.sum(np.where(weight > 0.0, weight * numbers, 0.0)))
    means = {name: value / z for name, value in total.items()}
    means["ln_Z"] = math.log(z) + sites * math.log(h) - lowest
    means["binder"] = 1.0 - means["m_4"] * sites**2 / (3.0 * means["chi2"] ** 2)
    if max(lattice) > 1:
        means["xi_2"] = math.sqrt(max(means["chi2"] / means["G_min"] - 1.0, 0.0)) / (
            2.0 * math.sin(math.pi / max(lattice))
        )
    return tuple(means.items())


def free_matrix(lattice: tuple[int, ...], antiperiodic: bool = True) -> np.ndarray:
    """Return D_st, hop by hop.

    >>> free_matrix((2, 1)).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    matrix = np.zeros((math.prod(lattice),) * 2)
    for site in itertools.product(*map(range, lattice)):
        for mu, extent in enumerate(lattice):
            end = list(site)
            end[mu] = (site[mu] + 1) % extent
            crossed = antiperiodic and mu == 0 and end[0] == 0
            hop = 0.5 * (-1.0) ** sum(site[:mu]) * (-1.0 if crossed else 1.0)
            here, there = (int(np.ravel_multi_index(tuple(x), lattice)) for x in (site, end))
            matrix[here, there] += hop
            matrix[there, here] -= hop
    return matrix


def minors(matrix: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the coefficients of det(matrix + diag(y)): that of prod_(x in A) y(x) for each set A of rows.

    >>> minors(np.asarray([[0.0, 2.0], [-2.0, 0.0]]))
    {(): 4.0, (0, 1): 1.0}
    """
    rows, found = range(len(matrix)), dict[tuple[int, ...], float]()
    for size in range(len(matrix) % 2, len(matrix) + 1, 2):
        for chosen in itertools.combinations(rows, size):
            rest = [row for row in rows if row not in chosen]
            found[chosen] = float(np.linalg.det(matrix[np.ix_(rest, rest)])) if rest else 1.0
    return {chosen: value for chosen, value in found.items() if value != 0.0}


def _measured(
    fields: np.ndarray, m2: float, lam: float, g: float, polynomial: dict[tuple[int, ...], float]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The observables of fields `(n, *lattice)` and the logarithm of their weights."""
    axes, sites = tuple(range(1, fields.ndim)), fields[0].size
    flat = fields.reshape(-1, sites)
    terms = {chosen: c * g ** len(chosen) * np.prod(flat[:, list(chosen)], axis=1) for chosen, c in polynomial.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        det = sum(terms.values(), np.zeros(len(flat)))
        log_det = np.log(np.abs(det))
        slope = sum((len(chosen) * term for chosen, term in terms.items()), np.zeros(len(flat))) / det
        phi_condensate = slope / (g * sites) if g != 0.0 else np.zeros(len(flat))
    phi2, phi4, m = (np.mean(flat**power, axis=1) for power in (2, 4, 1))
    bonds = [np.mean(fields * np.roll(fields, -1, axis), axis=axes) for axis in axes]
    bond = sum(bonds, np.zeros(len(flat))) / len(axes)
    action = sites * ((m2 + 2.0 * len(axes)) * phi2 + lam * phi4 - 2.0 * len(axes) * bond)
    values = {"phi2": phi2, "phi4": phi4, "E": bond, "chi2": sites * m**2, "m_4": m**4, "G_min": _lowest_mode(fields)}
    fermions = {"log_det": log_det, "sign": np.sign(det), "phi_condensate": phi_condensate}
    return values | fermions | {"action": action - 2.0 * log_det}, 2.0 * log_det - action


def _lowest_mode(fields: np.ndarray) -> np.ndarray:
    """V |phi(p)|^2 at the smallest momentum along an axis of the largest extent, the mean over these axes."""
    lattice = fields.shape[1:]
    modes = np.abs(np.fft.fftn(fields, axes=tuple(range(1, fields.ndim)))) ** 2 / fields[0].size
    longest = [axis for axis, extent in enumerate(lattice) if extent == max(lattice)]
    picked = [
        modes[(slice(None), *(1 % max(lattice) if axis == mu else 0 for axis in range(len(lattice))))] for mu in longest
    ]
    found: np.ndarray = np.mean(picked, axis=0)
    return found
