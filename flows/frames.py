"""The frame in which fields move: host coordinates along the algebra, dU = i w_a T_a U, or dx itself for numbers and angles.

The laws of flows ask here how many components a field has, for a field moved by given coordinates, for the coordinates
of a change, and for differences of elements as numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow.backends.types import Array
from haarflow.core import loops
from haarflow.core.law import in_double
from haarflow.core.matrix_fields import algebra_shape


def matrix_valued(group: Any) -> bool:
    """Return whether the field's elements are matrices.

    >>> from haarflow.core.groups import U1
    >>> matrix_valued(U1())
    False
    """
    return loops.matrix_axes(group) > 0


def on_links(group: Any, field_shape: tuple[int, ...], lattice: tuple[int, ...] | None = None) -> bool:
    """Return whether a field lives on links: one element for each direction before the lattice.

    Numbers live on sites. Where the lattice is not given, the first axis of a group's field counts directions if it is as
    long as axes follow.

    >>> from haarflow.core.groups import U1
    >>> on_links(U1(), (2, 4, 4)), on_links(U1(), (4, 4)), on_links(U1(), (2, 4, 4), (2, 4, 4))
    (True, False, False)
    """
    if group.name == "Real":
        return False
    sites = len(field_shape) - loops.matrix_axes(group)
    return field_shape[0] == sites - 1 if lattice is None else sites == len(lattice) + 1


def lattice_of(group: Any, field_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lattice axes of a field's shape, by `on_links`.

    >>> from haarflow.core.sun import SU
    >>> lattice_of(SU(3, 2), (2, 3, 3, 4, 8))
    (4, 8)
    """
    return tuple(field_shape[on_links(group, tuple(field_shape)) + loops.matrix_axes(group) :])


def link_group(group: Any) -> Any:
    """Return the group that multiplies links in `core.loops`: angles are added without a wrap."""
    return group if matrix_valued(group) else loops.COVER


def components(group: Any, field_shape: tuple[int, ...]) -> int:
    """Return how many real components a field has.

    >>> from haarflow.core.sun import SU
    >>> components(SU(3, 2), (2, 3, 3, 2, 2))
    64
    """
    return math.prod(algebra_shape(group, tuple(field_shape)))


def displaced(group: Any, x: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return fields `(n, *field_shape)`: one field x moved by rows of coordinates w `(n, components)`.

    >>> from haarflow.core.groups import Real
    >>> displaced(Real(), numpy.asarray([1.0, 2.0]), numpy.asarray([[0.0, 0.5]])).tolist()
    [[1.0, 2.5]]
    """
    w = w.reshape(-1, *algebra_shape(group, x.shape))
    result: numpy.ndarray = group.update(x[None, ...], w) if matrix_valued(group) else x[None, ...] + w
    return result


def tangent_along(group: Any, x: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return the derivative of `displaced` along coordinates w `(components,)`, of the field's shape."""
    w = w.reshape(algebra_shape(group, x.shape))
    return 1j * group.compose(group.algebra(w), x) if matrix_valued(group) else w


def coordinates_of(group: Any, dy: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return the coordinates `(components,)` of a tangent dy at the field y, the inverse of `tangent_along`."""
    return (group.coordinates(-1j * group.compose(dy, group.inverse(y))) if matrix_valued(group) else dy).ravel()


def change(group: Any, a: Array, b: Array) -> numpy.ndarray:
    """Return the coordinates of a b^-1, `(*batch, *algebra_shape)`: a - b, for angles by the shorter way round."""
    one, other = in_double(a), in_double(b)
    return numpy.asarray(group.log(group.compose(one, group.inverse(other))))


def apart(group: Any, a: Array, b: Array) -> numpy.ndarray:
    """Return a - b on the host in double precision, entry by entry: angles by the shorter way round, matrices complex."""
    return in_double(a) - in_double(b) if matrix_valued(group) else change(group, a, b)
