"""Flavours of staggered fermions by real pseudofermion fields: a theory of pairs (phi, chi) in which no determinant is computed.

    S(phi, chi) = S_phi(phi) + sum_f chi_f^T (M M^T)^-1 chi_f,    integral d chi e^{-chi^T (M M^T)^-1 chi} = pi^(V/2) |det M|

A real field of V components gives one power of |det M|, a complex one two: N_f flavours take N_f real fields, or half as many
complex ones (arXiv:2106.05934, where two flavours have one complex field).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings, Key
from haarflow.core import random
from haarflow.core.axes import per_chain, spread
from haarflow.core.groups.additive import Real
from haarflow.core.groups.matrices import precision
from haarflow.core.parts import Symmetries, described
from haarflow.core.spaces import Pair, Space
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
from haarflow.theories.fermions.staggered.staggered import Staggered, inverse
from haarflow.theories.fermions.staggered.yukawa_coupling import G, YukawaCoupling
from haarflow.theories.theory import check_couplings, checked, couplings_for, no_subclass


@final
@dataclass(frozen=True)
class WithRealPseudofermions:
    """A scalar theory with staggered flavours, of fields `Pair(U=phi, phi=chi)`: phi `(*batch, *lattice)`, chi `(*batch, flavours, *lattice)`.

    Couplings: those of the scalar theory and `g`. Observables: those of the scalar theory and of `YukawaCoupling`, `pseudofermion`,
    the action of chi, whose mean is exactly half the number of its components, and `action`, that of both fields; identity, where
    the scalar theory has it, the mean of phi dS/dphi of the marginal. Raises ValueError for an operator on another lattice and as
    `YukawaCoupling` does.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> theory = WithRealPseudofermions(Phi4((2, 1)), Staggered((2, 1)))
    >>> field = Pair(np.zeros((2, 1)), np.ones((2, 2, 1)))
    >>> float(theory.action(field))  # M = D_st is orthogonal on two sites
    4.0
    """

    scalar: Any
    operator: Staggered
    flavours: int = 2

    group = Real()
    correlators = YukawaCoupling.correlators

    def __post_init__(self) -> None:
        _ = self.fermions
        if described(self.scalar).spaces != Space(Real(), self.operator.lattice):
            raise ValueError(
                f"the fermions live on the lattice {self.operator.lattice}, the fields of {described(self.scalar).name} are "
                f"{described(self.scalar).spaces}"
            )

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{described(self.scalar).name} with pseudofermions"

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice's extents, time first."""
        return self.operator.lattice

    @property
    def spaces(self) -> Pair:
        """The spaces of the scalar field and of the pseudofermions."""
        return Pair(Space(Real(), self.lattice), Space(Real(), (self.flavours, *self.lattice)))

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return {**(described(self.scalar).couplings or {}), "g": G}

    @property
    def fermions(self) -> YukawaCoupling:
        """The determinant of the flavours, as an action of phi."""
        return YukawaCoupling(self.operator, self.flavours)

    @property
    def marginal(self) -> Sum:
        """The theory of phi alone, with the determinant: what is left when chi is integrated out."""
        return Sum((self.scalar, self.fermions))

    def free(self, g: float) -> FreeStaggered:
        """Return the fermions of a constant mass, about which flows expand."""
        return FreeStaggered(self.operator, g)

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the observables."""
        own = {"pseudofermion": "χᵀ(MMᵀ)⁻¹χ, pseudofermion action"}
        return {**(described(self.scalar).part("labels") or {}), **self.fermions.labels, **own}

    @property
    def symmetries(self) -> Symmetries:
        """Those of both fields together are not among the words for one."""
        return Symmetries()

    @property
    def derived(self) -> dict[str, Any]:
        """Those of the scalar theory."""
        return dict(described(self.scalar).part("derived") or {})

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        return (*(described(self.scalar).part("summary") or ()), *self.fermions.summary, "pseudofermion")

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings; raises ValueError and TypeError as the scalar theory does."""
        values = check_couplings(self, couplings)
        return values | checked(self.scalar, _scalar(values))

    def action(self, field: Pair, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape."""
        values = couplings_for(self, field, couplings, over=0)
        return self.scalar.action(field.U, _scalar(values)) + self.pseudofermion(field, values["g"])

    def observables(self, field: Pair, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        values = couplings_for(self, field, couplings, over=0)
        own, g = self.pseudofermion(field, values["g"]), values["g"]
        found = dict(self.scalar.observables(field.U, _scalar(values)))
        fermionic = self.fermions.observables(field.U, {"g": g})
        if "identity" in found:
            found["identity"] = found["identity"] - float(self.flavours) * g * fermionic["phi_condensate"]
        action = self.scalar.action(field.U, _scalar(values)) + own
        return found | fermionic | {"pseudofermion": own, "action": action}

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known: the mean of the pseudofermion action, half the number of real components.

        >>> from haarflow.theories import Phi4
        >>> WithRealPseudofermions(Phi4((4, 4)), Staggered((4, 4))).exact()
        {'pseudofermion': 16.0}
        """
        return {"pseudofermion": 0.5 * math.prod(self.spaces.phi.shape)}

    def pseudofermion(self, field: Pair, g: Any) -> Array:
        """Return sum_f |M^-1 chi_f|^2, with d/d chi = 2 X and d/d phi = -2 g sum_f X_f Y_f, Y = M^-1 chi, X = M^-T Y."""

        def parts(phi: Array, chi: Array) -> tuple[Array, Array]:
            propagator = inverse(self.operator, phi, g)
            return propagator, self._columns(propagator, chi)

        def value(phi: Array, chi: Array) -> Array:
            y = parts(phi, chi)[1]
            return array_namespace(y).sum(y * y, axis=(-2, -1))

        def slopes(phi: Array, chi: Array) -> tuple[Array, tuple[Array, Array]]:
            propagator, y = parts(phi, chi)
            xp = array_namespace(y)
            x = xp.matrix_transpose(propagator) @ y
            by_site = xp.reshape(xp.sum(x * y, axis=-1), phi.shape)
            by_noise = xp.reshape(xp.matrix_transpose(x), chi.shape)
            return xp.sum(y * y, axis=(-2, -1)), (-2.0 * spread(g, self.operator.d) * by_site, 2.0 * by_noise)

        known: Any = backends.of(field.U).with_slopes(value, slopes, 0)
        result: Array = known(field.U, field.phi)
        return result

    def refreshed(self, key: Key, field: Array, couplings: Couplings = None) -> Array:
        """Return chi_f = M eta_f, drawn from its exact distribution at a scalar field; eta has the weight e^{-eta^T eta}."""
        g = self.check(couplings)["g"]
        batch = tuple(field.shape[: field.ndim - self.operator.d])
        shape = per_chain(key, (*batch, *self.spaces.phi.shape))
        eta = math.sqrt(0.5) * random.normal(key, shape, precision(field))
        return self.operator.apply(field[(..., None, *(slice(None),) * self.operator.d)], spread(g, 1), eta)

    def _columns(self, propagator: Array, chi: Array) -> Array:
        """M^-1 chi as matrices `(*batch, V, flavours)`."""
        xp = array_namespace(chi)
        sites = math.prod(self.lattice)
        rows = xp.reshape(chi, (*chi.shape[: -self.operator.d], sites))
        return propagator @ xp.matrix_transpose(rows)


def _scalar(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "g"}
