"""phi^4 in any dimension, in two parameterisations.

"m2" (default, arXiv:1904.12072):  S = sum_x [ sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4 ]
"hopping" (arXiv:2007.07115):      S = sum_x [ -2 kappa sum_mu phi(x) phi(x+mu) + (1 - 2 lam) phi^2 + lam phi^4 ]

Fields are real, `(*batch, *lattice)`. Both are S = sum_x [ -2 k sum_mu phi(x) phi(x+mu) + a phi^2 + lam phi^4 ] with
(k, a) = (1, 2d + m2) or (kappa, 1 - 2 lam); `to_m2` and `to_hopping` map between them exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, final

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.additive import Real
from haarflow.core.lattice.geometry import check_lattice, shift, volume
from haarflow.core.parts import Local, Symmetries
from haarflow.theories.exact import free_field, quadrature
from haarflow.theories.theory import Derived, check_couplings, couplings_for, no_subclass, number_of, refuse

# powers of the field in each observable: what the map between the two forms multiplies by kappa^(-n/2)
FIELDS = {"phi2": 2, "phi4": 4, "E": 2, "abs_m": 1, "chi2": 2, "m_4": 4, "G_min": 2}
COUPLINGS = {"m2": {"m2": -4.0, "lam": 8.0}, "hopping": {"kappa": 0.3, "lam": 0.022}}


LABELS = MappingProxyType(
    {
        "phi2": "⟨φ²⟩",
        "phi4": "⟨φ⁴⟩",
        "E": "E = ⟨φ(x) φ(x+μ)⟩",
        "m": "m = (1/V) Σ φ(x), the magnetisation",
        "abs_m": "⟨|m|⟩, m = mean of φ",
        "chi2": "χ₂ = V ⟨m²⟩",
        "binder": "Binder 1 − ⟨m⁴⟩/3⟨m²⟩²",
        "xi_2": "ξ₂, second-moment correlation length",
        "identity": "⟨φ ∂S/∂φ⟩, which is 1",
    }
)  # what a report calls the observables


def to_m2(kappa: float, lam: float, d: int) -> dict[str, float]:
    """Return m2 and lam of the hopping form's kappa and lam: phi = sqrt(kappa) phi_K.

    m2 = (1 - 2 lam_K)/kappa - 2d, lam = lam_K/kappa^2, ln Z = ln Z_K + (V/2) ln kappa, observables of n fields gain
    kappa^(n/2). Raises ValueError unless kappa > 0.

    >>> {name: round(value, 9) for name, value in to_m2(kappa=0.5, lam=0.25, d=2).items()}
    {'m2': -3.0, 'lam': 1.0}
    """
    if not kappa > 0:
        raise ValueError(f"the map between the two forms of phi^4 needs kappa > 0, got {kappa}")
    return {"m2": (1 - 2 * lam) / kappa - 2 * d, "lam": lam / kappa**2}


def to_hopping(m2: float, lam: float, d: int) -> dict[str, float]:
    """Return kappa and lam of the hopping form, the inverse of `to_m2`: 2 lam kappa^2 + (2d + m2) kappa = 1.

    Raises ValueError where no positive kappa solves it (lam = 0 and m2 <= -2d).

    >>> {name: round(value, 9) for name, value in to_hopping(m2=-3.0, lam=1.0, d=2).items()}
    {'kappa': 0.5, 'lam': 0.25}
    """
    linear = 2 * d + m2
    root = math.sqrt(linear**2 + 8 * lam) if linear**2 + 8 * lam >= 0 else math.nan
    if not linear + root > 0:
        raise ValueError(f"no hopping form has m2 = {m2} and lam = {lam} in {d} dimensions")
    kappa = 2 / (linear + root) if linear > 0 else (root - linear) / (4 * lam)
    return {"kappa": kappa, "lam": lam * kappa**2}


def binder(chi2: Array, m_4: Array, sites: int) -> Array:
    """Return the Binder cumulant 1 - <m^4>/(3 <m^2>^2) from chi2 = V <m^2> and <m^4>."""
    return 1 - sites**2 * m_4 / (3 * chi2**2)


def second_moment_length(chi2: Array, lowest: Array, extent: int) -> Array:
    """Return xi_2 = sqrt(chi2/G(2 pi/L) - 1)/(2 sin(pi/L)), in sites; NaN where noise makes chi2 < G."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(chi2 / np.asarray(lowest) - 1) / (2 * math.sin(math.pi / extent))


