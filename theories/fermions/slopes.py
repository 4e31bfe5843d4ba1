"""Derivatives of actions of links that are known: from a force along the group to slopes with respect to real arrays.

What training differentiates is an action of matrices or of angles; what a force gives is dS = F_a w_a for U -> exp(i w_a T_a) U.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.groups.matrices import complex_array


def parted(field: Array) -> tuple[Array, ...]:
    """Return a field as real arrays, with respect to which slopes are defined: (Re, Im) of a complex one.

    >>> import numpy as np
    >>> len(parted(np.zeros(2))), len(parted(np.zeros(2) + 0j))
    (1, 2)
    """
    xp = array_namespace(field)
    return (xp.real(field), xp.imag(field)) if xp.isdtype(field.dtype, "complex floating") else (field,)


def joined(parts: tuple[Array, ...]) -> Array:
    """Return the field of which `parted` made these arrays.

    >>> import numpy as np
    >>> joined(parted(np.asarray([1.0 + 2.0j]))).tolist()
    [(1+2j)]
    """
    return complex_array(*parts) if len(parts) == 2 else parts[0]


def link_slopes(operator: Any, links: Array, force: Array) -> tuple[Array, ...]:
    """Return the slopes of an action by the parts of its links, from its force along the operator's group.

    F for angles; for matrices the real and imaginary part of 2 i F_a T_a U, whose product with i w_a T_a U is F_a w_a.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> [part.shape for part in link_slopes(Wilson((4, 4), n=2), np.zeros((2, 2, 2, 4, 4)) + 0j, np.zeros((2, 3, 4, 4)))]
    [(2, 2, 2, 4, 4), (2, 2, 2, 4, 4)]
    """
    if force.shape == links.shape:
        return (force,)
    group = operator.group
    slope = 2j * group.compose(group.algebra(force), links)
    xp = array_namespace(slope)
    return xp.real(slope), xp.imag(slope)
