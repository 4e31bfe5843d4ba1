"""SU(N): what the laws do not hold — large elements, derivatives at degenerate spectra, projection, subgroups, errors."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.groups import jacobi, matrices
from haarflow.core.groups.exponentials import BOUND
from haarflow.core.groups.sun import SU, generators
from haarflow.core.laws.fields import exponential_twin, haar_matrices

DEGENERATE = {2: [1.0, -1.0], 3: [1.0, 1.0, -2.0], 4: [1.0, 1.0, -1.0, -1.0]}


def rotated(spectrum, generator):
    """A Hermitian matrix of this spectrum in a generic basis."""
    basis = haar_matrices((len(spectrum), len(spectrum)), generator)
    return basis @ numpy.diag(spectrum) @ basis.conj().T


def coordinates(hermitian):
    """w_a = 2 tr T_a H by the definition."""
    return numpy.asarray([2 * numpy.trace(t @ hermitian).real for t in generators(len(hermitian))])


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_generators_are_normalised_and_traceless(n):
    basis = numpy.stack(generators(n))
    gram = numpy.einsum("aij,bji->ab", basis, basis)
    assert abs(gram - 0.5 * numpy.eye(n * n - 1)).max() < 1e-15
    assert abs(numpy.trace(basis, axis1=1, axis2=2)).max() < 1e-15


def test_gell_mann_matrices_have_their_usual_numbers():
    third, eighth = (numpy.diagonal(generators(3)[a]).real for a in (2, 7))
    assert third.tolist() == [0.5, -0.5, 0.0]
    assert numpy.allclose(eighth, numpy.asarray([1, 1, -2]) / math.sqrt(12))
    assert generators(3)[4][2, 0] == 0.5j and generators(3)[6][1, 2] == -0.5j


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("size", [0.0, 1e-160, 1e-9, 1e-3, 1.0, 6.0, 20.0])
def test_exp_to_rounding_for_every_size_and_spectrum(n, size, generator):
    """Units in the last place: 2^s of s squarings, and half the square of the eigenvalues."""
    group = SU(n)
    x = generator.standard_normal((20, n, n)) + 1j * generator.standard_normal((20, n, n))
    generic = x + x.conj().swapaxes(-1, -2)
    generic = generic - numpy.trace(generic, axis1=-2, axis2=-1)[:, None, None] / n * numpy.eye(n)
    degenerate = numpy.stack([rotated(DEGENERATE[n], generator) for _ in range(20)])
    for hermitian in (generic, degenerate, degenerate + 1e-8 * generic):
        w = numpy.stack([coordinates(h) for h in hermitian])
        w *= size / numpy.linalg.norm(w, axis=1, keepdims=True)
        h = numpy.einsum("xa,aij->xij", w, numpy.stack(generators(n)))
        off = abs(group.exp(w) - exponential_twin(h)).max()
        assert off < 2.2e-16 * (40 + size**2 / 2)


def test_exp_of_algebra_elements_without_bound_is_nan_not_wrong(backend):
    group = SU(3)
    w = numpy.zeros((2, 8))
    w[:, 3] = 0.99 * BOUND, 1.01 * BOUND
    found = backend.to_numpy(group.exp(backend.asarray(w)))
    assert numpy.isfinite(found[0]).all() and numpy.isnan(found[1]).all()
    assert abs(found[0] @ found[0].conj().T - numpy.eye(3)).max() < 1e-13


def derivative_twin(h, direction):
    """The derivative of exp(iH) along a Hermitian direction, from the exponential of a block matrix."""
    n = len(h)
    total, term = numpy.eye(2 * n, dtype=complex), numpy.eye(2 * n, dtype=complex)
    block = numpy.block([[1j * h, 1j * direction], [numpy.zeros((n, n)), 1j * h]])
    for k in range(1, 60):
        term = term @ block / k
        total = total + term
    return total[:n, n:]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("kind", ["zero", "degenerate"])
def test_exp_has_the_right_derivative_at_zero_and_at_degenerate_spectra(n, kind, autodiff_backend, generator):
    group, backend = SU(n), autodiff_backend
    h = rotated(DEGENERATE[n], generator) * (kind == "degenerate")
    w, v = backend.asarray(coordinates(h)), generator.standard_normal(group.dim)
    found = backend.jvp(backend.jit(group.exp), w, backend.asarray(v))[1]
    wanted = derivative_twin(h, numpy.einsum("a,aij->ij", v, numpy.stack(generators(n))))
    assert abs(backend.to_numpy(found) - wanted).max() < 1e-13


@pytest.mark.parametrize("n", [2, 3])
def test_second_derivatives_of_exp_at_zero_are_finite_and_right(n, autodiff_backend, generator):
    """d^2/ds^2 tr exp(i s H) = -tr H^2 at s = 0."""
    group, backend = SU(n), autodiff_backend
    v = backend.asarray(generator.standard_normal(group.dim))

    def real_trace(w):
        return backend.xp.real(group.trace(group.exp(w)))

    def slope(w):
        return backend.xp.sum(v * backend.value_and_grad(real_trace)(w)[1])

    if backend.name == "torch":
        import torch

        found = torch.autograd.functional.hvp(real_trace, 0.0 * v, v)[1] @ v
    else:
        found = backend.jit(backend.value_and_grad(slope))(0.0 * v)[1] @ v
    assert abs(float(found) + 0.5 * float(v @ v)) < 1e-12


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("kind", ["identity", "degenerate"])
def test_log_has_the_right_derivative_at_degenerate_spectra(n, kind, autodiff_backend, generator):
    """log(exp(w + e v)) = w + e v to first order, where exp is known to be right."""
    group, backend = SU(n), autodiff_backend
    h = 0.7 * rotated(DEGENERATE[n], generator) * (kind == "degenerate")
    w, v = backend.asarray(coordinates(h)), backend.asarray(generator.standard_normal(group.dim))
    value, found = backend.jvp(backend.jit(lambda w: group.log(group.exp(w))), w, v)
    assert abs(backend.to_numpy(value) - backend.to_numpy(w)).max() < 1e-13
    assert abs(backend.to_numpy(found) - backend.to_numpy(v)).max() < 1e-12


@pytest.mark.parametrize("n", [2, 3, 4])
def test_log_is_the_shortest_even_where_the_angles_wind(n, generator):
    """Angles that sum to a turn: one of them leaves (-pi, pi), and no other choice of turns is shorter."""
    group = SU(n)
    u = haar_matrices((500, n, n), generator)
    w = group.log(u)
    assert abs(group.exp(w) - u).max() < 2e-14
    angles = numpy.sort(numpy.linalg.eigvalsh(numpy.einsum("xa,aij->xij", w, numpy.stack(generators(n)))), axis=1)
    shifted = angles.copy()
    shifted[:, 0] += 2 * math.pi
    shifted[:, -1] -= 2 * math.pi
    assert (numpy.linalg.norm(shifted, axis=1) >= numpy.linalg.norm(angles, axis=1) - 1e-9).all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_project_is_the_nearest_element(n, generator):
    """No small move along the group brings Re tr(M^+ U) further up; far from the group it is still an element."""
    group = SU(n)
    u = haar_matrices((50, n, n), generator)
    noise = generator.standard_normal(u.shape) + 1j * generator.standard_normal(u.shape)
    near, far = u + 1e-4 * noise, u + 0.5 * noise
    found = group.project(near)
    slopes = numpy.stack(
        [
            numpy.trace(m.conj().T @ numpy.asarray(generators(n)) @ x, axis1=1, axis2=2).imag
            for m, x in zip(near, found, strict=True)
        ]
    )
    assert abs(slopes).max() < 1e-6
    for element in (found, group.project(far)):
        assert abs(element @ element.conj().swapaxes(-1, -2) - numpy.eye(n)).max() < 3e-14
        assert abs(numpy.linalg.det(element) - 1).max() < 3e-14


def test_restore_takes_away_rounding_alone(generator):
    u = haar_matrices((50, 3, 3), generator)
    drifted = u * (1 + 1e-9) * numpy.exp(1e-9j)
    assert abs(SU(3).restore(drifted) - u).max() < 3e-15


def test_eigenvalues_and_vectors_at_every_spectrum(backend, generator):
    spectra_of = [
        [0.3, 0.3, -0.6],
        [math.pi, -math.pi, 0.0],
        [2 * math.pi / 3] * 3,
        [0.3, 0.3 + 1e-9, -0.6],
        [1, 2, -3],
    ]
    basis = haar_matrices((5, 3, 3), generator)
    u = (basis * numpy.exp(1j * numpy.asarray(spectra_of))[:, None, :]) @ basis.conj().swapaxes(-1, -2)
    values, vectors = (backend.to_numpy(x) for x in jacobi.diagonalise(backend.asarray(u)))
    assert abs((vectors * values[:, None, :]) @ vectors.conj().swapaxes(-1, -2) - u).max() < 3e-15
    assert abs(vectors.conj().swapaxes(-1, -2) @ vectors - numpy.eye(3)).max() < 3e-15


def embedded(a, i, j):
    """The elements of SU(3) that are a0 + i a.sigma in the block (i, j) and the identity elsewhere, on the host."""
    g = numpy.zeros((len(a), 3, 3, a.shape[-1]), dtype=complex) + numpy.eye(3)[:, :, None]
    g[:, i, i], g[:, i, j] = a[:, 0] + 1j * a[:, 3], a[:, 2] + 1j * a[:, 1]
    g[:, j, i], g[:, j, j] = -a[:, 2] + 1j * a[:, 1], a[:, 0] - 1j * a[:, 3]
    return g


def test_subgroups_embed_and_extract(backend, generator):
    group = SU(3, 1)
    a = generator.standard_normal((4, 4, 2))
    a = backend.asarray(a / numpy.linalg.norm(a, axis=1, keepdims=True))
    for i, j in group.subgroups:
        g = backend.asarray(embedded(backend.to_numpy(a), i, j))
        assert abs(backend.to_numpy(group.quaternion(g, i, j)) - backend.to_numpy(a)).max() < 1e-15
        one = backend.to_numpy(group.compose(g, group.inverse(g)))
        assert abs(one - numpy.eye(3)[None, :, :, None]).max() < 1e-15
        m = backend.asarray(generator.standard_normal((4, 3, 3, 2)) + 1j * generator.standard_normal((4, 3, 3, 2)))
        weight = backend.to_numpy(group.trace(group.compose(g, m)) - group.trace(m)).real
        b, c = (backend.to_numpy(x) for x in (group.quaternion(m, i, j), a))
        signs = numpy.asarray([1, -1, -1, -1])[None, :, None]
        block = backend.to_numpy(m)[:, [i, j], [i, j], :].sum(axis=1).real
        assert abs(weight - (2 * (signs * b * c).sum(axis=1) - block)).max() < 1e-13


def test_draws_take_one_key_or_one_per_chain(host):
    group, keys = SU(3, 2), random.split(random.key(1, host), 3)
    many = group.haar(keys, (2, 3, 3, 4, 4))
    assert many.shape == (3, 2, 3, 3, 4, 4)
    assert (many[1] == group.haar(keys[1], (2, 3, 3, 4, 4))).all()
    assert group.algebra_normal(keys, (2, 3, 3, 4, 4), "complex64").dtype == numpy.float32


def test_wrong_words_are_refused_with_the_remedy(host):
    with pytest.raises(ValueError, match=r"n >= 2"):
        SU(1)
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, 3, \*lattice\)"):
        SU(3, 2).haar(random.key(1, host), (5, 4, 4))


def test_determinant_and_adjugate_of_any_matrix(generator):
    for n in (2, 3, 4, 5):
        m = generator.standard_normal((6, n, n)) + 1j * generator.standard_normal((6, n, n))
        det = matrices.determinant(m)
        assert abs(det - numpy.linalg.det(m)).max() < 1e-12
        assert abs(m @ matrices.adjugate(m) - det[:, None, None] * numpy.eye(n)).max() < 1e-12
