"""ln |det D(U)| and its sign in the cheapest of three forms, with a derivative by blocks of D^-1.

| form | cost of a configuration, N = spin x colour x sites | for |
|---|---|---|
| dense | N^3 | any operator |
| even-odd | (N/2)^3 | even extents |
| slices | T (N/T)^3, in two dimensions L^4 | Wilson's operator |

det D is real by gamma_5 hermiticity, but it may be negative: two flavours have the weight det^2, and for one flavour the sign
is an observable. No determinant is differentiated: the derivative is a trace with the inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import times
from haarflow.core.lattice.evenodd import packable
from haarflow.theories.fermions.determinants import slices
from haarflow.theories.fermions.determinants.dense import Determinant, by_even_odd, by_matrix
from haarflow.theories.fermions.slopes import joined, parts_of, slopes_of
from haarflow.theories.fermions.wilson import Wilson

POSITIVE = 0.45  # the kappa up to which W of a slice in two dimensions, positive below 1/2, is well inverted


def by_slices(operator: Wilson, field: Array, kappa: Any, force: bool = False) -> Determinant:
    """Return the determinant by elimination of time slices, see `slices`.

    >>> import numpy as np
    >>> round(float(by_slices(Wilson((8, 8)), np.zeros((2, 8, 8)), 0.276).log_abs), 12)
    8.378264936037
    """
    links = operator.links(field)
    quick, sure = (partial(_eliminated, operator, links, kappa, force, positive) for positive in (True, False))
    if operator.d != 2:
        return sure()
    if not hasattr(kappa, "dtype"):
        return quick() if abs(kappa) < POSITIVE else sure()
    xp = array_namespace(kappa)
    found: Determinant = backends.of(links).cond(xp.all(xp.abs(kappa) < POSITIVE), quick, sure)
    return found


def _eliminated(operator: Wilson, links: Array, kappa: Any, force: bool, positive: bool) -> Determinant:
    """The determinant by slices, whose W is inverted where it is positive."""
    if not positive:
        return _of_chain(
            operator, slices.chain(links, kappa, operator.d, operator.n), slices.pivoted, links, kappa, force
        )
    if operator.n > 1:
        chain = slices.chain(links, kappa, operator.d, operator.n)
        return _of_chain(operator, chain, slices.by_complement, links, kappa, force)

    def twin(links: Array, kappa: Any) -> tuple[Array, ...]:
        found = _of_chain(operator, slices.chain_of_rings(links, kappa), slices.by_complement, links, kappa, force)
        return found if force else found[:2]

    return Determinant(*operator.elimination(twin, links, kappa, force))


def _of_chain(
    operator: Wilson, chain: slices.Chain, inversion: slices.Inversion, links: Array, kappa: Any, force: bool
) -> Determinant:
    """The determinant of a chain of slices by array code."""
    found = slices.eliminate(chain, inversion, keep=force)
    slopes = _force(operator, links, kappa, slices.diagonals(found, chain, operator.lattice)) if force else None
    return Determinant(found.log_abs, found.sign, slopes)


def _force(operator: Wilson, links: Array, kappa: Any, diagonals: Array) -> Array:
    """F_a = 2 kappa Im tr T_a U_mu(x) Q_mu(x), Q_mu(x) = tr_spin (1 - gamma_mu) D^-1(x + mu, x)."""
    xp, rank = array_namespace(links), diagonals.ndim
    ordered = xp.permute_dims(diagonals, (*range(1, rank - 1), 0, rank - 1))  # time before space
    q = xp.reshape(ordered, (*ordered.shape[:-4], *operator.colour, *operator.colour, *operator.lattice))
    if operator.n == 1:
        return times(kappa, 2.0 * xp.imag(links * q), operator.d + 1)
    group: Any = operator.group
    return times(kappa, group.coordinates(-1j * group.compose(links, q)), operator.d + 2)


FORMS: dict[str, Callable[..., Determinant]] = {"dense": by_matrix, "even-odd": by_even_odd, "slices": by_slices}


def forms_for(operator: Any) -> tuple[str, ...]:
    """Return the forms that an operator has, the cheapest first.

    The numbers count complex multiplications and their overheads: a slice takes some twenty operations.

    >>> forms_for(Wilson((16, 16))), forms_for(Wilson((3, 4)))
    (('slices', 'even-odd', 'dense'), ('slices', 'dense'))
    """
    size, time = math.prod(operator.spinor_shape), operator.lattice[0]
    costs = {"dense": size**3 / 3}
    if isinstance(operator, Wilson):
        costs["slices"] = 12 * time * (size / (2 * time)) ** 3
        if packable(operator.lattice):
            costs["even-odd"] = (size / 2) ** 3 / 3
    return tuple(sorted(costs, key=costs.__getitem__))


def log_det(operator: Any, field: Array, kappa: Any, form: str = "auto") -> tuple[Array, Array]:
    """Return (ln |det D|, sign of det D), `(*batch,)` each, for gauge fields `(*batch, *field_shape)`.

    `kappa` is a number or has the batch's shape; `form` is dense, even-odd, slices, or auto for the cheapest. The derivative
    of ln |det D| with respect to the field is `log_det_force`, for matrices along the group; there is none with respect to
    kappa. On NumPy and CuPy there is the value alone. ln |det D| is -inf where D is singular, with the sign 0. Raises
    ValueError for a form that the operator lacks.

    >>> import numpy as np
    >>> log_abs, sign = log_det(Wilson((16, 16)), np.zeros((2, 16, 16)), 0.276)
    >>> round(float(log_abs), 12), float(sign)
    (33.149380370571, 1.0)
    """
    chosen, backend = _chosen(operator, form), backends.of(field)

    def value(*parts: Array) -> tuple[Array, Array]:
        return chosen(operator, joined(*parts), kappa)[:2]

    def slopes(*parts: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        links = joined(*parts)
        found = chosen(operator, links, kappa, force=True)
        return (found.log_abs, found.sign), slopes_of(operator, links, found.force)

    known: Callable[..., tuple[Array, Array]] = backend.with_slopes(value, slopes, 0, has_aux=True)
    return known(*parts_of(field))


def log_det_force(operator: Any, field: Array, kappa: Any, form: str = "auto") -> Array:
    """Return d ln |det D| along the group, real and shaped as momenta, from blocks of D^-1, on every backend.

    The force of n_f flavours is -n_f times this. Arguments and errors are those of `log_det`.

    >>> import numpy as np
    >>> log_det_force(Wilson((4, 4)), np.zeros((5, 2, 4, 4)), 0.2).shape
    (5, 2, 4, 4)
    """
    force: Array = _chosen(operator, form)(operator, field, kappa, force=True).force
    return force


def _chosen(operator: Any, form: str) -> Callable[..., Determinant]:
    known = forms_for(operator)
    if form != "auto" and form not in known:
        raise ValueError(f"the determinant of {operator!r} has the forms auto, {', '.join(known)}, got {form!r}")
    return FORMS[known[0] if form == "auto" else form]
