"""Heat bath of Ising spins on a checkerboard, in any dimension.

Given its neighbours a spin has the weight e^{h s}, h its local field, so that it is +1 with probability 1/(1 +
e^{-2h}). Sites of one colour have no bond in common and are drawn at once. Source: Creutz, Jacobs, Rebbi, Phys. Rev. D
20 (1979) 1915.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.axes import batch_shape, per_chain
from haarflow.core.chains.heatbath_u1 import conditional_of
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.groups.matrices import precision
from haarflow.core.parts import SpinWeight


@dataclass(frozen=True)
class SpinHeatBath(Cacheless):
    """A sweep over all spins, colour by colour, of a theory whose `conditional` is a `SpinWeight`.

    `values = {"couplings": {...}}`, numbers or batch-shaped arrays; one key `(2,)` or one per chain. Two colours, or
    three where an extent is odd. Info: `flipped`, the share of the spins that changed. Raises TypeError for a theory
    without such a weight.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.kernel import run
    >>> from haarflow.theories.spins.ising import Ising
    >>> kernel = SpinHeatBath(Ising((4, 4)), {"couplings": {"beta": 20.0}})
    >>> cold = kernel.init(backend.xp.ones((3, 4, 4)))
    >>> run(kernel, random.key(0, backend), cold, 1)[1]["info"]["flipped"].tolist()
    [[0.0, 0.0, 0.0]]
    """

    theory: Any
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        conditional_of(self.theory, SpinWeight)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one sweep, and `{"flipped"}`."""
        old, lattice = state.field, tuple(self.theory.lattice)
        xp, batch = array_namespace(old), batch_shape(self.theory, old)
        weight = conditional_of(self.theory, SpinWeight)
        labels, count = site_colours(lattice)
        labels = backends.of(old).asarray(labels, dtype=xp.int32)
        u = random.uniform(key, per_chain(key, (*batch, *lattice)), precision(old))
        threshold = 0.5 * (xp.log1p(-u) - xp.log(u))  # below h with probability 1/(1 + e^{-2h})

        def one_colour(spins: Array, colour: Array) -> tuple[Array, None]:
            h, one = weight.field(spins, self.values.get("couplings")), xp.ones_like(spins)
            return xp.where(labels == colour, xp.where(threshold < h, one, -one), spins), None

        colours = xp.arange(count, dtype=xp.int32, device=backends.place(old))
        new, _ = backends.of(old).scan(one_colour, old, colours)
        flipped = xp.astype(new != old, old.dtype)
        return State(new), {"flipped": xp.mean(flipped, axis=tuple(range(-len(lattice), 0)))}


@lru_cache(maxsize=64)
def site_colours(lattice: tuple[int, ...]) -> tuple[numpy.ndarray, int]:
    """Return labels `(*lattice)` such that neighbours differ, and their number.

    The label is the sum of the coordinates mod 2, or where an extent is odd mod 3 with the last site of an odd ring
    counted as 2. The one site of a ring of extent 1 has no neighbour along it.

    >>> site_colours((2, 4))[0].tolist(), site_colours((3,))[0].tolist()
    ([[0, 1, 0, 1], [1, 0, 1, 0]], [0, 1, 2])
    """
    odd = [extent % 2 == 1 and extent > 1 for extent in lattice]
    count, labels = 3 if any(odd) else 2, numpy.zeros(lattice, dtype=numpy.int32)
    for axis, extent in enumerate(lattice):
        ring = numpy.arange(extent, dtype=numpy.int32) % 2
        if odd[axis]:
            ring[-1] = 2
        labels += ring.reshape([-1 if other == axis else 1 for other in range(len(lattice))])
    return labels % count, count
