"""The ends of the spectrum of a Hermitian map, by the Lanczos recursion."""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.solvers.rows import Map, norm, ratio, real_inner, rows_of, times


class Ends(NamedTuple):
    """The smallest and the largest eigenvalue found, `(*batch,)` each, and how far at most the nearest true one is from each.

    Both lie within the spectrum, so the true ends are never inside of them.
    """

    lowest: Array
    highest: Array
    lowest_error: Array
    highest_error: Array


def spectrum_ends(apply: Map, start: Array, steps: int, batch_axes: int = 0) -> Ends:
    """Return the ends of the spectrum of a Hermitian map after `steps` products with it.

    `start (*batch, *inner)` is a vector that has a part along every eigenvector, such as normal numbers. The bound on the
    error is |A v - theta v| of each Ritz vector v, as the recursion has it: some eigenvalue is that close to theta, in a
    generic case the end itself. Without reorthogonalisation eigenvalues repeat inside, which does not move the ends.
    Raises ValueError for less than one step. Paige (1972).

    >>> import numpy as np
    >>> ends = spectrum_ends(lambda x: np.asarray([1.0, 2.0, 5.0]) * x, np.ones(3), 3)
    >>> round(float(ends.lowest), 12), round(float(ends.highest), 12)
    (1.0, 5.0)
    """
    if steps < 1:
        raise ValueError(f"at least one step wanted, got {steps}")
    system, xp = rows_of(apply, start, batch_axes), array_namespace(start)
    diagonal, beside = _recursion(system.apply, system.b, steps)
    values, vectors = xp.linalg.eigh(_tridiagonal(diagonal, beside[:, :-1]))
    errors = xp.abs(beside[:, -1:] * vectors[:, -1, :])
    found = (values[:, 0], values[:, -1], errors[:, 0], errors[:, -1])
    return Ends(*map(system.of_batch, found))


def _recursion(apply: Map, b: Array, steps: int) -> tuple[Array, Array]:
    """The diagonal and the entries beside it, `(row, steps)` each; the last one beside couples to what was left out.

    Where the space is exhausted, the vector becomes zero; the diagonal is then filled with its first entry, which is no end.
    """
    xp, size = array_namespace(b), norm(b)
    unit = times(ratio(xp.ones_like(size), size), b)
    mean = real_inner(unit, apply(unit))

    def step(carry: Any, _: None) -> Any:
        before, v, beta = carry
        image = apply(v) - times(beta, before)
        alive = real_inner(v, v) > 0.5
        alpha = real_inner(v, image)
        rest = image - times(alpha, v)
        length = norm(rest)
        going = alive & (length > 1e-3 * xp.finfo(length.dtype).eps * (xp.abs(alpha) + beta))
        beta = xp.where(going, length, xp.zeros_like(length))
        return (v, times(ratio(beta, length * length), rest), beta), (xp.where(alive, alpha, mean), beta)

    first = (xp.zeros_like(b), unit, xp.zeros_like(size))
    _, (diagonal, beside) = backends.of(b).scan(step, first, None, steps)
    return xp.permute_dims(diagonal, (1, 0)), xp.permute_dims(beside, (1, 0))


def _tridiagonal(diagonal: Array, beside: Array) -> Array:
    xp, n = array_namespace(diagonal), diagonal.shape[1]
    eye = xp.eye(n, dtype=diagonal.dtype, device=backends.place(diagonal))
    above = xp.eye(n, k=1, dtype=diagonal.dtype, device=backends.place(diagonal))
    padded = xp.concat([beside, 0.0 * diagonal[:, :1]], axis=1)
    upper = padded[:, :, None] * above
    return diagonal[:, :, None] * eye + upper + xp.matrix_transpose(upper)
