"""The sweep flow of 2D U(1): exact log-determinant, equivariance, inverse, volumes, knots, untrained quality."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random, statistics
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows.splines import spline
from haarflow.flows.u1.autoregressive import log_weights
from haarflow.flows.u1.convolution import convolved
from haarflow.flows.u1.sweep import EVEN_OUT, Sweep, basis, circle_knots, move_links, shared, sweep, waves
from haarflow.theories import U1Gauge
from haarflow.theories.exact import bessel, u1_torus

SMALL = {"bins": 8, "harmonics": 3, "hidden": (6,)}
FLOWS = {
    "plain": Sweep(**SMALL),
    "conditioned": Sweep(**SMALL, condition=("beta",)),
    "unsymmetric": Sweep(**SMALL, charge_symmetric=False),
    "plaquette": Sweep(**SMALL, condition=("beta",), plaquette=2),
}
CONDITION = {"plain": None, "conditioned": {"beta": 3.0}, "unsymmetric": None}


def params_of(flow, backend, seed=0, size=0.3):
    """Parameters far from the identity, equal on all backends."""
    rng = numpy.random.default_rng(seed)
    fresh = flow.init(random.key(seed, backends.get("numpy")))
    return tree_map(lambda leaf: backend.asarray(leaf + size * rng.normal(size=leaf.shape)), fresh)


def links(lattice, n=2, seed=0):
    return numpy.random.default_rng(seed).uniform(-math.pi, math.pi, (n, 2, *lattice))


def same_angles(a, b, tolerance=1e-9):
    numpy.testing.assert_allclose(wrap(numpy.asarray(a) - numpy.asarray(b)), 0, atol=tolerance)


def test_the_same_numbers_on_every_backend(backend, host):
    flow, lattice = FLOWS["plaquette"], (2, 3)
    beta = numpy.asarray([2.0, 5.0])
    want, want_log_det = flow.forward(params_of(flow, host), links(lattice), {"beta": beta})

    def both(params, x, beta):
        y, log_det = flow.forward(params, x, {"beta": beta})
        return y, log_det, *flow.inverse(params, y, {"beta": beta})

    found = backend.jit(both)(params_of(flow, backend), backend.asarray(links(lattice)), backend.asarray(beta))
    y, log_det, back, log_det_back = (backend.to_numpy(part) for part in found)
    same_angles(y, want, 1e-11)
    same_angles(back, links(lattice))
    numpy.testing.assert_allclose(log_det, want_log_det, atol=1e-10)
    numpy.testing.assert_allclose(log_det_back, -want_log_det, atol=1e-7)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_batch_axes(host, batch):
    flow, x = FLOWS["plaquette"], links((3, 4), 6)[: math.prod(batch)].reshape(*batch, 2, 3, 4)
    params, beta = params_of(flow, host), numpy.linspace(1, 3, math.prod(batch)).reshape(batch)
    y, log_det = flow.forward(params, x, {"beta": beta})
    assert y.shape == x.shape and log_det.shape == batch
    flat = x.reshape(-1, 2, 3, 4)
    each = [flow.forward(params, one, {"beta": float(b)}) for one, b in zip(flat, beta.reshape(-1), strict=True)]
    same_angles(y.reshape(flat.shape), numpy.stack([one for one, _ in each]), 1e-10)
    numpy.testing.assert_allclose(log_det.reshape(-1), [one for _, one in each], atol=1e-9)


@pytest.mark.parametrize("flow", [Sweep(), Sweep(plaquette=2, table=False)])
def test_starts_as_the_identity(host, flow):
    x = links((3, 4))
    y, log_det = flow.forward(flow.init(random.key(0, host)), x)
    same_angles(y, x, 1e-12)
    numpy.testing.assert_allclose(log_det, 0, atol=1e-12)


def test_visits_all_links_but_one_for_each_plaquette_but_one(host):
    x = links((3, 4), 1)
    y, _ = FLOWS["plain"].forward(params_of(FLOWS["plain"], host), x)
    assert (numpy.abs(wrap(y - x)) > 1e-12).sum() == 3 * 4 - 1


def test_other_volumes_are_the_same_flow(host):
    params = params_of(Sweep(**SMALL), host)
    for lattice in ((4, 4), (6, 3)):
        model = sweep(lattice, **SMALL)
        assert model.flow == Sweep(**SMALL)
        y, log_q = model.sample(params, random.key(0, host), 3)
        numpy.testing.assert_allclose(model.log_density(params, y), log_q, atol=1e-7)


def test_density_integrates_to_one(host):
    """On 1 x 3 two fluxes are free and the density is a smooth function of them: an equidistant sum converges fast."""
    model = sweep((1, 3), **SMALL)
    angles = 2 * math.pi * (numpy.arange(200) + 0.5) / 200
    x = numpy.zeros((200, 200, 2, 1, 3))
    x[..., 0, 0, 1], x[..., 0, 0, 2] = angles[:, None], angles
    q = numpy.exp(model.log_density(params_of(model.flow, host, size=0.05), x))
    assert q.std() > 0.2
    numpy.testing.assert_allclose(q.mean(), 1, atol=1e-4)


def test_knots_follow_the_density_asked_for(host):
    """u = 4 cos y + 0.5 sin 2y: the spline's density agrees with e^u / int e^u to a few parts in 1000."""
    even, odd = numpy.asarray([[4.0], [0.0]]), numpy.asarray([[0.0], [0.5]])
    x = (numpy.arange(2000)[None, :] + 0.5) / 2000 * 2 * math.pi - math.pi
    table = circle_knots(even + 0 * x[:, :1], odd + 0 * x[:, :1], 24)
    y, log_slope = spline(x[0], type(table)(*[part + 0 * x for part in table]), axis=0)
    log_w = 4 * numpy.cos(y) + 0.5 * numpy.sin(2 * y) + log_slope
    assert statistics.ess(log_w) > 0.999
    grid = 2 * math.pi * numpy.arange(400) / 400
    norm = math.log(numpy.exp(4 * numpy.cos(grid) + 0.5 * numpy.sin(2 * grid)).mean())
    assert abs(math.log(numpy.exp(log_w).mean()) - norm) < 1e-3


