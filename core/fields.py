"""Fields as trees: an array, a NamedTuple or a dict of arrays, and the operations on them that samplers take.

The `spaces` of a field have the same structure, with a `Space(group, shape)` in place of each array `(*batch, *shape)`; all
arrays of a field share the batch axes. Momenta have this structure too, one array of algebra elements for each array of
group elements. A field that is a single array gives what the functions of core/axes.py and of its group give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import CONTAINERS, flatten, leaves, tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.core import random
from haarflow.core.axes import per_chain, spread, total
from haarflow.core.groups.matrices import precision as array_precision
from haarflow.core.spaces import Space as Space
from haarflow.core.spaces import batch_shape as batch_shape
from haarflow.core.spaces import paths as paths


def map(f: Callable[..., Any], field: Tree, *others: Tree) -> Tree:
    """Apply `f` to every array of fields, momenta or spaces of the same structure.

    >>> import numpy as np
    >>> map(lambda a, b: a - b, {"phi": np.ones(2), "chi": np.ones(1)}, {"phi": np.ones(2), "chi": np.zeros(1)})
    {'chi': array([1.]), 'phi': array([0., 0.])}
    """
    return tree_map(f, field, *others)


def where(chosen: Array, new: Tree, old: Tree) -> Tree:
    """Return the new field where `chosen`, of the batch's shape, holds and the old one elsewhere.

    >>> import numpy as np
    >>> where(np.asarray([True, False]), np.ones((2, 3)), np.zeros((2, 3))).tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    xp = array_namespace(chosen)
    return tree_map(lambda a, b: xp.where(spread(chosen, b.ndim - chosen.ndim), a, b), new, old)


def axpy(a: float | Array, x: Tree, y: Tree) -> Tree:
    """Return a x + y for momenta x and y and a number or an array a of the batch's shape.

    >>> import numpy as np
    >>> axpy(np.asarray([1.0, 2.0]), np.ones((2, 2)), np.ones((2, 2))).tolist()
    [[2.0, 2.0], [3.0, 3.0]]
    """
    return tree_map(lambda p, q: backends.of(q).axpy(_beside(a, p), p, q), x, y)


def move(spaces: Tree, field: Tree, momentum: Tree, scale: float | Array) -> Tree:
    """Return exp(scale w) U for every part of a field, `scale` a number or an array of the batch's shape.

    >>> import numpy as np
    >>> from haarflow.core.groups.additive import Real
    >>> move(Space(Real(), (2,)), np.zeros((1, 2)), np.ones((1, 2)), 0.5).tolist()
    [[0.5, 0.5]]
    """
    return tree_map(lambda space, u, w: space.group.move(u, w, _beside(scale, w)), spaces, field, momentum)


def restore(spaces: Tree, field: Tree) -> Tree:
    """Return a field in the standard form of its groups after a few updates.

    >>> import numpy as np
    >>> from haarflow.core.groups.additive import U1
    >>> float(restore(Space(U1(), ()), np.asarray(3.5)).round(3))
    -2.783
    """
    return tree_map(lambda space, u: space.group.restore(u), spaces, field)


def inner(spaces: Tree, v: Tree, w: Tree) -> Array:
    """Return sum_a v_a w_a over all parts and sites, of the batch's shape: for v = w twice the kinetic energy.

    >>> import numpy as np
    >>> from haarflow.core.groups.additive import U1
    >>> inner(Space(U1(), (2, 4, 4)), np.ones((3, 2, 4, 4)), np.ones((3, 2, 4, 4))).tolist()
    [32.0, 32.0, 32.0]
    """
    if isinstance(spaces, Space):
        return _inner(spaces, v, w)
    first, *others = [_inner(*parts) for parts in zip(leaves(spaces), leaves(v), leaves(w), strict=True)]
    return sum(others, first)


def _inner(space: Space, v: Array, w: Array) -> Array:
    density = space.group.inner(v, w)  # a number for each group element
    return total(density, density.ndim - len(space.shape) + space.group.matrix_axes)


def normal(key: Key, spaces: Tree, batch: tuple[int, ...], dtype: str = "float64") -> Tree:
    """Return momenta w ~ N(0, 1) for fields of a batch, by one key `(2,)` or one key for each chain `(*batch, 2)`.

    A field of one part draws with the key itself, part i of several with `fold_in(key, i)`.
    Raises ValueError when the batch axes of the key are not the first of `batch`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.groups.additive import U1
    >>> normal(random.key(1, backend), Space(U1(), (2, 4, 4)), (3,)).shape
    (3, 2, 4, 4)
    """
    if isinstance(spaces, Space):
        return _normal(key, spaces, batch, dtype)
    every, rebuild = flatten(spaces)
    keys = part_keys(key, len(every))
    return rebuild([_normal(own, space, batch, dtype) for own, space in zip(keys, every, strict=True)])


def part_keys(key: Key, parts: int) -> list[Key]:
    """Return the keys of a field's parts: the key itself for one part, `fold_in(key, i)` for part i of several.

    >>> from haarflow.backends import numpy as backend
    >>> key = random.key(1, backend)
    >>> part_keys(key, 1)[0] is key, len(part_keys(key, 2))
    (True, 2)
    """
    return [key] if parts == 1 else [random.fold_in(key, index) for index in range(parts)]


def _normal(key: Key, space: Space, batch: tuple[int, ...], dtype: str) -> Array:
    return space.group.algebra_normal(key, per_chain(key, (*batch, *space.shape)), dtype)


def zeros(spaces: Tree, field: Tree) -> Tree:
    """Return the momenta w = 0 of a field.

    >>> import numpy as np
    >>> from haarflow.core.groups.sun import SU
    >>> zeros(Space(SU(3, 1), (1, 3, 3, 4)), np.zeros((2, 1, 3, 3, 4), dtype=complex)).shape
    (2, 1, 8, 4)
    """
    return tree_map(lambda space, u: space.group.zeros(u), spaces, field)


def precision(field: Tree) -> str:
    """Return the real precision of a field, "float64" or "float32".

    Raises ValueError when its parts have different precisions.

    >>> import numpy as np
    >>> precision({"U": np.zeros(2), "phi": np.zeros(2, dtype=complex)})
    'float64'
    """
    if not isinstance(field, CONTAINERS):
        return array_precision(field)
    each = {path: array_precision(part) for path, part in paths(field).items()}
    if len(set(each.values())) != 1:
        raise ValueError(f"a field of one precision wanted, got {each}: convert with backend.asarray(..., dtype=...)")
    return next(iter(each.values()))


def _beside(a: float | Array, x: Array) -> float | Array:
    """A number as it is, an array of the batch's shape with axes of extent one for the others of x."""
    return a if isinstance(a, (int, float)) else spread(a, x.ndim - a.ndim)
