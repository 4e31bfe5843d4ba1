"""Two flavours of fermions by a pseudofermion field: a theory of pairs (U, phi) in which no determinant is computed.

    S(U, phi) = S_g(U) + phi^+ (Dhat Dhat^+)^-1 phi,     integral d phi e^{-phi^+ (Dhat Dhat^+)^-1 phi} = pi^n det(Dhat Dhat^+)

with Dhat the even-odd form of Wilson's operator, phi on the n odd components, and det Dhat = det D: the marginal weight of U is
that of two flavours, times pi^n (Weingarten and Petcher, Phys. Lett. B 99 (1981) 333). With Hasenbusch's hopping parameters
kappa > k_1 > ... > k_m there is a field for each factor of det D = det[D(k_1)^-1 D(kappa)] ... det D(k_m), n (m + 1) components in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Couplings, Group, Key
from haarflow.core import random
from haarflow.core.groups.additive import Complex
from haarflow.core.parts import Symmetries, described
from haarflow.core.solvers.retry import Solves, together
from haarflow.core.spaces import Pair, Space
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.pseudofermions import pseudofermion
from haarflow.theories.fermions.pseudofermions.hasenbusch import check_masses, factors
from haarflow.theories.fermions.pseudofermions.measurements import Measurement
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Factor
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.theory import check_couplings, checked, couplings_for, no_subclass

KAPPA = 0.1  # the default hopping parameter


@final
@dataclass(frozen=True)
class WithPseudofermions:
    """A gauge theory with two flavours of the operator's fermions, of fields `Pair(U, phi)`.

    Couplings: those of the gauge theory and `kappa`. Where a solve does not reach `tolerance`, a relative residual, within
    `max_steps`, nor after one retry, the action is NaN; for `mixed` see `pseudofermion.Accuracy`. Observables: those of the gauge theory, and `pseudofermion`, phi^+ (Dhat Dhat^+)^-1 phi,
    whose mean is exactly n, and those of `measurements`. With `hasenbusch`, hopping parameters that fall from kappa towards 0, phi has an axis of factors in
    front, the lightest first, and `pseudofermion` is the sum over them. Raises ValueError for an operator on other links than those of the theory.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> theory = WithPseudofermions(U1Gauge((4, 4)), Wilson((4, 4)))
    >>> field = Pair(np.zeros((2, 4, 4)), np.ones((2, 8)) + 0j)
    >>> round(float(theory.action(field, {"beta": 1.0, "kappa": 0.0})), 12)  # -16 plaquettes, 16 components
    0.0
    """

    gauge: Any
    operator: Wilson
    tolerance: float = 1e-10
    max_steps: int = 1000
    measurements: tuple[Measurement, ...] = ()
    hasenbusch: tuple[float, ...] = ()
    mixed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hasenbusch", tuple(map(float, self.hasenbusch)))
        _, operator, spaces = self.form, self.operator, described(self.gauge).spaces
        if spaces != Space(operator.group, operator.field_shape):
            raise ValueError(
                f"the operator lives on links {operator.field_shape} of {operator.group}, the fields of "
                f"{described(self.gauge).name} are {spaces}"
            )

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{described(self.gauge).name} with pseudofermions"

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice's extents, time first."""
        return tuple(self.gauge.lattice)

    @property
    def group(self) -> Group:
        """The group of the links."""
        return self.operator.group

    @property
    def spaces(self) -> Pair:
        """The spaces of links and pseudofermions."""
        return Pair(described(self.gauge).spaces, Space(Complex(), (*self._factor_axis, *self.form.packed_shape)))

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return {**(described(self.gauge).couplings or {}), "kappa": KAPPA}

    @property
    def form(self) -> EvenOdd:
        """The even-odd form of the operator; raises ValueError for odd extents."""
        return EvenOdd(self.operator)

    @property
    def accuracy(self) -> Accuracy:
        """That of all solves."""
        return Accuracy(self.tolerance, self.max_steps, self.mixed)

    @property
    def n(self) -> int:
        """The N of SU(N), 1 for U(1)."""
        return self.operator.n

    @property
    def antiperiodic(self) -> bool:
        """Whether fermions are antiperiodic in time."""
        return self.operator.antiperiodic

    @property
    def marginal(self) -> Sum:
        """The theory of the links alone, with the determinant of two flavours: what is left when phi is integrated out."""
        return Sum((self.gauge, Fermions(self.operator, flavours=2)))

    def hops(self, kappa: float) -> OddHops:
        """Return the map Y = kappa^2 H_oe H_eo, Dhat = 1 - Y, of which flows make conditional pseudofermions."""
        return OddHops(self.operator, kappa)

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the observables."""
        own = {"pseudofermion": "φ⁺(D̂D̂⁺)⁻¹φ, pseudofermion action"}
        more = {name: label for one in self.measurements for name, label in one.labels.items()}
        return {**(described(self.gauge).part("labels") or {}), **own, **more}

    @property
    def correlators(self) -> tuple[str, ...]:
        """The observables against t."""
        return tuple(name for one in self.measurements for name in one.correlators)

    @property
    def derived(self) -> dict[str, Any]:
        """Those of the gauge theory."""
        return dict(described(self.gauge).part("derived") or {})

    @property
    def symmetries(self) -> Symmetries:
        """Gauge transformations of both fields are not among those that act on links alone."""
        return Symmetries()

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        more = (name for one in self.measurements for name in one.summary)
        return (*(described(self.gauge).part("summary") or ()), "pseudofermion", *more)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings; raises ValueError and TypeError as the gauge theory does, and for a kappa below Hasenbusch's."""
        values = check_couplings(self, couplings)
        check_masses(values["kappa"], self.hasenbusch)
        return values | checked(self.gauge, self._own(values))

    def action(self, field: Pair, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape; autodiff with respect to both fields differentiates no solve."""
        values, accuracy = couplings_for(self, field, couplings, over=0), self.accuracy
        total = self.gauge.action(field.U, self._own(values))
        for part, phi in self._by_factor(field.phi, values["kappa"]):
            total = total + pseudofermion.action_with_slopes(self.operator, part, field.U, phi, accuracy)
        return total

    def observables(self, field: Pair, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name; `action` is that of both fields."""
        values = couplings_for(self, field, couplings, over=0)
        measured = described(self.gauge).observables
        found = {} if measured is None else dict(measured(field.U, self._own(values)))
        own = self.pseudofermion(field, values["kappa"])[0]
        gauge = found.get("action")
        found |= {"pseudofermion": own} | ({} if gauge is None else {"action": gauge + own})
        for one in self.measurements:
            found |= one.values(self.operator, field.U, values["kappa"], self.accuracy)
        return found

    def refreshed(self, key: Key, field: Array, couplings: Couplings = None) -> Array:
        """Return phi = A chi, A = Dhat or a ratio, drawn from its exact distribution at given links.

        The field of factor i takes fold_in(key, i), that of a theory without Hasenbusch masses the key itself.
        """
        parts = factors(self.check(couplings)["kappa"], self.hasenbusch)
        gauge, accuracy = pseudofermion.background(self.operator, field), self.accuracy
        keys = [random.fold_in(key, index) for index in range(len(parts))] if self.hasenbusch else [key]
        drawn = [pseudofermion.drawn(gauge, part, own, accuracy)[0] for part, own in zip(parts, keys, strict=True)]
        return (
            array_namespace(field).stack(drawn, axis=-1 - len(self.form.packed_shape)) if self.hasenbusch else drawn[0]
        )

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known: the mean of the pseudofermion action, the number of complex components of phi.

        >>> from haarflow.theories import U1Gauge
        >>> WithPseudofermions(U1Gauge((4, 4)), Wilson((4, 4))).exact()
        {'pseudofermion': 16.0}
        """
        known = {name: value for one in self.measurements for name, value in one.exact.items()}
        return {"pseudofermion": float(math.prod(self.spaces.phi.shape))} | known

    def pseudofermion(self, field: Pair, kappa: Any) -> tuple[Array, Solves]:
        """Return phi^+ (A A^+)^-1 phi, summed over factors, NaN where a solve has not converged, and the record of the solves."""
        gauge, accuracy = pseudofermion.background(self.operator, field.U), self.accuracy
        parts = self._by_factor(field.phi, kappa)
        (total, solves), *others = [pseudofermion.action(gauge, part, phi, accuracy) for part, phi in parts]
        for one, more in others:
            total, solves = total + one, together(solves, more)
        return total, solves

    def _by_factor(self, phi: Array, kappa: Any) -> list[tuple[Factor, Array]]:
        """The factors of the determinant, each with its pseudofermions."""
        inner = (slice(None),) * len(self.form.packed_shape)
        fields = [phi[(..., i, *inner)] for i in range(len(self.hasenbusch) + 1)] if self.hasenbusch else [phi]
        return list(zip(factors(kappa, self.hasenbusch), fields, strict=True))

    @property
    def _factor_axis(self) -> tuple[int, ...]:
        return (len(self.hasenbusch) + 1,) if self.hasenbusch else ()

    def _own(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name != "kappa"}
