"""Wilson loops as an algebra, Luescher's equation, and the flows that follow from it."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops as core_loops
from haarflow.core.statistics import ess
from haarflow.flows.laws.integration import integration_errors
from haarflow.flows.links import layout
from haarflow.flows.loops import algebra, equation, fields, tangents
from haarflow.flows.loops import fit as loop_fit
from haarflow.flows.loops.algebra import PLAQUETTE, RECTANGLE, product
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.loops.step import LoopStep
from haarflow.flows.priors import HaarLinks
from haarflow.theories import SUNGauge
from haarflow.theories.exact import sun_torus
from haarflow.theories.samplers.sun import exact_sample

STEP = 1e-4
CASES = [(2, 2, (3, 4), 2), (3, 2, (4, 4), 3), (3, 3, (3, 3, 3), 2), (4, 2, (3, 3), 2)]


def measured(n, d, lattice, products, links):
    """The products' values `(product, batch)`."""
    plan = fields.plan(tuple(products), lattice, moving=0)
    return fields.values(plan, fields.traces(plan, layout.rows(links, d), lattice)[1])


def by_differences(function, links, group):
    """Gradients `(value, link, a)` and Laplacians `(value,)` of functions of one configuration, link by link."""
    start, slopes, bends = function(links), [], 0.0
    shape = group.zeros(links).shape
    for place in numpy.ndindex(shape[1:]):
        step = numpy.zeros(shape)
        step[0][place] = STEP
        ahead, behind = (function(group.update(links, sign * step)) for sign in (1.0, -1.0))
        slopes.append((ahead - behind) / (2 * STEP))
        bends = bends + (ahead + behind - 2 * start) / STEP**2
    return numpy.stack(slopes, axis=-1), bends


@pytest.mark.parametrize(("n", "d", "lattice", "order"), [(2, 2, (4, 4), 2), (3, 2, (6, 6), 3), (2, 3, (4, 4, 4), 1)])
def test_laplacians_and_scalar_products_of_gradients_are_those_of_differences(host, n, d, lattice, order):
    products = algebra.tower(n, d, order)[:: 9 if order == 3 else 1]
    links = HaarLinks(lattice, n).sample(random.key(1, host), 1)
    action = SUNGauge(lattice, n=n)

    def values(u):
        return measured(n, d, lattice, products, u)[:, 0]

    slopes, bends = by_differences(values, links, SU(n, d))
    force = action.force(links, {"beta": 1.0}).ravel()
    # differences are in the order of the algebra's components, (mu, a, site), as the force is
    for k, loops in enumerate(products):
        for wanted, terms in (
            (bends[k], algebra.laplacian(loops, n)),
            (slopes[k] @ force, algebra.gradients(loops, algebra.wilson(d), n)),
        ):
            names = [name for name in terms if name]
            found = sum(
                terms[name] * value
                for name, value in zip(names, measured(n, d, lattice, names, links)[:, 0], strict=True)
            )
            found += terms.get((), 0.0) * math.prod(lattice)
            assert abs(found - wanted) < 2e-5 * max(1.0, abs(wanted)), loops


@pytest.mark.parametrize(("n", "d", "lattice", "order"), CASES)
def test_the_gradient_of_products_is_that_of_differences(host, n, d, lattice, order):
    products = algebra.tower(n, d, order)
    plan = fields.plan(products, lattice)
    generator = numpy.random.default_rng(3)
    rows = layout.rows(HaarLinks(lattice, n).sample(random.key(2, host), 2), d)
    numbers = generator.standard_normal((len(products), 1))
    way = generator.standard_normal((rows.shape[0], n * n - 1, rows.shape[-1]))

    def total(sign):
        moved = SU(n, 1).update(rows, sign * STEP * way)
        return (numbers * fields.values(plan, fields.traces(plan, moved, lattice)[1])).sum(axis=0)

    slope = fields.gradient(plan, *fields.traces(plan, rows, lattice), numbers, lattice)
    wanted = (total(1.0) - total(-1.0)) / (2 * STEP)
    assert numpy.allclose((slope * way).sum(axis=(0, 1)), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "d", "lattice", "order"), CASES)
