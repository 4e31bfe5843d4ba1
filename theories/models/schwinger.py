"""The Schwinger model: U(1) gauge theory in two dimensions with N_f flavours of Wilson fermions.

    S = -beta sum_P cos theta_P - N_f ln|det D|,    D = 1 - kappa H

At beta = 2, kappa = 0.276 two flavours are nearly massless on lattices of 8 to 16 sites, where HMC freezes in a sector of the
charge (arXiv:2202.11712). A kernel over this theory uses the exact determinant; `fermions.pseudofermion_hmc` estimates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.additive import U1
from haarflow.core.parts import Symmetries
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.pseudofermions.measurements import DenseQuarks, Determinant
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.theory import Derived, no_subclass, number_of

FERMIONIC = ("condensate", "log_det")
SIGNED = ("plaquette", "Q2", "p_Q0", "condensate")  # reweighted by the sign where N_f is odd
SECTORS = (0, 1, 2)  # |Q| for which the condensate is a quantity of its own: near-zero modes of D come with the charge


@final
@dataclass(frozen=True)
class Schwinger:
    """The sum of `U1Gauge` and `Fermions`, couplings `beta` and `kappa`; antiperiodic or periodic in time.

    Raises ValueError for a lattice that has not two dimensions and for flavours < 1.

    >>> import numpy as np
    >>> theory = Schwinger((4, 4))
    >>> round(float(theory.action(np.zeros((2, 4, 4)), {"beta": 2.0, "kappa": 0.276})) + 32.0, 9)
    -4.498346354
    """

    lattice: tuple[int, ...]
    flavours: int = 2
    antiperiodic: bool = True

    group = U1()
    correlators = ("pion",)

    def __post_init__(self) -> None:
        if len(self.lattice) != 2:
            raise ValueError(f"the Schwinger model lives in two dimensions, got the lattice {list(self.lattice)}")
        object.__setattr__(self, "lattice", self.gauge.lattice)
        if not isinstance(self.antiperiodic, bool):
            raise TypeError(f"antiperiodic must be True or False, got {self.antiperiodic!r}")
        _ = self.fermions

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def gauge(self) -> U1Gauge:
        """The gauge action."""
        return U1Gauge(self.lattice)

    @property
    def operator(self) -> Wilson:
        """The Dirac operator."""
        return Wilson(self.lattice, antiperiodic=self.antiperiodic)

    @property
    def fermions(self) -> Fermions:
        """The action of the flavours."""
        return Fermions(self.operator, self.flavours)

    @property
    def terms(self) -> tuple[U1Gauge, Fermions]:
        """The terms of the action."""
        return self.gauge, self.fermions

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field of links."""
        return self.gauge.field_shape

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return self._sum.couplings

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the observables."""
        start = "signed_" if self.flavours % 2 else ""
        return self._sum.labels | {f"{start}condensate_Q{n}": f"condensate at |Q| = {n}" for n in SECTORS}

    @property
    def symmetries(self) -> Symmetries:
        """Those of both terms."""
        return self._sum.symmetries

    @property
    def derived(self) -> dict[str, Derived]:
        """The topological susceptibility and the condensate at |Q| = 0, 1, 2, `condensate_Q0` ...; for an odd number of flavours
        <O sign>/<sign>, the mean with the weight det D.
        """
        signed = {f"signed_{name}": Derived((f"{name}_times_sign", "sign"), _ratio) for name in SIGNED}
        return self.gauge.derived | (signed if self.flavours % 2 else {}) | self._by_sector

    @property
    def _by_sector(self) -> dict[str, Derived]:
        start, end = ("signed_", "_times_sign") if self.flavours % 2 else ("", "")
        return {
            f"{start}condensate_Q{n}": Derived((f"condensate_at_Q{n}{end}", f"p_Q{n}{end}"), _ratio, inside=f"p_Q{n}")
            for n in SECTORS
        }

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What beta multiplies in the action."""
        return self.gauge.conjugates

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report; for an odd number of flavours the sign of the determinant and what it reweights, too."""
        signed = ("sign", *(f"signed_{name}" for name in SIGNED)) if self.flavours % 2 else ()
        return (*self.gauge.summary, *FERMIONIC, *signed, *self._by_sector)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings; raises ValueError and TypeError as the terms do."""
        return self._sum.check(couplings)

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for angles `(*batch, 2, T, L)`."""
        return self._sum.action(field, couplings)

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS/dtheta, shaped as the links."""
        force: Array = self._sum.force(field, couplings)
        return force

    def difference(self, new: Array, old: Array, couplings: Couplings = None) -> Array:
        """Return S(new) - S(old), that of the gauge action plaquette by plaquette."""
        return self._sum.difference(new, old, couplings)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return those of `U1Gauge` and of `Fermions`, the plaquette, Q, condensate, ..., and the action of both; `p_Q1`, 1 where
        |Q| = 1, `condensate_at_Q1`, the condensate there and 0 elsewhere, ..., for `derived`; for an odd number of flavours
        also products with the sign, `plaquette_times_sign`, ...
        """
        values = self._sum.observables(field, couplings)
        within = _sectors(values)
        if self.flavours % 2:
            reweighted = {name: values[name] for name in SIGNED if name in values} | within
            values |= {f"{name}_times_sign": value * values["sign"] for name, value in reweighted.items()}
        return values | within

    def charge(self, field: Array) -> Array:
        """Return the topological charge Q."""
        return self.gauge.charge(field)

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known: <Q> = 0, and at kappa = 0, where the fermions are infinitely heavy, all of pure gauge theory.

        >>> Schwinger((8, 8)).exact({"beta": 2.0, "kappa": 0.0})["plaquette"] == U1Gauge((8, 8)).exact({"beta": 2.0})["plaquette"]
        True
        """
        if number_of(self, couplings, "kappa") != 0.0:
            return {"Q": 0.0}
        gauge = self.gauge.exact({"beta": number_of(self, couplings, "beta")})
        heavy = {"condensate": 2.0, "log_det": 0.0, "sign": 1.0}
        return {name: value for name, value in gauge.items() if not name.startswith("ess_")} | heavy

    @property
    def _sum(self) -> Sum:
        return Sum(self.terms)


