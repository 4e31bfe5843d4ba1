"""The masked scheme of flows along loops: its masks, its derivatives, and what it says where a step cannot be inverted."""

import json

import numpy
import pytest
from array_api_compat import array_namespace
from safetensors import safe_open
from safetensors.numpy import save_file

from haarflow import backends, models
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.flows.links import jacobian, layout
from haarflow.flows.loops import algebra, colours, equation, fields, link_potential, link_terms, masked
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.loops.step import LoopStep
from haarflow.flows.modelfile import open_model
from haarflow.flows.priors import HaarLinks
from tests.conftest import member

# the least number of masks of one direction: dimension, order, lattice
INDICES = [
    (2, 1, (4, 4), 2),
    (2, 2, (8, 8), 4),
    (2, 3, (16, 16), 8),
    (2, 3, (6, 6), 12),
    (2, 3, (10, 10), 10),
    (2, 3, (9, 9), 9),
    (3, 2, (6, 6, 6), 6),
    (4, 1, (4, 4, 4, 4), 2),
    (4, 2, (8, 8, 8, 8), 8),
    (4, 2, (4, 4, 4, 4), 16),
]


def places(part, links, group, coefficients):
    """The step, the matrix M and the steepness of each active link, mask by mask."""
    for reads, writes in zip(part.reads, part.writes, strict=True):
        read = numpy.take(links, reads.reshape(-1), axis=0).reshape(*reads.shape, *links.shape[1:])
        around = link_potential.surroundings(part.plan, read.transpose(0, 2, 3, 1, 4), coefficients)
        u = read.transpose(0, 2, 3, 1, 4)[0]
        loop, forms = link_potential.loop_of(part.plan, around, u)
        w, own = jacobian.step_of(group, loop), link_potential.curvature(forms, u)
        m = 0.5 * jacobian.adjoint(group, w) - jacobian.hessian(group, loop)
        yield numpy.flatnonzero(writes >= len(writes)), w, m if own is None else m + own, around


