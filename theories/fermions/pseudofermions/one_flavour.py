"""Pseudofermions of one flavour: |det Dhat| = det (Dhat Dhat^+)^{1/2} by a rational approximation to the inverse root.

    S = phi^+ R(A) phi,   A = Dhat Dhat^+ / c,   c = (1 + (2 d kappa)^2)^2,   R(x) = scale prod_k (x + z_k)/(x + p_k) ~ x^{-1/2}

with Zolotarev's R on [lowest, 1]; A <= 1, since a hop is at most 2 d. With the Hermitian Q = Dhat gamma_5 / sqrt(c), Q^2 = A,

    phi = scale^{-1/2} prod_k (Q + i sqrt(p_k))/(Q + i sqrt(z_k)) chi = scale^{-1/2} [chi + sum_k rho_k (sqrt(z_k) + i Q) (A + z_k)^-1 chi]

has the weight e^{-S} exactly, for the same R: nothing but R stands between the sampled weight and |det D|. The force is that of
Dhat Dhat^+ at each shift. All shifts are solved in one Krylov space (Clark and Kennedy, hep-lat/0309084; the draw by
factors in Q is derived here). The weight is that of |det D|, and the sign of det D reweights.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key
from haarflow.core.axes import spread, total
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import EPSILON, precision
from haarflow.core.solvers.dense import dense, fits
from haarflow.core.solvers.lanczos import spectrum_ends
from haarflow.core.solvers.multishift import multishift
from haarflow.core.solvers.rational import Rational, zolotarev
from haarflow.core.solvers.retry import Solves, record, retried
from haarflow.core.solvers.solution import Solution
from haarflow.theories.fermions.pseudofermions.pseudofermion import ROUNDINGS, Accuracy, Background, bilinear, noise

BIAS = 1e-3  # what the approximation may change in ln of the weight, at most
SIGN = 4096  # rows of a time slice up to which the determinant is computed
VECTORS = 80  # steps of the Lanczos recursion for the lowest eigenvalue, at most


class Root(NamedTuple):
    """Zolotarev's approximation with a number of `poles` on [lowest, 1] in units of the largest possible eigenvalue of Dhat Dhat^+."""

    poles: int = 12
    lowest: float = 1e-4

    @property
    def rational(self) -> Rational:
        """The approximation.

        >>> f"{Root().rational.error:.1e}"
        '4.6e-09'
        """
        return _zolotarev(self.poles, self.lowest)


_zolotarev = lru_cache(maxsize=16)(zolotarev)


class OneFlavour(NamedTuple):
    """|det Dhat| at a hopping parameter."""

    kappa: Any
    root: Root


def check_root(root: Root, components: int) -> None:
    """Raise ValueError for an approximation that changes the weight of `components` complex numbers by more than BIAS.

    >>> check_root(Root(poles=4), 768)
    Traceback (most recent call last):
        ...
    ValueError: 4 poles on [0.0001, 1] approximate one flavour to 2.4e-03, which on 768 components may change ln of the weight by \
1.9e+00, more than 0.001: take more poles, or a larger lowest where the spectrum allows it
    """
    error = root.rational.error
    if components * error > BIAS:
        raise ValueError(
            f"{root.poles} poles on [{root.lowest:g}, 1] approximate one flavour to {error:.1e}, which on {components} components "
            f"may change ln of the weight by {components * error:.1e}, more than {BIAS:g}: take more poles, or a larger lowest "
            "where the spectrum allows it"
        )


def check_sign(operator: Any) -> None:
    """Raise ValueError where the sign of det D, without which one flavour is not sampled, takes matrices of more than SIGN rows.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> check_sign(Wilson((8, 8, 8, 8), n=3))
    Traceback (most recent call last):
        ...
    ValueError: an odd number of flavours is reweighted by the sign of det D, which on [8, 8, 8, 8] takes matrices of 6144 rows, \
more than 4096: take an even number of flavours or a smaller lattice
    """
    rows = math.prod(operator.spinor_shape) // operator.lattice[0]
    if rows > SIGN:
        raise ValueError(
            f"an odd number of flavours is reweighted by the sign of det D, which on {list(operator.lattice)} takes matrices of "
            f"{rows} rows, more than {SIGN}: take an even number of flavours or a smaller lattice"
        )


def largest(d: int, kappa: Any) -> Any:
    """Return c, which no eigenvalue of Dhat Dhat^+ exceeds.

    >>> largest(4, 0.125)
    4.0
    """
    return (1.0 + (2 * d * kappa) ** 2) ** 2