def schwinger_pairs(
    lattice: tuple[int, ...],
    antiperiodic: bool = True,
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    quarks: bool = True,
    hasenbusch: tuple[float, ...] = (),
    mixed: bool = False,
) -> WithPseudofermions:
    """Return the model of two flavours as pairs (U, phi) of links and pseudofermions, on a lattice of even extents.

    `tolerance` and `max_steps` are those of the solves; `mixed`: whether these step in single precision between residuals in double.
    `hasenbusch`: hopping parameters below kappa, with a pseudofermion field for each ratio of determinants between them. `quarks`: whether ln|det D|, its sign, the condensate and the pion correlator are measured, by
    dense matrices. Raises ValueError for odd extents and for a lattice that has not two dimensions.

    >>> schwinger_pairs((4, 4)).spaces.phi.shape
    (2, 8)
    """
    model = Schwinger(lattice, antiperiodic=antiperiodic)
    measurements = (Determinant(), DenseQuarks()) if quarks else ()
    return WithPseudofermions(model.gauge, model.operator, tolerance, max_steps, measurements, hasenbusch, mixed)


def _ratio(product: Any, factor: Any) -> Any:
    return product / factor


def _sectors(values: dict[str, Array]) -> dict[str, Array]:
    """1 and the condensate where |Q| is 0, 1, 2, and 0 elsewhere."""
    xp, found = array_namespace(values["Q"]), {}
    for n in SECTORS:
        found[f"p_Q{n}"] = xp.astype(xp.abs(values["Q"]) == float(n), values["Q"].dtype)
        if "condensate" in values:
            found[f"condensate_at_Q{n}"] = found[f"p_Q{n}"] * values["condensate"]
    return found
