"""Wilson's operator written out site by site from dense gamma matrices, and random fields for it."""

import itertools
import math

import numpy

SIGMA = numpy.asarray([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def gammas(d):
    """Gamma matrices by products of Pauli matrices, those of CONVENTIONS.md."""
    if d == 2:
        return [SIGMA[0], SIGMA[1]]
    return [numpy.kron(SIGMA[0], numpy.eye(2)), *(-numpy.kron(SIGMA[1], sigma) for sigma in SIGMA)]


def dense(links, kappa, antiperiodic=True):
    """D = 1 - kappa H as a matrix over (spin, colour, site), for links `(d, N, N, *lattice)`, U(1) with N = 1."""
    d, n, _, *lattice = links.shape
    spin, sites = 2 ** (d // 2), list(itertools.product(*map(range, lattice)))
    number = {site: index for index, site in enumerate(sites)}
    result = numpy.eye(spin * n * len(sites), dtype=complex).reshape(2 * (spin, n, len(sites)))
    for site, (mu, gamma) in itertools.product(sites, enumerate(gammas(d))):
        there = tuple((x + (axis == mu)) % lattice[axis] for axis, x in enumerate(site))
        sign = -1 if antiperiodic and mu == 0 and site[0] == lattice[0] - 1 else 1
        link = sign * links[(mu, slice(None), slice(None), *site)]
        x, y = number[site], number[there]
        result[:, :, x, :, :, y] -= kappa * numpy.einsum("ij,ab->iajb", numpy.eye(spin) - gamma, link)
        result[:, :, y, :, :, x] -= kappa * numpy.einsum("ij,ab->iajb", numpy.eye(spin) + gamma, link.conj().T)
    return result.reshape(2 * (spin * n * len(sites),))


def gauge_field(operator, seed=1, batch=()):
    """Random links in the operator's own form: angles, or special unitary matrices."""
    generator = numpy.random.default_rng(seed)
    if operator.n == 1:
        return generator.uniform(-math.pi, math.pi, (*batch, *operator.field_shape))
    shape = (*batch, operator.d, *operator.lattice, operator.n, operator.n)
    unitary, _ = numpy.linalg.qr(generator.normal(size=shape) + 1j * generator.normal(size=shape))
    special = unitary / numpy.linalg.det(unitary)[..., None, None] ** (1 / operator.n)
    return numpy.moveaxis(special, (-2, -1), (len(batch) + 1, len(batch) + 2))


def matrices_of(operator, field):
    """Links `(d, N, N, *lattice)` of one gauge field, with N = 1 for angles."""
    return numpy.exp(1j * field)[:, None, None] if operator.n == 1 else field


def spinor(shape, seed=2):
    """Normal complex numbers."""
    generator = numpy.random.default_rng(seed)
    return generator.normal(size=shape) + 1j * generator.normal(size=shape)


def log_det_of_free_fermions(lattice, kappa):
    """ln det D of one colour at U = 1, antiperiodic in time: a product over momenta."""
    momenta = [2 * math.pi * (numpy.arange(extent) + 0.5 * (axis == 0)) / extent for axis, extent in enumerate(lattice)]
    grid = numpy.meshgrid(*momenta, indexing="ij")
    mass = 1 - 2 * kappa * sum(numpy.cos(p) for p in grid)
    squares = mass**2 + 4 * kappa**2 * sum(numpy.sin(p) ** 2 for p in grid)
    return 2 ** (len(lattice) // 2 - 1) * numpy.sum(numpy.log(squares))


def there_and_back(flow, params, links, backend):
    """Return (chi, phi, log_det) on the host of a conditional flow of pseudofermions on a backend, whose inverse undoes it."""
    given, chi = {"links": backend.asarray(links)}, spinor((2, *flow.shape))

    def both(chi):
        phi, log_det = flow.forward(params, chi, given)
        return phi, log_det, *flow.inverse(params, phi, given)

    phi, log_det, back, minus = map(backend.to_numpy, backend.jit(both)(backend.asarray(chi)))
    numpy.testing.assert_allclose(back, chi, atol=1e-13)
    numpy.testing.assert_allclose(log_det + minus, 0.0, atol=1e-13)
    return chi, phi, log_det
