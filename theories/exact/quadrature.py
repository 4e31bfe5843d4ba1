"""phi^4 on tiny lattices by quadrature: exact values with which samplers are compared.

S = sum_x [ sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4 ], measure prod d phi. Each site is integrated by the
equidistant rule, which converges exponentially for such weights; slices across the longest axis are the states s of a
transfer matrix T = F F^T of low rank, so that Z = Tr T^L, a mean is Tr(O T^L)/Z with diagonal O, and the characteristic
function of the magnetisation is <e^{z m}> = Tr (e^{z s/V} T)^L / Z. All traces are of the small matrices
C(O) = F^T O F. A slice may have three sites at most. Accuracy 1e-10 at couplings of order one to ten (1e-9 with three
sites across, which take two CPU minutes). Bonds count as `roll` counts them, extents 1 and 2 included.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np

SITES_ACROSS = 3
COARSENESS = {1: 0.4, 2: 0.9, 3: 1.15}  # of the grid, by the sites of a slice
PANELS = 400  # of four radians each: the peaks of a broken phase may be so much narrower than their distance
DROP = {1: 1e-17, 2: 1e-15, 3: 1e-12}  # modes of the kernel left out, relative to the largest


class Slices(NamedTuple):
    """The transfer matrix T = factor factor^T over `states` (state, site), scaled by e^{-log_scale}, and the length."""

    states: np.ndarray
    factor: np.ndarray
    log_scale: float
    length: int

    def matrix(self, diagonal: np.ndarray) -> np.ndarray:
        """Return C(O) = F^T O F of a diagonal operator."""
        product: np.ndarray = self.factor.T @ (diagonal[:, None] * self.factor)
        return product

    def power(self, steps: int) -> np.ndarray:
        """Return C(1)^steps."""
        return np.linalg.matrix_power(self.factor.T @ self.factor, steps)


def tractable(lattice: tuple[int, ...], across: int = SITES_ACROSS) -> bool:
    """Return whether a slice across the longest axis has at most `across` sites.

    >>> tractable((3, 3)), tractable((4, 4))
    (True, False)
    """
    return math.prod(lattice) // max(lattice) <= across


def grid(m2: float, lam: float, d: int, coarseness: float = 1.0) -> tuple[np.ndarray, float]:
    """Return equidistant points for one site and their distance h.

    The rule's error is the weight's Fourier transform at 2 pi/h: exp(-pi^2/(a h^2)) for e^{-a phi^2} and about
    exp(-1.5 (pi/(2 h lam^(1/4)))^(4/3)) for e^{-lam phi^4}, both 1e-14 at coarseness 1. The points end where the site's
    own weight e^{-m2 phi^2 - lam phi^4} is e^-37 of its top. Raises ValueError where that weight has no integral
    (lam < 0, or lam = 0 with m2 <= 0).

    >>> points, h = grid(1.0, 0.0, d=1)
    >>> bool(abs(h * np.sum(np.exp(-(points**2))) - math.sqrt(math.pi)) < 1e-14)
    True
    """
    if lam < 0 or (lam == 0 and m2 <= 0):
        raise ValueError(f"phi^4 needs lam > 0, or lam = 0 and m2 > 0, got m2 = {m2} and lam = {lam}")
    h = coarseness * min(0.53 / math.sqrt(2 * d + max(m2, 0.0)), 0.158 / lam**0.25 if lam > 0 else math.inf)
    if lam == 0:
        edge = math.sqrt(37 / m2)
    else:
        top = m2**2 / (4 * lam) if m2 < 0 else 0.0
        root = math.sqrt(m2**2 + 4 * lam * (37 + top))
        edge = math.sqrt((root - m2) / (2 * lam) if m2 < 0 else 2 * (37 + top) / (root + m2))
    count = math.ceil(edge / h)
    return h * np.arange(-count, count + 1), h


def transfer_matrix(lattice: tuple[int, ...], m2: float, lam: float) -> Slices:
    """Return the transfer matrix along the longest axis. Raises ValueError for more than three sites across it."""
    if not tractable(lattice):
        raise ValueError(
            f"quadrature takes lattices of at most {SITES_ACROSS} sites across the longest axis, got {tuple(lattice)}"
        )
    length = max(lattice)
    across = tuple(extent for axis, extent in enumerate(lattice) if axis != lattice.index(length))
    width = math.prod(across)
    points, h = grid(m2, lam, len(lattice), COARSENESS[width])
    weight = 0.5 * (m2 * points**2 + lam * points**4)
    weight = weight - np.min(weight)
    size, basis = np.linalg.eigh(np.exp(-((points[:, None] - points) ** 2) - weight[:, None] - weight))
    states = np.asarray(list(itertools.product(points, repeat=width)))
    bonds = sum((_ring_energy(states, across, axis) for axis in range(len(across))), np.zeros(len(states)))
    sizes = reduce(np.kron, [size] * width)
    keep = sizes > DROP[width] * sizes.max()
    scale = float(sizes.max())
    factor = np.exp(-0.5 * bonds)[:, None] * _modes(basis, width, keep) * np.sqrt(sizes[keep] / scale)
    seen = np.max(np.abs(factor), axis=1) > 1e-10
    bottom = float(np.min(m2 * points**2 + lam * points**4))
    values, turn = np.linalg.eigh(factor.T @ factor)
    factor = factor @ turn[:, values > DROP[width] * values[-1]]  # the bonds of the slice have shut many modes out
    return Slices(states[seen], factor[seen], math.log(scale) + width * (math.log(h) - bottom), length)


def observables(lattice: tuple[int, ...], m2: float, lam: float) -> dict[str, float]:
    """Return the means of phi^4's observables by name, ln Z among them.

    Raises ValueError for a lattice with more than three sites across its longest axis.

    >>> round(observables((2, 2), -4.0, 8.0)["phi2"], 9)
    0.171434423
    """
    return dict(_observables(tuple(lattice), float(m2), float(lam)))


@lru_cache(maxsize=512)
def _observables(lattice: tuple[int, ...], m2: float, lam: float) -> tuple[tuple[str, float], ...]:
    slices, sites = transfer_matrix(lattice, m2, lam), math.prod(lattice)
    z = float(np.trace(slices.power(slices.length)))
    phi2, phi4 = (_mean(slices, np.mean(slices.states**power, axis=1), z) for power in (2, 4))
    m_2, m_4 = _moments(slices, sites, z)
    means = {
        "ln_Z": math.log(z) + slices.length * slices.log_scale,
        "phi2": phi2,
        "phi4": phi4,
        "E": _bond(slices, lattice, phi2, z),
        "abs_m": _abs_m(slices, sites, z, math.sqrt(m_2)),
        "chi2": sites * m_2,
        "m_4": m_4,
        "binder": 1 - m_4 / (3 * m_2**2),
    }
    means["G_min"] = lowest = _lowest_mode(slices, sites, z)
    if slices.length > 1:
        means["xi_2"] = math.sqrt(max(sites * m_2 / lowest - 1, 0.0)) / (2 * math.sin(math.pi / slices.length))
    return tuple(means.items())


def _modes(basis: np.ndarray, width: int, keep: np.ndarray) -> np.ndarray:
    """The kept columns of basis x basis x ... without forming the others."""
    columns = np.unravel_index(np.flatnonzero(keep), (len(basis),) * width)
    total = np.ones((1, int(keep.sum())))
    for column in columns:
        total = (total[:, None, :] * basis[:, column][None, :, :]).reshape(-1, total.shape[1])
    return total


def _ring_energy(states: np.ndarray, across: tuple[int, ...], axis: int) -> np.ndarray:
    """sum over the slice of (phi(x + axis) - phi(x))^2, by state."""
    fields = states.reshape(len(states), *across)
    energy: np.ndarray = np.sum((np.roll(fields, -1, axis + 1) - fields) ** 2, axis=tuple(range(1, fields.ndim)))
    return energy


def _mean(slices: Slices, diagonal: np.ndarray, z: float) -> float:
    return float(np.sum(slices.matrix(diagonal) * slices.power(slices.length - 1).T)) / z


def _bond(slices: Slices, lattice: tuple[int, ...], phi2: float, z: float) -> float:
    """E, the mean of phi(x) phi(x+mu) over sites and directions."""
    along = phi2
    if slices.length > 1:
        width, rest = slices.states.shape[1], slices.power(slices.length - 2)
        matrices = [slices.matrix(slices.states[:, site]) for site in range(width)]
        along = sum(float(np.trace(c @ c @ rest)) for c in matrices) / (width * z)
    across = list(lattice)
    across.remove(slices.length)
    fields = slices.states.reshape(len(slices.states), *across)
    inside = [(fields * np.roll(fields, -1, axis + 1)).reshape(len(fields), -1) for axis in range(len(across))]
    return (along + sum(_mean(slices, np.mean(bond, axis=1), z) for bond in inside)) / len(lattice)


def _characteristic(slices: Slices, sites: int, z: float, argument: complex) -> complex:
    """<e^{argument m}>."""
    phases = np.exp(argument / sites * np.sum(slices.states, axis=1))
    matrix = slices.matrix(phases.real) + 1j * slices.matrix(phases.imag)
    return complex(np.trace(np.linalg.matrix_power(matrix, slices.length))) / z


def _moments(slices: Slices, sites: int, z: float) -> tuple[float, float]:
    """<m^2> and <m^4> from Cauchy's formula on a circle; <e^{zm}> is even and real, so a quarter of it is enough."""
    total = np.sum(slices.states, axis=1) / sites
    radius = 1 / (slices.length * math.sqrt(_mean(slices, total**2, z)))
    angles = [(j + 0.5) * math.pi / 16 for j in range(8)]
    values = [_characteristic(slices, sites, z, radius * complex(math.cos(a), math.sin(a))) for a in angles]
    circle = np.asarray(values)[:, None] * np.exp(-1j * np.outer(angles, (2, 4)))
    second, fourth = np.mean(circle.real, axis=0)
    return float(2 * second / radius**2), float(24 * fourth / radius**4)