def test_derivatives_along_a_direction_are_those_of_the_gradient(host, n, d, lattice, order):
    products = algebra.tower(n, d, order)
    plan, generator = fields.plan(products, lattice), numpy.random.default_rng(4)
    rows = layout.rows(HaarLinks(lattice, n).sample(random.key(8, host), 2), d)
    way = generator.standard_normal((rows.shape[0], n * n - 1, rows.shape[-1]))
    store, loops = fields.traces(plan, rows, lattice)
    values, slopes = tangents.along(plan, rows, way, lattice)
    assert numpy.allclose(values, fields.values(plan, loops), rtol=1e-12)
    for number in range(0, len(products), 5):
        one = (numpy.arange(len(products)) == number)[:, None] * 1.0
        wanted = (fields.gradient(plan, store, loops, one, lattice) * way).sum(axis=(0, 1))
        assert numpy.allclose(slopes[number], wanted, rtol=1e-10, atol=1e-11)


def test_every_backend_derives_alike_along_a_direction(backend):
    products, lattice = algebra.tower(3, 2, 2), (3, 4)
    plan = fields.plan(products, lattice, moving=0)
    rows = layout.rows(HaarLinks(lattice, 3).sample(random.key(8, backends.get("numpy")), 2), 2)
    way = numpy.random.default_rng(4).standard_normal((rows.shape[0], 8, 2))
    here = backend.asarray(rows, dtype="complex128"), backend.asarray(way)
    found = backend.jit(lambda *given: tangents.along(plan, *given, lattice))(*here)
    for a, b in zip(found, tangents.along(plan, rows, way, lattice), strict=True):
        assert numpy.allclose(backend.to_numpy(a), b, rtol=1e-11, atol=1e-11)


def test_the_action_is_that_of_the_theory(host):
    links = HaarLinks((4, 4, 4), 3).sample(random.key(5, host), 2)
    for rectangle in (0.0, -1 / 12):
        terms = algebra.wilson(3, rectangle)
        values = measured(3, 3, (4, 4, 4), terms, links)
        total = sum(weight * value for weight, value in zip(terms.values(), values, strict=True))
        assert numpy.allclose(total, SUNGauge((4, 4, 4), n=3, rectangle=rectangle).action(links, {"beta": 1.0}))


def test_names_know_translations_reflections_and_conjugation():
    square, long = product([(PLAQUETTE, (0, 0))]), product([(RECTANGLE, (0, 0))])
    assert square == product([((2, 1, -2, -1), (3, -4))]) == product([((1, -2, -1, 2, 1, -1), (0, 0))])
    assert long == product([((-2, -2, 1, 2, 2, -1), (7, 7))])
    assert product([((1, -1), (0, 0))]) == ()
    pair = product([(PLAQUETTE, (0, 0)), (PLAQUETTE, (1, 0))])
    opposite = product([(PLAQUETTE, (0, 0)), (algebra.reverse(PLAQUETTE), (1, 0))])
    assert pair != opposite
    assert pair == product([(algebra.reverse(PLAQUETTE), (5, 5)), (algebra.reverse(PLAQUETTE), (5, 6))])


@pytest.mark.parametrize(("n", "d", "lattice"), [(2, 2, (6, 6)), (3, 2, (6, 6)), (3, 3, (4, 4, 4))])
def test_the_series_solves_the_equation_order_by_order(host, n, d, lattice):
    """-Laplacian psi + b ds dpsi - s = b^k ds dpsi_k + constant for the series to order k."""
    order, b = 2, 0.7
    links = HaarLinks(lattice, n).sample(random.key(4, host), 3)
    products, action, series = algebra.tower(n, d, order), algebra.wilson(d), equation.series(n, d, order)
    psi = sum(b**k * series[k] for k in range(order))

    def summed(numbers, part):
        terms = algebra.combined((c, part(loops)) for c, loops in zip(numbers, products, strict=True))
        names = [name for name in terms if name]
        return numpy.asarray([terms[name] for name in names]) @ measured(n, d, lattice, names, links)

    def drift(loops):
        return algebra.gradients(loops, action, n)

    left = b * summed(psi, drift) - summed(psi, lambda loops: algebra.laplacian(loops, n))
    left = left - SUNGauge(lattice, n=n).action(links, {"beta": 1.0}) - b**order * summed(series[-1], drift)
    assert numpy.allclose(left - left[0], 0.0, atol=1e-9)


