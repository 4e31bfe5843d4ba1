"""The sweep flow of SU(2) and SU(3): eigenframes, class maps with the density they claim, plaquettes against plain twins."""

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups import eigenframes, weyl_cell
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.fields import exponential_twin, haar_matrices
from haarflow.core.statistics import ess, reweight
from haarflow.flows.sun import class_map_tables, class_maps
from haarflow.flows.sun.stretch import stretch
from haarflow.flows.sun.sweep import ClassSweep, class_sweep
from haarflow.run import recipes
from haarflow.run.models import opened_model
from haarflow.run.target import target_of
from haarflow.theories import SUNGauge
from haarflow.theories.exact import sun_torus
from tests.conftest import member

UNIT = numpy.exp(2j * numpy.pi / 3)
DEGENERATE = {
    2: [numpy.eye(2), -numpy.eye(2)],
    3: [numpy.eye(3), UNIT * numpy.eye(3), numpy.diag([1, -1, -1]), numpy.diag([1j, 1j, -1])],
}


def cell(u):
    """The falling eigen-angles by a sort of what NumPy finds, turned until they sum to zero."""
    angles = numpy.sort(numpy.angle(numpy.linalg.eigvals(u)))[::-1]
    for _ in range(round(abs(angles.sum()) / (2 * numpy.pi))):
        turn = numpy.sign(angles.sum())
        angles[0 if turn > 0 else -1] -= turn * 2 * numpy.pi
        angles = numpy.sort(angles)[::-1]
    return angles


@pytest.mark.parametrize("n", [2, 3, 4])
def test_eigenframes_are_numpys(n, generator):
    u = haar_matrices((50, n, n), generator)
    frame = eigenframes.frame_of(u)
    found = numpy.stack(frame.angles, axis=-1)
    assert numpy.abs(found - [cell(matrix) for matrix in u]).max() < 1e-13
    assert numpy.abs(eigenframes.rebuilt(frame, frame.angles, [3 * a for a in frame.angles]) - u @ u @ u).max() < 1e-13


@pytest.mark.parametrize("n", [2, 3])
def test_the_cell_is_a_box(n, generator):
    """Every class once: inside the box, back to the angles; complex conjugation turns v."""
    angles = eigenframes.frame_of(haar_matrices((500, n, n), generator)).angles
    place = weyl_cell.coordinates(angles)
    assert numpy.abs(numpy.stack(weyl_cell.angles_at(place)) - numpy.stack(angles)).max() < 1e-14
    assert all((numpy.abs(x) < 1).all() for x in place) and (place[0] > 0).all()
    other = weyl_cell.coordinates([-angle for angle in angles[::-1]])
    assert numpy.abs(other[0] - place[0]).max() < 1e-15
    assert numpy.abs(sum(a + b for a, b in zip(other[1:], place[1:], strict=True))).max() < 1e-14 if n == 3 else True
    with pytest.raises(ValueError, match="N = 2 and 3, got N = 4"):
        weyl_cell.coordinates([*angles, angles[0], angles[0]][:4])


@pytest.mark.parametrize(("n", "kappa"), [(2, 2.7), (2, 20.0), (3, 1.0), (3, 6.3), (3, 25.0)])
def test_class_maps_have_the_density_of_a_plaquette(n, kappa, generator):
    """Density times Jacobian is one, to the accuracy of the tables; and they are undone to rounding."""
    u = haar_matrices((3000, n, n), generator)
    y, log_det = class_maps.tilted("forward", u, kappa)
    log_w = kappa * numpy.trace(y, axis1=1, axis2=2).real / n - sun_torus.log_c0(n, kappa) + log_det
    assert numpy.std(log_w) < 2e-3 and abs(log_w).max() < 0.03
    back, other = class_maps.tilted("inverse", y, kappa)
    assert numpy.abs(back - u).max() < 1e-13 and numpy.abs(other + log_det).max() < 1e-11
    assert numpy.abs(y @ y.conj().swapaxes(1, 2) - numpy.eye(n)).max() < 1e-13
    assert abs(class_map_tables.mean_trace(n, kappa) - sun_torus.infinite_plaquette(n, kappa)) < 1e-5


@pytest.mark.parametrize("n", [2, 3])
def test_class_maps_at_degenerate_spectra(n):
    """Fixed points: the centre and, for SU(3), the walls go where they must; everything is finite."""
    u = numpy.stack(DEGENERATE[n]).astype(complex)
    y, log_det = class_maps.tilted("forward", u, 4.0)
    assert numpy.isfinite(y).all() and numpy.isfinite(log_det).all()
    assert numpy.abs(y[:2] - u[:2]).max() < 1e-9
    back, _ = class_maps.tilted("inverse", y, 4.0)
    assert numpy.abs(back - u).max() < 1e-12
    angles = numpy.stack(eigenframes.frame_of(y).angles)
    gaps = numpy.concatenate([-numpy.diff(angles, axis=0), angles[:1] - angles[-1:]])
    gaps = numpy.minimum(gaps, abs(2 * numpy.pi - gaps)).min(axis=0)
    assert gaps.max() < 1e-9  # walls stay


