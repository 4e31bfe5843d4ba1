"""What the gauge theories share: links on a lattice of at least two axes, the coupling beta, the Wilson loops that fit."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from haarflow.backends.types import Array, Couplings
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import check_lattice
from haarflow.theories.names import WILSON
from haarflow.theories.theory import Theory, check_couplings, check_field, checked, couplings_for, refuse

BETA = 2.0  # the default coupling
LABELS = MappingProxyType(
    {
        "plaquette": "⟨Re tr U_P⟩ / N, the plaquette",
        "Q": "⟨Q⟩, topological charge",
        "Q2": "⟨Q²⟩",
        "p_Q0": "p(Q = 0)",
        "polyakov": "Polyakov loop, real part",
        "abs_polyakov": "|Polyakov loop| of a configuration",
        **{f"wilson_{r}x{t}": f"Wilson loop {r}×{t}" for r, t in WILSON},
    }
)  # what a report calls the observables


def lattice_of_links(lattice: Any) -> tuple[int, ...]:
    """Return a lattice's extents; raises ValueError for fewer than two axes and for extents that are not integers >= 1.

    >>> lattice_of_links((4,))
    Traceback (most recent call last):
        ...
    ValueError: a gauge theory needs at least two dimensions, got the lattice (4,)
    """
    extents = check_lattice(lattice)
    if len(extents) < 2:
        raise ValueError(f"a gauge theory needs at least two dimensions, got the lattice {extents}")
    return extents


def wilson_loops(lattice: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the Wilson loops that `observables` measures: those of `names.WILSON` shorter than every extent.

    >>> wilson_loops((3, 4))
    ((1, 2), (2, 2))
    """
    return tuple(extent for extent in WILSON if max(extent) < min(lattice))


def check_beta(theory: Theory, couplings: Couplings = None) -> dict[str, Any]:
    """Return all couplings, or raise ValueError for a misspelt, non-finite or negative one.

    >>> from haarflow.theories import U1Gauge
    >>> check_beta(U1Gauge((4, 4)), {"beta": -1.0})
    Traceback (most recent call last):
        ...
    ValueError: U1Gauge wants beta >= 0, got beta = -1.0
    """
    values = check_couplings(theory, couplings)
    beta = values["beta"]
    refuse(theory, beta=(beta, not isinstance(beta, float) or beta >= 0, "beta >= 0"))
    return values


def single_beta(theory: Theory, couplings: Couplings = None) -> float:
    """Return beta for the exact samplers, which draw at one value; raises TypeError for an array."""
    beta = checked(theory, couplings)["beta"]
    if not isinstance(beta, float):
        raise TypeError(f"the exact sampler wants beta as a number, got {type(beta).__name__}: call it once per value")
    return beta


def beta_for(theory: Theory, field: Array, couplings: Couplings, over: int) -> Any:
    """Return beta, checked and ready to multiply arrays that carry `over` axes after the batch."""
    return couplings_for(theory, field, couplings, over)["beta"]


def plaquettes(theory: Theory, field: Array) -> Array:
    """Return the plaquettes with corner x, `(*batch, plane, [N, N,] *lattice)`, for angles their sums, not wrapped.

    Planes are in the order of `loops.planes(d)`. Raises ValueError for a wrong shape, TypeError for a wrong type.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> plaquettes(U1Gauge((4, 4)), np.zeros((3, 2, 4, 4))).shape
    (3, 1, 4, 4)
    """
    check_field(theory, field)
    group = theory.group if theory.group.matrix_axes else loops.COVER
    return loops.plaquettes(field, len(theory.lattice), group)


def last_axes(count: int) -> tuple[int, ...]:
    """Return the last axes of an array.

    >>> last_axes(2)
    (-2, -1)
    """
    return tuple(range(-count, 0))
