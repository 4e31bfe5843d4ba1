"""Priors: exact normalisation, the density of what is drawn, the free field's covariance, errors at the border."""

import itertools
import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.lattice.fourier import cas_matrix, hartley, momentum_squared
from haarflow.flows.priors import FreeField, Gaussian, UniformLinks

LATTICES = ((6,), (4, 2), (2, 3, 2), (2, 2, 1, 3))


def quadratic_form(lattice, m2):
    """The matrix A of S = x A x = sum_x [sum_mu (x(x+mu) - x(x))^2 + m2 x^2], link by link: the slow twin."""
    sites = list(itertools.product(*[range(extent) for extent in lattice]))
    matrix = m2 * numpy.eye(len(sites))
    for row, site in enumerate(sites):
        for mu, extent in enumerate(lattice):
            step = list(site)
            step[mu] = (step[mu] + 1) % extent
            difference = numpy.zeros(len(sites))
            difference[sites.index(tuple(step))] += 1.0
            difference[row] -= 1.0
            matrix += numpy.outer(difference, difference)
    return matrix


@pytest.mark.parametrize("lattice", [(5,), (4, 6), (3, 2, 4), (2, 3, 2, 2), (16, 12)])
def test_the_hartley_transform_is_its_own_inverse_and_keeps_lengths(backend, generator, lattice):
    x = generator.normal(size=(2, *lattice))
    once = hartley(backend.asarray(x), len(lattice))
    assert numpy.allclose(numpy.sum(backend.to_numpy(once) ** 2), numpy.sum(x**2), rtol=1e-13)
    assert numpy.allclose(backend.to_numpy(hartley(once, len(lattice))), x, atol=1e-13)


def test_the_hartley_transform_of_a_line_is_the_sum_of_cas(generator):
    x = generator.normal(size=7)
    expected = [
        sum((math.cos(a) + math.sin(a)) * x[j] for j, a in enumerate(2 * math.pi * k * numpy.arange(7) / 7))
        for k in range(7)
    ]
    assert numpy.allclose(hartley(x, 1), numpy.asarray(expected) / math.sqrt(7.0), atol=1e-13)
    assert numpy.allclose(cas_matrix(7) @ cas_matrix(7), numpy.eye(7), atol=1e-14)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_free_field_has_the_density_of_its_quadratic_form(backend, generator, lattice):
    prior, matrix = FreeField(lattice, m2=0.7), quadratic_form(lattice, 0.7)
    x = generator.normal(size=(3, *lattice))
    flat = x.reshape(3, -1)
    log_z = 0.5 * (flat.shape[1] * math.log(math.pi) - numpy.linalg.slogdet(matrix)[1])
    expected = -numpy.einsum("ni,ij,nj->n", flat, matrix, flat) - log_z
    assert prior.log_z() == pytest.approx(log_z, rel=1e-12)
    assert numpy.allclose(backend.to_numpy(prior.log_density(backend.asarray(x))), expected, rtol=1e-12)


def test_the_free_fields_draws_are_an_exact_root_of_its_covariance(host):
    """Draws are linear in the noise, x = R z with R R^T = (2 A)^-1: checked without statistics."""
    lattice, m2 = (4, 3), 0.9
    width = (2.0 * (m2 + momentum_squared(lattice))) ** -0.5
    root = numpy.stack([hartley(unit.reshape(lattice) * width, 2).ravel() for unit in numpy.eye(12)], axis=-1)
    assert numpy.allclose(root @ root.T, numpy.linalg.inv(2.0 * quadratic_form(lattice, m2)), atol=1e-13)
    key = random.key(3, host)
    noise = random.normal(key, (2, *lattice))
    assert numpy.allclose(FreeField(lattice, m2).sample(key, 2), (noise.reshape(2, -1) @ root.T).reshape(2, *lattice))


@pytest.mark.parametrize("prior", [Gaussian((2,), 0.8), FreeField((2,), 0.7), FreeField((2, 1), 1.3)])
def test_densities_integrate_to_one(prior):
    grid = numpy.linspace(-9.0, 9.0, 401)
    points = numpy.stack(numpy.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, *prior.lattice)
    total = numpy.exp(prior.log_density(points)).sum() * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("prior", [UniformLinks((2, 4)), Gaussian((3, 2), 0.4), FreeField((4, 2), 2.0)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_draws_have_the_shape_precision_and_numbers_of_numpy(backend, host, prior, dtype):
    drawn = backend.jit(lambda key: prior.sample(key, 3, dtype))(random.key(5, backend))
    assert tuple(drawn.shape) == (3, *prior.field_shape)
    assert str(drawn.dtype).endswith(dtype)
    same = prior.sample(random.key(5, host), 3, dtype)
    tolerance = 1e-14 if dtype == "float64" else 1e-5
    assert numpy.allclose(backend.to_numpy(drawn), same, rtol=0, atol=tolerance)
    assert tuple(prior.log_density(drawn).shape) == (3,)
    assert tuple(prior.log_density(drawn[0, ...]).shape) == ()


def test_uniform_links_are_angles_of_density_one(backend, host):
    links = backend.asarray(UniformLinks((4, 4)).sample(random.key(1, host), 50))
    values = backend.to_numpy(links)
    assert numpy.all((values >= -math.pi) & (values < math.pi))
    assert backend.to_numpy(UniformLinks((4, 4)).log_density(links)).tolist() == [0.0] * 50


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Gaussian((4, 4), sigma=0.0), "sigma must be positive"),
        (lambda: FreeField((4, 4), m2=-1.0), "m2 must be positive"),
        (lambda: FreeField((4, 4), m2=float("nan")), "m2 must be positive"),
        (lambda: UniformLinks((4, 0)), "extents >= 1"),
        (lambda: Gaussian((4, 4)).log_density(numpy.zeros((4, 2))), r"wants fields \(\*batch, 4, 4\)"),
    ],
)
def test_bad_priors_and_fields_are_refused(make, what):
    with pytest.raises(ValueError, match=what):
        make()