def test_gradients_are_finite_at_degenerate_spectra():
    torch = pytest.importorskip("torch")
    for n, found in DEGENERATE.items():
        group = SU(n)
        for u in found:
            w = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)
            moved, log_det = class_maps.tilted("forward", group.update(torch.asarray(u.astype(complex)), w), 3.0)
            (log_det + torch.real(moved[0, 1]) + torch.imag(moved[0, 0])).backward()
            assert torch.isfinite(w.grad).all(), (n, u)


def half_way(g, a, b):
    """S^{1/2} by NumPy: eigenvectors of a unitary matrix are those of a generic Hermitian function of it."""
    _, vectors = numpy.linalg.eigh(g + g.conj().T + 0.3j * (g.conj().T - g))
    angles = numpy.angle(numpy.einsum("ji,jk,ki->i", vectors.conj(), g, vectors))
    order, wanted = numpy.argsort(-angles), cell(g)
    shifted = int(
        numpy.argmin([abs(numpy.exp(1j * (numpy.roll(angles[order], k) - wanted)) - 1).max() for k in range(len(g))])
    )
    theta = numpy.empty(len(g))
    theta[numpy.roll(order, shifted)] = wanted
    s = 2 * a * numpy.angle(1.05 + numpy.exp(1j * theta)) + b * numpy.sin(theta)
    s -= s.mean()
    return vectors @ numpy.diag(numpy.exp(0.5j * s)) @ vectors.conj().T, theta


def stretched(u, v, step=1e-3):
    """U' = e^{iw} U by the plain twin of the exponential, and its dense Jacobian by differences of fourth order."""
    group = SU(len(u))

    def moved(w):
        here = group.update(u, w)
        turn = 0.5 * group.coordinates(1j * here @ v)
        return exponential_twin(group.algebra(turn)) @ here

    there, columns = moved(0.0 * group.coordinates(u)), []
    for unit in step * numpy.eye(group.dim):
        slope = (8 * (moved(unit) - moved(-unit)) - (moved(2 * unit) - moved(-2 * unit))) / (12 * step)
        columns.append(group.coordinates(-1j * slope @ there.conj().T))
    return there, numpy.linalg.slogdet(numpy.stack(columns))[1]


@pytest.mark.parametrize(("n", "size"), [(2, 1.0), (3, 0.5), (3, 1.6)])
def test_stretches_are_their_plain_twin_and_are_undone(n, size, generator):
    """Any V of the given norm; near the bound of what sweeps use, too."""
    u, a = haar_matrices((2, n, n), generator)
    for v in (size * a, size * a @ numpy.diag([1.0, -1.0, 0.3][:n]) @ a.conj().T):
        found, log_det = stretch("forward", u, v, SU(n))
        there, expected = stretched(u, v)
        assert numpy.abs(found - there).max() < 1e-14 and abs(log_det - expected) < 1e-8
        back, other = stretch("inverse", found, v, SU(n))
        assert numpy.abs(back - u).max() < 1e-13 and abs(other + log_det) < 1e-12


@pytest.mark.parametrize("n", [2, 3])
def test_plaquettes_are_moved_as_the_formula_says(n):
    """Old and new plaquettes by loops.plaquette; the last closings by NumPy's eigenvectors."""
    lattice, beta, closings = (2, 4), 3.0, 2
    host = backends.get("numpy")
    model = class_sweep(lattice, n, beta, closings)
    flow, params = model.flow, model.init(random.key(0, host))
    x = model.prior.sample(random.key(1, host), 3)
    y, log_det = flow.forward(params, x)
    old, new = (loops.plaquette(links, 0, 1, 2, SU(n, 2)) for links in (x, y))
    there, slopes = class_maps.tilted("forward", old, beta, 2)
    assert numpy.abs((there - new)[..., 0, :]).max() < 1e-13 and numpy.abs((there - new)[..., 1, 0]).max() < 1e-13
    total = slopes[:, 0, :].sum(axis=1) + slopes[:, 1, 0]
    for chain in range(3):
        edge = y[chain, 1, :, :, 1, :]
        for place in (1, 2):
            g = new[chain, ..., 1, 3]
            for back in range(2, place - 1, -1):
                g = new[chain, ..., 1, back] @ edge[..., back] @ g @ edge[..., back].conj().T
            m = 3 - place
            half, theta = half_way(g, *params["shift"][m - 1])
            traces = [1.0, numpy.cos(theta).mean(), numpy.cos(theta).mean() ** 2, numpy.cos(2 * theta).mean()]
            wanted = params["tilt"][m - 1] @ traces[: n + 1]
            kappa = 0.5 * beta * (wanted + numpy.sqrt(wanted**2 + 0.04))
            centred, slope = class_maps.tilted("forward", old[chain, ..., 1, place], kappa)
            if n == 3:
                d = 1.2 * numpy.tanh(params["stretch"][m - 1] @ traces[:2] / 1.2)
                centred, more = stretched(centred, d * (0.5 * (g + g.conj().T) - traces[1] * numpy.eye(3)))
                slope += more
            assert numpy.abs(half @ centred @ half - new[chain, ..., 1, place]).max() < 1e-12
            total[chain] += slope
    assert numpy.abs(total - log_det).max() < (1e-11 if n == 2 else 1e-8)
    still = numpy.abs(y - x).max(axis=(0, 2, 3)) == 0.0
    assert still.sum() == 2 * 8 - 7  # all but V - 1 links stand still
    back, other = flow.inverse(params, y)
    assert numpy.abs(back - x).max() < 1e-12 and numpy.abs(other + log_det).max() < 1e-11


