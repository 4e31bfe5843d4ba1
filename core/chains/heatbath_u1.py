"""Heat bath and over-relaxation of U(1) links in any dimension.

Given its neighbours a link has the weight exp(a cos theta + b sin theta) = exp(k cos(theta - phi)), a von Mises
distribution around phi. Draws are by rejection from the wrapped Cauchy distribution (Best and Fisher, Appl. Statist. 28
(1979) 152), acceptance 0.66 or better for every k. When all tries fail the link keeps its old value, never the last
proposal: whether they fail does not depend on the old link, so the conditional distribution stays exactly invariant.
Over-relaxation reflects theta to 2 phi - theta at equal action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.axes import batch_shape, per_chain, total
from haarflow.core.broadcasting import of_rank
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.lattice.loops import direction
from haarflow.core.parts import AngleWeight, LinkWeight, SpinWeight, check_theory, described

Weight = TypeVar("Weight", AngleWeight, LinkWeight, SpinWeight)

RECTANGLE_COLOURS = 4

Rule = Callable[[Array, Array, Array], tuple[Array, Array]]  # (theta, k, phi) -> (theta, whether it was drawn)


@dataclass(frozen=True)
class U1HeatBath(Cacheless):
    """A sweep over all links of a U(1) gauge theory, then `overrelaxation` sweeps of reflections.

    The theory offers an `AngleWeight` as its `conditional`: (a, b) of the weight exp(a cos theta_mu(x) + b sin
    theta_mu(x)). Links of one direction whose transverse neighbours stand still are drawn at once: two colours, three
    where a transverse extent is odd, four with rectangles. `values = {"couplings": {...}}`, numbers or batch-shaped
    arrays; one key `(2,)` or one per chain. Info: `failed`, the fraction of links that kept their value because all
    `tries` failed (0.34^tries at most). `backwards` visits the links in the opposite order. Raises ValueError for d < 2
    and for an extent of 1, where a link is its own staple, and for tries < 1; TypeError for a theory without such a
    weight.
    """

    theory: Any
    tries: int = 8
    overrelaxation: int = 0
    values: Any = field(default_factory=dict, compare=False)
    backwards: bool = False

    def __post_init__(self) -> None:
        conditional_of(self.theory, AngleWeight)
        check_sweeps(tuple(self.theory.lattice), self.tries, self.overrelaxation, loop_reach(self.theory))

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one heat-bath sweep and the reflections."""
        links, failed, directions = state.field, 0.0, range(len(self.theory.lattice))
        visits = [*directions, *(None for _ in range(self.overrelaxation))]
        for visit in reversed(visits) if self.backwards else visits:
            if visit is None:
                for mu in reversed(directions) if self.backwards else directions:
                    links, _ = self._sweep(links, mu, reflect)
            else:
                draw = self._von_mises_update(random.fold_in(key, visit), links)
                links, kept = self._sweep(links, visit, draw)
                failed = failed + kept
        batch = batch_shape(self.theory, links)
        return State(self.theory.group.project(links)), {"failed": failed / math.prod(links.shape[len(batch) :])}

    def reversed(self) -> U1HeatBath:
        """Return the sweep that visits the links in the opposite order: the reversal of this kernel."""
        return replace(self, backwards=not self.backwards)

    def _von_mises_update(self, key: Array, links: Array) -> Rule:
        """The heat-bath rule of one direction; its random numbers serve each link once, whatever its colour."""
        xp, lattice = array_namespace(links), tuple(self.theory.lattice)
        batch = batch_shape(self.theory, links)
        shape = per_chain(key, (*batch, *lattice))
        places = random.uniform(random.fold_in(key, 0), (self.tries, *shape), links.dtype)
        coins = random.uniform(random.fold_in(key, 1), (self.tries, *shape), links.dtype)
        tries = len(key.shape) - 1
        sine, cosine = backends.of(links).sincos(math.pi * (places - 0.5))
        tangents, logs = xp.moveaxis(sine / cosine, tries, 0), xp.moveaxis(xp.log(coins), tries, 0)

        def update(theta: Array, k: Array, phi: Array) -> tuple[Array, Array]:
            angle, found = von_mises(tangents, logs, k)
            return xp.where(found, phi + angle, theta), found

        return update

    def _sweep(self, links: Array, mu: int, rule: Rule) -> tuple[Array, Array]:
        """Apply `rule(theta, k, phi) -> (theta, found)` to all links of a direction, colour by colour."""
        xp, lattice = array_namespace(links), tuple(self.theory.lattice)
        d, batch = len(lattice), len(batch_shape(self.theory, links))
        labels, count = link_colours(lattice, mu, loop_reach(self.theory))
        labels = backends.of(links).asarray(labels, dtype=xp.int32)
        here = backends.of(links).asarray(numpy.arange(d).reshape(d, *(1,) * d) == mu)

        def one_colour(links: Array, colour: Array) -> tuple[Array, Array]:
            a, b = conditional_of(self.theory, AngleWeight).weight(links, mu, self.values.get("couplings"))
            old, active = direction(links, mu, d), labels == colour
            new, found = rule(old, xp.sqrt(a * a + b * b), xp.atan2(b, a))
            failed = total(xp.astype(of_rank(active, found.ndim) & ~found, links.dtype), batch)
            new = xp.where(active, new, old)[(..., None) + (slice(None),) * d]
            return xp.where(here, new, links), failed

        colours = xp.arange(count, dtype=xp.int32, device=backends.place(links))
        colours = xp.flip(colours) if self.backwards else colours
        links, failed = backends.of(links).scan(one_colour, links, colours)
        return links, xp.sum(failed, axis=0)


