"""Densities averaged over images of the field: a model given the symmetries that its flow lacks, exactly.

Where the target has a group G of symmetries and a model does not, the mean of its density over the group does,

    qbar(y) = 1/|G| sum_{g in G} q(g y),

and is the density of g y for y drawn from q and g uniform in G. By convexity KL(qbar|p) <= KL(q|p), and the effective
sample size under an invariant target grows. The price is one inverse pass of the flow for each image of a draw. Where
the target has several wells that the group exchanges, a model of one of them becomes one of all, without further
training. A pair of a scalar field and staggered pseudofermions has phi -> -phi with chi(x) -> (-1)^x chi(x).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Group, Key, Tree
from haarflow.core import random
from haarflow.core.lattice import symmetries
from haarflow.core.lattice.geometry import check_divisible, shift
from haarflow.core.spaces import Pair
from haarflow.flows.coordinates import link_group, on_links

INTERNAL = ("Z2", "charge_conjugation")  # phi -> -phi, U -> U^*


@dataclass(frozen=True)
class Images:
    """The group of translations by multiples of `steps` sites along each axis, of reflections of the axes `reflected` and of
    `internal` symmetries, "Z2" (phi -> -phi) or "charge_conjugation" (U -> U^*).

    A step of 0 means no translations along that axis. Raises ValueError for negative steps, for an axis that is not one
    of them and for an unknown symmetry, and in use for a step that does not divide its extent, for a symmetry that
    fields of the group do not have, and for pairs of fields for all but Z2 of real ones, whose group is a `Pair` of groups.

    >>> Images((2, 0), (1,)).count((8, 8)), Images((0, 0), internal=("Z2",)).count((8, 8))
    (8, 2)
    """

    steps: tuple[int, ...]
    reflected: tuple[int, ...] = ()
    internal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "reflected", tuple(sorted(set(self.reflected))))
        object.__setattr__(self, "internal", tuple(dict.fromkeys(self.internal)))
        if min(self.steps, default=-1) < 0 or not set(self.reflected) <= set(range(len(self.steps))):
            raise ValueError(
                f"images take one step >= 0 for each axis and reflected axes among them, got {self.steps} and {self.reflected}"
            )
        if unknown := [name for name in self.internal if name not in INTERNAL]:
            raise ValueError(f"a density is averaged over {' or '.join(INTERNAL)}, got {unknown[0]!r:.40}")

    def count(self, lattice: tuple[int, ...]) -> int:
        """Return the number of images |G|."""
        return math.prod(map(len, self._shifts(lattice))) << len(self.reflected) + len(self.internal)

    def check(self, group: Group | Pair, lattice: tuple[int, ...]) -> None:
        """Raise ValueError for a lattice on which the translations do not act, and for a symmetry that the group does not have."""
        self._shifts(lattice)
        if isinstance(group, Pair):
            self._check_pair(group)
            return
        for name in self.internal:
            if (name == "Z2") != (group.name in ("Real", "Signs")):
                raise ValueError(f"fields of the group {group.name} have no symmetry {name}: average over another")

    def _check_pair(self, group: Pair) -> None:
        real = group.U.name == group.phi.name == "Real"
        if any(self.steps) or self.reflected or not real or self.internal != ("Z2",):
            raise ValueError(
                f"a density of pairs is averaged over Z2 of real fields alone, got {self} for {group.U.name} and {group.phi.name}"
            )

    def of(self, field: Tree, group: Group | Pair, lattice: tuple[int, ...]) -> Tree:
        """Return all images of fields `(n, *field_shape)`, the field itself first, `(image, n, *field_shape)`."""
        self.check(group, lattice)
        if isinstance(group, Pair):
            other = Pair(-field.U, _alternating(lattice, field.phi) * field.phi)
            return tree_map(lambda a, b: array_namespace(a).stack([a, b], axis=0), field, other)
        d, links = len(lattice), on_links(group, tuple(field.shape[1:]), lattice)
        turn: Callable[..., Array] = symmetries.reflect
        if links:
            turn = partial(symmetries.reflect_links, group=link_group(group))
        images = [field]
        for axis in self.reflected:
            images += [turn(image, mu=axis, d=d) for image in images]
        for _ in self.internal:
            images += [_conjugate(image) for image in images]
        return array_namespace(field).stack(
            [_moved(image, steps) for steps in itertools.product(*self._shifts(lattice)) for image in images], axis=0
        )

    def _shifts(self, lattice: tuple[int, ...]) -> list[range]:
        if len(lattice) != len(self.steps):
            raise ValueError(f"images with {len(self.steps)} steps do not act on the lattice {tuple(lattice)}")
        for axis, step in enumerate(self.steps):
            check_divisible(tuple(lattice), axis, step or 1)
        return [range(0, extent if step else 1, step or 1) for extent, step in zip(lattice, self.steps, strict=True)]


def _conjugate(field: Array) -> Array:
    """The image under an internal symmetry: -phi of real fields and of angles, the conjugate of complex ones."""
    xp = array_namespace(field)
    return xp.conj(field) if xp.isdtype(field.dtype, "complex floating") else -field


def _alternating(lattice: tuple[int, ...], like: Array) -> Array:
    """(-1)^x at each site."""
    signs = 1.0 - 2.0 * (numpy.indices(lattice).sum(axis=0) % 2)
    return backends.of(like).asarray(signs, dtype=like.dtype)


def chosen(images: Tree, key: Key, weights: tuple[float, ...] = ()) -> Tree:
    """Return one of the images of each field, `(image, n, *field_shape)` to `(n, *field_shape)`, drawn with their `weights`, by
    default uniformly.
    """
    first = leaves(images)[0]
    xp, (count, n) = array_namespace(first), first.shape[:2]
    u = random.uniform(key, (n,), "float64" if first.dtype in (xp.float64, xp.complex128) else "float32")
    index = xp.zeros_like(u, dtype=xp.int32)
    for edge in list(itertools.accumulate(weights or (1.0 / count,) * count))[:-1]:
        index = index + xp.astype(u >= edge, xp.int32)
    row = index * n + xp.arange(n, dtype=xp.int32)
    return tree_map(lambda part: xp.take(xp.reshape(part, (count * n, *part.shape[2:])), row, axis=0), images)


def _moved(field: Array, steps: tuple[int, ...]) -> Array:
    for axis, step in enumerate(steps):
        field = shift(field, axis, len(steps), -step) if step else field
    return field