def connected_susceptibility(chi2: Array, abs_m: Array, sites: int) -> Array:
    """Return V (<m^2> - <|m|>^2), the susceptibility of the broken phase."""
    return chi2 - sites * abs_m**2


@final
@dataclass(frozen=True)
class Phi4:
    """phi^4 on a periodic lattice of any dimension, couplings `m2 lam` or `kappa lam`.

    A bond that wraps onto itself (extent 1) or onto its twin (extent 2) counts as `roll` counts it.
    Raises ValueError for extents that are not integers >= 1 and for an unknown parameterisation.

    >>> import numpy as np
    >>> float(Phi4((4, 4)).action(np.ones((4, 4)), {"m2": -4.0, "lam": 8.0}))
    64.0
    """

    lattice: tuple[int, ...]
    parameterisation: str = "m2"

    group = Real()
    labels = LABELS
    symmetries = Symmetries(
        ("translation", "reflection", "hypercubic", "Z2"),
        odd=MappingProxyType({"m": ("Z2",)}),
        tied=MappingProxyType({"correlator": ("hypercubic",)}),  # to the time axis
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        if self.parameterisation not in COUPLINGS:
            raise ValueError(f"phi^4 is written as {' or '.join(map(repr, COUPLINGS))}, got {self.parameterisation!r}")

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
        """The couplings' names and defaults."""
        return dict(COUPLINGS[self.parameterisation])

    @property
    def local(self) -> Local:
        """The action as a sum over sites, see `density`."""
        return Local(self.density, reach=1)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings, or raise ValueError for a misspelt, non-finite or unphysical one.

        Unphysical are lam < 0, and lam = 0 with a quadratic form that is not positive: e^{-S} is then not integrable.

        >>> Phi4((4, 4)).check({"lam": -1.0})
        Traceback (most recent call last):
            ...
        ValueError: Phi4 wants lam >= 0, got lam = -1.0
        """
        found = check_couplings(self, couplings)
        lam = found["lam"]
        refuse(self, lam=(lam, lam >= 0, "lam >= 0") if isinstance(lam, float) else (lam, True, ""))
        if isinstance(lam, float) and lam == 0:
            self._refuse_unbounded(found)
        return found

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for fields `(*batch, *lattice)`.

        Raises ValueError for a wrong shape or coupling, TypeError for a wrong type or mixed backends.
        """
        density = self.density(field, couplings)
        density = backends.of(density).materialise(density)  # XLA is slow at sums fused with shifts
        return array_namespace(density).sum(density, axis=tuple(range(-self.d - 1, 0)))

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the action's terms at each site, `(*batch, 1, *lattice)`: bonds x to x + mu belong to x."""
        hop, square, quartic = self._coefficients(field, couplings)
        ahead = _sum([shift(field, mu, self.d) for mu in range(self.d)])
        terms = field * (field * (square + quartic * (field * field)) - (2.0 * hop) * ahead)
        return terms[(..., None) + (slice(None),) * self.d]

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS/dphi(x) = 2 a phi + 4 lam phi^3 - 2 k sum_mu [phi(x+mu) + phi(x-mu)].

        >>> import numpy as np
        >>> Phi4((2, 2)).force(np.ones((2, 2)), {"m2": -4.0, "lam": 8.0}).tolist()
        [[24.0, 24.0], [24.0, 24.0]]
        """
        hop, square, quartic = self._coefficients(field, couplings)
        around = _sum([shift(field, mu, self.d, step) for mu in range(self.d) for step in (1, -1)])
        return field * (2.0 * square + (4.0 * quartic) * (field * field)) - (2.0 * hop) * around

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return per-configuration values, each `(*batch,)` but for `correlator`, `(*batch, T//2 + 1)`.

        phi2, phi4: site means; E: mean of phi(x) phi(x+mu) over sites and directions; m, abs_m, m_4 = m^4;
        chi2 = V m^2; G_min = V |phi(p)|^2 at the smallest momentum, averaged over the axes of the largest extent;
        identity = mean of phi dS/dphi, whose expectation is exactly 1; correlator C(t), the two-point function of
        time slices with sum_t C(t) = chi2; action.
        """
        xp, axes = array_namespace(field), tuple(range(-self.d, 0))
        hop, square, quartic = self._coefficients(field, couplings, over=0)
        squares = field * field
        phi2, phi4 = xp.mean(squares, axis=axes), xp.mean(squares * squares, axis=axes)
        bond = xp.mean(field * _sum([shift(field, mu, self.d) for mu in range(self.d)]), axis=axes) / self.d
        m, sites = xp.mean(field, axis=axes), volume(self.lattice)
        return {
            "phi2": phi2,
            "phi4": phi4,
            "E": bond,
            "m": m,
            "abs_m": xp.abs(m),
            "m_4": m**4,
            "chi2": sites * (m * m),
            "G_min": self._lowest_mode(field),
            "identity": 2.0 * square * phi2 + 4.0 * quartic * phi4 - (4.0 * self.d) * hop * bond,
            "correlator": self.two_point(field),
            "action": sites * (square * phi2 + quartic * phi4 - (2.0 * self.d) * hop * bond),
        }

    def two_point(self, field: Array) -> Array:
        """Return C(t) = V/T^2 sum_t0 s(t0) s(t0 + t), t = 0..T/2, `(*batch, T//2 + 1)`; s(t) = mean over the slice t.

        The two-point function at zero spatial momentum, sum over all T separations = V m^2 = chi2.

        >>> import numpy as np
        >>> Phi4((4, 3)).two_point(np.ones((4, 3))).tolist()
        [3.0, 3.0, 3.0]
        """
        xp, extent = array_namespace(field), self.lattice[0]
        slices = self._slices(field, 0)
        products = [xp.mean(slices * xp.roll(slices, -t, axis=-1), axis=-1) for t in range(extent // 2 + 1)]
        return xp.stack(products, axis=-1) * (volume(self.lattice) / extent)

    @property
    def derived(self) -> dict[str, Derived]:
        """binder, xi_2 (absent on one site) and the connected susceptibility chi_abs, formed from ensemble means."""
        sites, extent = volume(self.lattice), max(self.lattice)
        found = {
            "binder": Derived(("chi2", "m_4"), partial(binder, sites=sites)),
            "chi_abs": Derived(("chi2", "abs_m"), partial(connected_susceptibility, sites=sites)),
        }
        if extent > 1:
            found["xi_2"] = Derived(("chi2", "G_min"), partial(second_moment_length, extent=extent))
        return found

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        names = ("phi2", "phi4", "E", "abs_m", "chi2", "binder", "xi_2", "identity")
        return names if max(self.lattice) > 1 else tuple(name for name in names if name != "xi_2")

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What each coupling multiplies in the action: dS/dc = sum of number x observable, `{c: {name: number}}`.

        >>> Phi4((2, 2)).conjugates
        {'m2': {'phi2': 4.0}, 'lam': {'phi4': 4.0}}
        """
        sites = float(volume(self.lattice))
        if self.parameterisation == "m2":
            return {"m2": {"phi2": sites}, "lam": {"phi4": sites}}
        return {"kappa": {"E": -2.0 * self.d * sites}, "lam": {"phi4": sites, "phi2": -2.0 * sites}}

    def coefficients(self, couplings: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the numbers or arrays (k, a, lam) of the module's common form.

        >>> Phi4((4, 4)).coefficients({"m2": -4.0, "lam": 8.0})
        (1.0, 0.0, 8.0)
        """
        if self.parameterisation == "m2":
            return 1.0, couplings["m2"] + 2.0 * self.d, couplings["lam"]
        return couplings["kappa"], 1.0 - 2.0 * couplings["lam"], couplings["lam"]

    def other_form(self, couplings: Couplings = None) -> tuple[Phi4, dict[str, float], float]:
        """Return the theory in the other parameterisation, its couplings, and the factor that its field has gained.

        S(phi) = S'(factor phi); couplings are numbers. Raises ValueError where the other form does not exist.

        >>> theory, couplings, factor = Phi4((4, 4), "hopping").other_form({"kappa": 0.25, "lam": 0.25})
        >>> theory.parameterisation, couplings, factor
        ('m2', {'m2': -2.0, 'lam': 4.0}, 0.5)
        """
        found = self.check(couplings)
        if self.parameterisation == "hopping":
            return Phi4(self.lattice), to_m2(**found, d=self.d), math.sqrt(found["kappa"])
        mapped = to_hopping(**found, d=self.d)
        return Phi4(self.lattice, "hopping"), mapped, 1 / math.sqrt(mapped["kappa"])

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known exactly: `identity` = 1 and `m` = 0 always; all of the free field at lam = 0; all
        means by quadrature on lattices at most two sites across (for three call `quadrature.observables`, which takes
        seconds).

        >>> round(Phi4((2, 2)).exact({"m2": -4.0, "lam": 8.0})["chi2"], 9)
        0.450481641
        """
        known = {"identity": 1.0, "m": 0.0}
        values = {name: number_of(self, couplings, name) for name in self.couplings}
        kappa = values.get("kappa", 1.0)
        if kappa <= 0:
            return known
        m2, lam = (values if "m2" in values else to_m2(kappa, values["lam"], self.d)).values()
        if lam == 0:
            means = free_field.observables(self.lattice, m2)
        elif quadrature.tractable(self.lattice, across=2):
            means = quadrature.observables(self.lattice, m2, lam)
        else:
            return known
        scaled = {name: value * kappa ** (-FIELDS.get(name, 0) / 2) for name, value in means.items()}
        scaled["ln_Z"] = means["ln_Z"] - 0.5 * volume(self.lattice) * math.log(kappa)
        return known | scaled

    def _coefficients(self, field: Array, couplings: Couplings, over: int | None = None) -> tuple[Any, Any, Any]:
        """The numbers or arrays (k, a, lam) of the module's common form."""
        return self.coefficients(couplings_for(self, field, couplings, over))

    def _slices(self, field: Array, axis: int) -> Array:
        """Means over all lattice axes but one, `(*batch, L_axis)`."""
        others = tuple(mu - self.d for mu in range(self.d) if mu != axis)
        return array_namespace(field).mean(field, axis=others) if others else field

    def _lowest_mode(self, field: Array) -> Array:
        """V |phi(2 pi/L)|^2 averaged over the axes of the largest extent L."""
        xp, extent = array_namespace(field), max(self.lattice)
        longest = [axis for axis in range(self.d) if self.lattice[axis] == extent]
        angle = 2 * math.pi * np.arange(extent) / extent
        tables = (np.cos(angle), np.sin(angle))
        waves = [xp.asarray(table, dtype=field.dtype, device=device_of(field)) for table in tables]
        parts = [xp.mean(self._slices(field, axis) * wave, axis=-1) for axis in longest for wave in waves]
        return _sum([part * part for part in parts]) * (volume(self.lattice) / len(longest))

    def _refuse_unbounded(self, found: dict[str, Any]) -> None:
        if self.parameterisation == "m2":
            m2 = found["m2"]
            refuse(self, m2=(m2, not isinstance(m2, float) or m2 > 0, "m2 > 0 where lam = 0"))
        else:
            kappa, bound = found["kappa"], 1 / (2 * self.d)
            bounded = not isinstance(kappa, float) or abs(kappa) < bound
            refuse(self, kappa=(kappa, bounded, f"|kappa| < 1/(2d) = {bound} where lam = 0"))


def _sum(terms: list[Array]) -> Array:
    return sum(terms[1:], terms[0])
