"""SU(N) lattice gauge theory in any dimension d >= 2: Wilson's action, or improved by rectangles.

S = -(beta/N) [c0 sum_P Re tr U_P + c1 sum_R Re tr U_R],  c0 = 1 - 8 c1

over all plaquettes P and, where c1 = `rectangle` is not zero, all 1x2 and 2x1 rectangles R: c1 = -1/12 is Luescher and
Weisz's at tree level (Phys. Lett. B 158 (1985) 250), -0.331 Iwasaki's (UTHEP-118, 1983), -1.4088 DBW2 (hep-lat/9806008).
Links are matrices `(*batch, d, N, N, *lattice)`, U_mu(x) from x to x + mu, normalised Haar measure.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import LinkWeight, Local, Symmetries
from haarflow.theories.exact import sun_torus
from haarflow.theories.gauge import links as gauge
from haarflow.theories.names import wilson_name
from haarflow.theories.theory import check_field, no_subclass, number_of

RECTANGLE = (1, 2)


@final
@dataclass(frozen=True)
class SUNGauge:
    """SU(n) gauge theory on a periodic lattice, coupling `beta` >= 0, rectangles with weight `rectangle` = c1.

    A loop that closes on itself (extent 1 or 2) counts its links as `roll` does.
    Raises ValueError for a lattice with fewer than two axes or extents that are not integers >= 1, for n < 2 and for a
    rectangle that is not finite.

    >>> import numpy as np
    >>> theory = SUNGauge((4, 4), n=3)
    >>> cold = theory.group.exp(np.zeros((2, 8, 4, 4)))
    >>> cold.shape, float(theory.action(cold, {"beta": 6.0}))
    ((2, 3, 3, 4, 4), -96.0)
    """

    lattice: tuple[int, ...]
    n: int = 3
    rectangle: float = 0.0

    labels = gauge.LABELS
    symmetries = Symmetries(
        ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation"),
        tied=MappingProxyType({"polyakov": ("hypercubic",), "abs_polyakov": ("hypercubic",)}),  # to the time axis
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", gauge.lattice_of_links(self.lattice))
        object.__setattr__(self, "rectangle", float(self.rectangle))
        if not math.isfinite(self.rectangle):
            raise ValueError(f"the weight of the rectangles must be finite, got {self.rectangle}")
        SU(self.n, self.d)

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def group(self) -> SU:
        """The group of the links, SU(n) on the lattice's axes."""
        return SU(self.n, self.d)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field of links."""
        return (self.d, self.n, self.n, *self.lattice)

    @property
    def weights(self) -> tuple[float, float]:
        """(c0, c1), the weights of plaquettes and rectangles.

        >>> SUNGauge((4, 4), rectangle=-0.25).weights
        (3.0, -0.25)
        """
        return 1.0 - 8.0 * self.rectangle, self.rectangle

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return {"beta": gauge.BETA}

    @property
    def wilson(self) -> tuple[tuple[int, int], ...]:
        """The Wilson loops that `observables` measures."""
        return gauge.wilson_loops(self.lattice)

    @property
    def local(self) -> Local:
        """The action as a sum over sites, see `density`; its reach is the extent of the largest loop."""
        return Local(self.density, self._reach)

    @property
    def conditional(self) -> LinkWeight:
        """The weight of one link, see `staple` and `local_coupling`; every loop is a rectangle in a plane."""
        plaquettes_only = self.rectangle == 0.0
        return LinkWeight(self.staple, self.local_coupling, plaquettes_only, self._reach, rectangular=True)

    check = gauge.check_beta
    plaquettes = gauge.plaquettes

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for links `(*batch, d, N, N, *lattice)`.

        Raises ValueError for a wrong shape or coupling, TypeError for a wrong type or mixed backends.
        """
        beta = gauge.beta_for(self, field, couplings, over=0)
        return -beta * array_namespace(field).sum(self._weighted(field), axis=gauge.last_axes(self.d + 1))

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the terms -(beta/N) c Re tr of the loops with corner x, `(*batch, loop, *lattice)`.

        First the plaquettes in the order of `loops.planes(d)`, then the rectangles in that of `loops.rectangles`.
        """
        return -gauge.beta_for(self, field, couplings, over=self.d + 1) * self._weighted(field)

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F_mu,a(x) = (beta/N) Im tr(T_a U_mu(x) V_mu(x)), real `(*batch, d, N^2-1, *lattice)`.

        V is the sum of the staples, see `staples`.
        """
        beta, group = gauge.beta_for(self, field, couplings, over=self.d + 1), self.group
        scale = -0.5 * beta / float(self.n)  # 2 tr T_a M of the anti-Hermitian part M
        forces = [
            scale * group.coordinates(1j * group.compose(loops.direction(field, mu, self.d, group), staple))
            for mu, staple in enumerate(self.staples(field))
        ]
        return array_namespace(field).stack(forces, axis=-2 - self.d)

    def staples(self, field: Array) -> list[Array]:
        """Return V_mu(x) for every direction, each `(*batch, N, N, *lattice)`: the weighted sums of the staples.

        A plaquette is A B^+, each a product of two links; its four staples share these halves, which takes six matrix
        products per plane. The long side of a rectangle is treated as one link of twice the length.
        """
        check_field(self, field)
        links = [loops.direction(field, mu, self.d, self.group) for mu in range(self.d)]
        c0, c1 = self.weights
        sums: list[list[Array]] = [[] for _ in links]
        for mu, nu in loops.planes(self.d):
            for axis, staple in zip((mu, nu), self._around(links[mu], links[nu], mu, nu), strict=True):
                sums[axis].append(staple)
        totals = [sum(parts[1:], parts[0]) for parts in sums]
        if c1:
            long = self._rectangle_staples(links)
            totals = [c0 * total + c1 * part for total, part in zip(totals, long, strict=True)]
        return [backends.of(field).materialise(total) for total in totals]

    def staple(self, field: Array, mu: int, couplings: Couplings = None) -> Array:
        """Return V_mu(x), `(*batch, N, N, *lattice)`: the loops that contain the link add up to Re tr(U_mu(x) V_mu(x)).

        The link's conditional weight is exp((beta/N) Re tr(U V)), where no loop contains it twice: extents >= 2 across mu,
        and >= 3 everywhere with rectangles. V does not depend on the couplings.
        """
        check_field(self, field)
        total = array_namespace(field).sum(loops.staples(field, mu, self.d, self.group), axis=-self.d - 3)
        if not self.rectangle:
            return total
        c0, c1 = self.weights
        links = [loops.direction(field, nu, self.d, self.group) for nu in range(self.d)]
        return c0 * total + c1 * self._rectangle_staple(links, mu)

    def local_coupling(self, field: Array, couplings: Couplings = None) -> Any:
        """Return beta/N, a number or `(*batch, 1, ..., 1)` over the sites: the weight of `staple`."""
        return gauge.beta_for(self, field, couplings, over=self.d) / float(self.n)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return per-configuration values `(*batch,)`.

        plaquette: mean of Re tr U_P / N; wilson_RxT: mean Wilson loop Re tr / N over sites, planes and orientations;
        rectangle: the same for 1x2 where the action has them; polyakov: mean of Re tr / N of the loops closing in time;
        abs_polyakov: modulus of the mean complex one; action.
        """
        beta, xp = gauge.beta_for(self, field, couplings, over=0), array_namespace(field)
        found = {"plaquette": xp.mean(self._plaquettes(field), axis=gauge.last_axes(self.d + 1))}
        for extent in self.wilson:
            found[wilson_name(extent)] = self._mean(loops.rectangles(field, extent, self.d, self.group))
        if self.rectangle:
            found["rectangle"] = self._mean(loops.rectangles(field, RECTANGLE, self.d, self.group))
        slices = backends.of(field).unstack(loops.direction(field, 0, self.d, self.group), axis=-self.d)
        space = SU(self.n, self.d - 1)
        traces = space.trace(functools.reduce(space.compose, slices)) / float(self.n)
        real, imaginary = (
            xp.mean(part, axis=gauge.last_axes(self.d - 1)) for part in (xp.real(traces), xp.imag(traces))
        )
        found |= {"polyakov": real, "abs_polyakov": xp.sqrt(real * real + imaginary * imaginary)}
        terms = [number * found[name] for name, number in self.conjugates["beta"].items()]
        return found | {"action": beta * sum(terms[1:], terms[0])}

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What beta multiplies in the action: dS/dbeta = -c0 (plaquettes) x plaquette - c1 (rectangles) x rectangle.

        >>> SUNGauge((4, 4)).conjugates
        {'beta': {'plaquette': -16.0}}
        """
        (c0, c1), number = self.weights, float(math.prod(self.lattice) * len(loops.planes(self.d)))
        rectangles = {"rectangle": -2.0 * c1 * number} if c1 else {}
        return {"beta": {"plaquette": -c0 * number} | rectangles}

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        return ("plaquette", *(wilson_name(extent) for extent in self.wilson), "polyakov", "abs_polyakov")

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known exactly: for Wilson's action in two dimensions everything on the torus (plaquette, wilson_RxT,
        polyakov, ln_Z, ess_uniform, ess_sweep); elsewhere polyakov = 0 by the symmetry of the centre.

        >>> round(SUNGauge((4, 4), n=2).exact({"beta": 2.2})["plaquette"], 11)
        0.46448054974
        """
        beta, n, sites = number_of(self, couplings, "beta"), self.n, math.prod(self.lattice)
        if self.d > 2 or self.rectangle:
            return {"polyakov": 0.0}
        known = {"plaquette": sun_torus.plaquette(n, beta, sites)}
        known |= {wilson_name((r, t)): sun_torus.wilson_loop(n, beta, sites, r * t) for r, t in self.wilson}
        if min(self.lattice) > 1:
            known["polyakov"] = 0.0
        known["action"] = -beta * sites * known["plaquette"]
        known["ln_Z"] = sun_torus.log_z(n, beta, sites)
        known["ess_uniform"] = sun_torus.ess_uniform(n, beta, sites)
        return known | {"ess_sweep": sun_torus.ess_sweep(n, beta, sites)}

    @property
    def _reach(self) -> int:
        return 2 if self.rectangle else 1

    def _real_traces(self, matrices: Array) -> Array:
        """Re tr / N of every matrix."""
        return array_namespace(matrices).real(self.group.trace(matrices)) / float(self.n)

    def _plaquettes(self, field: Array) -> Array:
        """Re tr / N of the plaquettes, `(*batch, plane, *lattice)`: Re tr A B^+ of two sides is a sum over their entries."""
        xp, entries = array_namespace(field), (-self.d - 2, -self.d - 1)
        pairs = [loops.sides(field, mu, nu, self.d, self.group) for mu, nu in loops.planes(self.d)]
        traces = [xp.sum(xp.real(a * xp.conj(b)), axis=entries) for a, b in pairs]
        return xp.stack(traces, axis=-self.d - 1) / float(self.n)

    def _mean(self, matrices: Array) -> Array:
        """The mean of Re tr / N over loops `(*batch, loop, N, N, *lattice)`."""
        return array_namespace(matrices).mean(self._real_traces(matrices), axis=gauge.last_axes(self.d + 1))

    def _weighted(self, field: Array) -> Array:
        """c Re tr / N of every loop of the action, `(*batch, loop, *lattice)`."""
        check_field(self, field)
        c0, c1 = self.weights
        traces = self._plaquettes(field)
        if not c1:
            return traces
        long = self._real_traces(loops.rectangles(field, RECTANGLE, self.d, self.group))
        return array_namespace(field).concat([c0 * traces, c1 * long], axis=-self.d - 1)

    def _around(self, first: Array, second: Array, mu: int, nu: int, steps: int = 1) -> tuple[Array, Array]:
        """The staples of `first`, sides of `steps` links along mu, and of `second`, one link along nu, in their loops.

        With A = first second(x + steps mu) and B = second first(x + nu) the loop is A B^+.
        """
        halves = self._halves(first, second, mu, nu, steps)
        return self._of_first(second, nu, *halves), self._of_second(first, mu, steps, *halves)

    def _halves(self, first: Array, second: Array, mu: int, nu: int, steps: int) -> tuple[Array, Array, Array, Array]:
        """second(x + steps mu), first(x + nu), A^+ and B^+."""
        d, group = self.d, self.group
        far, high = shift(second, mu, d, steps), shift(first, nu, d)
        return far, high, group.inverse(group.compose(first, far)), group.inverse(group.compose(second, high))

    def _of_first(self, second: Array, nu: int, far: Array, _: Array, there: Array, back: Array) -> Array:
        return self.group.compose(far, back) + shift(self.group.compose(there, second), nu, self.d, -1)

    def _of_second(self, first: Array, mu: int, steps: int, _: Array, high: Array, there: Array, back: Array) -> Array:
        return self.group.compose(high, there) + shift(self.group.compose(back, first), mu, self.d, -steps)

    def _rectangle_staples(self, links: list[Array]) -> list[Array]:
        """The staples of every link in the 1x2 and 2x1 rectangles."""
        sums: list[list[Array]] = [[] for _ in links]
        for mu, link in enumerate(links):
            double, others = self._double(link, mu), [nu for nu in range(self.d) if nu != mu]
            around = [self._around(double, links[nu], mu, nu, steps=2) for nu in others]
            for nu, (_, short) in zip(others, around, strict=True):
                sums[nu].append(short)
            whole = sum((part for part, _ in around[1:]), around[0][0])
            sums[mu] += self._of_single(link, whole, mu)
        return [sum(parts[1:], parts[0]) for parts in sums]

    def _rectangle_staple(self, links: list[Array], mu: int) -> Array:
        """The same for the links along mu only."""
        link, found, whole = links[mu], [], []
        double = self._double(link, mu)
        for nu in (nu for nu in range(self.d) if nu != mu):
            long = self._double(links[nu], nu)
            found.append(self._of_second(long, nu, 2, *self._halves(long, link, nu, mu, 2)))
            whole.append(self._of_first(links[nu], nu, *self._halves(double, links[nu], mu, nu, 2)))
        found += self._of_single(link, sum(whole[1:], whole[0]), mu)
        return sum(found[1:], found[0])

    def _double(self, link: Array, mu: int) -> Array:
        """Two links in a row, U_mu(x) U_mu(x + mu)."""
        return self.group.compose(link, shift(link, mu, self.d))

    def _of_single(self, link: Array, whole: Array, mu: int) -> list[Array]:
        """The staples of the first and of the second link out of that of two in a row."""
        group, d = self.group, self.d
        return [group.compose(shift(link, mu, d), whole), shift(group.compose(whole, link), mu, d, -1)]