@pytest.mark.parametrize(("d", "order", "lattice", "index"), INDICES)
def test_as_few_masks_as_a_lattice_allows(d, order, lattice, index):
    conflicts = link_terms.conflicts(algebra.tower(3, d, order), lattice)
    found = colours.colours(lattice, conflicts)
    counts = numpy.bincount(found.reshape(-1))
    assert len(counts) == index and (counts == found.size // index).all()


@pytest.mark.parametrize(
    ("order", "lattice"), [(1, (2, 2)), (1, (3, 1)), (2, (4, 6)), (3, (8, 8)), (3, (2, 4)), (2, (3, 3, 3))]
)
def test_no_mask_reads_a_link_that_it_moves(order, lattice):
    """Every link is moved once in a sweep, and nothing that moves with it enters its surroundings."""
    moved = numpy.zeros(len(lattice) * numpy.prod(lattice), dtype=int)
    for part in masked.masks(algebra.tower(2, len(lattice), order), lattice):
        for reads, writes in zip(part.reads, part.writes, strict=True):
            active = numpy.flatnonzero(writes >= len(writes))
            assert not numpy.isin(reads[1:], active).any() and set(reads[0]) == set(active)
            moved[active] += 1
    assert (moved == 1).all()


@pytest.mark.parametrize(
    ("n", "d", "order", "lattice"), [(2, 2, 3, (4, 4)), (3, 2, 2, (3, 4)), (2, 3, 2, (3, 3, 3)), (4, 2, 2, (3, 3))]
)
def test_derivatives_of_one_link_are_those_of_all_loops(host, n, d, order, lattice):
    """Steps are the gradient of the whole sum, and the traces of M its Laplacian in the algebra of loops."""
    products, group = algebra.tower(n, d, order), SU(n, 2)
    links = layout.rows(HaarLinks(lattice, n).sample(random.key(2, host), 2), d)
    numbers = numpy.random.default_rng(0).normal(size=(len(products), 1))
    plan = fields.plan(products, lattice)
    store, loops = fields.traces(plan, links, lattice)
    gradient, laplacian = fields.gradient(plan, store, loops, numbers, lattice), 0.0
    for part in masked.masks(products, lattice):
        for active, w, m, _ in places(part, links, group, numbers):
            assert numpy.allclose(w.transpose(1, 0, 2), gradient[active], rtol=1e-11, atol=1e-12)
            laplacian = laplacian + numpy.einsum("aaxb->b", m)
    shares = numbers[:, 0] @ equation.laplacians(n, d, order)
    wanted = shares[:-1] @ fields.values(plan, loops) + numpy.prod(lattice) * shares[-1]
    assert numpy.allclose(laplacian, wanted, rtol=1e-11)


@pytest.mark.parametrize(("n", "order", "lattice"), [(2, 3, (2, 2)), (3, 2, (1, 2)), (3, 3, (2, 4))])
def test_the_steepness_bounds_the_second_derivatives_wherever_the_link_is(host, n, order, lattice):
    products, group = algebra.tower(n, 2, order), SU(n, 2)
    numbers = numpy.random.default_rng(1).normal(size=(len(products), 1))
    links = layout.rows(HaarLinks(lattice, n).sample(random.key(3, host), 2), 2)
    for part in masked.masks(products, lattice):
        for _, _, m, around in places(part, links, group, numbers):
            size = numpy.linalg.norm(numpy.moveaxis(m, (0, 1), (-2, -1)), 2, axis=(-2, -1))
            assert (size <= link_potential.steepness(part.plan, around)).all()


def test_a_step_too_long_for_one_inverse_is_shortened_and_stays_exact(host):
    flow, lattice = LoopFlow(2, 2, order=1, beta=30.0, steps=1, degree=0), (2, 2)
    x = HaarLinks(lattice, 2).sample(random.key(0, host), 3)
    y, log_det = flow.forward(flow.init(random.key(0, host)), x)
    back, other = flow.inverse(flow.init(random.key(0, host)), y)
    assert numpy.abs(back - x).max() < 1e-12 and numpy.abs(log_det + other).max() < 1e-11


def test_an_implicit_step_that_does_not_converge_is_not_a_number(host, monkeypatch):
    monkeypatch.setattr(masked, "FIXED_POINT_STEPS", 0)
    monkeypatch.setattr(masked, "NEWTON_STEPS", 1)
    step = LoopStep(LoopFlow(2, 2, order=1, beta=2.0), implicit=True)
    _, log_det = step.forward(step.init(random.key(0, host)), HaarLinks((2, 2), 2).sample(random.key(0, host), 2))
    assert numpy.isnan(log_det).all()


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_derivatives_through_a_step_are_differences(name, implicit):
    """By the coefficients and by the links, to the rounding of the differences (of fourth order, at steps of 1e-3)."""
    backend, host = member(name), backends.get("numpy")
    step = LoopStep(LoopFlow(2, 2, order=3, chosen=(0, 6)), 1, implicit=implicit)
    x, key = HaarLinks((2, 2), 2).sample(random.key(0, host), 2), random.key(1, host)
    numbers, way = step.init(key)["coefficients"][:1], numpy.random.default_rng(0).normal(size=(2, 2, 3, 2, 2))
    target = HaarLinks((2, 2), 2).sample(key, 2)

    def total(numbers, size):
        moved = SU(2, 2).update(backend.asarray(x, dtype="complex128"), size * backend.asarray(way))
        y, log_det = step.forward({"coefficients": numbers}, moved)
        xp = array_namespace(y)
        return xp.sum(log_det) + xp.sum(xp.real(y * backend.asarray(target, dtype="complex128")))

    start = backend.asarray(numbers), backend.asarray(0.1)
    _, slopes = backend.jit(backend.value_and_grad(lambda both: total(*both)))(start)
    value = backend.jit(total)
    for way_of, slope in ((numpy.ones_like(numbers), slopes[0].sum()), (0.0 * numbers, slopes[1])):
        along = float(not way_of.any())
        ends = {
            k: float(value(backend.asarray(numbers + k * 1e-3 * way_of), backend.asarray(0.1 + k * 1e-3 * along)))
            for k in (-2, -1, 1, 2)
        }
        wanted = (8 * (ends[1] - ends[-1]) - (ends[2] - ends[-2])) / 12e-3
        assert float(slope) == pytest.approx(wanted, rel=1e-8, abs=1e-8)


def test_files_from_before_there_were_schemes_open_as_two_masked_steps(tmp_path):
    """Their coefficients are those of the same flow; five Runge-Kutta steps become two exact ones."""
    old = tmp_path / "old.safetensors"
    with safe_open(models.path_of("su2-2d-loops"), framework="numpy") as file:
        header = json.loads(file.metadata()["haarflow"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    fields_of = header["definition"]["fields"]["flow"]["fields"]
    fields_of.pop("scheme", None)
    fields_of["steps"] = 5
    save_file(arrays, old, metadata={"haarflow": json.dumps(header)})
    flow = open_model(old).model.flow
    assert (flow.scheme, flow.steps, flow.integrated) == ("masked", 2, False)


def test_a_sweep_has_no_mask_beyond_its_last():
    with pytest.raises(ValueError, match="has 4 masks, got number 4"):
        LoopStep(LoopFlow(2, 2, order=1), mask=4).moves((2, 2))


@pytest.mark.statistical
def test_the_shipped_flow_goes_there_and_back(host):
    """SU(3) on 8x8 to beta = 6: there and back to 1e-12."""
    model, params, _ = open_model(models.path_of("su3-2d-loops"))
    flow = model.flow
    x = HaarLinks((8, 8), 3).sample(random.key(1, host), 2)
    y, log_det = flow.forward(params, x, {"beta": 6.0})
    back, other = flow.inverse(params, y, {"beta": 6.0})
    assert numpy.abs(back - x).max() < 1e-12 and numpy.abs(log_det + other).max() < 1e-10
