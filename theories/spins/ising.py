"""The Ising model in any dimension: S = -beta sum_x sum_mu s(x) s(x+mu), spins s = +1 or -1 as floats, `(*batch, *lattice)`.

Z is a plain sum over all spins. The values are discrete, so that there is no force and nothing to differentiate; a
spin's weight given its neighbours takes the place of both (`SpinWeight`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, final

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.signs import Signs
from haarflow.core.lattice.geometry import check_lattice, shift, volume
from haarflow.core.parts import Local, SpinWeight, Symmetries
from haarflow.theories.exact import ising_torus
from haarflow.theories.scalar.phi4 import binder, connected_susceptibility
from haarflow.theories.theory import Derived, check_couplings, couplings_for, no_subclass, number_of, refuse

LABELS = MappingProxyType(
    {
        "E": "E = −⟨Σ_μ s(x) s(x+μ)⟩, energy per site",
        "m": "m = (1/V) Σ s(x), the magnetisation",
        "abs_m": "⟨|m|⟩, m = mean of s",
        "chi2": "χ₂ = V ⟨m²⟩",
        "binder": "Binder 1 − ⟨m⁴⟩/3⟨m²⟩²",
        "chi_abs": "V (⟨m²⟩ − ⟨|m|⟩²)",
    }
)  # what a report calls the observables


@final
@dataclass(frozen=True)
class Ising:
    """The Ising model on a periodic lattice of any dimension, coupling `beta` >= 0.

    A bond that wraps onto itself (extent 1) or onto its twin (extent 2) counts as `roll` counts it.
    Raises ValueError for extents that are not integers >= 1.

    >>> import numpy as np
    >>> float(Ising((4, 4)).action(np.ones((4, 4)), {"beta": 0.5}))
    -16.0
    """

    lattice: tuple[int, ...]

    group: ClassVar[Any] = Signs()  # without the algebra that `Group` has
    labels: ClassVar[Any] = LABELS
    symmetries: ClassVar[Any] = Symmetries(
        ("translation", "reflection", "hypercubic", "Z2"), odd=MappingProxyType({"m": ("Z2",)})
    )
    summary: ClassVar[tuple[str, ...]] = ("E", "abs_m", "chi2", "chi_abs", "binder")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        return self.lattice

    @property
    def couplings(self) -> dict[str, float]:
        """The coupling's name and default, the critical one in two dimensions."""
        return {"beta": ising_torus.CRITICAL}

    @property
    def local(self) -> Local:
        """The action as a sum over sites."""
        return Local(self.density, reach=1)

    @property
    def conditional(self) -> SpinWeight:
        """The weight of one spin, and the strength of a bond."""
        return SpinWeight(self.local_field, self.bond)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings, or raise ValueError for a misspelt, non-finite or negative one.

        >>> Ising((4, 4)).check({"beta": -1.0})
        Traceback (most recent call last):
            ...
        ValueError: Ising wants beta >= 0, got beta = -1.0
        """
        values = check_couplings(self, couplings)
        refuse(self, beta=(values["beta"], not isinstance(values["beta"], float) or values["beta"] >= 0, "beta >= 0"))
        return values

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for spins `(*batch, *lattice)`.

        Raises ValueError for a wrong shape or coupling, TypeError for a wrong type or mixed backends.
        """
        return array_namespace(field).sum(self.density(field, couplings), axis=tuple(range(-self.d - 1, 0)))

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the action's terms at each site, `(*batch, 1, *lattice)`: bonds x to x + mu belong to x."""
        beta = couplings_for(self, field, couplings)["beta"]
        return (-beta * self._bonds(field))[(..., None) + (slice(None),) * self.d]

    def local_field(self, field: Array, couplings: Couplings = None) -> Array:
        """Return h(x) = beta sum_mu [s(x+mu) + s(x-mu)], `(*batch, *lattice)`; bonds of a spin to itself do not count.

        >>> import numpy as np
        >>> Ising((3, 1)).local_field(np.asarray([[1.0], [1.0], [-1.0]]), {"beta": 1.0}).ravel().tolist()
        [0.0, 0.0, 2.0]
        """
        beta, around = couplings_for(self, field, couplings)["beta"], 0.0 * field
        for mu in (mu for mu in range(self.d) if self.lattice[mu] > 1):
            around = around + shift(field, mu, self.d) + shift(field, mu, self.d, -1)
        return beta * around

    def bond(self, field: Array, couplings: Couplings = None) -> Any:
        """Return the strength beta of a bond, a number or `(*batch, 1, ..., 1)`."""
        return couplings_for(self, field, couplings)["beta"]

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values, each `(*batch,)`.

        E = -(1/V) sum_x sum_mu s(x) s(x+mu), the energy per site; m, abs_m, m_4 = m^4; chi2 = V m^2; action.
        """
        xp, axes, sites = array_namespace(field), tuple(range(-self.d, 0)), volume(self.lattice)
        beta = couplings_for(self, field, couplings, over=0)["beta"]
        energy, m = -xp.mean(self._bonds(field), axis=axes), xp.mean(field, axis=axes)
        return {
            "E": energy,
            "m": m,
            "abs_m": xp.abs(m),
            "m_4": m**4,
            "chi2": sites * (m * m),
            "action": beta * sites * energy,
        }

    @property
    def derived(self) -> dict[str, Derived]:
        """The Binder cumulant and the connected susceptibility chi_abs, formed from ensemble means."""
        sites = volume(self.lattice)
        return {
            "binder": Derived(("chi2", "m_4"), partial(binder, sites=sites)),
            "chi_abs": Derived(("chi2", "abs_m"), partial(connected_susceptibility, sites=sites)),
        }

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What beta multiplies in the action: V E.

        >>> Ising((2, 2)).conjugates
        {'beta': {'E': 4.0}}
        """
        return {"beta": {"E": float(volume(self.lattice))}}

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known exactly: `m` = 0, and in one and two dimensions `ln_Z` and `E`.

        >>> round(Ising((16, 16)).exact({"beta": 0.4})["ln_Z"], 9)
        225.228846756
        """
        return {"m": 0.0} | ising_torus.observables(self.lattice, number_of(self, couplings, "beta"))

    def _bonds(self, field: Array) -> Array:
        """sum_mu s(x) s(x+mu)."""
        ahead = shift(field, 0, self.d)
        for mu in range(1, self.d):
            ahead = ahead + shift(field, mu, self.d)
        return field * ahead
