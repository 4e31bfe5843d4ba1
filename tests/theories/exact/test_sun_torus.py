"""SU(N) on the two-dimensional torus: tabulated rows, closed forms, finite differences, quadrature over the torus."""

import itertools
import math

import numpy
import pytest

from haarflow.theories.exact import bessel, characters, sun_torus
from haarflow.theories.exact.characters import coefficient, dimension, lowered, shell

ROWS = [
    (2, 2.2, 0.464479025270, 0.464480549736),
    (2, 2.7, 0.532970733590, 0.532980575657),
    (3, 4.0, 0.279619149409, 0.279619150170),
    (3, 6.0, 0.422531739650, 0.422532056631),
    (4, 8.0, 0.278892275871, 0.278892276247),
]


@pytest.mark.parametrize("n, beta, infinite, small", ROWS)
def test_tabulated_plaquettes(n, beta, infinite, small):
    assert sun_torus.infinite_plaquette(n, beta) == pytest.approx(infinite, abs=6e-13)
    assert sun_torus.plaquette(n, beta, 16) == pytest.approx(small, abs=6e-13)
    assert sun_torus.plaquette(n, beta, 256) == pytest.approx(infinite, abs=1e-9)


@pytest.mark.parametrize("beta, ess", [(4.0, 0.320), (5.0, 0.189), (6.0, 0.112)])
def test_tabulated_ess_of_an_untrained_sweep(beta, ess):
    assert sun_torus.ess_sweep(3, beta, 256) == pytest.approx(ess, abs=5e-4)


@pytest.mark.parametrize("beta", [1e-3, 0.7, 2.2, 30.0, 700.0])
def test_coefficients_of_su2_are_bessel_functions(beta):
    """c_j = I_{2j}(beta) - I_{2j+2}(beta) = 2 (2j+1) I_{2j+1}(beta)/beta, and the plaquette I_2/I_1."""
    r = bessel.ratios(beta)
    scale = math.exp(characters.log_scale(2, beta) - bessel.log_i0(beta))
    for width in range(6):
        closed = 2 * (width + 1) * r[width + 1] / beta
        assert coefficient((width, 0), beta) * scale == pytest.approx(closed, rel=1e-12)
    assert sun_torus.infinite_plaquette(2, beta) == pytest.approx(r[2] / r[1], rel=1e-13)


@pytest.mark.parametrize("beta", [2e-3, 0.05])
def test_long_rows_are_exact_in_strong_coupling(beta):
    """c = 2 (k + 1) I_{k+1}(beta)/beta for rows (k, 0), the Bessel function from its series, which needs few terms here."""

    def series(order):
        return sum((beta / 2) ** (order + 2 * m) / (math.factorial(m) * math.factorial(order + m)) for m in range(5))

    scale = math.exp(characters.log_scale(2, beta))
    for width in range(8, 15):
        closed = 2 * (width + 1) * series(width + 1) / beta
        assert coefficient((width, 0), beta) * scale == pytest.approx(closed, rel=1e-13, abs=0)


def by_quadrature(rows, beta, points):
    """c_r on the maximal torus: the mean of chi_r |Vandermonde|^2 e^{(beta/N) sum cos - beta}/N!."""
    n = len(rows)
    angle = 2 * math.pi * numpy.arange(points) / points
    free = numpy.stack(numpy.meshgrid(*(angle,) * (n - 1), indexing="ij"))
    z = numpy.exp(1j * numpy.concatenate([free, -free.sum(0, keepdims=True)]))

    def alternant(powers):
        matrix = numpy.stack([numpy.stack([z[i] ** p for p in powers], -1) for i in range(n)], -2)
        return numpy.linalg.det(matrix)

    raised = alternant([row + n - 1 - i for i, row in enumerate(rows)])
    product = raised * alternant([n - 1 - i for i in range(n)]).conj()
    weight = numpy.exp(beta / n * z.real.sum(0) - beta)
    return float(numpy.mean(product.real * weight)) / math.factorial(n)


@pytest.mark.parametrize("n, beta, points", [(2, 2.7, 64), (3, 6.0, 48), (3, 40.0, 96), (4, 8.0, 24)])
def test_coefficients_by_quadrature_with_the_vandermonde_factor(n, beta, points):
    scale = math.exp(characters.log_scale(n, beta) - beta)
    for rows in shell(n, 0) + shell(n, 1) + shell(n, 2) + shell(n, 4)[:2]:
        assert coefficient(rows, beta) * scale == pytest.approx(by_quadrature(rows, beta, points), abs=1e-13)