@pytest.mark.parametrize("stiffness", [0.0, 8.0, 2000.0])
def test_polynomials_are_orthonormal_at_any_coupling(stiffness):
    """Under the density e^{(stiffness/n) cos p} and the small uniform one, for which it takes no large exponential."""
    p, areas = 2 * numpy.pi * numpy.arange(48) / 48, (1, 4)
    tables = basis(areas, 3, stiffness)
    waves = numpy.stack([wave(numpy.outer(numpy.arange(1, 4), p)) for wave in (numpy.cos, numpy.sin)])
    for index, area in enumerate(areas):
        density = numpy.exp(stiffness / area * (numpy.cos(p) - 1))
        density = (1 - EVEN_OUT) * density / density.sum() + EVEN_OUT / len(p)
        for rows, table in zip(waves, tables[:, index], strict=True):
            found = table.T @ (rows - (rows @ density)[:, None])
            assert numpy.allclose((found * density) @ found.T, numpy.eye(3), atol=1e-9)


def test_mirror_image_of_the_coefficients(host):
    even, odd = numpy.asarray([[1.0], [0.3]]), numpy.asarray([[0.4], [-0.2]])
    x = numpy.asarray([0.7, 2.0, -1.1])
    spread = numpy.zeros((1, 3))
    y, _ = spline(x, circle_knots(even + spread, odd + spread, 8), axis=0)
    mirror, _ = spline(-x, circle_knots(even + spread, -odd + spread, 8), axis=0)
    same_angles(mirror, -y, 1e-12)


@pytest.mark.parametrize("harmonics", [1, 3])
def test_the_shared_log_weight_is_the_sum_of_both(generator, harmonics):
    """Cosines and sines of F_a(c + y) + F_b(r - c - y), without a constant, evaluated term by term."""
    c, r, y = (generator.uniform(-math.pi, math.pi, 4) for _ in range(3))
    first, other = generator.normal(size=(2, 2 * harmonics, 4))
    k = numpy.arange(1, harmonics + 1)[:, None]

    def weight(numbers, angle):
        return (numbers[:harmonics] * numpy.cos(k * angle) + numbers[harmonics:] * numpy.sin(k * angle)).sum(0)

    for zeros in (0, 1):  # with sines, and without
        first[harmonics:], other[harmonics:] = (1 - zeros) * first[harmonics:], (1 - zeros) * other[harmonics:]
        given = [part[: (2 - zeros) * harmonics] for part in (first, other)]
        at = [waves(numpy.sin(angle), numpy.cos(angle), harmonics) for angle in (c, r - c)]
        even, odd = shared(tuple(given), *at)
        wanted = weight(first, c + y) + weight(other, r - c - y)
        numpy.testing.assert_allclose((even * numpy.cos(k * y) + odd * numpy.sin(k * y)).sum(0), wanted, atol=1e-12)