def test_leading_order_is_the_action_over_four_casimirs():
    for n, d in ((2, 4), (3, 2), (5, 3)):
        wanted = -math.comb(d, 2) / (2.0 * (n * n - 1) / n)
        assert numpy.allclose(equation.series(n, d, 1), [[wanted]], rtol=1e-12)


def alike(backend, flow, x, condition=None):
    """What a compiled flow gives, compared with NumPy."""
    host = backends.get("numpy")
    params = flow.init(random.key(0, host))
    wanted = flow.forward(params, x, condition)
    here = {"coefficients": backend.asarray(params["coefficients"])}
    values = condition and {name: backend.asarray(value) for name, value in condition.items()}
    found = backend.jit(flow.forward)(here, backend.asarray(x, dtype="complex128"), values)
    for a, b in zip(found, wanted, strict=True):
        assert numpy.allclose(backend.to_numpy(a), b, rtol=1e-11, atol=1e-11)


def test_every_backend_flows_alike_in_continuous_time(backend):
    flow = LoopFlow(3, 2, order=2, beta=2.0, steps=2, degree=2, condition=("beta",), scheme="continuous")
    x = HaarLinks((3, 4), 3).sample(random.key(0, backends.get("numpy")), 2)
    alike(backend, flow, x, {"beta": numpy.asarray([1.0, 2.0])})


def test_every_backend_flows_alike_in_masked_steps(backend):
    flow = LoopFlow(2, 2, order=1, beta=2.0, steps=2, degree=0, condition=("beta",))
    x = HaarLinks((2, 3), 2).sample(random.key(0, backends.get("numpy")), 2)
    alike(backend, flow, x, {"beta": numpy.asarray([1.0, 2.0])})


def test_every_backend_moves_alike_the_links_that_a_product_passes_up_to_three_times(backend):
    step = LoopStep(LoopFlow(2, 2, order=3, chosen=(5, 6, 11)), 1, implicit=True)
    alike(backend, step, HaarLinks((2, 2), 2).sample(random.key(0, backends.get("numpy")), 2))


def test_a_condition_ends_the_flow_there(host):
    x = HaarLinks((3, 3), 2).sample(random.key(0, host), 2)
    whole, part = LoopFlow(2, 2, 1, beta=2.0, condition=("beta",)), LoopFlow(2, 2, 1, beta=1.5)
    params = whole.init(random.key(1, host))
    scaled = {"coefficients": params["coefficients"] * (0.75 ** numpy.arange(5.0))[:, None]}
    found, wanted = whole.forward(params, x, {"beta": 1.5}), part.forward(scaled, x)
    assert all(numpy.allclose(a, b, rtol=1e-12) for a, b in zip(found, wanted, strict=True))


def test_the_error_of_integration_is_of_third_order_down_to_rounding(host):
    x = SU(2, 2).haar(random.key(0, host), (2, 2, 2, 2, 2, 2))
    flows = [LoopFlow(2, 2, 1, steps=steps, degree=0, scheme="continuous") for steps in (2, 4, 8)]
    errors = [integration_errors(flow, flow.init(random.key(0, host)), x, group=SU(2, 2), members=2) for flow in flows]
    sizes = [float(numpy.abs(error).max()) for error in errors]
    assert 6.5 < sizes[0] / sizes[1] < 9.5 and 6.5 < sizes[1] / sizes[2] < 9.5


