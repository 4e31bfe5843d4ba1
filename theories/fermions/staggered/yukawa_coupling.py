"""Staggered fermions coupled to a scalar field, as a term of its action: S = -N_f ln|det(D_st + g phi)|.

det M may be negative, so that the number of flavours is even: the weight det(M M^T)^(N_f/2) is then positive and smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.additive import Real
from haarflow.core.lattice.geometry import volume
from haarflow.core.parts import Symmetries
from haarflow.theories.fermions.propagator import pion_correlator
from haarflow.theories.fermions.staggered.staggered import Staggered, inverse, log_det, log_det_force, site_diagonal
from haarflow.theories.theory import couplings_for, no_subclass

G = 0.3  # the default coupling

LABELS = MappingProxyType(
    {
        "log_det": "ln|det M|, of one flavour",
        "sign": "sign det M, of one flavour",
        "condensate": "tr M⁻¹/V, condensate of one flavour",
        "abs_condensate": "|tr M⁻¹|/V, modulus of the condensate",
        "phi_condensate": "(1/V) Σ φ(x) M⁻¹(x, x)",
        "pion": "C(t), pion correlator",
    }
)


@final
@dataclass(frozen=True)
class YukawaCoupling:
    """-N_f ln|det M| for real scalar fields `(*batch, *lattice)`; the coupling is `g`.

    Observables, each `(*batch,)` but for the last two: log_det and sign of one flavour; condensate, tr M^-1/V, which is odd in
    phi, and its modulus abs_condensate; phi_condensate, (1/V) sum phi(x) M^-1(x, x) = (1/V) d ln|det M|/dg; pion `(*batch, T)`,
    the sum of squares G(y, x)^2 at each time (`propagator.pion_correlator`); fermion `(*batch, T/2)`, see
    `fermion_correlator`. Raises ValueError for a number of flavours that is not even.

    >>> import numpy as np
    >>> free = YukawaCoupling(Staggered((4, 6)))
    >>> round(float(free.action(np.full((4, 6), 0.3), {"g": 1.0})), 12)  # -2 ln det(D_st + 0.3)
    -0.461651886746
    """

    operator: Staggered
    flavours: int = 2

    group = Real()
    labels = LABELS
    summary = ("abs_condensate", "phi_condensate", "log_det", "sign")
    correlators = ("pion",)

    def __post_init__(self) -> None:
        if int(self.flavours) != self.flavours or self.flavours < 2 or self.flavours % 2:
            raise ValueError(f"flavours must be an even number >= 2, as det M may be negative, got {self.flavours!r}")

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def name(self) -> str:
        """The number of flavours, in words of a message."""
        return f"{self.flavours} flavours"

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        return self.operator.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one scalar field."""
        return self.lattice

    @property
    def couplings(self) -> dict[str, float]:
        """The coupling's name and default."""
        return {"g": G}

    @property
    def symmetries(self) -> Symmetries:
        """Translations by one site change the phases eta by signs that a change of the fermions undoes; phi -> -phi does, too."""
        words, odd = ("translation", "reflection", "Z2"), {"condensate": ("Z2",)}
        if self.operator.antiperiodic:
            return Symmetries(words, odd)
        return Symmetries((*words, "hypercubic"), odd, {name: ("hypercubic",) for name in ("pion", "fermion")})

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -N_f ln|det M| of the batch's shape."""
        return -float(self.flavours) * log_det(self.operator, field, self._g(field, couplings))[0]

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -N_f d ln|det M| / d phi, shaped as the field."""
        return -float(self.flavours) * log_det_force(self.operator, field, self._g(field, couplings))

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        xp, g, axes = array_namespace(field), self._g(field, couplings), tuple(range(-self.operator.d, 0))
        value, sign = log_det(self.operator, field, g)
        propagator = inverse(self.operator, field, g)
        diagonal = site_diagonal(propagator, self.lattice)
        condensate = xp.mean(diagonal, axis=axes)
        return {
            "log_det": value,
            "sign": sign,
            "condensate": condensate,
            "abs_condensate": xp.abs(condensate),
            "phi_condensate": xp.mean(field * diagonal, axis=axes),
            "pion": pion_correlator(propagator, self.lattice),
            "fermion": fermion_correlator(propagator, self.operator),
            "action": -float(self.flavours) * value,
        }

    def _g(self, field: Array, couplings: Couplings) -> Any:
        return couplings_for(self, field, couplings, over=0)["g"]


def fermion_correlator(propagator: Array, operator: Staggered) -> Array:
    """Return (1/V) sum of G(y, x) over y_0 - x_0 = t and even distances in space, for t = 1, 3, ...: `(*batch, T/2)`.

    The two-point function of the fermions, averaged over all sources and over the momenta 0 and pi of each axis in space, with
    the sign of the boundary where it is crossed. C(T - t) = C(t) for antiperiodic fermions; at even t it would be odd in phi.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.staggered.staggered import inverse
    >>> operator = Staggered((4, 2))
    >>> fermion_correlator(inverse(operator, np.ones((4, 2)), 1.0), operator).round(12).tolist()
    [0.333333333333, 0.333333333333]
    """
    xp, sites = array_namespace(propagator), volume(operator.lattice)
    paths = backends.of(propagator).asarray(_paths(operator), dtype=propagator.dtype)
    return xp.reshape(propagator, (*propagator.shape[:-2], sites * sites)) @ paths / float(sites)


@lru_cache(maxsize=16)
def _paths(operator: Staggered) -> numpy.ndarray:
    """The sign of each pair (y, x) in the sum of t = 1, 3, ..., 0 where it has no part: `(V V, T/2)`."""
    times, sites = operator.lattice[0], numpy.indices(operator.lattice).reshape(operator.d, -1)
    apart = sites[:, :, None] - sites[:, None, :]
    signs = numpy.where((apart[0] < 0) & operator.antiperiodic, -1.0, 1.0) * (apart[1:] % 2 == 0).all(axis=0)
    columns = [(signs * (apart[0] % times == t)).ravel() for t in range(1, times, 2)]
    return numpy.stack(columns, axis=-1) if columns else numpy.zeros((signs.size, 0))