@pytest.mark.parametrize("beta", [0.5, 2.7, 9.0])
def test_one_site_of_su2_by_quadrature_over_both_links(beta):
    """A = diag(e^{i a}), B on the sphere: (1/2) tr A B A^+ B^+ = 1 - 2 u sin^2 a with u = b_1^2 + b_2^2 uniform."""
    a = math.pi * numpy.arange(200) / 200
    u, weights = numpy.polynomial.legendre.leggauss(60)
    inner = numpy.exp(-beta * numpy.sin(a)[:, None] ** 2 * (1 + u)) @ weights / 2
    z = 2 * numpy.mean(numpy.sin(a) ** 2 * inner)
    assert sun_torus.log_z(2, beta, 1) == pytest.approx(beta + math.log(z), abs=1e-12)


@pytest.mark.parametrize("n, beta, sites", [(2, 2.7, 16), (3, 6.0, 4), (3, 60.0, 64), (4, 8.0, 16), (5, 9.0, 36)])
def test_the_plaquette_is_the_slope_of_the_free_energy(n, beta, sites):
    h = 2e-3 * beta
    f = {k: sun_torus.log_z(n, beta + k * h, sites) for k in (-3, -2, -1, 1, 2, 3)}
    slope = (45 * (f[1] - f[-1]) - 9 * (f[2] - f[-2]) + f[3] - f[-3]) / (60 * h * sites)
    assert sun_torus.plaquette(n, beta, sites) == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_nothing_is_lost_at_either_end_of_beta(n):
    """P = beta/4 or beta/(2 N^2) at small beta; at large beta V - 1 plaquettes of N^2 - 1 harmonic modes each share it."""
    assert sun_torus.plaquette(n, 0.0, 16) == 0.0 == sun_torus.log_z(n, 0.0, 16)
    assert sun_torus.plaquette(n, 1e-6, 16) == pytest.approx(1e-6 / (4 if n == 2 else 2 * n**2), rel=1e-6)
    harmonic = (n**2 - 1) / (2 * 2000.0) * (1 - 1 / 1024)
    assert 1 - sun_torus.plaquette(n, 2000.0, 1024) == pytest.approx(harmonic, rel=3e-3)


def test_large_tori_have_the_area_law():
    p = sun_torus.infinite_plaquette(3, 5.0)
    for area in (1, 4, 9):
        assert sun_torus.wilson_loop(3, 5.0, 400, area) == pytest.approx(p**area, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_loop_of_no_area_is_one(n):
    assert sun_torus.wilson_loop(n, 3.0, 4, 0) == pytest.approx(1, abs=1e-14)


def test_loops_around_everything_on_a_small_su2_torus():
    """Outside of a loop lies a torus with a hole; sums of two neighbouring spins, written out."""
    beta, sites, area = 1.7, 5, 3
    r = bessel.ratios(beta)
    a = r[1:] / r[1]
    spin = numpy.arange(len(a)) + 1  # dimension 2j + 1; a_j/a_0 = I_{2j+1}/I_1
    up = sum(a[k] ** (sites - area) * a[k + 1] ** area * spin[k + 1] / spin[k] for k in range(20))
    down = sum(a[k] ** (sites - area) * a[k - 1] ** area * spin[k - 1] / spin[k] for k in range(1, 20))
    expected = (up + down) / 2 / numpy.sum(a[:20] ** sites)
    assert sun_torus.wilson_loop(2, beta, sites, area) == pytest.approx(expected, rel=1e-12)


def test_dimensions_and_fusion_are_those_of_su3():
    assert [dimension(rows) for rows in shell(3, 2)] == [6, 8, 6]
    for rows in itertools.chain.from_iterable(shell(4, width) for width in range(4)):
        assert sum(dimension(low) for low in lowered(rows)) == 4 * dimension(rows)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: sun_torus.log_z(1, 1.0, 4), "N >= 2"),
        (lambda: sun_torus.plaquette(3, -1.0, 4), "beta >= 0"),
        (lambda: sun_torus.plaquette(3, math.nan, 4), "beta >= 0"),
        (lambda: sun_torus.wilson_loop(3, 1.0, 4, 5), "from 0 to 4"),
        (lambda: coefficient((0, 1, 0), 1.0), "falling rows"),
        (lambda: coefficient((1, 1), 1.0), "falling rows"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
