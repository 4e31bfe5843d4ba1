"""The determinant of Wilson's operator by time slices as a compiled kernel, for U(1) in two dimensions in host memory.

Array code passes over memory for every small product of matrices; here those of a configuration stay in the cache. The reference is
theories/fermions/determinants/slices.py, with `by_complement`, whose array form serves other groups, precisions and longer slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.compiled.dense_loops import bodies, padded, step_of
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice import spinors
from haarflow.theories.compiled import slice_loops

LONGEST = 32  # the sites of a slice up to which its matrices stay in the cache
TURN = complex(spinors.gamma(2)[1, 0, 1])
NUMBERS = 20  # of array code for an entry of a slice's matrices, at least


def eliminated(twin: Callable[..., tuple[Array, ...]], links: Array, kappa: Any, force: bool) -> tuple[Array, ...]:
    """Return ln |det D| and its sign, and with `force` the derivative, for links `(*batch, 2, T, L)` and |kappa| < 1/2.

    What has no kernel here, other precisions and long slices, is left to `twin(links, kappa)`, which is array code.
    """
    time, extent = links.shape[-2:]
    batch, xp, device = tuple(links.shape[:-3]), array_namespace(links), backends.place(links)
    if precision(links) != "float64" or extent > LONGEST or tuple(getattr(kappa, "shape", ())) not in ((), batch):
        return twin(links, kappa)
    number, slopes = (xp.empty(shape, dtype=xp.float64, device=device) for shape in (batch, links.shape))
    like = (number, number, slopes) if force else (number, number)
    work = NUMBERS * math.prod(batch) * time * extent**2
    found = backends.of(links).on_host(logarithms, twin, like, links, kappa + xp.zeros_like(number), numbers=work)
    return twin(links, kappa) if found is None else found


def logarithms(into: Sequence[numpy.ndarray], links: numpy.ndarray, kappas: numpy.ndarray) -> None:
    """Write ln |det D| and its sign `(*batch,)`, and into a third array the derivative, shaped as the links."""
    time, extent = links.shape[-2:]
    size = padded(extent)
    forces = into[2].reshape(-1, 2, time, extent) if len(into) > 2 else numpy.zeros((0, 2, time, extent))
    slice_loops.logarithms(
        numpy.ascontiguousarray(links).reshape(-1, 2, time, extent),
        numpy.ascontiguousarray(kappas).reshape(-1),
        into[0].reshape(-1),
        into[1].reshape(-1),
        forces,
        TURN,
        numpy.zeros((time if len(into) > 2 else 1, 5, size, 2, size)),
        numpy.zeros((15, size, 2, size)),
        numpy.zeros((2 * size, 2, 2 * size)),
        bodies(size),
        step_of(2 * size),
    )
