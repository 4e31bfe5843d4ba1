"""Cluster moves of Ising spins: Swendsen and Wang, Phys. Rev. Lett. 58 (1987) 86, in any dimension.

With S = -k sum s(x) s(x+mu), bonds between equal spins are laid with probability 1 - e^{-2k}; every cluster that they
join then takes a sign of its own, +1 or -1 with equal odds. Clusters are found by passing the smallest number of a site
along the bonds until nothing changes, which takes as many passes as the longest way within a cluster is long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.axes import batch_shape, per_chain
from haarflow.core.chains.heatbath_u1 import conditional_of
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import SpinWeight, described


@dataclass(frozen=True)
class SwendsenWang(Cacheless):
    """All clusters of a configuration, each with a new sign, for a theory whose `SpinWeight` has a `bond`.

    `values = {"couplings": {...}}`, numbers or batch-shaped arrays; one key `(2,)` or one per chain. Info: `clusters`,
    their number per site. Raises TypeError for a theory whose action is no sum over bonds.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.kernel import run
    >>> from haarflow.theories.spins.ising import Ising
    >>> kernel = SwendsenWang(Ising((4, 4)), {"couplings": {"beta": 20.0}})
    >>> cold = kernel.init(backend.xp.ones((2, 4, 4)))
    >>> run(kernel, random.key(0, backend), cold, 1)[1]["info"]["clusters"].tolist()
    [[0.0625, 0.0625]]
    """

    theory: Any
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if conditional_of(self.theory, SpinWeight).bond is None:
            raise TypeError(
                f"cluster moves want an action -k sum s(x) s(x+mu), a SpinWeight with its `bond`, which "
                f"{described(self.theory).name} does not offer: use the heat bath"
            )

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after every cluster took a sign of its own, and `{"clusters"}`."""
        spins, lattice = state.field, tuple(self.theory.lattice)
        xp, d, batch = array_namespace(spins), len(lattice), batch_shape(self.theory, spins)
        shape, sites = per_chain(key, (*batch, *lattice)), math.prod(lattice)
        bond: Any = conditional_of(self.theory, SpinWeight).bond
        strength = bond(spins, self.values.get("couplings"))
        bonds = []
        for mu in range(d):
            u = random.uniform(random.fold_in(key, mu), shape, precision(spins))
            bonds.append((spins == shift(spins, mu, d)) & (xp.log(u) >= -2.0 * strength))
        labels = xp.reshape(cluster_labels(bonds, d), (*batch, sites))
        coins = random.uniform(random.fold_in(key, d), shape, precision(spins))
        own = xp.take_along_axis(xp.reshape(coins, (*batch, sites)), labels, axis=-1)
        own = xp.reshape(own, spins.shape)
        first = xp.astype(labels == _numbers(labels, (sites,)), spins.dtype)
        new = xp.where(own < 0.5, -xp.ones_like(spins), xp.ones_like(spins))
        return State(new), {"clusters": xp.mean(first, axis=-1)}


def cluster_labels(bonds: list[Array], d: int) -> Array:
    """Return the smallest number of a site in the cluster of each, `(*batch, *lattice)`, as indices.

    `bonds[mu]`, `(*batch, *lattice)` of truth values, join x and x + mu. Sites are numbered in row-major order.

    >>> import numpy as np
    >>> cluster_labels([np.asarray([True, False, False, True, False])], d=1).tolist()
    [0, 0, 2, 3, 3]
    """
    xp, lattice = array_namespace(*bonds), tuple(bonds[0].shape[-d:])
    labels = xp.broadcast_to(_numbers(bonds[0], lattice), bonds[0].shape)

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        old, new = state[0], state[0]
        for mu, joined in enumerate(bonds):
            new = xp.where(joined, xp.minimum(new, shift(new, mu, d)), new)
            behind, from_behind = shift(joined, mu, d, -1), shift(new, mu, d, -1)
            new = xp.where(behind, xp.minimum(new, from_behind), new)
        return new, xp.any(new != old)

    return backends.of(bonds[0]).while_loop(lambda state: state[1], spread, (labels, xp.any(labels >= 0)))[0]


def _numbers(like: Array, shape: tuple[int, ...]) -> Array:
    """The numbers of sites, of the integer type that the array library takes as indices."""
    xp = array_namespace(like)
    return xp.reshape(xp.arange(math.prod(shape), device=backends.place(like)), shape)
