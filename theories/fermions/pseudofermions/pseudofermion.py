"""Pseudofermions: det(A A^+) as an integral over a complex field phi, for A of two flavours on the odd sites.

    int dphi e^{-phi^+ (A A^+)^-1 phi} = pi^n det(A A^+),    A = Dhat(kappa)  or  Dhat(heavier)^-1 Dhat(kappa)

phi = A chi is drawn exactly, with chi of weight e^{-chi^+ chi}: variance 1/2 for each real component. With X = (D D^+)^-1 b
and Y = D^+ X, where D = Dhat(kappa) and b = phi or, in a ratio, Dhat(heavier) phi, the action is b^+ X, and

    dS = 2 kappa Re X~^+ dH Y~ [- 2 kappa' Re X~'^+ dH phi~'],    X~ = (kappa H_oe^+ X, X),    Y~ = (kappa H_eo Y, Y)

on (even, odd) sites (Hasenbusch, hep-lat/0107019, for the ratio). Every solve is recorded; one that has not converged makes
its configuration NaN, never a number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import per_chain, spread, total
from haarflow.core.groups.matrices import EPSILON, complex_array, precision
from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.dense import dense, fits
from haarflow.core.solvers.mixed import mixed
from haarflow.core.solvers.retry import Solves, no_solves, record, retried
from haarflow.core.solvers.solution import Solution
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.slopes import joined, parts_of, slopes_of
from haarflow.theories.fermions.wilson import Wilson


class Factor(NamedTuple):
    """det(A A^+) at a hopping parameter, or its ratio to the one at a smaller, `heavier` one."""

    kappa: Any
    heavier: Any = None


ROUNDINGS = 64  # the least relative residual that is asked for, in units of the precision


class Accuracy(NamedTuple):
    """The relative residual of a solve, though no less than ROUNDINGS of the field's precision, and the steps that it may take
    before its one retry. A `mixed` one of a field in double precision steps in single precision, between residuals in double;
    solves for an odd flavour do not.
    """

    tolerance: float
    max_steps: int
    mixed: bool = False


class Background(NamedTuple):
    """A gauge field, and its links for the hops between even and odd sites."""

    operator: Wilson
    form: EvenOdd
    field: Array
    links: Halves

    @property
    def batch_axes(self) -> int:
        """The number of leading batch axes."""
        return int(self.field.ndim) - len(self.operator.field_shape)


def background(operator: Wilson, field: Array) -> Background:
    """Return a gauge field prepared for solves, with the compiled hop where there is one; raises ValueError for odd extents."""
    form = EvenOdd(accelerated(operator))
    return Background(operator, form, field, form.prepare(field))


def solve(gauge: Background, kappa: Any, b: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return X = (Dhat Dhat^+)^-1 b of packed spinors, by conjugate gradients from X = 0, and the record; see `Accuracy`.

    No first guess is carried along a trajectory, so that its forces depend on the field alone and it is reversible.
    """
    form, links = gauge.form, gauge.links
    axes, tolerance = gauge.batch_axes, max(accuracy.tolerance, ROUNDINGS * EPSILON[precision(gauge.field)])

    def normal(x: Array) -> Array:
        return form.schur(links, kappa, form.schur_adjoint(links, kappa, x))

    def by_matrix() -> Any:
        return dense(normal, b, tolerance, axes)

    def iterated(steps: int) -> Solution:
        if not accuracy.mixed or precision(gauge.field) == "float32":
            return cg(normal, b, tolerance, steps, axes)
        return mixed(normal, rough, b, tolerance, steps, axes)

    narrow = Halves(*map(_narrowed, links)) if accuracy.mixed else links

    def rough(x: Array) -> Array:
        return form.schur(narrow, kappa, form.schur_adjoint(narrow, kappa, x))

    solution = retried(
        iterated,
        accuracy.max_steps,
        by_matrix if fits(b, axes) else None,
    )
    return solution.x, record(solution)


def _narrowed(x: Array) -> Array:
    """Real or complex numbers in single precision."""
    xp = array_namespace(x)
    return xp.astype(x, xp.complex64 if xp.isdtype(x.dtype, "complex floating") else xp.float32)