def reflect(theta: Array, k: Array, phi: Array) -> tuple[Array, Array]:
    """Return theta reflected about phi, which keeps the action, and that it succeeded."""
    return 2.0 * phi - theta, theta == theta


def von_mises(tangents: Array, logs: Array, k: Array) -> tuple[Array, Array]:
    """Return the first accepted of several draws from e^{k cos x}, and whether there was one.

    `tangents` are tan(pi (u - 1/2)) and `logs` log(u') of uniform u, u', both `(tries, *shape)`, k >= 0 `(*shape)`.
    With rho = 2k / (tau + sqrt(2 tau)), tau = 1 + sqrt(1 + 4k^2), the proposal x = 2 arctan((1-rho)/(1+rho) tan) is
    wrapped Cauchy, and it is accepted when log u' <= log c + 1 - c for
    c = (1-rho)^2 (tau + sqrt(2 tau)) / 4 + k (1 - cos x). These forms keep their digits from k = 0 to large k.

    >>> import numpy as np
    >>> angle, found = von_mises(np.asarray([[0.0], [1.0]]), np.asarray([[-0.1], [-5.0]]), np.asarray([2.0]))
    >>> angle.round(4).tolist(), found.tolist()
    ([0.6749], [True])
    """
    xp, k = array_namespace(k), k[None, ...]
    tau = 1.0 + xp.sqrt(1.0 + 4.0 * k * k)
    reach = tau + xp.sqrt(2.0 * tau)
    rho = 2.0 * k / reach
    halves = (1.0 - rho) / (1.0 + rho) * tangents
    squares = halves * halves
    c = 0.25 * (1.0 - rho) * (1.0 - rho) * reach + 2.0 * k * squares / (1.0 + squares)
    good = logs <= xp.log(c) + 1.0 - c
    half = xp.zeros_like(k[0, ...])
    for number in reversed(range(tangents.shape[0])):
        half = xp.where(good[number, ...], halves[number, ...], half)
    return 2.0 * xp.atan(half), xp.any(good, axis=0)


def conditional_of(theory: Any, kind: type[Weight]) -> Weight:
    """Return a theory's conditional weight of a kind, `AngleWeight`, `LinkWeight` or `SpinWeight`.

    Raises TypeError where it offers none of that kind.

    >>> from haarflow.theories import Phi4
    >>> conditional_of(Phi4((4, 4)), AngleWeight)
    Traceback (most recent call last):
        ...
    TypeError: a heat bath wants a theory whose `conditional` is an AngleWeight, which Phi4 does not offer: use HMC
    """
    found = described(check_theory(theory)).conditional
    if not isinstance(found, kind):
        article = "an" if kind is AngleWeight else "a"
        raise TypeError(
            f"a heat bath wants a theory whose `conditional` is {article} {kind.__name__}, which {described(theory).name} "
            "does not offer: use HMC"
        )
    return found


