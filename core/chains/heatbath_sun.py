"""Heat bath and over-relaxation of SU(N) links in any dimension, by SU(2) subgroups.

A link has the conditional weight exp(b Re tr(U V)), V the sum of its staples. An element g of the subgroup of rows i < j
moves U to g U (Cabibbo and Marinari, Phys. Lett. B 119 (1982) 387); of the block (i, j) of U V it feels the quaternion
q = |q| v alone, b Re tr(g U V) = k h_0 + const with h = g v and k = 2 b |q|. So h_0 has the density

    sqrt(1 - h_0^2) e^{k h_0},    the vector part of h is uniform on its sphere,    g = h v^+.

h_0 by rejection: 1 - h_0 = -(ln u_1 + cos^2(2 pi u_2) ln u_3)/k, kept with probability sqrt((1 + h_0)/2) (Kennedy and
Pendleton, Phys. Lett. B 156 (1985) 393) where k >= 1.7; below, 1 - h_0 = -ln(1 - (1 - u_1)(1 - e^{-2k}))/k, kept with
probability sqrt(1 - h_0^2) (Creutz, Phys. Rev. D 21 (1980) 2308): 0.7 or more are kept at every k. When all tries fail,
the subgroup's step is left out, never is the last proposal taken: whether they fail does not depend on the old link, so
the conditional distribution stays exactly invariant. Over-relaxation takes h = v^+, at equal action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.acceleration import kernels_of
from haarflow.core.axes import batch_shape, per_chain, total
from haarflow.core.broadcasting import of_rank
from haarflow.core.chains.heatbath_u1 import check_sweeps, conditional_of, link_colours, loop_reach
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.groups import matrices
from haarflow.core.lattice import evenodd
from haarflow.core.lattice.loops import direction
from haarflow.core.parts import LinkWeight, described

Rule = Callable[[int, Array, list[Array]], tuple[list[Array], Array]]

SMALL = 1.7  # below this k Creutz's proposal is the better one
FLOOR = 1e-30  # k is at least this, where its density has long been that of k = 0
NUMBERS = 4  # uniform numbers of one try


@dataclass(frozen=True)
class SUNHeatBath(Cacheless):
    """A heat-bath sweep over all links of an SU(N) gauge theory, then `overrelaxation` sweeps of reflections.

    The theory offers a `LinkWeight` as its `conditional`: V and b of the weight exp(b Re tr(U V)). Where it says
    `plaquettes_only` and all extents are even, links of one direction on even, then on odd sites are drawn at once, and
    nothing is computed for the others; elsewhere the colours of `heatbath.link_colours` are, four where there are
    rectangles. `sweep(kernel, key, links, coupling)` moves the links: None for the compiled kernel of `accelerated(theory)`
    where there is one, `SUNHeatBath.by_arrays` for array code. `values = {"couplings": {...}}`, numbers or batch-shaped
    arrays; one key `(2,)` or one per chain. Info: `failed`, the fraction of subgroup steps left out because all `tries`
    failed (0.3^tries at most). `backwards` visits the links and their subgroups in the opposite order, by array code. Raises ValueError for d < 2, an extent of 1, where a link is its own staple, tries < 1,
    with rectangles for extents that 4 does not divide, and for the loops that `heatbath.loop_reach` refuses; TypeError for
    a theory without such a weight.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import SUNGauge
    >>> kernel = SUNHeatBath(SUNGauge((4, 4), n=3), values={"couplings": {"beta": 6.0}})
    >>> cold = kernel.theory.group.exp(backend.xp.zeros((2, 8, 4, 4)))
    >>> state, info = kernel.step(random.key(0, backend), kernel.init(cold))
    >>> state.field.shape, bool(info["failed"] < 0.01)
    ((2, 3, 3, 4, 4), True)
    """

    theory: Any
    tries: int = 4
    overrelaxation: int = 0
    values: Any = field(default_factory=dict, compare=False)
    sweep: Callable[..., tuple[Array, Array]] | None = None
    backwards: bool = False

    def __post_init__(self) -> None:
        conditional_of(self.theory, LinkWeight)
        check_sweeps(tuple(self.theory.lattice), self.tries, self.overrelaxation, loop_reach(self.theory))

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one heat-bath sweep and the reflections."""
        links, theory = state.field, self.theory
        coupling = self.weight.strength(links, self.values.get("couplings"))
        links, failed = (swept if self.sweep is None else self.sweep)(self, key, links, coupling)
        steps = len(theory.group.subgroups) * len(theory.lattice) * math.prod(theory.lattice)
        return State(links), {"failed": failed / steps}

    def reversed(self) -> SUNHeatBath:
        """Return the sweep in the opposite order, of links and of their subgroups: the reversal of this kernel."""
        return replace(self, backwards=not self.backwards)

    @property
    def weight(self) -> LinkWeight:
        """The theory's conditional weight of a link, of the right kind since the kernel was made."""
        return cast(LinkWeight, described(self.theory).conditional)

    def by_arrays(self, key: Array, links: Array, coupling: Any) -> tuple[Array, Array]:
        """Return links in standard form after the sweeps and how many subgroup steps failed, `(*batch,)`."""
        theory = self.theory
        packed = evenodd.packable(tuple(theory.lattice)) and self.weight.plaquettes_only
        links, failed = (self._packed if packed else self._coloured)(key, links, coupling)
        return theory.group.restore(links), failed

    def _visits(self) -> list[tuple[int, int]]:
        """The sweeps, of which the first draws and all others reflect, with their directions mu, in the order of this kernel."""
        visits = [(sweep, mu) for sweep in range(1 + self.overrelaxation) for mu in range(len(self.theory.lattice))]
        return visits[::-1] if self.backwards else visits

    def _numbers(self, key: Array, mu: int, visits: int, shape: tuple[int, ...], links: Array) -> Array:
        """The uniform numbers of all visits to links along mu, `(visits, subgroup, number, *shape)`.

        They are drawn ahead of the loop that uses them: inside, a compiler would draw some of them many times over.
        """
        share, subgroups = per_chain(key, shape), len(self.theory.group.subgroups)
        drawn = (visits, subgroups, NUMBERS * self.tries + 2, *share)
        u = random.uniform(random.fold_in(key, mu), drawn, matrices.precision(links))
        chains = key.ndim - 1
        return array_namespace(u).moveaxis(u, (chains, chains + 1, chains + 2), (0, 1, 2)) if chains else u

    def _packed(self, key: Array, links: Array, coupling: Any) -> tuple[Array, Array]:
        """Sweep over even, then odd links of each direction; backwards odd links come first."""
        lattice, group, batch = tuple(self.theory.lattice), self.theory.group, batch_shape(self.theory, links)
        xp, d = array_namespace(links), len(lattice)
        left, order = evenodd.masks(links, lattice), slice(None, None, -1 if self.backwards else 1)
        left = xp.flip(left, axis=0) if self.backwards else left
        failed = xp.zeros(batch, dtype=xp.real(links).dtype, device=backends.place(links))
        halves = tuple(
            tuple(direction(half, mu, d, group) for mu in range(d)) for half in evenodd.split(links, lattice)
        )

        def both(halves: Any, mu: int, numbers: Any) -> tuple[Any, Array]:
            def one(halves: Any, visit: Any) -> tuple[Any, Array]:
                (here, there), (mask, u) = halves, visit
                staples = evenodd.staple(here, there, mu, group, mask)
                new, missed = subgroup_steps(here[mu], staples, group, _rule(u, coupling), self.backwards)
                return (there, (*here[:mu], new, *here[mu + 1 :])), total(missed, len(batch))

            return backends.of(links).scan(one, halves, (left, numbers))

        halves = halves[order]
        for sweep, mu in self._visits():
            half = (*batch, *lattice[:-1], lattice[-1] // 2)
            halves, missed = both(halves, mu, None if sweep else self._numbers(key, mu, 2, half, links))
            failed = failed + xp.sum(missed, axis=0)
        even, odd = (xp.stack(half, axis=-d - 3) for half in halves[order])
        return evenodd.merge(even, odd, lattice), failed

    def _coloured(self, key: Array, links: Array, coupling: Any) -> tuple[Array, Array]:
        """Sweep over the colours of each direction; what is computed for the other colours is dropped."""
        lattice, group, batch = tuple(self.theory.lattice), self.theory.group, batch_shape(self.theory, links)
        xp, backend, d = array_namespace(links), backends.of(links), len(lattice)
        failed = xp.zeros(batch, dtype=xp.real(links).dtype, device=backends.place(links))

        def colours(links: Array, mu: int, numbers: Any) -> tuple[Array, Array]:
            table, count = link_colours(lattice, mu, loop_reach(self.theory))
            labels = backend.asarray(table, dtype="int32")
            here = backend.asarray(numpy.arange(d).reshape(d, *(1,) * (d + 2)) == mu)

            def one(links: Array, visit: Any) -> tuple[Array, Array]:
                colour, u = visit
                active = of_rank(labels == colour, here.ndim)
                staples = self.weight.staple(links, mu, self.values.get("couplings"))
                old, rule = direction(links, mu, d, group), _rule(u, coupling)
                new, missed = subgroup_steps(old, staples, group, rule, self.backwards)
                moved = xp.where(here & active, new[(..., None) + (slice(None),) * (d + 2)], links)
                return moved, total(xp.where(active, missed, xp.zeros_like(missed)), len(batch))

            order = xp.arange(count, dtype=xp.int32, device=backends.place(links))
            return backend.scan(one, links, (xp.flip(order) if self.backwards else order, numbers))

        for sweep, mu in self._visits():
            visits = link_colours(lattice, mu, loop_reach(self.theory))[1]
            numbers = None if sweep else self._numbers(key, mu, visits, (*batch, *lattice), links)
            links, missed = colours(links, mu, numbers)
            failed = failed + xp.sum(missed, axis=0)
        return links, failed


def swept(kernel: SUNHeatBath, key: Array, links: Array, coupling: Any) -> tuple[Array, Array]:
    """Return what `by_arrays` does, by the theory's compiled kernel where it serves these arrays; it has no way backwards."""
    if kernel.backwards:
        return kernel.by_arrays(key, links, coupling)
    words = coupling, kernel.tries, kernel.overrelaxation, kernel.by_arrays
    found = kernels_of(kernel.theory).sweep(key, links, *words)
    return kernel.by_arrays(key, links, coupling) if found is None else found


def _rule(u: Any, coupling: Any) -> Rule:
    """How subgroups move in one visit: by the heat bath with these numbers, by reflection where there are none."""
    if u is None:
        return reflection
    return lambda place, size, unit: heat_bath(u[place, ...], 2.0 * coupling * size, unit)


def subgroup_steps(
    links: Array, staples: Array, group: Any, rule: Rule, backwards: bool = False
) -> tuple[Array, Array]:
    """Return links moved through every SU(2) subgroup in turn, the last one first if `backwards`, and how many steps were left out.

    `links` and `staples` are `(*batch, N, N, *lattice)`; `rule(place, |q|, v) -> (g, found)` gives the quaternion g that
    multiplies the rows of subgroup number `place`, where the block of U V is q = |q| v.
    """
    d = group.d
    u, m = matrices.entries(links, d), matrices.entries(group.compose(links, staples), d)
    xp, missed = array_namespace(links), 0.0
    for place in range(len(group.subgroups))[:: -1 if backwards else 1]:
        i, j = group.subgroups[place]
        size, unit = _unit_quaternion(m[i][i], m[i][j], m[j][i], m[j][j])
        parts, found = rule(place, size, unit)
        g = xp.stack([xp.where(found, part, float(k == 0) * xp.ones_like(part)) for k, part in enumerate(parts)])
        g = backends.of(links).materialise(g)
        first, second = (matrices.complex_array(g[k, ...], g[l, ...]) for k, l in ((0, 3), (2, 1)))
        u[i], u[j] = _rotated(u[i], u[j], first, second)
        m[i], m[j] = _rotated(m[i], m[j], first, second)
        missed = missed + xp.astype(~found, size.dtype)
    return matrices.assemble(u, d), missed


def heat_bath(u: Array, k: Array, unit: list[Array]) -> tuple[list[Array], Array]:
    """Return g = h v^+ with h drawn from sqrt(1 - h_0^2) e^{k h_0}, and where one of the tries succeeded.

    `u` holds uniform numbers `(4 tries + 2, *shape)`, k >= 0 is `(*shape)`, `unit` the four parts of v.
    """
    drop, found = one_minus_cosine(u[2:, ...], k)
    xp = array_namespace(k)
    cosine = 1.0 - drop
    radius = xp.sqrt(xp.where(found, drop * (1.0 + cosine), xp.zeros_like(drop)))
    height = 2.0 * u[0, ...] - 1.0
    sine_of, cosine_of = backends.of(k).sincos((2.0 * math.pi) * u[1, ...])
    flat = radius * xp.sqrt(1.0 - height * height)
    return divided([cosine, flat * cosine_of, flat * sine_of, radius * height], unit), found


def one_minus_cosine(u: Array, k: Array) -> tuple[Array, Array]:
    """Return the first accepted of several draws of 1 - h_0, density sqrt(1 - h_0^2) e^{k h_0}, and whether there is one.

    `u` holds four uniform numbers a try, `(4 tries, *shape)`, k >= 0 is `(*shape)`.

    >>> import numpy as np
    >>> drop, found = one_minus_cosine(np.asarray([[0.5], [0.25], [0.5], [0.1]]), np.asarray([4.0]))
    >>> drop.round(6).tolist(), found.tolist()
    ([0.173287], [True])
    """
    xp = array_namespace(k)
    k = xp.where(k > FLOOR, k, FLOOR * xp.ones_like(k))
    small = k < SMALL
    cut = xp.where(small, -xp.expm1(-2.0 * k), xp.ones_like(k))
    turns = xp.where(small, xp.zeros_like(k), xp.ones_like(k))
    drop, found = xp.zeros_like(k), k < 0.0
    for first in range(0, u.shape[0], NUMBERS):
        cosine = backends.of(k).sincos((2.0 * math.pi) * u[first + 1, ...])[1]
        tail = turns * (cosine * cosine) * xp.log(u[first + 2, ...])
        proposal = -(xp.log1p(-(1.0 - u[first, ...]) * cut) + tail) / k
        level = (2.0 - proposal) * xp.where(small, proposal, 0.5 * xp.ones_like(k))
        good = u[first + 3, ...] ** 2 <= level
        drop, found = xp.where(found | ~good, drop, proposal), found | good
    return drop, found


def reflection(place: int, size: Array, unit: list[Array]) -> tuple[list[Array], Array]:
    """Return g = v^+ v^+, which turns h = v into v^+ at equal action, and that it succeeded."""
    return reflected(unit), size >= 0.0


def reflected(v: list[Any]) -> list[Any]:
    """v^+ v^+ of a unit quaternion."""
    turn = -2.0 * v[0]
    return [2.0 * v[0] * v[0] - 1.0, *(turn * part for part in v[1:])]


def _unit_quaternion(a: Array, b: Array, c: Array, e: Array) -> tuple[Array, list[Array]]:
    """|q| and q/|q| of a block's entries (a, b; c, e), as in `SU.quaternion`; the unit quaternion where q = 0."""
    xp = array_namespace(a)
    parts = [0.5 * part for part in (xp.real(a + e), xp.imag(b + c), xp.real(b - c), xp.imag(a - e))]
    size = xp.sqrt(sum(part * part for part in parts))
    there = size > 0.0
    safe = xp.where(there, size, xp.ones_like(size))
    first = xp.where(there, parts[0] / safe, xp.ones_like(size))
    return size, [first, *(part / safe for part in parts[1:])]


def divided(h: list[Any], v: list[Any]) -> list[Any]:
    """h v^+ of quaternions h_0 + i h.sigma."""
    return [
        h[0] * v[0] + h[1] * v[1] + h[2] * v[2] + h[3] * v[3],
        v[0] * h[1] - h[0] * v[1] + (h[2] * v[3] - h[3] * v[2]),
        v[0] * h[2] - h[0] * v[2] + (h[3] * v[1] - h[1] * v[3]),
        v[0] * h[3] - h[0] * v[3] + (h[1] * v[2] - h[2] * v[1]),
    ]


def _rotated(upper: list[Array], lower: list[Array], a: Array, b: Array) -> tuple[list[Array], list[Array]]:
    """Two rows multiplied by (a, b; -b^*, a^*)."""
    xp = array_namespace(a)
    c, e = -xp.conj(b), xp.conj(a)
    pairs = list(zip(upper, lower, strict=True))
    return [a * x + b * y for x, y in pairs], [c * x + e * y for x, y in pairs]
