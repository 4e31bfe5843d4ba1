"""The deviation of stored matrices from SU(N) and the projection onto it: host code on `(..., N, N, *sites)`, sites last."""

from __future__ import annotations

import numpy

Array = numpy.ndarray
NEWTON_STEPS = 6


def product(a: Array, b: Array) -> Array:
    """Return the matrix products a b of `(N, K, *sites)` and `(K, M, *sites)`.

    >>> product(numpy.eye(2)[..., None] * 2.0, numpy.ones((2, 2, 3)))[..., 0]
    array([[2., 2.],
           [2., 2.]])
    """
    return numpy.stack([numpy.stack([entry(a, b, i, j) for j in range(b.shape[1])]) for i in range(a.shape[0])])


def entry(a: Array, b: Array, i: int, j: int) -> Array:
    """Return (a b)_ij on all sites.

    >>> entry(numpy.ones((2, 2, 1)), numpy.ones((2, 2, 1)), 0, 1)
    array([2.])
    """
    total = a[i, 0] * b[0, j]
    for k in range(1, a.shape[1]):
        total += a[i, k] * b[k, j]
    return total


def dagger(a: Array) -> Array:
    """Return the Hermitian conjugates of `(N, M, *sites)`.

    >>> dagger(numpy.asarray([[0, 1j], [0, 0]])[..., None])[1, 0]
    array([0.-1.j])
    """
    return numpy.conj(numpy.swapaxes(a, 0, 1))


def determinant(u: Array) -> Array:
    """Return det u of `(N, N, *sites)`, explicitly for N <= 3.

    >>> determinant(numpy.diag([1.0, 2.0, 3.0])[..., None])
    array([6.])
    """
    n = u.shape[0]
    if n == 1:
        return u[0, 0]
    if n == 2:
        return u[0, 0] * u[1, 1] - u[0, 1] * u[1, 0]
    if n == 3:
        return sum(u[0, a] * (u[1, b] * u[2, c] - u[1, c] * u[2, b]) for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)))  # type: ignore[return-value]
    return numpy.linalg.det(numpy.moveaxis(u, (0, 1), (-2, -1)))


def defects(links: Array) -> tuple[float, float]:
    """Return max |U^+ U - 1| over all entries and max |det U - 1| of links `(mu, N, N, *sites)`; NaN if an entry is.

    U(1), N = 1, has no condition on its determinant: the second number is 0.

    >>> defects(numpy.eye(3).reshape(1, 3, 3, 1) * 1j)
    (0.0, 1.4142135623730951)
    """
    unitarity, unit_determinant, n = [], [], links.shape[1]
    with numpy.errstate(all="ignore"):
        for u in links:
            for i in range(n):
                for j in range(i, n):
                    total = entry(dagger(u), u, i, j) - (i == j)
                    unitarity.append(numpy.max(numpy.abs(total)))
            unit_determinant.append(numpy.max(numpy.abs(determinant(u) - 1)) if n > 1 else 0.0)
    return float(numpy.max(unitarity)), float(numpy.max(unit_determinant))


def completed(rows: Array) -> Array:
    """Return links `(mu, N, N, *sites)` of SU(N) from their first N-1 rows: the last row is that of the conjugate cofactors.

    >>> abs(completed(numpy.eye(4)[None, :3, :, None])[0, 3, :, 0])
    array([0., 0., 0., 1.])
    """
    n = rows.shape[2]
    minors = [determinant(numpy.moveaxis(numpy.delete(rows, j, axis=2), 0, 2)) for j in range(n)]
    last = numpy.conj(numpy.stack([minor if (n + j) % 2 else -minor for j, minor in enumerate(minors)], axis=1))
    return numpy.concatenate([rows, last[:, None]], axis=1)


def projected(links: Array) -> Array:
    """Return nearly unitary links `(mu, N, N, *sites)` projected onto SU(N), for N = 1 onto U(1).

    The polar factor by the Newton-Schulz iteration U -> U (3 - U^+ U)/2, then U -> U (det U)^(-1/N). Raises ValueError if a
    link is too far from unitary for that (max |U^+ U - 1| > 0.1).

    >>> u = numpy.eye(2).reshape(1, 2, 2, 1) * (1.0 + 1e-7)
    >>> defects(projected(u))[0] < 1e-15
    True
    """
    defect = defects(links)[0]
    if not defect <= 0.1:
        raise ValueError(
            f"only links within 0.1 of unitary can be projected, these deviate by {defect:.2g}: the file is damaged"
        )
    return numpy.stack([_projected(u) for u in links])


def _projected(u: Array) -> Array:
    n = u.shape[0]
    for _ in range(NEWTON_STEPS):
        step = product(u, product(dagger(u), u) - numpy.eye(n).reshape(n, n, *(1,) * (u.ndim - 2)))
        u = u - 0.5 * step
        if numpy.max(numpy.abs(step)) < 1e-15:
            break
    if n == 1:
        return u
    return u * numpy.exp(-1j / n * numpy.angle(determinant(u)))