@pytest.mark.parametrize("n", [2, 3])
def test_without_closings_the_last_plaquette_is_the_weight(n):
    """log w = beta Re tr P_last/N + (V-1) ln c_0."""
    lattice, beta = (3, 3), 4.0
    host, theory = backends.get("numpy"), SUNGauge(lattice, n=n)
    model = class_sweep(lattice, n, beta, closings=0)
    y, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), 50)
    last = loops.plaquette(y, 0, 1, 2, SU(n, 2))[..., -1, -1]
    expected = beta * numpy.trace(last, axis1=1, axis2=2).real / n + 8 * sun_torus.log_c0(n, beta)
    assert numpy.abs(-theory.action(y, {"beta": beta}) - log_q - expected).max() < 0.05


@pytest.mark.parametrize(("n", "beta", "least"), [(2, 2.7, 0.92), (3, 6.0, 0.92)])
def test_the_start_is_a_good_proposal(n, beta, least):
    """Untrained, 2 x 8; independent plaquettes would have 0.44 and 0.11."""
    host, lattice = backends.get("numpy"), (2, 8)
    theory, model = SUNGauge(lattice, n=n), class_sweep(lattice, n, beta)
    y, log_q = model.sample(model.init(random.key(0, host)), random.key(2, host), 1024)
    log_w = -theory.action(y, {"beta": beta}) - log_q
    assert ess(log_w) > least
    whole = sun_torus.log_z(n, beta, 16)
    assert abs(numpy.log(numpy.mean(numpy.exp(log_w - whole)))) < 5 * numpy.sqrt((1 / least - 1) / 1024)


def test_the_shipped_model_on_its_recipes_lattice():
    """Trained on 2 x 8, used on 16 x 16; 256 draws, and the plaquette by reweighting within five errors of the exact one."""
    recipe = recipes.load("su3-2d-sweep")
    opened = opened_model(recipe.model, target_of(recipe))
    y, log_q = opened.model.sample(opened.params, random.key(5, backends.get("numpy")), 256)
    theory = SUNGauge((16, 16), n=3)
    log_w = -theory.action(y, {"beta": 6.0}) - log_q
    assert opened.model.prior.lattice == (16, 16) and ess(log_w) > 0.9
    found = reweight(log_w, theory.observables(y, {"beta": 6.0})["plaquette"])
    assert abs(found.value - sun_torus.plaquette(3, 6.0, 256)) < 5 * found.error


def test_all_engines_give_numpys_numbers(backend):
    """SU(2) where shapes compile, SU(3) elsewhere."""
    same_numbers(backend, 2 if backend.name == "jax" else 3)


@pytest.mark.slow
def test_jax_gives_numpys_numbers_for_three_colours():
    same_numbers(member("jax"), 3)


def same_numbers(backend, n):
    model = class_sweep((2, 3), n, 4.0, 2, condition=("beta",))
    host = backends.get("numpy")
    params, x = model.init(random.key(0, host)), model.prior.sample(random.key(1, host), 2)
    params = {name: table + 0.05 for name, table in params.items()}
    beta = numpy.asarray([3.0, 5.0])
    wanted, expected = model.flow.forward(params, x, {"beta": beta})
    move = backend.jit(lambda params, x, beta: model.flow.forward(params, x, {"beta": beta}))
    there = {name: backend.asarray(table) for name, table in params.items()}
    found, log_det = move(there, backend.asarray(x), backend.asarray(beta))
    assert numpy.abs(backend.to_numpy(found) - wanted).max() < 1e-12
    assert numpy.abs(backend.to_numpy(log_det) - expected).max() < 1e-11


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="N = 2 and 3, got N = 4"):
        ClassSweep(4)
    with pytest.raises(ValueError, match="beta > 0 and closings >= 0"):
        ClassSweep(3, -1.0)
    with pytest.raises(ValueError, match=r"conditioned on nothing, \(\), or on"):
        ClassSweep(3, condition=("mass",))
    with pytest.raises(ValueError, match="needs two dimensions"):
        class_sweep((4, 4, 4))
    with pytest.raises(ValueError, match=r"wants links \(\*batch, 2, 3, 3, T, X\)"):
        ClassSweep(3).forward({}, numpy.zeros((2, 2, 2, 4, 4)))