def loop_reach(theory: Any) -> int:
    """Return how many links the longest side of a theory's loops has, by its `conditional` weight.

    Raises ValueError for a reach beyond 1 unless the weight declares that its loops are `rectangular`, one link wide in
    a plane: bent ones want other colours.

    >>> from haarflow.theories import SUNGauge
    >>> loop_reach(SUNGauge((4, 4))), loop_reach(SUNGauge((4, 4), rectangle=-1 / 12))
    (1, 2)
    """
    weight = described(theory).conditional
    if not isinstance(weight, AngleWeight | LinkWeight) or weight.reach <= 1:
        return 1
    if not weight.rectangular:
        raise ValueError(
            f"a heat bath wants loops of one plaquette, or `rectangular` ones, got {theory} of reach {weight.reach}: "
            "use HMC"
        )
    return weight.reach


def check_sweeps(lattice: tuple[int, ...], tries: int, overrelaxation: int, reach: int = 1) -> None:
    """Raise ValueError for tries < 1, overrelaxation < 0 and a lattice without `link_colours`.

    >>> check_sweeps((4, 4), 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: a heat bath wants tries >= 1 and overrelaxation >= 0, got 0 and 1
    """
    if tries < 1 or overrelaxation < 0:
        raise ValueError(f"a heat bath wants tries >= 1 and overrelaxation >= 0, got {tries} and {overrelaxation}")
    for mu in range(len(lattice)):
        link_colours(lattice, mu, reach)


@lru_cache(maxsize=64)
def link_colours(lattice: tuple[int, ...], mu: int, reach: int = 1) -> tuple[numpy.ndarray, int]:
    """Return labels `(*lattice)` of the links along mu such that no loop holds two of one label, and their number.

    Loops are the rectangles of up to 1 x `reach` links in any plane. Reach 1: the label is the sum of the transverse
    coordinates mod 2, or where one of those extents is odd mod 3 with the last site of an odd ring counted as 2. Reach
    2: twice x_mu plus that sum mod 4, which a step of nu, 2 nu, mu or mu +- nu changes, and no other joins two links of
    a rectangle; all extents are then multiples of 4, so that none closes on itself. Raises ValueError for d < 2,
    extents of 1, for reach 2 extents that 4 does not divide, and reach > 2.

    >>> link_colours((2, 4), 0)[0].tolist(), link_colours((3, 2), 1)[0].tolist()
    ([[0, 1, 0, 1], [0, 1, 0, 1]], [[0, 0], [1, 1], [2, 2]])
    >>> link_colours((4, 4), 0, reach=2)[0].tolist()
    [[0, 1, 2, 3], [2, 3, 0, 1], [0, 1, 2, 3], [2, 3, 0, 1]]
    """
    if len(lattice) < 2 or min(lattice) < 2:
        raise ValueError(
            f"a heat bath of links wants two dimensions or more and extents >= 2, got the lattice {lattice}: with an "
            "extent of 1 a link is its own staple"
        )
    if reach > 1:
        return _rectangle_colours(lattice, mu, reach)
    transverse = [nu for nu in range(len(lattice)) if nu != mu]
    count = 3 if any(lattice[nu] % 2 for nu in transverse) else 2
    labels = numpy.zeros(lattice, dtype=numpy.int32)
    for nu in transverse:
        ring = numpy.arange(lattice[nu]) % 2
        if lattice[nu] % 2:
            ring[-1] = 2
        labels += ring.reshape([-1 if axis == nu else 1 for axis in range(len(lattice))]).astype(numpy.int32)
    return labels % count, count


def _rectangle_colours(lattice: tuple[int, ...], mu: int, reach: int) -> tuple[numpy.ndarray, int]:
    """The labels of reach 2."""
    if reach > 2:
        raise ValueError(f"a heat bath of links wants loops of up to 1x2 links, got a theory of reach {reach}: use HMC")
    if any(extent % RECTANGLE_COLOURS for extent in lattice):
        raise ValueError(
            f"a heat bath with rectangles moves links of {RECTANGLE_COLOURS} colours and wants extents that are multiples "
            f"of {RECTANGLE_COLOURS}, got the lattice {lattice}: choose such extents, or HMC"
        )
    places = numpy.indices(lattice).astype(numpy.int32)
    return (places.sum(axis=0, dtype=numpy.int32) + places[mu]) % RECTANGLE_COLOURS, RECTANGLE_COLOURS
