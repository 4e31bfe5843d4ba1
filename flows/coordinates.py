"""Coordinates of field variations on the host: along the algebra, dU = i w_a T_a U, or dx itself for numbers and angles.

The checks of flows use them for the number of components of a field, for displaced fields, for the coordinates of a
variation, and for differences of elements.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy

from haarflow.backends.types import Array, Group
from haarflow.core.groups.signs import has_algebra
from haarflow.core.lattice import loops
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.law import in_double


class Chart(Group, Protocol):
    """A group with coordinates along its algebra, and the matrices of algebra elements where it has matrices."""

    def log(self, a: Array) -> Array:
        """Return the coordinates w of an element exp(i w_a T_a)."""
        ...

    def algebra(self, w: Array) -> Array:
        """Return the matrices w_a T_a."""
        ...

    def coordinates(self, m: Array) -> Array:
        """Return the coordinates w of the matrices m = w_a T_a."""
        ...


def matrix_valued(group: Group) -> bool:
    """Return whether the field's elements are matrices.

    >>> from haarflow.core.groups.additive import U1
    >>> matrix_valued(U1())
    False
    """
    return group.matrix_axes > 0


def on_links(group: Group, field_shape: tuple[int, ...], lattice: tuple[int, ...] | None = None) -> bool:
    """Return whether a field lives on links: one element for each direction before the lattice.

    Numbers live on sites. Where the lattice is not given, the first axis of a group's field counts directions if it is
    as long as axes follow.

    >>> from haarflow.core.groups.additive import U1
    >>> on_links(U1(), (2, 4, 4)), on_links(U1(), (4, 4)), on_links(U1(), (2, 4, 4), (2, 4, 4))
    (True, False, False)
    """
    if group.name in ("Real", "Signs"):
        return False
    sites = len(field_shape) - group.matrix_axes
    return field_shape[0] == sites - 1 if lattice is None else sites == len(lattice) + 1


def lattice_of(group: Group, field_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lattice axes of a field's shape, by `on_links`.

    >>> from haarflow.core.groups.sun import SU
    >>> lattice_of(SU(3, 2), (2, 3, 3, 4, 8))
    (4, 8)
    """
    return tuple(field_shape[on_links(group, tuple(field_shape)) + group.matrix_axes :])


def link_group(group: Group) -> Group:
    """Return the group that multiplies links in `core.loops`: angles are added without wrapping."""
    return group if matrix_valued(group) else loops.COVER


def components(group: Group, field_shape: tuple[int, ...]) -> int:
    """Return how many real components a field has.

    >>> from haarflow.core.groups.sun import SU
    >>> components(SU(3, 2), (2, 3, 3, 2, 2))
    64
    """
    return math.prod(algebra_shape(group, tuple(field_shape)))


def displaced(group: Group, x: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return fields `(n, *field_shape)`: a field x displaced by the rows of coordinates w `(n, components)`.

    >>> from haarflow.core.groups.additive import Real
    >>> displaced(Real(), numpy.asarray([1.0, 2.0]), numpy.asarray([[0.0, 0.5]])).tolist()
    [[1.0, 2.5]]
    """
    w = w.reshape(-1, *algebra_shape(group, x.shape))
    result: numpy.ndarray = group.update(x[None, ...], w) if matrix_valued(group) else x[None, ...] + w
    return result


def tangent_along(group: Chart, x: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return the derivative of `displaced` along coordinates w `(components,)`, of the field's shape."""
    w = w.reshape(algebra_shape(group, x.shape))
    return 1j * group.compose(group.algebra(w), x) if matrix_valued(group) else w


def coordinates_of(group: Chart, dy: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return the coordinates `(components,)` of a tangent dy at the field y, the inverse of `tangent_along`."""
    return (group.coordinates(-1j * group.compose(dy, group.inverse(y))) if matrix_valued(group) else dy).ravel()


def change(group: Chart, a: Array, b: Array) -> numpy.ndarray:
    """Return the coordinates of a b^-1, `(*batch, *algebra_shape)`; a - b for numbers, modulo 2 pi for angles."""
    one, other = in_double(a), in_double(b)
    return numpy.asarray(group.log(group.compose(one, group.inverse(other))))


def apart(group: Chart, a: Array, b: Array) -> numpy.ndarray:
    """Return a - b on the host in double precision, entry by entry: angles modulo 2 pi, matrices complex."""
    plain = matrix_valued(group) or not has_algebra(group)
    return in_double(a) - in_double(b) if plain else change(group, a, b)
