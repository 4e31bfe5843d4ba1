"""Spectral couplings of SU(2) and SU(3) links: which loops move, eigen-angles against NumPy's, the start, a short training."""

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups import eigenframes, weyl_cell
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.fields import haar_matrices
from haarflow.flows.masks import frozen_loops
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sun import class_maps, spectral_maps
from haarflow.flows.sun.architectures import spectral
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.flows.training.coupling_plans import Fixed
from haarflow.flows.training.gradients import ReverseKL
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.theories import SUNGauge
from haarflow.theories.exact import sun_torus
from tests.conftest import member

STRIPES = ("stripes", 0, 1, 4, 1)


def bent(params, generator, size=0.7):
    return tree_map(lambda leaf: leaf + size * generator.standard_normal(leaf.shape), params)


@pytest.mark.parametrize("n", [2, 3])
def test_only_the_named_loops_move(n, generator):
    """Active plaquettes change their eigen-angles but not their frame, frozen loops nothing, passive ones anything."""
    host, lattice = backends.get("numpy"), (3, 4)
    context = frozen_loops(STRIPES, 2, [(1, 1), (1, 2)])
    flow = SpectralCoupling(n, 2, STRIPES, context, 3, (4,))
    x = HaarLinks(lattice, n).sample(random.key(0, host), 2)
    y, _ = flow.forward(bent(flow.init(random.key(1, host)), generator), x)
    moved = numpy.abs(y - x).max(axis=(0, 2, 3)) > 1e-6
    assert (moved == flow.moves(lattice)).all() and moved[0, :, 1].all() and moved.sum() == 3
    old, new = (loops.plaquette(links, 0, 1, 2, SU(n, 2)) for links in (x, y))
    change = numpy.abs(new - old).max(axis=(0, 1, 2))
    assert (change[:, 2:] == 0.0).all() and (change[:, :2] > 1e-6).all()
    before, after = (part[..., 1].transpose(0, 3, 1, 2) for part in (old, new))
    assert numpy.abs(before @ after - after @ before).max() < 1e-13
    far, near = (loops.rectangle(links, 0, 1, (1, 2), 2, SU(n, 2)) for links in (x, y))
    assert (numpy.abs(near - far)[..., [0, 2]].max(axis=(0, 1, 2)) == 0.0).all()


def test_one_link_by_numpys_eigenvectors(generator):
    """P' of every active plaquette from NumPy's eigenvectors and one number at a time; the log-determinant of the torus."""
    host, lattice, n = backends.get("numpy"), (2, 4), 3
    flow = SpectralCoupling(n, 2, STRIPES, (), 3, (), start=2.0)
    params = bent(flow.init(random.key(1, host)), generator, 0.4)
    x = HaarLinks(lattice, n).sample(random.key(0, host), 1)
    y, log_det = flow.forward(params, x)
    raw = params["net"]["b0"] + params["net"]["w0"][:, 0, 0, 0]
    group, total = SU(n, 2), 0.0

    def angles_after(angles):
        place = weyl_cell.coordinates([numpy.asarray(a) for a in angles])
        place, _ = class_maps.tilt("forward", place, spectral_maps.positive(params["tilt"]))
        return numpy.asarray(weyl_cell.angles_at(spectral_maps.bend("forward", place, raw, 3, 0)[0]))

    for t in range(2):
        old, new = (loops.plaquette(links, 0, 1, 2, group)[0, :, :, t, 1] for links in (x, y))
        angles = numpy.asarray(eigenframes.frame_of(old).angles)
        there, step = angles_after(angles), 1e-5
        values, vectors = numpy.linalg.eig(old)
        order = [int(numpy.argmin(abs(values - numpy.exp(1j * a)))) for a in angles]
        v = vectors[:, order]
        assert numpy.abs(v @ numpy.diag(numpy.exp(1j * there)) @ numpy.linalg.inv(v) - new).max() < 1e-12
        slopes = []
        for k in range(2):  # along the torus: one angle up, the last down
            change = step * (numpy.eye(3)[k] - numpy.eye(3)[2])
            slopes.append((angles_after(angles + change) - angles_after(angles - change))[:2] / (2 * step))
        total += numpy.log(abs(numpy.linalg.det(numpy.stack(slopes))))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            total += 2 * numpy.log(numpy.sin((there[i] - there[j]) / 2) / numpy.sin((angles[i] - angles[j]) / 2))
    assert abs(total - log_det[0]) < 1e-7


