"""Further observables of the links of a theory with pseudofermions, each a record that `WithPseudofermions` is given.

A measurement has a name in the report for each of its values, `labels`; `correlators` are those against t, `summary` those of
the report's table, `exact` what is known of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.theories.fermions.action import CONDENSATE, LOG_DET, PION, SIGN
from haarflow.theories.fermions.determinants.determinant import log_det
from haarflow.theories.fermions.propagator import condensate_and_pion
from haarflow.theories.fermions.pseudofermions import pseudofermion
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy
from haarflow.theories.fermions.wilson import Wilson

UNKNOWN: dict[str, float] = {}  # no exact value


class Measurement(Protocol):
    """What is measured on links besides the observables of a gauge theory; a frozen value."""

    @property
    def labels(self) -> dict[str, str]:
        """The values' names in the report."""
        ...

    @property
    def correlators(self) -> tuple[str, ...]:
        """Those of values `(*batch, T)`."""
        ...

    @property
    def summary(self) -> tuple[str, ...]:
        """Those of the report's table."""
        ...

    @property
    def exact(self) -> dict[str, float]:
        """Known means."""
        ...

    def values(self, operator: Wilson, field: Array, kappa: Any, accuracy: Accuracy) -> dict[str, Array]:
        """Return the values `(*batch, ...)` by name."""
        ...


@dataclass(frozen=True)
class Determinant:
    """ln|det D| and its sign, of one flavour, exactly: some tenths of a second for each configuration of 4^4 sites."""

    labels = {"log_det": LOG_DET, "sign": SIGN}  # noqa: RUF012
    correlators = ()
    summary = ("log_det", "sign")
    exact = UNKNOWN

    def values(self, operator: Wilson, field: Array, kappa: Any, accuracy: Accuracy) -> dict[str, Array]:
        """Return both."""
        value, sign = log_det(operator, field, kappa)
        return {"log_det": value, "sign": sign}


@dataclass(frozen=True)
class DenseQuarks:
    """The condensate of one flavour and the pion correlator over all sources, exactly, by dense inverses of D; see
    `propagator.condensate_and_pion`.
    """

    labels = {"condensate": CONDENSATE, "pion": PION}  # noqa: RUF012
    correlators = ("pion",)
    summary = ("condensate",)
    exact = UNKNOWN

    def values(self, operator: Wilson, field: Array, kappa: Any, accuracy: Accuracy) -> dict[str, Array]:
        """Return both, `(*batch,)` and `(*batch, T)`."""
        condensate, pion = condensate_and_pion(operator, field, kappa)
        return {"condensate": condensate, "pion": pion}


@dataclass(frozen=True)
class PointPion:
    """The pion correlator of a point source at the origin; see `point_pion`."""

    labels = {"pion": PION}  # noqa: RUF012
    correlators = ("pion",)
    summary = ()
    exact = UNKNOWN

    def values(self, operator: Wilson, field: Array, kappa: Any, accuracy: Accuracy) -> dict[str, Array]:
        """Return C(t), `(*batch, T)`."""
        return {"pion": point_pion(operator, field, kappa, accuracy)}


def point_pion(operator: Wilson, field: Array, kappa: Any, accuracy: Accuracy) -> Array:
    """Return C(t) = sum over y with y_0 = t of tr G(y, 0) G(y, 0)^+, `(*batch, T)`, NaN where a solve has not converged.

    Its mean is that of `propagator.pion_correlator`, which averages over all sources. D x = eta is solved for each spin and
    colour at the origin in the even-odd form: Dhat x_o = kappa H_oe eta_e, x_e = eta_e + kappa H_eo x_o.

    >>> operator = Wilson((4, 4))
    >>> free = point_pion(operator, numpy.zeros((2, 4, 4)), 0.2, Accuracy(1e-12, 100))
    >>> bool(numpy.isclose(free[1], free[3])), bool(free[2] < free[1] < free[0])
    (True, True)
    """
    xp, own = array_namespace(field), len(operator.field_shape)
    wide = pseudofermion.background(operator, field[(..., None, *(slice(None),) * own)])
    form, links = wide.form, wide.links
    kappa = kappa[..., None] if getattr(kappa, "ndim", 0) else kappa  # one more axis, for the sources
    batch, sources = tuple(field.shape[: field.ndim - own]), _sources(operator, field)
    scale = kappa[(..., *(None,) * len(form.packed_shape))] if getattr(kappa, "ndim", 0) else kappa
    even, _ = form.split(sources)
    even = even + xp.zeros((*batch, 1, *(1,) * len(form.packed_shape)), dtype=even.dtype, device=backends.place(field))
    x, _ = pseudofermion.solve(wide, kappa, scale * form.hop_oe(links, even), accuracy)
    odd = form.schur_adjoint(links, kappa, x)
    quark = form.merge(even + scale * form.hop_eo(links, odd), odd)
    squares = xp.real(quark * xp.conj(quark))
    axes = tuple(range(len(batch), squares.ndim))
    time = squares.ndim - len(operator.lattice)
    return xp.sum(squares, axis=tuple(axis for axis in axes if axis != time))


def _sources(operator: Wilson, field: Array) -> Array:
    """The unit vectors at the origin, an even site: `(spin [n], spin, [n,] *lattice)`."""
    shape, d = operator.spinor_shape, len(operator.lattice)
    inner = int(numpy.prod(shape[: len(shape) - d]))
    table: numpy.ndarray = numpy.zeros((inner, inner, int(numpy.prod(shape[len(shape) - d :]))), dtype="complex128")
    table[:, :, 0] = numpy.eye(inner)
    kind = "complex64" if precision(field) == "float32" else "complex128"
    return backends.of(field).asarray(table.reshape(inner, *shape), dtype=kind)