def noise(form: EvenOdd, key: Key, batch: tuple[int, ...], dtype: str) -> Array:
    """Return chi of weight e^{-chi^+ chi}, packed spinors `(*batch, spin, [n,] V/2)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> chi = noise(EvenOdd(Wilson((4, 4))), random.key(1, backend), (1000,), "float64")
    >>> bool(abs((abs(chi) ** 2).mean() - 1.0) < 0.05)
    True
    """
    shape = per_chain(key, (*batch, *form.packed_shape))
    real, imaginary = (random.normal(random.fold_in(key, part), shape, dtype) for part in (0, 1))
    return 0.5**0.5 * complex_array(real, imaginary)


def drawn(gauge: Background, factor: Factor, key: Key, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return phi = A chi, of weight e^{-S(phi)} at this gauge field, and the record of the solve that a ratio takes."""
    form, links = gauge.form, gauge.links
    batch = tuple(gauge.field.shape[: gauge.batch_axes])
    chi = noise(form, key, batch, precision(gauge.field))
    phi = form.schur(links, factor.kappa, chi)
    if factor.heavier is None:
        return phi, no_solves(0.0 * total(array_namespace(phi).real(phi), gauge.batch_axes))
    x, solved = solve(gauge, factor.heavier, phi, accuracy)
    return form.schur_adjoint(links, factor.heavier, x), solved


def action(gauge: Background, factor: Factor, phi: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return S = |A^-1 phi|^2, of the batch's shape, and the record."""
    b = _source(gauge, factor, phi)
    x, solved = solve(gauge, factor.kappa, b, accuracy)
    xp = array_namespace(b)
    return total(xp.real(xp.conj(b) * x), gauge.batch_axes), solved


def action_with_slopes(operator: Wilson, factor: Factor, field: Array, phi: Array, accuracy: Accuracy) -> Array:
    """Return S = |A^-1 phi|^2 of gauge links and phi, whose derivatives by autodiff are those of the solved action, with no solve
    differentiated: along the group the force, dS/dphi^+ = (A A^+)^-1 phi. There is none with respect to kappa.

    >>> import numpy as np
    >>> phi = np.ones((2, 8)) + 0j
    >>> float(action_with_slopes(Wilson((4, 4)), Factor(0.0), np.zeros((2, 4, 4)), phi, Accuracy(1e-10, 100)))
    16.0
    """
    links_parts = len(parts_of(field))

    def value(*parts: Array) -> Array:
        gauge = background(operator, joined(*parts[:links_parts]))
        return action(gauge, factor, joined(*parts[links_parts:]), accuracy)[0]

    def slopes(*parts: Array) -> tuple[Array, tuple[Array, ...]]:
        links, spinor = joined(*parts[:links_parts]), joined(*parts[links_parts:])
        gauge = background(operator, links)
        b = _source(gauge, factor, spinor)
        x, _ = solve(gauge, factor.kappa, b, accuracy)
        along = x if factor.heavier is None else gauge.form.schur_adjoint(gauge.links, factor.heavier, x)
        xp = array_namespace(b)
        found = total(xp.real(xp.conj(b) * x), gauge.batch_axes)
        return found, (*slopes_of(operator, links, _force(gauge, factor, spinor, x)), *parts_of(2.0 * along))

    known: Array = backends.of(field).with_slopes(value, slopes, 0)(*parts_of(field), *parts_of(phi))
    return known


def force(gauge: Background, factor: Factor, phi: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return F = dS along the group at fixed phi, shaped as the algebra, and the record."""
    x, solved = solve(gauge, factor.kappa, _source(gauge, factor, phi), accuracy)
    return _force(gauge, factor, phi, x), solved


def _force(gauge: Background, factor: Factor, phi: Array, x: Array) -> Array:
    """The force of a solution x."""
    found = bilinear(gauge, factor.kappa, x, gauge.form.schur_adjoint(gauge.links, factor.kappa, x))
    return found if factor.heavier is None else found - bilinear(gauge, factor.heavier, x, phi)


def _source(gauge: Background, factor: Factor, phi: Array) -> Array:
    return phi if factor.heavier is None else gauge.form.schur(gauge.links, factor.heavier, phi)


def bilinear(gauge: Background, kappa: Any, x: Array, y: Array) -> Array:
    """Return 2 kappa Re x~^+ dH y~ along the group, which is -2 Re x^+ dDhat y, for packed spinors x and y."""
    form, links = gauge.form, gauge.links
    factor = spread(kappa, len(form.packed_shape))
    left = factor * form.gamma5(form.hop_eo(links, form.gamma5(x)))
    right = factor * form.hop_eo(links, y)
    forces = gauge.operator.hop_force(gauge.field, form.merge(left, x), form.merge(right, y))
    return spread(kappa, forces.ndim - gauge.batch_axes) * forces