@pytest.mark.parametrize("n", [2, 3])
def test_bends_are_undone_and_keep_the_walls(n, generator):
    raw = generator.standard_normal((spectral_maps.channels(n, 4), 200))
    place = weyl_cell.coordinates(eigenframes.frame_of(haar_matrices((200, n, n), generator)).angles)
    new, log_det = spectral_maps.bend("forward", place, raw, 4, 0)
    back, other = spectral_maps.bend("inverse", new, raw, 4, 0)
    assert max(numpy.abs(a - b).max() for a, b in zip(back, place, strict=True)) < 1e-11
    assert numpy.abs(log_det + other).max() < 1e-9
    mirrored, same = spectral_maps.bend("forward", [place[0], *[-x for x in place[1:]]], raw, 4, 0)
    assert all(numpy.abs(a + b).max() < 1e-14 for a, b in zip(mirrored[1:], new[1:], strict=True))
    assert numpy.abs(same - log_det).max() < 1e-12
    still, nothing = spectral_maps.bend("forward", place, 0.0 * raw, 4, 0)
    assert max(numpy.abs(a - b).max() for a, b in zip(still, place, strict=True)) < 1e-14
    assert numpy.abs(nothing).max() < 1e-12


def test_the_first_pass_starts_with_the_weight_of_a_plaquette():
    """Period 4 in two dimensions: three plaquettes of four have the mean trace of one plaquette, the fourth does not."""
    host, beta = backends.get("numpy"), 3.0
    model = spectral((4, 8), 2, beta, rounds=1, hidden=(), final_scale=0.0)
    params = model.init(random.key(0, host))
    y, _ = model.sample(params, random.key(1, host), 400)
    trace = numpy.trace(loops.plaquette(y, 0, 1, 2, SU(2, 2)), axis1=1, axis2=2).real / 2
    by_column = numpy.sort(trace.mean(axis=(0, 1)))
    right = sun_torus.infinite_plaquette(2, beta)
    assert numpy.abs(by_column[2:] - right).max() < 5 * 0.5 / numpy.sqrt(1600)
    assert by_column[:2].max() < right - 0.1


def test_all_engines_give_numpys_numbers(backend, generator):
    """SU(2) where shapes compile, SU(3) elsewhere."""
    n = 2 if backend.name == "jax" else 3
    host = backends.get("numpy")
    flow = SpectralCoupling(n, 2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1)]), 3, (4,), start=1.5, condition=("beta",))
    params, x = (
        bent(flow.init(random.key(1, host)), generator, 0.3),
        HaarLinks((2, 4), n).sample(random.key(0, host), 2),
    )
    beta = numpy.asarray([1.0, 2.0])
    wanted, expected = flow.forward(params, x, {"beta": beta})
    move = backend.jit(lambda params, x, beta: flow.forward(params, x, {"beta": beta}))
    there = tree_map(backend.asarray, params)
    found, log_det = move(there, backend.asarray(x), backend.asarray(beta))
    assert numpy.abs(backend.to_numpy(found) - wanted).max() < 1e-12
    assert numpy.abs(backend.to_numpy(log_det) - expected).max() < 1e-11


def test_training_improves_it():
    """SU(2) at 2 x 4, beta = 1.8, by Torch: a few steps raise the ESS."""
    pytest.importorskip("torch")
    engine, lattice = member("torch"), (2, 4)
    theory, model = SUNGauge(lattice, n=2), spectral(lattice, 2, 1.8, rounds=1, period=2, hidden=(), bins=3)
    training = Training(model, theory.action, Adam(2e-2), ReverseKL(), 64)
    state = start(training, random.key(3, engine), None, "float64")
    means = [step.records["ess"].mean() for step in train(training, state, 30, Fixed({"beta": 1.8}), every=10)]
    assert means[-1] > means[0] + 0.03


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="N = 2 and 3, got N = 4"):
        SpectralCoupling(4, 2, STRIPES)
    with pytest.raises(ValueError, match="context loops are frozen"):
        SpectralCoupling(3, 2, STRIPES, (((0, 1), (1, 1), (0, 0)),))
    with pytest.raises(ValueError, match="bins >= 1, harmonics >= 1 and start >= 0"):
        SpectralCoupling(3, 2, STRIPES, bins=0)
    with pytest.raises(ValueError, match="needs an extent divisible by 4"):
        SpectralCoupling(2, 2, STRIPES).forward({}, numpy.zeros((2, 2, 2, 4, 6)))
    with pytest.raises(ValueError, match=r"wants links \(\*batch, 2, 2, 2, \*lattice\)"):
        SpectralCoupling(2, 2, STRIPES).forward({}, numpy.zeros((2, 3, 3, 4, 4)))
    with pytest.raises(ValueError, match="at least one round"):
        spectral((4, 4), rounds=0)
