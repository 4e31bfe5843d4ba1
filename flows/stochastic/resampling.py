"""Resampling of populations of weighted draws, systematic, so that the mean weight stays as it is.

Of the m members of a population number i is kept n_i times with E[n_i] = m w_i / sum w: one uniform number u gives the
places (j + u)/m, j = 0 ... m - 1, in the cumulated weights. Afterwards every member has the mean weight, so that
estimates of Z stay unbiased. Source: Del Moral, Doucet, Jasra, J. R. Stat. Soc. B 68 (2006) 411; Kitagawa, J. Comput.
Graph. Stat. 5 (1996) 1.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.core import random


def running_ess(log_w: Array, population: int) -> Array:
    """Return the effective sample size of each draw's population, in (0, 1], `(n,)`; 0 where all weights are zero.

    >>> import numpy as np
    >>> running_ess(np.log(np.asarray([1.0, 1.0, 1.0, 3.0])), 2).round(6).tolist()
    [1.0, 1.0, 0.8, 0.8]
    """
    xp = array_namespace(log_w)
    w = _relative(log_w, population)
    squares = xp.sum(w * w, axis=1, keepdims=True)
    share = xp.sum(w, axis=1, keepdims=True) ** 2 / (population * xp.where(squares > 0.0, squares, 1.0 + squares))
    return xp.reshape(xp.broadcast_to(share, w.shape), (-1,))


def resampled(key: Key, x: Tree, log_w: Array, population: int, threshold: float) -> tuple[Tree, Array]:
    """Return fields `(n, ...)` and log weights with the populations resampled whose effective sample size is below a share.

    >>> import numpy as np
    >>> from haarflow.backends import numpy as backend
    >>> x, log_w = resampled(random.key(0, backend), np.arange(4.0), np.log(np.asarray([1.0, 1.0, 1e-9, 2.0])), 2, 0.6)
    >>> x.tolist(), np.exp(log_w).round(6).tolist()
    ([0.0, 1.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0])
    """
    xp, w = array_namespace(log_w), _relative(log_w, population)
    rows, m = w.shape
    total = xp.sum(w, axis=1, keepdims=True)
    total = xp.where(total > 0.0, total, xp.full_like(total, float(m)))  # a population without weight stays as it is
    edges = xp.cumulative_sum(w, axis=1) / total
    coins = random.uniform(key, (rows, 1), log_w.dtype)
    counted = xp.astype(random.indices(key, m), log_w.dtype)
    places = (counted[None, :] + coins) / m
    chosen = xp.sum(xp.astype(edges[:, None, :-1] <= places[:, :, None], xp.int32), axis=2)
    share = xp.reshape(running_ess(log_w, population), (rows, m))
    low = (share < threshold) & (share > 0.0)
    own = xp.broadcast_to(random.indices(key, m)[None, :], (rows, m))
    first = random.indices(key, rows)[:, None] * m
    ancestors = xp.reshape(first + xp.where(low, chosen, own), (-1,))
    mean = xp.log(total / m) + _top(log_w, population)
    new = xp.where(low, xp.broadcast_to(mean, (rows, m)), xp.reshape(log_w, (rows, m)))
    return tree_map(lambda part: xp.take(part, ancestors, axis=0), x), xp.reshape(new, (-1,))


def _top(log_w: Array, population: int) -> Array:
    """The largest log weight of each population, 0 where all weights are zero."""
    xp = array_namespace(log_w)
    top = xp.max(xp.reshape(log_w, (-1, population)), axis=1, keepdims=True)
    return xp.where(xp.isinf(top), xp.zeros_like(top), top)


def _relative(log_w: Array, population: int) -> Array:
    """Weights over the largest of their population, `(populations, population)`."""
    xp = array_namespace(log_w)
    return xp.exp(xp.reshape(log_w, (-1, population)) - _top(log_w, population))