def test_the_fit_finds_the_series_where_that_is_exact(host):
    """At b = 0 the equation is solved by the leading order alone; SU(3) has tr P^2 - (tr P)^2 = -2 tr P^+ besides."""
    flow, links = LoopFlow(3, 2, order=2, degree=0), HaarLinks((4, 4), 3).sample(random.key(3, host), 60)
    fit = loop_fit.least_squares(flow, [(0.0, links)])
    values = measured(3, 2, (4, 4), flow.products, links)
    off = (fit.coefficients[0] - equation.series(3, 2, 2)[0]) @ values
    assert fit.residuals[0] < 1e-12 and numpy.allclose(off, off[0], atol=1e-8)


def test_the_fit_is_the_same_however_few_configurations_fit_into_memory(host, monkeypatch):
    """All at a time, two at a time with one left over, and one by one."""
    flow, links = LoopFlow(2, 2, order=1, degree=0), HaarLinks((4, 4), 2).sample(random.key(8, host), 7)
    fits = []
    for memory in (1e9, 2.5 * 6 * links[0].nbytes, 1.0):
        monkeypatch.setattr(loop_fit, "MEMORY", memory)
        fits.append(loop_fit.least_squares(flow, [(0.0, links)]))
    for fit in fits[1:]:
        assert fit.coefficients == pytest.approx(fits[0].coefficients, rel=1e-12)
        assert fit.residuals == pytest.approx(fits[0].residuals, rel=1e-9, abs=1e-15)


def test_a_flow_of_some_products_is_the_whole_one_with_the_rest_at_zero(backend):
    """Its gradient knows the chosen products alone, its Laplacian what they turn into besides."""
    chosen = (1, 4, 7)
    words = {"order": 2, "beta": 1.0, "steps": 2, "degree": 1, "scheme": "continuous"}
    whole, few = (LoopFlow(3, 2, chosen=some, **words) for some in ((), chosen))
    host = backends.get("numpy")
    x = HaarLinks((3, 4), 3).sample(random.key(5, host), 2)
    numbers = 0.3 * numpy.random.default_rng(1).normal(size=(2, len(chosen)))
    spread = numpy.zeros((2, len(whole.products)))
    spread[:, chosen] = numbers
    wanted = whole.forward({"coefficients": spread}, x)
    here = {"coefficients": backend.asarray(numbers)}
    found = backend.jit(few.forward)(here, backend.asarray(x, dtype="complex128"))
    for a, b in zip(found, wanted, strict=True):
        assert numpy.allclose(backend.to_numpy(a), b, rtol=1e-11, atol=1e-11)


def test_a_fit_keeps_the_products_that_leave_least(host):
    """Each further product leaves less on the samples, all of them what the whole fit leaves; at b = 0 s alone is wanted."""
    flow, haar = LoopFlow(2, 2, order=2, beta=2.0, degree=1), HaarLinks((4, 4), 2).sample(random.key(6, host), 100)
    samples = [(0.0, haar), (2.0, exact_sample(SUNGauge((4, 4), n=2), random.key(7, host), 100, {"beta": 2.0}))]
    count = len(flow.products)
    fits = [loop_fit.least_squares(flow, samples, products) for products in (1, 2, 4, count)]
    left = [fit.residuals.sum() for fit in fits]
    assert [len(fit.flow.products) for fit in fits] == [1, 2, 4, count] and left == sorted(left, reverse=True)
    assert numpy.array_equal(fits[-1].coefficients, loop_fit.least_squares(flow, samples).coefficients)
    alone = loop_fit.least_squares(LoopFlow(2, 2, order=2, degree=0), samples[:1], 1)
    assert alone.flow.places == (0,) and alone.coefficients == pytest.approx(equation.series(2, 2, 1), rel=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="order >= 1"):
        LoopFlow(3, 2, order=0)
    with pytest.raises(ValueError, match="extents of at least 4"):
        fields.plan(algebra.tower(3, 2, 3), (3, 8))
    with pytest.raises(ValueError, match="as many couplings"):
        loop_fit.least_squares(LoopFlow(2, 2, degree=1), [(0.0, numpy.zeros((1, 2, 2, 2, 4, 4)))])
    for beta in (0.0, -1.0, numpy.inf):
        with pytest.raises(ValueError, match="beta"):
            LoopFlow(2, 2, beta=beta)
    with pytest.raises(ValueError, match="one of masked, continuous"):
        LoopFlow(2, 2, scheme="exact")
    with pytest.raises(ValueError, match="conditioned"):
        LoopFlow(2, 2, condition=("kappa",))
    with pytest.raises(ValueError, match="distinct indices"):
        LoopFlow(2, 2, chosen=(1, 1))
    with pytest.raises(ValueError, match="order 1 has 1 products"):
        _ = LoopFlow(2, 2, order=1, chosen=(3,)).products


