"""The group Z(2) of Ising spins: the signs +1 and -1 as floats.

It is discrete: there is no algebra, hence no `exp`, `log`, momenta or force, and what moves fields along an algebra
(HMC, local Metropolis) asks `has_algebra`. Densities refer to the counting measure: a partition function is a plain sum
over spins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Key
from haarflow.core import random


@dataclass(frozen=True)
class Signs:
    """The signs +1 and -1 under multiplication, with the counting measure, of total mass e^`log_mass` = 2.

    >>> import numpy as np
    >>> Signs().compose(np.asarray([1.0, -1.0]), np.asarray([-1.0, -1.0])).tolist()
    [-1.0, 1.0]
    """

    name = "Signs"
    matrix_axes = 0
    log_mass = math.log(2.0)

    def compose(self, a: Array, b: Array) -> Array:
        """Return the product a b."""
        return a * b

    def quotient(self, a: Array, b: Array) -> Array:
        """Return a b^{-1} = a b."""
        return a * b

    def inverse(self, a: Array) -> Array:
        """Return the inverse, a itself."""
        return +a

    def identity(self, a: Array) -> Array:
        """Return the unit elements 1 for an array of elements."""
        return array_namespace(a).ones_like(a)

    def project(self, a: Array) -> Array:
        """Return the sign, +1 of zero."""
        one = array_namespace(a).ones_like(a)
        return array_namespace(a).where(a < 0.0, -one, one)

    def restore(self, a: Array) -> Array:
        """Return the sign of a number near +1 or -1."""
        return self.project(a)

    def haar(self, key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return independent signs, +1 and -1 with equal odds."""
        return self.project(random.uniform(key, shape, dtype) - 0.5)


def log_mass(group: Any, elements: int) -> float:
    """Return ln of the total mass of a group's measure for some elements: 0 where it is normalised, as every Haar measure is.

    >>> from haarflow.core.groups.additive import U1
    >>> round(log_mass(Signs(), 4), 6), log_mass(U1(), 4)
    (2.772589, 0.0)
    """
    return elements * float(getattr(group, "log_mass", 0.0))


def has_algebra(group: Any) -> bool:
    """Return whether a group has an algebra along which fields move: a discrete one does not.

    >>> from haarflow.core.groups.additive import U1
    >>> has_algebra(Signs()), has_algebra(U1())
    (False, True)
    """
    return hasattr(group, "algebra_normal")
