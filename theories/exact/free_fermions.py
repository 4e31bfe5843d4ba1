"""Free fermions, Wilson's at U = 1 and staggered ones of a constant mass: the determinant as a product over momenta.

D(p) = 1 - 2 kappa sum_mu cos p_mu + 2 i kappa sum_mu gamma_mu sin p_mu with p_mu = 2 pi k_mu / L_mu, in time 2 pi (k_0 + 1/2) / T
for antiperiodic fermions. D^+ D is a number, so that the 2^{d/2} components of each colour give

    ln det D = 2^{d/2 - 1} n sum_p ln [ (1 - 2 kappa sum cos p)^2 + 4 kappa^2 sum sin^2 p ].
"""

from __future__ import annotations

import math

import numpy as np


def log_det(lattice: tuple[int, ...], kappa: float, n: int = 1, antiperiodic: bool = True) -> float:
    """Return ln det D of n colours; -inf where a mode has no mass, as at kappa = 1/(2d) without antiperiodic time.

    Raises ValueError in odd dimensions.

    >>> round(log_det((4, 4), 0.276), 12), round(log_det((4, 4, 4, 4), 0.1), 12)
    (2.249173177239, 2.30278845582)
    """
    d = len(lattice)
    if d % 2:
        raise ValueError(f"gamma matrices of this form are those of an even dimension, got d = {d}")
    squares = modes(lattice, kappa, antiperiodic)
    if float(np.min(squares)) == 0.0:
        return -math.inf
    return 2.0 ** (d // 2 - 1) * n * float(np.sum(np.log(squares)))


def modes(lattice: tuple[int, ...], kappa: float, antiperiodic: bool = True) -> np.ndarray:
    """Return D^+ D at every momentum, shaped as the lattice.

    >>> modes((1, 1), 0.1, antiperiodic=False).round(12).tolist()
    [[0.36]]
    """
    mass, sines = np.ones(lattice), np.zeros(lattice)
    for p in momenta(lattice, antiperiodic):
        mass = mass - 2.0 * kappa * np.cos(p)
        sines = sines + np.sin(p) ** 2
    squares: np.ndarray = mass**2 + 4.0 * kappa**2 * sines
    return squares


def momenta(lattice: tuple[int, ...], antiperiodic: bool = True) -> list[np.ndarray]:
    """Return p_mu of each axis, shaped to broadcast over the lattice.

    >>> [p.shape for p in momenta((4, 6))]
    [(4, 1), (1, 6)]
    """
    d = len(lattice)
    halves = [0.5 if antiperiodic and mu == 0 else 0.0 for mu in range(d)]
    waves = [2.0 * math.pi * (np.arange(extent) + half) / extent for extent, half in zip(lattice, halves, strict=True)]
    return [p.reshape(*(1,) * mu, -1, *(1,) * (d - mu - 1)) for mu, p in enumerate(waves)]


def staggered_log_det(lattice: tuple[int, ...], mass: float, antiperiodic: bool = True) -> float:
    """Return ln det(D_st + m) = 1/2 sum_p ln(m^2 + sum_mu sin^2 p_mu) of staggered fermions, on even extents or 1.

    D_st^2 is a number at each momentum, -sum_mu sin^2 p_mu, and eigenvalues +-i of D_st come in pairs; -inf where a mode
    has no mass.

    >>> round(staggered_log_det((4, 6), 0.3), 12)
    0.230825943373
    """
    squares = staggered_modes(lattice, antiperiodic) + mass**2
    return 0.5 * float(np.sum(np.log(squares))) if float(np.min(squares)) > 0.0 else -math.inf


def staggered_modes(lattice: tuple[int, ...], antiperiodic: bool = True) -> np.ndarray:
    """Return sum_mu sin^2 p_mu at every momentum, shaped as the lattice.

    >>> staggered_modes((2, 1)).round(12).tolist()
    [[1.0], [1.0]]
    """
    modes = np.zeros(lattice)
    for p in momenta(lattice, antiperiodic):
        modes = modes + np.sin(p) ** 2
    return modes
