"""Images of fields under symmetries of the lattice: reflections and exchanges of axes.

A scalar field phi(x) becomes phi(R^-1 x). A link U_mu(x) goes from x to x + mu, its image from R x to R(x + mu), so a
reversed link is inverted and starts one site earlier. Translations are `lattice.shift`, gauge
transformations `loops.gauge_transform`.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Group
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift

# The names by which theories and flows declare their symmetries.
SYMMETRIES = ("translation", "reflection", "hypercubic", "Z2", "gauge", "charge_conjugation")


def reflect(field: Array, mu: int, d: int) -> Array:
    """Return phi(x) with x_mu -> -x_mu; the last `d` axes are the lattice.

    >>> import numpy as np
    >>> reflect(np.asarray([0, 1, 2, 3]), mu=0, d=1).tolist()
    [0, 3, 2, 1]
    """
    return shift(array_namespace(field).flip(field, axis=mu - d), mu, d, -1)


def reflect_links(links: Array, mu: int, d: int, group: Group = loops.COVER) -> Array:
    """Return links `(*batch, d, *lattice)` under x_mu -> -x_mu: U_mu(x) becomes U_mu(-x - mu)^+.

    >>> import numpy as np
    >>> reflect_links(np.asarray([[0.0, 1.0, 2.0]]), mu=0, d=1).tolist()
    [[-2.0, -1.0, -0.0]]
    """
    parts = [reflect(loops.direction(links, nu, d, group), mu, d) for nu in range(d)]
    parts[mu] = group.inverse(shift(parts[mu], mu, d))
    return array_namespace(links).stack(parts, axis=-1 - d - group.matrix_axes)


def exchange(field: Array, mu: int, nu: int, d: int) -> Array:
    """Return phi(x) with x_mu and x_nu exchanged, and the extents of the lattice with them.

    >>> import numpy as np
    >>> exchange(np.zeros((5, 2, 3)), 0, 1, d=2).shape
    (5, 3, 2)
    """
    axes = list(range(field.ndim))
    axes[mu - d], axes[nu - d] = axes[nu - d], axes[mu - d]
    return array_namespace(field).permute_dims(field, tuple(axes))


def exchange_links(links: Array, mu: int, nu: int, d: int, group: Group = loops.COVER) -> Array:
    """Return links `(*batch, d, *lattice)` with the axes mu and nu exchanged, and the directions with them.

    >>> import numpy as np
    >>> exchange_links(np.ones((2, 2, 3)), 0, 1, d=2).shape
    (2, 3, 2)
    """
    order = list(range(d))
    order[mu], order[nu] = nu, mu
    parts = [exchange(loops.direction(links, rho, d, group), mu, nu, d) for rho in order]
    return array_namespace(links).stack(parts, axis=-1 - d - group.matrix_axes)