def drawn(gauge: Background, factor: OneFlavour, key: Key, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return phi of weight e^{-S(phi)} at this gauge field, and the record of the solve."""
    form, rational = gauge.form, factor.root.rational
    batch = tuple(gauge.field.shape[: gauge.batch_axes])
    chi = noise(form, key, batch, precision(gauge.field))
    x, solved = _solve(gauge, factor, chi, rational.zeros, accuracy)
    roots, weights = [math.sqrt(zero) for zero in rational.zeros], _residues(rational)
    plain = _weighed(x, [rho * root for rho, root in zip(weights, roots, strict=True)])
    turned = form.schur(gauge.links, factor.kappa, form.gamma5(_weighed(x, weights)))
    phase = 1j / spread(largest(gauge.operator.d, factor.kappa) ** 0.5, len(form.packed_shape))
    return rational.scale**-0.5 * (chi + plain + phase * turned), solved


def action(gauge: Background, factor: OneFlavour, phi: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return S of the batch's shape, and the record."""
    rational = factor.root.rational
    x, solved = _solve(gauge, factor, phi, rational.poles, accuracy)
    xp = array_namespace(phi)
    return rational.scale * total(
        xp.real(xp.conj(phi) * (phi + _weighed(x, rational.residues))), gauge.batch_axes
    ), solved


def force(gauge: Background, factor: OneFlavour, phi: Array, accuracy: Accuracy) -> tuple[Array, Solves]:
    """Return F = dS along the group at fixed phi, shaped as the algebra, and the record."""
    rational, kappa, links = factor.root.rational, factor.kappa, gauge.links
    x, solved = _solve(gauge, factor, phi, rational.poles, accuracy)
    backend = backends.of(phi)
    weights = backend.asarray([rational.scale * residue for residue in rational.residues], dtype=precision(phi))

    def add(sum_: Array, entry: tuple[Array, Array]) -> tuple[Array, None]:
        weight, one = entry
        return sum_ + weight * bilinear(gauge, kappa, one, gauge.form.schur_adjoint(links, kappa, one)), None

    found, _ = backend.scan(add, gauge.operator.group.zeros(gauge.field), (weights, x))
    return found / spread(largest(gauge.operator.d, kappa), found.ndim - gauge.batch_axes), solved


def lowest(gauge: Background, kappa: Any, key: Key) -> Array:
    """Return the smallest eigenvalue of A, of the batch's shape, by the Lanczos recursion from normal numbers; from below, by the
    recursion's own bound on its error.
    """
    start = noise(gauge.form, key, tuple(gauge.field.shape[: gauge.batch_axes]), precision(gauge.field))
    ends = spectrum_ends(_map(gauge, kappa), start, min(VECTORS, math.prod(gauge.form.packed_shape)), gauge.batch_axes)
    xp, least = array_namespace(ends.lowest), ends.lowest - ends.lowest_error
    return xp.maximum(least, xp.zeros_like(least))


def _map(gauge: Background, kappa: Any) -> Any:
    form, links = gauge.form, gauge.links
    scale = 1.0 / spread(largest(gauge.operator.d, kappa), len(form.packed_shape))

    def apply(x: Array) -> Array:
        return scale * form.schur(links, kappa, form.schur_adjoint(links, kappa, x))

    return apply


def _solve(
    gauge: Background, factor: OneFlavour, b: Array, shifts: tuple[float, ...], accuracy: Accuracy
) -> tuple[Array, Solves]:
    """(A + shift)^-1 b for all shifts, as a first axis."""
    apply, axes, xp = _map(gauge, factor.kappa), gauge.batch_axes, array_namespace(b)
    tolerance = max(accuracy.tolerance, ROUNDINGS * EPSILON[precision(gauge.field)])
    every = backends.of(b).asarray(list(shifts), dtype=precision(b))

    def by_matrix() -> Solution:
        def one(carry: None, shift: Array) -> tuple[None, Solution]:
            return None, dense(lambda x: apply(x) + of_type(shift, x) * x, b, tolerance, axes)

        return Solution(*backends.of(b).scan(one, None, every)[1])

    solution = retried(
        lambda steps: multishift(apply, b, shifts, tolerance, steps, axes),
        accuracy.max_steps,
        by_matrix if fits(b, axes) else None,
    )
    found = record(solution)
    return solution.x, Solves(
        xp.all(found.converged, axis=0), xp.max(found.residual, axis=0), xp.max(found.steps, axis=0)
    )


def _weighed(x: Array, weights: Any) -> Array:
    """sum_k weights_k x_k over the first axis."""
    xp = array_namespace(x)
    shape = (len(weights), *(1 for _ in x.shape[1:]))
    factors = xp.reshape(backends.of(x).asarray(list(weights), dtype=precision(x)), shape)
    return xp.sum(of_type(factors, x) * x, axis=0)


def _residues(rational: Rational) -> list[float]:
    """rho_k of prod_k (q + i sqrt(p_k))/(q + i sqrt(z_k)) = 1 + sum_k i rho_k / (q + i sqrt(z_k))."""
    poles, zeros = ([math.sqrt(x) for x in numbers] for numbers in (rational.poles, rational.zeros))
    return [
        math.prod(pole - zero for pole in poles) / math.prod(other - zero for other in zeros if other != zero)
        for zero in zeros
    ]