def test_a_single_column_is_filled_as_a_single_row(host):
    """On T x 1 the rows are single plaquettes, on 1 x T the columns: the same areas, so the same map of the fluxes."""
    flow, column = FLOWS["plain"], links((5, 1), 3)
    row = numpy.stack([-column[:, 1], column[:, 0]], axis=1).swapaxes(-1, -2)  # transposed: the plaquettes stay
    params = params_of(flow, host)
    (standing, log_det), (lying, other) = flow.forward(params, column), flow.forward(params, row)
    same_angles(loops.plaquette(row, 0, 1, 2)[:, 0], loops.plaquette(column, 0, 1, 2)[:, :, 0], 1e-12)
    same_angles(loops.plaquette(lying, 0, 1, 2)[:, 0], loops.plaquette(standing, 0, 1, 2)[:, :, 0])
    numpy.testing.assert_allclose(other, log_det, atol=1e-9)


@pytest.mark.parametrize("name, outputs", [("plain", 3), ("unsymmetric", 6)])
def test_the_net_makes_no_numbers_that_nobody_reads(host, name, outputs):
    """A cosine a harmonic, and a sine where the flow need not commute with theta -> -theta."""
    params = FLOWS[name].init(random.key(0, host))
    assert params["w1"].shape[0] == params["b1"].shape[0] == outputs


def independent_plaquettes(lattice, beta, n):
    """Twin of a sweep flow whose steps are the quantiles of one free plaquette: fluxes from tabulated inverse CDFs, the
    last closes, links by the flow's own `move_links` from links that are zero. Returns (links, log density)."""
    rng, (times, spaces) = numpy.random.default_rng(0), lattice
    grid = numpy.linspace(-math.pi, math.pi, 20001)
    cdf = numpy.cumsum(numpy.exp(beta * (numpy.cos(grid) - 1)))
    flux = numpy.interp(rng.uniform(size=(n, times * spaces)), cdf / cdf[-1], grid)
    flux[:, -1] = -flux[:, :-1].sum(1)
    log_q = (beta * numpy.cos(flux[:, :-1]) - bessel.log_i0(beta)).sum(1)
    flux = flux.reshape(n, times, spaces)
    before = numpy.cumsum(flux, axis=1) - flux
    columns = flux.sum(1)
    turns = (numpy.cumsum(columns, axis=1) - columns).T
    return move_links(numpy.zeros((n, 2, times, spaces)), turns, before.transpose(1, 2, 0)), log_q


@pytest.mark.parametrize("lattice", [(4, 4), (2, 3)])
def test_links_moved_into_zero_links_make_the_fluxes(generator, lattice):
    field, log_q = independent_plaquettes(lattice, 2.0, 5)
    action = U1Gauge(lattice).action(field, {"beta": 2.0})
    rest = -action - log_q - (math.prod(lattice) - 1) * bessel.log_i0(2.0)
    closing = 2 * numpy.cos(loops.plaquette(field, 0, 1, 2)[:, -1, -1])
    numpy.testing.assert_allclose(rest, closing, atol=1e-9)


@pytest.mark.statistical
@pytest.mark.parametrize("lattice, beta", [((8, 8), 2.0), ((4, 4), 7.0)])
def test_ess_of_independent_plaquettes(lattice, beta):
    """The untrained ESS of references.md, Z^2 / (I0^(V-1) sum I_n^(V-1) I_n(2 beta)), from 40,000 draws: the error of
    the ratio is below 0.4%, so 2% is five sigma; chance of bad luck below 1e-6."""
    field, log_q = independent_plaquettes(lattice, beta, 40000)
    log_w = -U1Gauge(lattice).action(field, {"beta": beta}) - log_q
    assert statistics.ess(log_w) == pytest.approx(u1_torus.ess_sweep(beta, math.prod(lattice)), rel=0.02)
    assert abs(statistics.log_z(log_w).value - u1_torus.log_z(beta, math.prod(lattice))) < 0.03


@pytest.mark.parametrize("condition", [("kappa",), ("beta", "beta")])
def test_refuses_another_condition(condition):
    with pytest.raises(ValueError, match="beta"):
        Sweep(condition=condition)


def test_refuses_what_is_not_two_dimensional(host):
    with pytest.raises(ValueError, match="two dimensions"):
        sweep((4, 4, 4))
    with pytest.raises(ValueError, match="got shape"):
        Sweep().forward(Sweep().init(random.key(0, host)), numpy.zeros((3, 3, 4, 4)))
    with pytest.raises(ValueError, match="conditioned on 'beta'"):
        FLOWS["conditioned"].forward(params_of(FLOWS["conditioned"], host), links((2, 2)))


