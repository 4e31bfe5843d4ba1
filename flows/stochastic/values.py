"""Numbers of a protocol as arrays of one backend, and the couplings of a step put into the values of its kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import flatten, tree_map
from haarflow.backends.types import Couplings, Key, Tree
from haarflow.core.laws.law import to_host


def on_backend(tree: Tree, key: Key, dtype: str = "float64") -> Tree:
    """Return numbers and arrays as arrays of one precision on the key's backend.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> on_backend({"beta": 2}, random.key(0, backend))
    {'beta': array(2.)}
    """
    backend = backends.of(key)
    return tree_map(lambda leaf: backend.asarray(to_host(leaf).astype(dtype), dtype=dtype), tree)


def stacked(trees: list[Tree]) -> Tree:
    """Return host trees of the same form as one, the leaves stacked on axis 0.

    >>> stacked([{"c": 1.0}, {"c": 2.0}])
    {'c': array([1., 2.])}
    """
    return tree_map(lambda *leaves: numpy.stack([to_host(leaf).astype("float64") for leaf in leaves]), *trees)


def flat_numbers(tree: Tree) -> numpy.ndarray:
    """Return the numbers of all leaves in one row, in double precision on the host.

    >>> flat_numbers({"a": numpy.ones((2, 1)), "b": numpy.asarray(3.0)}).tolist()
    [1.0, 1.0, 3.0]
    """
    rows = [to_host(leaf).astype("float64").reshape(-1) for leaf in flatten(tree)[0]]
    return numpy.concatenate(rows)


def with_numbers(tree: Tree, numbers: numpy.ndarray) -> Tree:
    """Undo `flat_numbers`: return a tree like the given one, its numbers in arrays of the same shapes, types and backend.

    >>> with_numbers({"a": numpy.ones((2, 1)), "b": numpy.asarray(3.0)}, numpy.asarray([5.0, 6.0, 7.0]))
    {'a': array([[5.],
           [6.]]), 'b': array(7.)}
    """
    leaves, rebuild = flatten(tree)
    pieces = numpy.split(numbers, numpy.cumsum([math.prod(leaf.shape) for leaf in leaves])[:-1])
    return rebuild(
        [
            backends.of(leaf).asarray(piece.reshape(leaf.shape), dtype=leaf.dtype)
            for piece, leaf in zip(pieces, leaves, strict=True)
        ]
    )


def at_couplings(values: Any, couplings: Couplings) -> Any:
    """Return the values of a kernel, or of a cycle of them, at other couplings.

    >>> at_couplings(({"couplings": {"beta": 1.0}, "step_size": 0.1}, {}), {"beta": 2.0})
    ({'couplings': {'beta': 2.0}, 'step_size': 0.1}, {'couplings': {'beta': 2.0}})
    """
    if isinstance(values, tuple):
        return tuple(at_couplings(own, couplings) for own in values)
    return {**(values if isinstance(values, Mapping) else {}), "couplings": dict(couplings or {})}
