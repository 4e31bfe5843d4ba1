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

from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import per_chain, spread, total
from haarflow.core.groups.matrices import EPSILON, complex_array, precision
from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.dense import dense, fits
from haarflow.core.solvers.retry import Solves, no_solves, record, retried
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.wilson import Wilson


class Factor(NamedTuple):
    """det(A A^+) at a hopping parameter, or its ratio to the one at a smaller, `heavier` one."""

    kappa: Any
    heavier: Any = None


ROUNDINGS = 64  # the least relative residual that is asked for, in units of the precision


class Accuracy(NamedTuple):
    """The relative residual of a solve, though no less than ROUNDINGS of the field's precision, and the steps that it may take
    before its one retry.
    """

    tolerance: float
    max_steps: int


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
    """Return X = (Dhat Dhat^+)^-1 b of packed spinors, by conjugate gradients from X = 0, and the record.

    No first guess is carried along a trajectory, so that its forces depend on the field alone and it is reversible.
    """
    form, links = gauge.form, gauge.links
    axes, tolerance = gauge.batch_axes, max(accuracy.tolerance, ROUNDINGS * EPSILON[precision(gauge.field)])

    def normal(x: Array) -> Array:
        return form.schur(links, kappa, form.schur_adjoint(links, kappa, x))

    def by_matrix() -> Any:
        return dense(normal, b, tolerance, axes)

    solution = retried(
        lambda steps: cg(normal, b, tolerance, steps, axes),
        accuracy.max_steps,
        by_matrix if fits(b, axes) else None,
    )
    return solution.x, record(solution)


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


def force(gauge: Background, factor: Factor, phi: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return F = dS along the group at fixed phi, shaped as the algebra, and the record."""
    form, links = gauge.form, gauge.links
    x, solved = solve(gauge, factor.kappa, _source(gauge, factor, phi), accuracy)
    y = form.schur_adjoint(links, factor.kappa, x)
    found = bilinear(gauge, factor.kappa, x, y)
    return found if factor.heavier is None else found - bilinear(gauge, factor.heavier, x, phi), solved


class Derivatives(NamedTuple):
    """The action of phi at one kappa, X = (Dhat Dhat^+)^-1 phi, which is half its derivative by phi^*, and the force on the links."""

    action: Array
    x: Array
    force: Array


def derivatives(gauge: Background, kappa: Any, phi: Array, accuracy: Accuracy) -> Derivatives:
    """Return the action with its derivatives by both fields, from one solve."""
    xp, (x, _) = array_namespace(phi), solve(gauge, kappa, phi, accuracy)
    y = gauge.form.schur_adjoint(gauge.links, kappa, x)
    value = total(xp.real(xp.conj(phi) * x), gauge.batch_axes)
    return Derivatives(value, x, bilinear(gauge, kappa, x, y))


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
