"""The accept step of Metropolis et al. (J. Chem. Phys. 21 (1953) 1087): one coin, one comparison, one choice.

A change dH is accepted when log u < -dH for u uniform in (0, 1), with probability min(1, e^{-dH}). A NaN is never accepted.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Couplings, Key, Tree
from haarflow.core import random
from haarflow.core.axes import batch_shape, total
from haarflow.core.parts import described


def action_difference(theory: Any, new: Tree, old: Tree, couplings: Couplings = None) -> Array:
    """Return S(new) - S(old), of the batch's shape: what accept steps use.

    By the theory's own `difference`, else summed site by site of its `local` density, so that the rounding of a difference
    of two large sums does not enter, else as that difference.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> float(action_difference(Phi4((2, 2)), np.ones((2, 2)), np.zeros((2, 2)), {"m2": 1.0, "lam": 0.5}))
    6.0
    """
    offered = described(theory)
    if offered.difference is not None:
        return offered.difference(new, old, couplings)
    if offered.local is None:
        return theory.action(new, couplings) - theory.action(old, couplings)
    change = offered.local.density(new, couplings) - offered.local.density(old, couplings)
    return total(change, len(batch_shape(theory, old)))


def coins(key: Key, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
    """Return log u of uniform u in (0, 1), in a shape.

    >>> from haarflow.backends import numpy as backend
    >>> bool((coins(random.key(0, backend), (5,)) < 0).all())
    True
    """
    return log_coins(random.uniform(key, shape, dtype))


def log_coins(uniforms: Array) -> Array:
    """Return log u of uniform numbers u in (0, 1)."""
    return array_namespace(uniforms).log(uniforms)


def is_accepted(coin: Array, change: Array) -> Array:
    """Return where log u < -dH, given the coins log u and the changes dH: nowhere where dH is NaN.

    >>> import numpy as np
    >>> is_accepted(np.asarray([-0.1, -0.1, -0.1]), np.asarray([0.0, 1.0, np.nan])).tolist()
    [True, False, False]
    """
    return coin < -change


def bar(log_w: Array, coin: Array) -> Array:
    """Return T = log w - log u, under which the present log weight must lie for a proposal of weight w to be accepted.

    The same comparison as `is_accepted` with dH = (present) - log w, in a form that composes.
    """
    return log_w - coin


def without_nan(log_w: Array) -> Array:
    """Return log weights with -infinity for NaN, which is never accepted.

    >>> import numpy as np
    >>> without_nan(np.asarray([0.5, np.nan])).tolist()
    [0.5, -inf]
    """
    xp = array_namespace(log_w)
    return xp.where(xp.isnan(log_w), -math.inf, log_w)
