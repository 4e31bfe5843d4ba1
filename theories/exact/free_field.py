"""The free field, S = sum_x [ sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 ], solved by Fourier modes in any dimension.

Eigenvalues M(p) = m2 + sum_mu 4 sin^2(p_mu/2), p_mu = 2 pi k/L_mu;  ln Z = 1/2 sum_p ln(pi/M), measure prod d phi;
<|phi~(p)|^2> V = 1/(2 M(p)). Extents 1 and 2 come out as `roll` counts their bonds.
"""

from __future__ import annotations

import math

import numpy as np


def eigenvalues(lattice: tuple[int, ...], m2: float) -> np.ndarray:
    """Return M(p), shaped as the lattice. Raises ValueError unless m2 > 0, where the zero mode has no weight.

    >>> eigenvalues((2,), 1.0).tolist()
    [1.0, 5.0]
    """
    if not m2 > 0:
        raise ValueError(f"the free field needs m2 > 0, got {m2}")
    total = np.full(lattice, float(m2))
    for momentum in _momenta(lattice):
        total = total + 4 * np.sin(momentum / 2) ** 2
    return total


def log_z(lattice: tuple[int, ...], m2: float) -> float:
    """Return ln Z for the measure prod d phi.

    >>> round(log_z((1,), 1.0), 12) == round(0.5 * math.log(math.pi), 12)
    True
    """
    return 0.5 * float(np.sum(np.log(math.pi / eigenvalues(lattice, m2))))


def propagator(lattice: tuple[int, ...], m2: float) -> np.ndarray:
    """Return <phi(0) phi(x)>, shaped as the lattice.

    >>> propagator((1,), 2.0).tolist()
    [0.25]
    """
    return np.real(np.fft.ifftn(0.5 / eigenvalues(lattice, m2)))


def observables(lattice: tuple[int, ...], m2: float) -> dict[str, float]:
    """Return the means of phi^4's observables by name, ln Z among them.

    >>> round(observables((8, 8), 1.0)["xi_2"], 12)
    1.0
    """
    two_point, sites, extent = propagator(lattice, m2), math.prod(lattice), max(lattice)
    phi2, chi2 = float(two_point.flat[0]), 0.5 / m2
    ahead = [float(np.roll(two_point, -1, axis).flat[0]) for axis in range(len(lattice))]
    found = {
        "ln_Z": log_z(lattice, m2),
        "phi2": phi2,
        "phi4": 3 * phi2**2,
        "E": sum(ahead) / len(lattice),
        "abs_m": math.sqrt(2 * chi2 / (math.pi * sites)),
        "chi2": chi2,
        "m_4": 3 * (chi2 / sites) ** 2,
        "G_min": 0.5 / (m2 + 4 * math.sin(math.pi / extent) ** 2),
        "binder": 0.0,
    }
    return found if extent == 1 else found | {"xi_2": 1 / math.sqrt(m2)}


def _momenta(lattice: tuple[int, ...]) -> list[np.ndarray]:
    """p_mu, each broadcastable over the lattice."""
    return list(np.meshgrid(*[2 * math.pi * np.arange(extent) / extent for extent in lattice], indexing="ij"))
