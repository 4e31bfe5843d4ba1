"""Free Wilson fermions, U = 1: the determinant as a product over momenta.

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
    for axis, extent in enumerate(lattice):
        shape = [1] * len(lattice)
        shape[axis] = extent
        p = 2.0 * math.pi * (np.arange(extent) + (0.5 if antiperiodic and axis == 0 else 0.0)) / extent
        mass = mass - 2.0 * kappa * np.cos(p).reshape(shape)
        sines = sines + np.sin(p).reshape(shape) ** 2
    return mass**2 + 4.0 * kappa**2 * sines