@pytest.mark.statistical
def test_the_fitted_flow_reweights_to_the_exact_plaquette(host):
    """SU(3) on 8x8 at beta = 3, one flow and 512 draws: 3.5 sigma, chance of luck 0.05%; the fit must beat the series."""
    flow, lattice = LoopFlow(3, 2, order=2, beta=3.0, steps=1, degree=4), (8, 8)
    small = SUNGauge((6, 6), n=3)
    samples = [(0.0, HaarLinks((6, 6), 3).sample(random.key(7, host), 200))]
    samples += [
        (b, exact_sample(small, random.key(int(100 * b), host), 200, {"beta": b})) for b in (0.6, 1.2, 1.8, 2.4, 3.0)
    ]
    fit = loop_fit.least_squares(flow, samples)
    x, theory, found = HaarLinks(lattice, 3).sample(random.key(9, host), 512), SUNGauge(lattice, n=3), []
    for numbers in (flow.init(random.key(0, host))["coefficients"], fit.coefficients):
        parts = [flow.forward({"coefficients": numbers}, x[k : k + 64]) for k in range(0, 512, 64)]
        y, log_det = (numpy.concatenate(part) for part in zip(*parts, strict=True))
        found.append((ess(log_det - theory.action(y, {"beta": 3.0})), y, log_det))
    assert found[1][0] > max(found[0][0], 0.9)
    _, y, log_det = found[1]
    weights = numpy.exp(log_det - theory.action(y, {"beta": 3.0}))
    weights, plaquette = weights / weights.sum(), theory.observables(y)["plaquette"]
    mean = float(weights @ plaquette)
    error = math.sqrt(float(weights**2 @ (plaquette - mean) ** 2))
    assert abs(mean - sun_torus.plaquette(3, 3.0, 64)) < 3.5 * error


def test_lines_are_followed_at_leading_order(host):
    """At half the couplings what is left of the weights is a quarter, to 10%: the leading order is there with its factor.

    The action has plaquettes and lines of both signs; without the latter, or with 4/3 of their coefficient, a half is left.
    """
    lattice, group = (3, 4), SU(2, 2)
    x = HaarLinks(lattice, 2).sample(random.key(3, host), 64)
    left = []
    for share in (1.0, 0.5):
        lines = (0.08 * share, -0.06 * share)
        flow = LoopFlow(2, 2, order=1, beta=0.1 * share, steps=1, degree=0, lines=lines)
        y, log_det = flow.forward(flow.init(random.key(0, host)), x)
        action = SUNGauge(lattice, n=2).action(y, {"beta": flow.beta})
        for axis, strength in enumerate(lines):
            line = group.trace(core_loops.polyakov(y, axis, lattice, group)).real
            action = action - strength * numpy.sum(line, axis=(-2, -1)) / lattice[axis]
        left.append(numpy.std(log_det - action))
    assert abs(left[1] / left[0] - 0.25) < 0.025


def test_lines_want_a_number_for_each_axis_and_the_masked_scheme():
    for words in ({"lines": (0.1,)}, {"lines": (0.1, math.nan)}, {"lines": (0.1, 0.1), "scheme": "continuous"}):
        with pytest.raises(ValueError, match="lines are one finite number for each of the 2 axes"):
            LoopFlow(2, 2, order=1, **words)
