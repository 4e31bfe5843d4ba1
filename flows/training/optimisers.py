"""Adam for every backend with automatic differentiation, with optax's interface: `init(params)`, `update(grads, state, params)`.

m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  update = -lr mhat / (sqrt(vhat) + eps)  (arXiv:1412.6980, alg. 1),
optionally after clipping the gradient to a global norm (arXiv:1211.5063, alg. 1). Parameters, gradients and updates are
trees of arrays of the same shapes. On JAX any optax transform may be used instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Params, Tree


class Optimiser(Protocol):
    """What training needs from an optimiser, with optax's interface."""

    def init(self, params: Params) -> Tree:
        """Return the initial state."""
        ...

    def update(self, grads: Params, state: Tree, params: Params) -> tuple[Params, Tree]:
        """Return the updates, to be added to the parameters, and the next state."""
        ...


class AdamState(NamedTuple):
    """Step number (int32, 0-dimensional) and the running means of the gradient and of its square."""

    step: Array
    mean: Tree
    square: Tree


@dataclass(frozen=True)
class Adam:
    """Adam with gradient clipping: `rate` is a number or a schedule, `clip` the largest global norm of a gradient.

    >>> import numpy
    >>> adam, params = Adam(rate=0.1), {"a": numpy.ones(2)}
    >>> updates, state = adam.update({"a": numpy.asarray([3.0, -4.0])}, adam.init(params), params)
    >>> numpy.round(updates["a"], 6).tolist()
    [-0.1, 0.1]
    """

    rate: float | Callable[[Array], Array] = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip: float | None = None

    def init(self, params: Params) -> AdamState:
        """Return step 0 with vanishing means."""
        first = leaves(params)[0]
        xp = array_namespace(first)
        step = xp.zeros((), dtype=xp.int32, device=backends.place(first))
        zeros = tree_map(xp.zeros_like, params)
        return AdamState(step, zeros, zeros)

    def update(self, grads: Params, state: AdamState, params: Params = None) -> tuple[Params, AdamState]:
        """Return the updates and the next state."""
        if self.clip is not None:
            grads = clip_by_norm(grads, self.clip)
        mean = tree_map(lambda m, g: self.b1 * m + (1.0 - self.b1) * g, state.mean, grads)
        square = tree_map(lambda v, g: self.b2 * v + (1.0 - self.b2) * g * g, state.square, grads)
        rate, root = self._scales(state.step, leaves(grads)[0])
        sqrt = array_namespace(root).sqrt
        updates = tree_map(lambda m, v: -rate * m / (sqrt(v) / root + self.eps), mean, square)
        return updates, AdamState(state.step + 1, mean, square)

    def _scales(self, step: Array, like: Array) -> tuple[Array, Array]:
        """Return lr / (1 - b1^t) and sqrt(1 - b2^t), which contain the bias corrections."""
        xp = array_namespace(like)
        t = xp.astype(step, like.dtype)
        rate = self.rate(t) if callable(self.rate) else self.rate
        count = t + 1.0
        mean_weight = 1.0 - xp.exp(math.log(self.b1) * count) if self.b1 else 1.0
        return rate / mean_weight, xp.sqrt(1.0 - xp.exp(math.log(self.b2) * count))


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """Return parameters plus updates, leaf by leaf.

    >>> apply_updates({"a": 1.0}, {"a": 0.5})
    {'a': 1.5}
    """
    return tree_map(lambda p, u: p + u, params, updates)


def norm(tree: Tree) -> Array:
    """Return the global norm of a tree, sqrt(sum of all squares), as a 0-dimensional array.

    >>> import numpy
    >>> float(norm({"a": numpy.asarray([3.0]), "b": numpy.asarray([[4.0]])}))
    5.0
    """
    squares = [array_namespace(x).sum(x * x) for x in leaves(tree)]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return array_namespace(total).sqrt(total)


def clip_by_norm(tree: Tree, largest: float) -> Tree:
    """Return the tree scaled down to the global norm `largest` if its norm exceeds it; a norm of NaN stays NaN.

    >>> import numpy
    >>> clip_by_norm({"a": numpy.asarray([3.0, 4.0])}, 2.5)["a"].tolist()
    [1.5, 2.0]
    """
    size = norm(tree)
    xp = array_namespace(size)
    scale = xp.where(size > largest, largest / xp.where(size > largest, size, 1.0 + 0.0 * size), 1.0 + 0.0 * size)
    return tree_map(lambda x: x * scale, tree)
