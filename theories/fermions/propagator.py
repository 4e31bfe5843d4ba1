"""The quark propagator G = D^-1 as a dense inverse, for lattices of some hundred sites, and what is formed of it.

Averages over all sources cost nothing more, so that the condensate and the pion correlator have no noise of their own.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.theories.fermions.wilson import Wilson

COMPLEX, MEMORY = 16, 2**27  # bytes of a complex number; of the inverses of several configurations


def propagator(operator: Wilson, field: Array, kappa: Any) -> Array:
    """Return G = D^-1 as matrices `(*batch, n, n)`, rows and columns as in a flattened spinor.

    >>> import numpy as np
    >>> operator, field = Wilson((2, 2)), np.zeros((2, 2, 2))
    >>> inverse = propagator(operator, field, 0.1)
    >>> bool(np.allclose(operator.matrix(operator.prepare(field), 0.1) @ inverse, np.eye(8)))
    True
    """
    matrices = operator.matrix(operator.prepare(field), kappa)
    return backends.of(field).by_matrix(array_namespace(field).linalg.inv, matrices)


def condensate_and_pion(operator: Wilson, field: Array, kappa: Any) -> tuple[Array, Array]:
    """Return both of every configuration, `(*batch,)` and `(*batch, T)`, of one after the other where all inverses together take more
    than MEMORY.
    """
    batch = tuple(field.shape[: field.ndim - len(operator.field_shape)])

    def of(field: Array, kappa: Any) -> tuple[Array, Array]:
        inverse = propagator(operator, field, kappa)
        return condensate(inverse, math.prod(operator.lattice)), pion_correlator(inverse, operator.lattice)

    if COMPLEX * math.prod(batch) * math.prod(operator.spinor_shape) ** 2 <= MEMORY:
        return of(field, kappa)
    xp, backend = array_namespace(field), backends.of(field)
    kappas = xp.broadcast_to(backend.asarray(kappa, dtype=precision(field)), batch)
    rows = xp.reshape(field, (-1, *operator.field_shape)), xp.reshape(kappas, (-1,))
    _, (traces, pions) = backend.scan(lambda none, row: (none, of(*row)), None, rows)
    return xp.reshape(traces, batch), xp.reshape(pions, (*batch, pions.shape[-1]))


def condensate(inverse: Array, sites: int) -> Array:
    """Return Re tr D^-1 / V of one flavour, of the batch's shape: the number of components at kappa = 0."""
    xp = array_namespace(inverse)
    return xp.real(xp.linalg.trace(inverse)) / float(sites)


def pion_correlator(inverse: Array, lattice: tuple[int, ...]) -> Array:
    """Return C(t) = (1/V) sum over x and y with y_0 - x_0 = t of tr G(y, x) G(y, x)^+, `(*batch, T)`.

    The correlator at momentum zero of psi_bar gamma_5 tau psi, averaged over all sources: gamma_5 G(y, x)^+ gamma_5 =
    G(x, y) makes it a sum of squares. It is positive, C(T - t) = C(t), and the two signs of the boundary cancel, so that it is
    periodic whatever the fermions are.

    >>> import numpy as np
    >>> operator = Wilson((4, 2))
    >>> free = pion_correlator(propagator(operator, np.zeros((2, 4, 2)), 0.2), (4, 2))
    >>> bool(np.isclose(free[1], free[3])), bool(free[2] < free[1] < free[0])
    (True, True)
    """
    xp, times = array_namespace(inverse), lattice[0]
    space, batch = math.prod(lattice[1:]), inverse.shape[:-2]
    inner = inverse.shape[-1] // math.prod(lattice)
    squares = xp.real(inverse * xp.conj(inverse))
    squares = xp.reshape(squares, (*batch, inner, times, space, inner, times, space))
    from_to = xp.sum(squares, axis=(-6, -4, -3, -1))  # (*batch, t of the sink, t of the source)
    later = [sum(from_to[..., (s + t) % times, s] for s in range(times)) for t in range(times)]
    return xp.stack(later, axis=-1) / float(math.prod(lattice))
