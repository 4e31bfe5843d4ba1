"""What the laws of Dirac operators share: products as one program, inner products of rows, and how much rounding to expect."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.law import EPSILON, at_once, in_double, largest

ROUNDING = "16 roundings for each term of a hop, of the largest number"
SUMMED = "16 roundings for each term of a hop and of the sum"


def run(function: Callable[..., Any], operator: Any, field: Array, *arrays: Array) -> Any:
    """Return `function(links, *arrays)` on the prepared links of a field, as one program.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> run(lambda links, x: links.shape, Wilson((2, 2)), numpy.ones((3, 2, 2, 2)), numpy.ones(1))
    (3, 4, 4)
    """
    return at_once(lambda field, *arrays: function(operator.prepare(field), *arrays), field, *arrays)


def applied(operator: Any, kappa: float, field: Array, psi: Array) -> Array:
    """Return D psi.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> applied(Wilson((2, 2)), 0.0, numpy.ones((2, 2, 2)), numpy.ones((2, 2, 2)) + 0j).real.sum()
    np.float64(8.0)
    """
    return run(lambda links, x: operator.apply(links, kappa, x), operator, field, psi)


def like(x: Array, host: Any) -> Array:
    """Return host numbers on the backend and in the type of an array.

    >>> like(numpy.ones(1, dtype="complex64"), [1.0]).dtype
    dtype('complex64')
    """
    return backends.of(x).asarray(numpy.asarray(host), dtype=x.dtype)


def inner(x: Array, y: Array) -> numpy.ndarray:
    """Return the products x^+ y of rows, in double precision.

    >>> inner(numpy.asarray([[1j, 1.0]]), numpy.asarray([[1j, 2.0]])).tolist()
    [(3+0j)]
    """
    a, b = in_double(x), in_double(y)
    result: numpy.ndarray = (a.conj() * b).reshape(len(a), -1).sum(axis=1)
    return result


def overlap(x: Array, y: Array) -> float:
    """Return the largest sum over a row of |x| times the largest |y|, and no less than 1.

    >>> overlap(numpy.asarray([[1.0, -2.0]]), numpy.asarray([[3.0, 0.0]]))
    9.0
    """
    a, b = (numpy.abs(in_double(z)).reshape(z.shape[0], -1) for z in (x, y))
    return float(numpy.max(a.sum(axis=1) * b.max(axis=1), initial=1.0))


def colours(operator: Any) -> int:
    """Return N, 1 where links are numbers.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> colours(Wilson((2, 2))), colours(Wilson((2, 2), n=3))
    (1, 3)
    """
    return int(operator.group.n) if operator.group.matrix_axes else 1


def generator_norm(operator: Any) -> float:
    """Return a bound of the norm of w_a T_a for coordinates of size 1.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> generator_norm(Wilson((2, 2))), generator_norm(Wilson((2, 2), n=3))
    (1.0, 2.0)
    """
    return math.sqrt(0.5 * operator.group.dim) if operator.group.matrix_axes else 1.0


def terms(operator: Any) -> int:
    """Return the products in one component of a hop: a link's row times two spins, in both directions of every axis.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> terms(Wilson((2, 2), n=3))
    24
    """
    return 4 * len(operator.lattice) * colours(operator)


def digits_lost(operator: Any, field: Array) -> float:
    """Return the factor by which large angles are less precise than small ones.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> digits_lost(Wilson((2, 2)), numpy.asarray([600.0]))
    600.0
    """
    return 1.0 if operator.group.matrix_axes else max(1.0, largest(field))


def rounding(operator: Any, *spinors: Array) -> float:
    """Return ROUNDING.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> rounding(Wilson((2, 2)), numpy.ones(2) + 0j) == 16 * 8 * 2.0**-52
    True
    """
    return 16 * terms(operator) * EPSILON[precision(spinors[0])] * max(1.0, *map(largest, spinors))


def rounding_of_sums(operator: Any, x: Array, y: Array) -> float:
    """Return SUMMED, for products of the rows of two spinors.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> rounding_of_sums(Wilson((2, 2)), numpy.ones((1, 4)), numpy.ones((1, 4))) == 4 * 16 * 8 * 2.0**-52
    True
    """
    return 16 * terms(operator) * EPSILON[precision(x)] * max(1.0, overlap(x, y))


def rotated(operator: Any, sites: Array, psi: Array) -> numpy.ndarray:
    """Return g psi in double precision, for group elements `(batch, [N, N,] *lattice)`.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> rotated(Wilson((2, 2)), numpy.zeros((1, 2, 2)), numpy.ones((1, 2, 2, 2))).shape
    (1, 2, 2, 2)
    """
    g, x, d = in_double(sites), in_double(psi), len(operator.lattice)
    own = len(operator.spinor_shape) - d  # the axes before the lattice: spin, colour
    if not operator.group.matrix_axes:
        return numpy.asarray(numpy.exp(1j * g).reshape(len(g), *(1,) * own, *operator.lattice) * x)
    spins = x.reshape(len(x), -1, colours(operator), math.prod(operator.lattice))
    turned = numpy.einsum("bijx,bsjx->bsix", g.reshape(len(g), *(colours(operator),) * 2, -1), spins)
    return numpy.asarray(turned.reshape(x.shape))
