"""Group manifolds of the fields: `Real` and `Complex` (scalars) and `U1` (angles).

An algebra element is A = i w_a T_a with w real; fields move by U -> exp(A) U. A group is a frozen record of pure
functions: a real field adds w, a U(1) link with angle theta adds w to theta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.groups.matrices import complex_array, precision


def wrap(theta: Array) -> Array:
    """Return the angle in [-pi, pi) that equals theta modulo 2 pi.

    >>> import numpy as np
    >>> wrap(np.asarray([3.0, 3.5, -3.5])).round(3).tolist()
    [3.0, -2.783, 2.783]
    """
    xp = array_namespace(theta)
    return theta - (2.0 * math.pi) * xp.floor(theta * (0.5 / math.pi) + 0.5)


class _Additive:
    """Methods of additive groups: elements and algebra elements are arrays of one shape and type."""

    matrix_axes = 0

    def compose(self, a: Array, b: Array) -> Array:
        """Return the group product a b."""
        return self.project(a + b)

    def inverse(self, a: Array) -> Array:
        """Return the inverse element."""
        return self.project(-a)

    def identity(self, a: Array) -> Array:
        """Return the unit elements 0 for an array of elements."""
        return array_namespace(a).zeros_like(a)

    def quotient(self, a: Array, b: Array) -> Array:
        """Return a b^{-1} by one subtraction."""
        return self.project(a - b)

    def exp(self, w: Array) -> Array:
        """Return the group element exp(i w)."""
        return self.project(w)

    def log(self, a: Array) -> Array:
        """Return the algebra coordinate w of least size with exp(i w) = a."""
        return self.project(a)

    def update(self, a: Array, w: Array) -> Array:
        """Return exp(i w) a."""
        return a + w

    def move(self, a: Array, w: Array, scale: float | Array) -> Array:
        """Return exp(i scale w) a, in one pass where the backend has such a kernel; `scale` is a number or an array."""
        return backends.of(a).axpy(scale, w, a)

    def basis(self) -> tuple[complex, ...]:
        """Return the generators T_a: a single one, equal to 1."""
        return (1.0,)

    def inner(self, v: Array, w: Array) -> Array:
        """Return the product v_a w_a per element, for v = w twice the kinetic energy density."""
        return v * w

    def zeros(self, a: Array) -> Array:
        """Return the algebra elements w = 0 for an array of elements."""
        return array_namespace(a).zeros_like(a)

    def algebra_normal(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return momenta w ~ N(0, 1) of a field's shape."""
        return random.normal(key, shape, dtype)

    def project(self, a: Array) -> Array:
        """Return the standard representative of an element."""
        return a

    def restore(self, a: Array) -> Array:
        """Return elements in standard form that deviate from it by no more than the rounding of a few updates."""
        return self.project(a)


@dataclass(frozen=True)
class Real(_Additive):
    """The real line under addition: scalar fields, measure prod d phi.

    >>> Real().compose(1.0, 2.0)
    3.0
    """

    name = "Real"

    def haar(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Raise ValueError: the real line has no normalised invariant measure."""
        raise ValueError("the real line has no normalised Haar measure: draw from a prior such as Gaussian(lattice)")


@dataclass(frozen=True)
class Complex(_Additive):
    """The complex numbers under addition: complex scalars and pseudofermions, measure prod d Re phi d Im phi.

    An algebra element is a complex w whose real and imaginary part are its two coordinates, so that a force is
    dS/d Re phi + i dS/d Im phi, and w w* is twice the kinetic energy.

    >>> Complex().compose(1.0 + 1.0j, 2.0)
    (3+1j)
    """

    name = "Complex"

    def basis(self) -> tuple[complex, ...]:
        """Return the generators: 1 and i."""
        return (1.0, 1.0j)

    def inner(self, v: Array, w: Array) -> Array:
        """Return Re(v* w) per element, for v = w twice the kinetic energy density."""
        xp = array_namespace(v, w)
        return xp.real(v) * xp.real(w) + xp.imag(v) * xp.imag(w)

    def algebra_normal(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return complex momenta of a field's shape with Re w and Im w ~ N(0, 1)."""
        drawn = random.normal(key, (*shape, 2), precision(dtype))
        return complex_array(drawn[..., 0], drawn[..., 1])

    def haar(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Raise ValueError: the complex plane has no normalised invariant measure."""
        raise ValueError("the complex plane has no normalised Haar measure: draw from a Gaussian distribution")


@dataclass(frozen=True)
class U1(_Additive):
    """U(1) by angles, normalised Haar measure d theta / 2 pi; `project` wraps to [-pi, pi).

    >>> import numpy as np
    >>> float(U1().compose(np.asarray(3.0), np.asarray(1.0)).round(6))
    -2.283185
    """

    name = "U1"

    def project(self, a: Array) -> Array:
        """Return the angle wrapped to [-pi, pi)."""
        return wrap(a)

    def haar(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return angles uniform in (-pi, pi)."""
        return (2.0 * math.pi) * (random.uniform(key, shape, dtype) - 0.5)
