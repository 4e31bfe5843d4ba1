"""Host fields of special unitary matrices in the styles of the laws, and the shapes of elements and algebra elements.

They use only NumPy, not the group under test: QR for Haar draws, eigenvalues for exponentials.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow.backends.types import Group


def element_shape(group: Group, lead: tuple[int, ...], lattice: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of elements, `(*lead, [N, N,] *lattice)`.

    >>> from haarflow.core.groups.additive import U1
    >>> from haarflow.core.groups.sun import SU
    >>> element_shape(U1(), (2,), (4, 4)), element_shape(SU(3, 2), (2,), (4, 4))
    ((2, 4, 4), (2, 3, 3, 4, 4))
    """
    return (*lead, *_matrix(group), *lattice)


def algebra_shape(group: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the algebra elements of an array of elements.

    >>> from haarflow.core.groups.sun import SU
    >>> algebra_shape(SU(3, 2), (2, 3, 3, 4, 4))
    (2, 8, 4, 4)
    """
    if not _matrix(group):
        return tuple(shape)
    end = len(shape) - group.d
    return (*shape[: end - 2], group.dim, *shape[end:])


def host_matrices(group: Any, shape: tuple[int, ...], style: str, generator: numpy.random.Generator) -> numpy.ndarray:
    """Return elements of SU(N) of a shape in a style of `law.STYLES`.

    cold: the identity; near: within 1e-6 of it; seam: the centre, degenerate spectra and eigenvalues -1, exactly and up to
    1e-9, in a generic basis; haar and huge: Haar distributed.

    >>> from haarflow.core.groups.sun import SU
    >>> u = host_matrices(SU(3), (5, 3, 3), "seam", numpy.random.default_rng(0))
    >>> bool(abs(numpy.linalg.det(u) - 1).max() < 1e-14)
    True
    """
    n, end = group.n, len(shape) - group.d
    front = (*shape[: end - 2], *shape[end:], n, n)
    if style == "cold":
        matrices = numpy.broadcast_to(numpy.eye(n, dtype=complex), front)
    elif style == "near":
        matrices = _small(front, 1e-6, generator)
    elif style == "seam":
        matrices = _degenerate(front, generator)
    else:
        matrices = haar_matrices(front, generator)
    axes = list(range(len(front)))
    lead = len(shape[: end - 2])
    back = axes[:lead] + axes[-2:] + axes[lead:-2]
    return numpy.ascontiguousarray(matrices.transpose(back))


def haar_matrices(shape: tuple[int, ...], generator: numpy.random.Generator) -> numpy.ndarray:
    """Return Haar distributed elements `(..., N, N)`, matrices last, by QR with fixed phases (math-ph/0609050)."""
    q, r = numpy.linalg.qr(generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    diagonal = numpy.diagonal(r, axis1=-2, axis2=-1)
    q = q * (diagonal / abs(diagonal))[..., None, :]
    phase = numpy.angle(numpy.linalg.det(q)) / shape[-1]
    result: numpy.ndarray = q * numpy.exp(-1j * phase)[..., None, None]
    return result


def exponential_twin(hermitian: numpy.ndarray) -> numpy.ndarray:
    """Return exp(iH) of Hermitian matrices, matrices last, by eigenvalues.

    >>> numpy.allclose(exponential_twin(numpy.diag([math.pi, -math.pi])), -numpy.eye(2), atol=1e-12)
    True
    """
    values, vectors = numpy.linalg.eigh(hermitian)
    result: numpy.ndarray = (vectors * numpy.exp(1j * values)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    return result


def _small(shape: tuple[int, ...], size: float, generator: numpy.random.Generator) -> numpy.ndarray:
    x = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    hermitian = 0.5 * (x + x.conj().swapaxes(-1, -2))
    trace = numpy.trace(hermitian, axis1=-2, axis2=-1)[..., None, None]
    return exponential_twin(size * (hermitian - trace / shape[-1] * numpy.eye(shape[-1])))


def _degenerate(shape: tuple[int, ...], generator: numpy.random.Generator) -> numpy.ndarray:
    """Spectra with repeated eigenvalues, the centre and -1 among them, in a generic basis."""
    n = shape[-1]
    doubled = [0.7, 0.7, *[0.0] * (n - 2)]
    doubled[-1] = -sum(doubled[:-1])
    spectra = [[2 * math.pi * k / n] * n for k in range(n)]
    spectra += [doubled, [math.pi, -math.pi, *[0.0] * (n - 2)]]
    angles = numpy.asarray(spectra)[generator.integers(0, len(spectra), shape[:-2])]
    basis = haar_matrices(shape, generator)
    exact = (basis * numpy.exp(1j * angles)[..., None, :]) @ basis.conj().swapaxes(-1, -2)
    result: numpy.ndarray = exact @ _small(shape, 1e-9, generator) if generator.random() < 0.5 else exact
    return result


def _matrix(group: Any) -> tuple[int, ...]:
    return (group.n,) * 2 if group.matrix_axes else ()