def _abs_m(slices: Slices, sites: int, z: float, width: float) -> float:
    """<|m|> = (2/pi) int_0^inf (1 - <cos km>)/k^2 dk; beyond the cut, where <cos km> is gone, 1/k^2 is left.

    In a broken phase <cos km> turns with the width of the whole distribution and dies with that of one peak.
    """
    nodes, weights = np.polynomial.legendre.leggauss(20)
    total, start, panel = 0.0, 0.0, 4 / width
    for _ in range(PANELS):
        ks = start + panel * (nodes + 1) / 2
        values = np.asarray([_characteristic(slices, sites, z, 1j * k).real for k in ks])
        total += panel / 2 * float(np.sum(weights * (1 - values) / ks**2))
        start += panel
        if np.max(np.abs(values[-4:])) < 1e-10:
            break
    return 2 / math.pi * (total + 1 / start)


def _lowest_mode(slices: Slices, sites: int, z: float) -> float:
    """G(2 pi/L) along the longest axis from the correlation of slices."""
    total, length = np.sum(slices.states, axis=1), slices.length
    c = slices.matrix(total)
    correlation = [_mean(slices, total**2, z)]
    for t in range(1, length):
        correlation.append(float(np.trace(c @ slices.power(t - 1) @ c @ slices.power(length - t - 1))) / z)
    waves = [math.cos(2 * math.pi * t / length) for t in range(length)]
    return length / sites * sum(w * value for w, value in zip(waves, correlation, strict=True))
