"""U(1) lattice gauge theory with Wilson's action in any dimension d >= 2.

S = -beta sum_P cos theta_P, theta_P = theta_mu(x) + theta_nu(x+mu) - theta_mu(x+nu) - theta_nu(x)

Links are angles `(*batch, d, *lattice)`, theta_mu(x) from x to x + mu, normalised Haar measure d theta / 2 pi. In two
dimensions the charge Q = (1/2pi) sum_P wrap(theta_P) is an integer on every configuration (arXiv:2003.06413,
eq. 12 and 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, final

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.additive import U1, wrap
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import AngleWeight, Local, Symmetries
from haarflow.theories.exact import u1_torus
from haarflow.theories.gauge import links
from haarflow.theories.names import wilson_name
from haarflow.theories.theory import Derived, check_field, no_subclass, number_of


@final
@dataclass(frozen=True)
class U1Gauge:
    """Compact U(1) on a periodic lattice, coupling `beta` >= 0.

    A loop that closes on itself (extent 1 or 2) counts its links as `roll` does.
    Raises ValueError for a lattice with fewer than two axes or extents that are not integers >= 1.

    >>> import numpy as np
    >>> float(U1Gauge((4, 4)).action(np.zeros((2, 4, 4)), {"beta": 2.0}))
    -32.0
    """

    lattice: tuple[int, ...]

    group = U1()
    labels = links.LABELS
    symmetries = Symmetries(
        ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation"),
        odd=MappingProxyType(
            {"Q": ("reflection", "hypercubic", "charge_conjugation"), "flux": ("charge_conjugation",)}
        ),
        tied=MappingProxyType(
            {
                "polyakov": ("hypercubic",),  # to the time axis
                "abs_polyakov": ("hypercubic",),
                "flux": ("reflection", "hypercubic"),  # to its planes
                "flux2": ("hypercubic",),
            }
        ),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", links.lattice_of_links(self.lattice))

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field of links."""
        return (self.d, *self.lattice)

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return {"beta": links.BETA}

    @property
    def wilson(self) -> tuple[tuple[int, int], ...]:
        """The Wilson loops that `observables` measures."""
        return links.wilson_loops(self.lattice)

    @property
    def local(self) -> Local:
        """The action as a sum over sites, see `density`."""
        return Local(self.density, reach=1)

    @property
    def conditional(self) -> AngleWeight:
        """The weight of one link, see `local_weight` and `staple`."""
        return AngleWeight(self.local_weight, self.staple)

    check = links.check_beta
    plaquettes = links.plaquettes

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for links `(*batch, d, *lattice)`.

        Raises ValueError for a wrong shape or coupling, TypeError for a wrong type or mixed backends.
        """
        beta = links.beta_for(self, field, couplings, over=0)
        cosine = backends.of(field).materialise(self._cosine(field))  # XLA does not vectorise a cosine fused into a sum
        return -beta * array_namespace(field).sum(cosine, axis=links.last_axes(self.d + 1))

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -beta cos theta_P, `(*batch, plane, *lattice)` in the order of `loops.planes(d)`."""
        cosine = self._cosine(field)
        return -links.beta_for(self, field, couplings, over=self.d + 1) * cosine

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F_mu(x) = beta sum_{nu != mu} [sin theta_{mu nu}(x) - sin theta_{mu nu}(x - nu)], shaped as the links.

        The sine of each plaquette is computed once and used by the links that share it; beta is multiplied last, so that a
        compiler that fuses the shifts with their operands does not compute it again.
        """
        beta = links.beta_for(self, field, couplings, over=self.d + 1)
        parts: list[list[Array]] = [[] for _ in range(self.d)]
        for mu, nu in loops.planes(self.d):
            sine = backends.of(field).sin(loops.plaquette(field, mu, nu, self.d))
            parts[mu].append(sine - shift(sine, nu, self.d, -1))
            parts[nu].append(shift(sine, mu, self.d, -1) - sine)
        return beta * array_namespace(field).stack([sum(part[1:], part[0]) for part in parts], axis=-1 - self.d)

    def staple(self, field: Array, mu: int) -> tuple[Array, Array]:
        """Return (Re A, Im A), each `(*batch, *lattice)`: A(x) = sum of e^{i angle} over the staples of links along mu.

        The plaquettes that contain the link theta sum to Re(e^{i theta} A), so its conditional weight is
        exp(beta Re(e^{i theta} A)). Needs extents >= 2 across mu, where no plaquette contains the link twice.
        """
        check_field(self, field)
        sine, cosine = backends.of(field).sincos(loops.staples(field, mu, self.d))
        xp = array_namespace(field)
        return xp.sum(cosine, axis=-1 - self.d), xp.sum(sine, axis=-1 - self.d)

    def local_weight(self, field: Array, mu: int, couplings: Couplings = None) -> tuple[Array, Array]:
        """Return (a, b) of the conditional weight exp(a cos theta_mu(x) + b sin theta_mu(x)), for the heat bath.

        With the staples' sum A (see `staple`): a = beta Re A, b = -beta Im A, each `(*batch, *lattice)`.
        """
        beta = links.beta_for(self, field, couplings, over=self.d)
        real, imaginary = self.staple(field, mu)
        return beta * real, -beta * imaginary

    def observables(self, field: Array, couplings: Couplings = None, angles: Array | None = None) -> dict[str, Array]:
        """Return per-configuration values `(*batch,)`.

        plaquette: mean of cos theta_P; wilson_RxT: mean real Wilson loop over sites, planes and orientations;
        polyakov: mean real loop closing in time; abs_polyakov: modulus of the mean complex one; action. In two
        dimensions Q, Q2 = Q^2 and p_Q0 = 1 where Q = 0; above, `flux` and `flux2` `(*batch, plane)`, see `flux`. `angles`
        are the field's plaquettes where they are known.
        """
        beta, xp = links.beta_for(self, field, couplings, over=0), array_namespace(field)
        backend = backends.of(field)
        angles = backend.materialise(self.plaquettes(field) if angles is None else angles)
        plaquette = self._mean_cosine(angles)
        closing = xp.sum(loops.direction(field, 0, self.d), axis=-self.d)
        sine, cosine = (xp.mean(part, axis=links.last_axes(self.d - 1)) for part in backend.sincos(closing))
        found = {"plaquette": plaquette}
        for extent in self.wilson:
            found[wilson_name(extent)] = self._mean_cosine(loops.rectangles(field, extent, self.d))
        found |= {"polyakov": cosine, "abs_polyakov": xp.sqrt(cosine * cosine + sine * sine)}
        found["action"] = -beta * plaquette * float(math.prod(self.lattice) * len(loops.planes(self.d)))
        return found | self._topology(angles)

    def charge(self, field: Array) -> Array:
        """Return Q = (1/2pi) sum_P wrap(theta_P), an integer, `(*batch,)`.

        Raises ValueError above two dimensions, where `flux` gives the charge through each plane.

        >>> import numpy as np
        >>> float(U1Gauge((4, 4)).charge(np.zeros((2, 4, 4))))
        0.0
        """
        if self.d != 2:
            raise ValueError(
                f"the charge Q is defined in two dimensions, got d = {self.d}: flux(field) gives the mean "
                "flux through each plane"
            )
        return self._flux(self.plaquettes(field))[..., 0]

    def flux(self, field: Array) -> Array:
        """Return the flux (1/2pi) sum_P wrap(theta_P) through each plane, averaged over its slices, `(*batch, plane)`.

        The flux through each slice is an integer; above two dimensions monopoles let it vary from slice to slice, so that
        the mean need not be an integer.
        """
        return self._flux(self.plaquettes(field))

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What beta multiplies in the action: dS/dbeta = -(number of plaquettes) x plaquette.

        >>> U1Gauge((4, 4)).conjugates
        {'beta': {'plaquette': -16.0}}
        """
        return {"beta": {"plaquette": -float(math.prod(self.lattice) * len(loops.planes(self.d)))}}

    @property
    def derived(self) -> dict[str, Derived]:
        """The topological susceptibility chi_top = <Q^2>/V in two dimensions."""
        sites = math.prod(self.lattice)
        return {"chi_top": Derived(("Q2",), partial(_per_site, sites=sites))} if self.d == 2 else {}

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        wilson = tuple(wilson_name(extent) for extent in self.wilson)
        return ("plaquette", *(("Q", "Q2", "p_Q0") if self.d == 2 else ()), *wilson, "polyakov")

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known exactly: in two dimensions everything on the torus (plaquette, Q, Q2, p_Q0, wilson_RxT,
        polyakov, ln_Z, ess_uniform, ess_sweep); above, polyakov = 0 by the symmetry of the centre.

        >>> round(U1Gauge((8, 8)).exact({"beta": 2.0})["Q2"], 11)
        1.23929891072
        """
        beta, sites = number_of(self, couplings, "beta"), math.prod(self.lattice)
        if self.d > 2:
            return {"polyakov": 0.0}
        known = {
            "plaquette": u1_torus.plaquette(beta, sites),
            "Q": 0.0,
            "Q2": u1_torus.charge_squared(beta, sites),
            "p_Q0": u1_torus.charge_distribution(beta, sites)[0],
            "chi_top": u1_torus.charge_squared(beta, sites) / sites,
        }
        known |= {wilson_name((r, t)): u1_torus.wilson_loop(beta, sites, r * t) for r, t in self.wilson}
        if min(self.lattice) > 1:
            known["polyakov"] = 0.0
        known["action"] = -beta * sites * known["plaquette"]
        known["ln_Z"] = u1_torus.log_z(beta, sites)
        known["ess_uniform"] = u1_torus.ess_uniform(beta, sites)
        return known | {"ess_sweep": u1_torus.ess_sweep(beta, sites)}

    def _cosine(self, field: Array) -> Array:
        angles = self.plaquettes(field)
        return backends.of(angles).cos(angles)

    def _mean_cosine(self, angles: Array) -> Array:
        """The mean over loops `(*batch, loop, *lattice)`; materialised, or fusion would add every loop's links twice."""
        backend = backends.of(angles)
        cosine = backend.materialise(backend.cos(backend.materialise(angles)))
        return array_namespace(angles).mean(cosine, axis=links.last_axes(self.d + 1))

    def _flux(self, angles: Array) -> Array:
        xp = array_namespace(angles)
        fluxes = []
        for plane, (mu, nu) in enumerate(loops.planes(self.d)):
            angle = wrap(angles[(..., plane) + (slice(None),) * self.d])
            turns = xp.round(xp.sum(angle, axis=(mu - self.d, nu - self.d)) * (0.5 / math.pi))
            fluxes.append(xp.mean(turns, axis=tuple(range(2 - self.d, 0))) if self.d > 2 else turns)
        return xp.stack(fluxes, axis=-1)

    def _topology(self, angles: Array) -> dict[str, Array]:
        xp, flux = array_namespace(angles), self._flux(angles)
        if self.d > 2:
            return {"flux": flux, "flux2": flux * flux}
        charge = flux[..., 0]
        return {"Q": charge, "Q2": charge * charge, "p_Q0": xp.astype(charge == 0.0, charge.dtype)}


def _per_site(total: Array, sites: int) -> Array:
    return total / sites
