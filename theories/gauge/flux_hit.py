"""The instanton hit: a Metropolis proposal that changes the charge of U(1) in two dimensions by one, with or without fermions.

An instanton is the field of constant plaquette 2 pi/V, V = T L, and charge 1,

    theta_1(t, x) = 2 pi t/V,    theta_0(T - 1, x) = -2 pi x/L,    all other links 0.

It is added to the links, or subtracted, with equal odds. Both are translations of the links, so that volumes are kept, and
each is the other's inverse: the proposal is accepted with probability min(1, e^{-dS}), whatever the action. Local moves
change the charge across a barrier that grows with beta and freeze; the hit steps over it. Sources: Fucito and Solomon, Phys.
Lett. B134 (1984) 235; Eichhorn et al., arXiv:2210.11453, on such instanton updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key, Tree
from haarflow.core import fields, random
from haarflow.core.axes import batch_shape, per_chain, spread
from haarflow.core.chains.involution import Image, Involutive
from haarflow.core.chains.kernel import Cacheless, Repeat, State
from haarflow.core.groups.additive import U1, wrap
from haarflow.core.parts import described
from haarflow.core.spaces import Space


@dataclass(frozen=True)
class FluxHit:
    """The proposal theta -> theta + s I for a theory over the links of U(1) in two dimensions, I the instanton, s = +1 or -1.

    An `Involution` with the auxiliary variable s; `Involutive(theory, FluxHit(theory, values))` is its kernel, and
    `Cycle((hmc, FluxHits(theory, 1, values)))` alternates trajectories with hits. `values = {"couplings": {...}}` as for HMC. Raises TypeError for a
    theory of other fields.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import U1Gauge
    >>> theory = U1Gauge((4, 4))
    >>> image = FluxHit(theory).involution(backend.xp.zeros((2, 2, 4, 4)), backend.asarray([1.0, -1.0]))
    >>> theory.charge(image.field).tolist()
    [1.0, -1.0]
    """

    theory: Any
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if (why := no_flux(self.theory)) is not None:
            raise TypeError(f"a flux hit {why}: remove the hits, or take another theory")

    def with_values(self, values: Tree) -> FluxHit:
        """Return this involution with other values."""
        return replace(self, values=values)

    def auxiliary(self, key: Key, x: Array) -> Array:
        """Return the signs s, +1 or -1 with equal odds, of the batch's shape."""
        u = random.uniform(key, per_chain(key, batch_shape(self.theory, x)), fields.precision(x))
        xp = array_namespace(u)
        return xp.where(u < 0.5, xp.ones_like(u), -xp.ones_like(u))

    def involution(self, x: Array, v: Array) -> Image:
        """Return theta + s I and -s, which preserve volume."""
        flux = backends.of(x).asarray(_instanton(tuple(self.theory.lattice)), dtype=x.dtype)
        return Image(wrap(x + spread(v, 3) * flux), -v)

    def energy_change(self, x: Array, v: Array, image: Image) -> float:
        """Return 0: both signs have equal odds."""
        return 0.0


@dataclass(frozen=True)
class FluxHits(Cacheless):
    """The kernel of `hits` flux hits, one after the other; its info is `hits`, the share that was accepted.

    Raises ValueError for hits < 1.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.kernel import run
    >>> from haarflow.theories import U1Gauge
    >>> hits = FluxHits(U1Gauge((2, 2)), 3, {"couplings": {"beta": 0.0}})
    >>> run(hits, random.key(0, backend), hits.init(backend.xp.zeros((5, 2, 2, 2))), 1)[1]["info"]["hits"].tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0]]
    """

    theory: Any
    hits: int = 1
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        FluxHit(self.theory)
        if int(self.hits) != self.hits or self.hits < 1:
            raise ValueError(f"flux hits are counted by a whole number >= 1, got {self.hits!r}")

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after the hits, and `{"hits"}`."""
        hit = Involutive(self.theory, FluxHit(self.theory, self.values))
        state, info = Repeat(hit, self.hits).step(key, state)
        return state, {"hits": info["accepted"]}


def no_flux(theory: Any) -> str | None:
    """Return why a theory has no flux hits, as a clause, or None for one over the links of U(1) in two dimensions.

    >>> from haarflow.theories import Phi4, U1Gauge
    >>> no_flux(U1Gauge((4, 4))), no_flux(Phi4((4, 4)))
    (None, 'adds flux to the links of U(1) in two dimensions, which are not the field of Phi4')
    """
    offered = described(theory)
    lattice = tuple(theory.lattice)
    if len(lattice) == 2 and offered.spaces == Space(U1(), (2, *lattice)):
        return None
    return f"adds flux to the links of U(1) in two dimensions, which are not the field of {offered.name}"


def instanton(lattice: tuple[int, int]) -> list[Any]:
    """Return the links of constant plaquette 2 pi/V, nested lists of shape `(2, T, L)`.

    >>> instanton((1, 2))
    [[[-0.0, -3.141592653589793]], [[0.0, 0.0]]]
    """
    times, places = lattice
    last = [-2.0 * math.pi * x / places for x in range(places)]
    along_time = [last if t == times - 1 else [0.0] * places for t in range(times)]
    return [along_time, [[2.0 * math.pi * t / (times * places)] * places for t in range(times)]]


_instanton = lru_cache(maxsize=64)(instanton)