def test_log_weights_of_areas_are_those_of_the_exact_conditionals(host):
    """Of the Wilson action, against the discrete Fourier transform of another module."""
    areas = (3, *range(12, 0, -3))
    twin = log_weights(3, 5, 6, 2.5)
    numpy.testing.assert_allclose(convolved(numpy.asarray([[2.5]]), areas, 6)[:, :, 0], twin, atol=1e-12)


@pytest.mark.parametrize("numbers", [(1.0, -0.8), (-0.7, 0.9, 0.3)])
def test_log_weights_of_areas_are_convolutions_of_any_plaquette(generator, numbers):
    """F_3 as a double sum over the fluxes of two plaquettes; some of these characters are negative."""
    p = 2 * math.pi * numpy.arange(128) / 128
    single = numpy.exp(sum(g * numpy.cos(j * p) for j, g in enumerate(numbers, start=1)))
    twice = numpy.asarray([(single * single[(n - numpy.arange(128)) % 128]).sum() for n in range(128)])
    thrice = numpy.asarray([(single * twice[(n - numpy.arange(128)) % 128]).sum() for n in range(128)])
    found = convolved(numpy.asarray(numbers)[:, None], (3,), 12)[0, :, 0]
    rest = numpy.log(thrice) - numpy.cos(numpy.outer(p, numpy.arange(1, 13))) @ found
    numpy.testing.assert_allclose(rest, rest.mean(), atol=1e-6)


def test_a_plaquette_of_the_wilson_action_makes_the_flow_exact(host):
    """On 4 x 3 at two couplings at once; what is left of log w is the error of the splines."""
    flow, betas = Sweep(bins=48, harmonics=10, condition=("beta",), plaquette=1, table=False), (2.0, 4.0)
    strengths = [(beta - 4.0) / (beta + 5.0) for beta in betas]
    slope = (betas[1] - betas[0]) / (strengths[1] - strengths[0])
    params = {"plaquette": numpy.asarray([[betas[1], slope, 0.0]]) / basis((1,), 1, 4.0)[0, 0]}
    for beta in betas:
        y, log_det = flow.forward(params, links((4, 3), 400), {"beta": beta})
        log_w = log_det - U1Gauge((4, 3)).action(y, {"beta": beta})
        assert log_w.std() < 0.03
        assert abs(statistics.log_z(log_w).value - u1_torus.log_z(beta, 12)) < 5 * 0.03 / math.sqrt(400)


def test_starts_at_the_coupling_that_is_asked_for(host):
    """On 4 x 3 at two couplings; what is left of log w is the error of the splines."""
    for beta in (0.5, 3.0):
        flow = Sweep(bins=48, harmonics=10, plaquette=2, start=beta)
        y, log_det = flow.forward(flow.init(random.key(0, host)), links((4, 3), 100))
        assert (log_det - U1Gauge((4, 3)).action(y, {"beta": beta})).std() < 0.03


def test_one_coupling_for_all_and_one_for_each_are_the_same(host):
    flow, x = FLOWS["plaquette"], links((3, 2), 3)
    params = params_of(flow, host)
    (one, log_det), (each, other) = (
        flow.forward(params, x, {"beta": beta}) for beta in (3.0, numpy.asarray([3.0, 3.0, 3.0]))
    )
    same_angles(one, each, 1e-10)
    numpy.testing.assert_allclose(log_det, other, atol=1e-9)


@pytest.mark.parametrize("number", [{"bins": 1}, {"harmonics": 0}, {"plaquette": -1}, {"table": False}, {"start": 2.0}])
def test_refuses_too_few_knots(number):
    with pytest.raises(ValueError, match="got"):
        Sweep(**number)


def test_a_plaquette_has_no_sines(host):
    """Without a table a flow that need not commute with theta -> -theta is the one that does."""
    numbers = {"bins": 8, "harmonics": 3, "plaquette": 2, "table": False}
    params, x = {"plaquette": numpy.asarray([[0.3], [-0.1]])}, links((3, 2))
    (y, log_det), (other, same) = (
        Sweep(**numbers, charge_symmetric=symmetric).forward(params, x) for symmetric in (True, False)
    )
    same_angles(y, other, 1e-12)
    numpy.testing.assert_allclose(log_det, same, atol=1e-11)
    assert numpy.abs(wrap(y - x)).max() > 0.1
