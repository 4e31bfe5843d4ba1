"""U(1) lattice gauge theory with Wilson's action in any dimension d >= 2.

S = -beta sum_P cos theta_P, theta_P = theta_mu(x) + theta_nu(x+mu) - theta_mu(x+nu) - theta_nu(x)

Links are angles `(*batch, d, *lattice)`, theta_mu(x) from x to x + mu, normalised Haar measure d theta / 2 pi. In two
dimensions the charge Q = (1/2pi) sum_P wrap(theta_P) is a whole number on every configuration (arXiv:2003.06413,
eq. 12 and 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core import loops
from haarflow.core.groups import U1, wrap
from haarflow.core.lattice import shift
from haarflow.theories.gauge import LABELS, GaugeTheory, wilson_name
from haarflow.theories.theory import Derived, check_field


@dataclass(frozen=True)
class U1Gauge(GaugeTheory):
    """Compact U(1) on a periodic lattice, coupling `beta` >= 0.

    A loop that closes on itself (extent 1 or 2) counts its links as `roll` does.
    Raises ValueError for a lattice with fewer than two axes or extents that are not whole and >= 1.

    >>> import numpy as np
    >>> float(U1Gauge((4, 4)).action(np.zeros((2, 4, 4)), {"beta": 2.0}))
    -32.0
    """

    lattice: tuple[int, ...]

    group = U1()
    reach = 1
    labels = LABELS
    symmetries = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")
    odd = MappingProxyType({"Q": ("reflection", "hypercubic", "charge_conjugation"), "flux": ("charge_conjugation",)})
    tied = MappingProxyType(
        {
            "polyakov": ("hypercubic",),  # to the time axis
            "abs_polyakov": ("hypercubic",),
            "flux": ("reflection", "hypercubic"),  # to its planes
            "flux2": ("hypercubic",),
        }
    )

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field of links."""
        return (self.d, *self.lattice)

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for links `(*batch, d, *lattice)`.

        Raises ValueError for a wrong shape or coupling, TypeError for a wrong type or mixed backends.
        """
        found = self._compiled("action", field, couplings)
        return self.plain_action(field, couplings) if found is None else found

    def plain_action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return `action` by operations on arrays."""
        beta = self._beta(field, couplings, over=0)
        cosine = backends.of(field).materialise(self._cosine(field))  # a cosine inside a sum is no vector code on XLA
        return -beta * array_namespace(field).sum(cosine, axis=self._sites(1))

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -beta cos theta_P, `(*batch, plane, *lattice)` in the order of `loops.planes(d)`."""
        cosine = self._cosine(field)
        return -self._beta(field, couplings, over=self.d + 1) * cosine

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F_mu(x) = beta sum_{nu != mu} [sin theta_{mu nu}(x) - sin theta_{mu nu}(x - nu)], shaped as the links."""
        found = self._compiled("force", field, couplings)
        return self.plain_force(field, couplings) if found is None else found

    def plain_force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return `force` by operations on arrays.

        The sine of each plaquette is taken once and handed to the links that share it; beta comes last, so that a
        compiler that fuses the shifts with what they shift does not take it again.
        """
        beta = self._beta(field, couplings, over=self.d + 1)
        parts: list[list[Array]] = [[] for _ in range(self.d)]
        for mu, nu in loops.planes(self.d):
            sine = backends.of(field).sin(loops.plaquette(field, mu, nu, self.d))
            parts[mu].append(sine - shift(sine, nu, self.d, -1))
            parts[nu].append(shift(sine, mu, self.d, -1) - sine)
        return beta * array_namespace(field).stack([sum(part[1:], part[0]) for part in parts], axis=-1 - self.d)

    def staple(self, field: Array, mu: int) -> tuple[Array, Array]:
        """Return (Re A, Im A), each `(*batch, *lattice)`: A(x) = sum of e^{i angle} over the staples of links along mu.

        The plaquettes that hold the link theta sum to Re(e^{i theta} A), so its conditional weight is
        exp(beta Re(e^{i theta} A)). Needs extents >= 2 across mu, where no plaquette holds the link twice.
        """
        check_field(self, field)
        sine, cosine = backends.of(field).sincos(loops.staples(field, mu, self.d))
        xp = array_namespace(field)
        return xp.sum(cosine, axis=-1 - self.d), xp.sum(sine, axis=-1 - self.d)

    def local_weight(self, field: Array, mu: int, couplings: Couplings = None) -> tuple[Array, Array]:
        """Return (a, b) of the conditional weight exp(a cos theta_mu(x) + b sin theta_mu(x)), for the heat bath.

        With the staples' sum A (see `staple`): a = beta Re A, b = -beta Im A, each `(*batch, *lattice)`.
        """
        beta = self._beta(field, couplings, over=self.d)
        real, imaginary = self.staple(field, mu)
        return beta * real, -beta * imaginary

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return per-configuration values `(*batch,)`.

        plaquette: mean of cos theta_P; wilson_RxT: mean real Wilson loop over sites, planes and orientations;
        polyakov: mean real loop closing in time; abs_polyakov: modulus of the mean complex one; action. In two
        dimensions Q, Q2 = Q^2 and p_Q0 = 1 where Q = 0; above, `flux` and `flux2` `(*batch, plane)`, see `flux`.
        """
        beta, xp = self._beta(field, couplings, over=0), array_namespace(field)
        backend = backends.of(field)
        angles = backend.materialise(self.plaquettes(field))
        plaquette = self._mean_cosine(angles)
        closing = xp.sum(loops.direction(field, 0, self.d), axis=-self.d)
        sine, cosine = (xp.mean(part, axis=self._sites(-1)) for part in backend.sincos(closing))
        found = {"plaquette": plaquette}
        for extent in self.wilson:
            found[wilson_name(extent)] = self._mean_cosine(loops.rectangles(field, extent, self.d))
        found |= {"polyakov": cosine, "abs_polyakov": xp.sqrt(cosine * cosine + sine * sine)}
        found["action"] = -beta * plaquette * float(math.prod(self.lattice) * len(loops.planes(self.d)))
        return found | self._topology(angles)

    def charge(self, field: Array) -> Array:
        """Return Q = (1/2pi) sum_P wrap(theta_P), a whole number, `(*batch,)`.

        Two dimensions only: raises ValueError above, where `flux` gives the charge through each plane.

        >>> import numpy as np
        >>> float(U1Gauge((4, 4)).charge(np.zeros((2, 4, 4))))
        0.0
        """
        if self.d != 2:
            raise ValueError(
                f"the charge Q is a whole number in two dimensions alone, got d = {self.d}: flux(field) gives the mean "
                "flux through each plane"
            )
        return self._flux(self.plaquettes(field))[..., 0]

    def flux(self, field: Array) -> Array:
        """Return the flux (1/2pi) sum_P wrap(theta_P) through each plane, averaged over its slices, `(*batch, plane)`.

        Each slice carries a whole number; above two dimensions monopoles let it vary from slice to slice, so the mean
        need not be whole.
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
        """Return what is known exactly: in two dimensions all of the torus (plaquette, Q, Q2, p_Q0, wilson_RxT,
        polyakov, ln_Z, ess_uniform, ess_sweep); above, polyakov = 0 by the symmetry of the centre.
        """
        from haarflow.theories import exact

        return exact.u1(self, couplings)

    def _cosine(self, field: Array) -> Array:
        angles = self.plain_plaquettes(field)
        return backends.of(angles).cos(angles)

    def _mean_cosine(self, angles: Array) -> Array:
        """The mean over loops `(*batch, loop, *lattice)`; a compiler that fuses would add up every loop's links twice."""
        backend = backends.of(angles)
        cosine = backend.materialise(backend.cos(backend.materialise(angles)))
        return array_namespace(angles).mean(cosine, axis=self._sites(1))

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


def _per_site(total: Any, sites: int) -> Any:
    return total / sites
