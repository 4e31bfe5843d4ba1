"""The determinant of a Dirac operator from its dense matrix, or from that of the even-odd form, and its derivative.

ln det D = ln det Dhat. Along the group d ln |det D| = -kappa Re tr D^-1 dH: a sum of the operator's own bilinear over unit
vectors e, x = D^-1^+ e and y = e. For the even-odd form the same with the odd unit vectors and x = Dhat^-1^+ e, both completed
on the even sites: x_e = kappa g5 H_eo g5 x, y_e = kappa H_eo e, since dDhat = -kappa^2 (dH_oe H_eo + H_oe dH_eo).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import times
from haarflow.core.groups.matrices import precision


class Determinant(NamedTuple):
    """ln |det D| and its sign, `(*batch,)`, and the force d ln |det D| along the group, shaped as momenta, where asked for."""

    log_abs: Array
    sign: Array
    force: Any = None


def by_matrix(operator: Any, field: Array, kappa: Any, force: bool = False) -> Determinant:
    """Return the determinant from D as a dense matrix.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> round(float(by_matrix(Wilson((4, 4)), np.zeros((2, 4, 4)), 0.276).log_abs), 12)
    2.249173177239
    """
    prepared, shape = operator.prepare(field), tuple(operator.spinor_shape)
    units = _units(field, operator.field_shape, shape, prepared)
    matrix = _matrix(operator.apply(prepared, kappa, units), shape)
    if not force:
        return _determinant(matrix)
    return _with_force(operator, field, kappa, matrix, units, lambda x: x, lambda y: y)


def by_even_odd(operator: Any, field: Array, kappa: Any, force: bool = False) -> Determinant:
    """Return the determinant from Dhat on the odd sites, a matrix of half the size; raises ValueError for odd extents.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> round(float(by_even_odd(Wilson((4, 4)), np.zeros((2, 4, 4)), 0.276).log_abs), 12)
    2.249173177239
    """
    form = operator.even_odd
    prepared, shape = form.prepare(field), tuple(form.packed_shape)
    units = _units(field, operator.field_shape, shape, prepared.odd)
    matrix = _matrix(form.schur(prepared, kappa, units), shape)
    if not force:
        return _determinant(matrix)

    def completed(odd: Array) -> Array:
        return form.merge(times(kappa, form.hop_eo(prepared, odd), len(shape)), odd)

    def completed_adjoint(odd: Array) -> Array:
        even = form.gamma5(form.hop_eo(prepared, form.gamma5(odd)))
        return form.merge(times(kappa, even, len(shape)), odd)

    return _with_force(operator, field, kappa, matrix, units, completed_adjoint, completed)


def _units(field: Array, field_shape: tuple[int, ...], shape: tuple[int, ...], prepared: Any) -> Array:
    """Complex unit vectors `(n, *1s for the batch, *shape)`; prepared links may be real."""
    like = backends.tree.leaves(prepared)[0]
    xp, n = array_namespace(like), math.prod(shape)
    kind = xp.complex64 if precision(like) == "float32" else xp.complex128
    batch = (1,) * (field.ndim - len(field_shape))
    return xp.reshape(xp.eye(n, dtype=kind, device=backends.place(like)), (n, *batch, *shape))


def _matrix(images: Array, shape: tuple[int, ...]) -> Array:
    """Matrices `(*batch, n, n)` from the images of unit vectors `(n, *batch, *shape)`."""
    xp = array_namespace(images)
    rows = xp.reshape(images, (*images.shape[: images.ndim - len(shape)], math.prod(shape)))
    return xp.permute_dims(rows, (*range(1, rows.ndim), 0))


def _determinant(matrix: Array) -> Determinant:
    xp = array_namespace(matrix)
    sign, log_abs = backends.of(matrix).by_matrix(xp.linalg.slogdet, matrix)
    return Determinant(log_abs, xp.sign(xp.real(sign)))


def _with_force(
    operator: Any,
    field: Array,
    kappa: Any,
    matrix: Array,
    units: Array,
    x_of: Callable[[Array], Array],
    y_of: Callable[[Array], Array],
) -> Determinant:
    """The determinant and F = -kappa/2 sum over unit vectors of d 2 Re x^+ H y."""
    xp, found = array_namespace(matrix), _determinant(matrix)
    rows = xp.conj(backends.of(matrix).by_matrix(xp.linalg.inv, matrix))
    adjoint = xp.permute_dims(rows, (rows.ndim - 2, *range(rows.ndim - 2), rows.ndim - 1))
    lonely = len(units.shape) - 1 - (matrix.ndim - 2)
    adjoint = xp.reshape(adjoint, (*adjoint.shape[:-1], *units.shape[units.ndim - lonely :]))

    def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        x, unit = pair
        whole = unit + xp.zeros_like(x)
        return total + operator.hop_force(field, x_of(x), y_of(whole)), None

    first = 0.0 * operator.hop_force(field, x_of(adjoint[0, ...]), y_of(units[0, ...] + xp.zeros_like(adjoint[0, ...])))
    total, _ = backends.of(field).scan(add, first, (adjoint, units))
    return found._replace(force=times(kappa, -0.5 * total, total.ndim - found.log_abs.ndim))
