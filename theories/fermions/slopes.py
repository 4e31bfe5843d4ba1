"""Slopes of a function of gauge links from its force along the group, for functions whose derivative is known in closed form.

Slopes are taken with respect to real arrays: angles, or the real and the imaginary parts of matrices and of spinors.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.groups.matrices import complex_array


def parts_of(field: Array) -> tuple[Array, ...]:
    """Return a field as real arrays: itself, or its real and imaginary part.

    >>> import numpy as np
    >>> parts_of(np.asarray([1.0 + 2.0j]))
    (array([1.]), array([2.]))
    """
    xp = array_namespace(field)
    return (xp.real(field), xp.imag(field)) if xp.isdtype(field.dtype, "complex floating") else (field,)


def joined(*parts: Array) -> Array:
    """Undo `parts_of`.

    >>> import numpy as np
    >>> joined(*parts_of(np.asarray([1.0 + 2.0j])))
    array([1.+2.j])
    """
    return complex_array(*parts) if len(parts) == 2 else parts[0]


def slopes_of(operator: Any, links: Array, force: Array) -> tuple[Array, ...]:
    """Return F for angles; for matrices the real and imaginary part of 2 i F_a T_a U, whose product with i w_a T_a U is F_a w_a.

    >>> import numpy as np
    >>> slopes_of(None, np.zeros((2, 4, 4)), np.ones((2, 4, 4)))[0].shape
    (2, 4, 4)
    """
    if force.shape == links.shape:
        return (force,)
    group = operator.group
    slope = 2j * group.compose(group.algebra(force), links)
    return parts_of(slope)
