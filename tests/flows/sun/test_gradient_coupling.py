"""Couplings of SU(N) links by the gradient of loops: the closed Jacobian, plain twins, the inverse, the trivialising flow."""

import json

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.fields import exponential_twin, haar_matrices
from haarflow.core.laws.law import Given
from haarflow.flows.links import jacobian
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sun import gradient_coupling as residual
from haarflow.flows.sun.architectures import trivialising
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.masks import flat
from haarflow.flows.training.gradients import PathGradient, ReverseKL, ess
from haarflow.flows.training.loop import Training, finish, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.pipeline import run
from haarflow.run import recipes
from haarflow.theories import SUNGauge
from tests.conftest import member

RECIPE = """
name = "su2-flow"
lattice = [2, 4]
theory = { name = "su2", beta = 1.5 }
flow = { kind = "trivialising", steps = 2, pair = true }
train = { steps = 6, batch = 32, lr = 5e-3 }
[samplers]
flow-metropolis = { draws = 400, warmup = 40 }
flow-reweighting = { draws = 400 }
mixture = { kind = "cycle", kernels = ["flow", "heatbath"], chains = 8, draws = 20, warmup = 4, block = 5 }
[run]
backend = "torch"
"""


def moved(group, u, v):
    """U' = e^{iw} U by the plain twin of the exponential."""
    w = jacobian.step_of(group, u @ v)
    return exponential_twin(group.algebra(w)) @ u


def dense(group, u, v, step=1e-3):
    """The Jacobian of one link in the algebra frame by differences of sixth order."""
    columns = []
    for unit in numpy.eye(group.dim):
        ends = {k: moved(group, group.update(u, k * step * unit), v) for k in (-3, -2, -1, 1, 2, 3)}
        terms = [weight * (ends[k] - ends[-k]) for k, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))]
        columns.append(group.coordinates(-1j * (sum(terms) / step) @ moved(group, u, v).conj().T))
    return numpy.stack(columns, axis=1)


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("size", [0.3, 1.0, 1.99])
def test_the_jacobian_of_a_link_is_closed(n, size, generator):
    """Generic V, multiples of one, and V that makes W a multiple of one or w commute with it."""
    group = SU(n)
    u, a, b = haar_matrices((3, n, n), generator)
    for v in (size * a, 0.5 * size * (a + b), size * u.conj().T, -size * u.conj().T, size * u.conj().T @ a @ a):
        matrix, loop = dense(group, u, v), u @ v
        w = jacobian.step_of(group, loop)
        assert abs(jacobian.log_det(group, w, loop) - numpy.linalg.slogdet(matrix)[1]) < 1e-10
        step = generator.standard_normal(group.dim)
        assert numpy.abs(jacobian.newton(group, w, loop, matrix @ step) - step).max() < 1e-8


@pytest.mark.parametrize("n", [2, 3, 4])
def test_pieces_of_the_jacobian_are_what_they_are_called(n, generator):
    group, t = SU(n), numpy.stack(SU(n).basis())
    u, v = haar_matrices((2, n, n), generator)
    w = jacobian.step_of(group, u @ v)
    m = -numpy.einsum("aij,bjk,ki->ab", t, t, u @ v).real
    turned = jacobian.adjoint(group, w)
    assert numpy.abs(turned + turned.T).max() < 1e-15
    assert numpy.abs(m + 0.5 * turned + jacobian.hessian(group, u @ v)).max() < 1e-14
    for b in range(group.dim):  # i [w, T_b] = A_ab i T_a
        bracket = 1j * (group.algebra(w) @ t[b] - t[b] @ group.algebra(w))
        assert numpy.abs(bracket - numpy.tensordot(turned[:, b], t, axes=1)).max() < 1e-14
    values = numpy.linalg.eigvals(turned).imag
    safe = numpy.where(abs(values) < 1e-9, 1.0, values)
    bend, log_volume = jacobian.half_coth(group, w)
    assert numpy.abs(bend @ turned - turned @ bend).max() < 1e-14
    expected = numpy.sort(numpy.where(abs(values) < 1e-9, 1.0, 0.5 * safe / numpy.tan(0.5 * safe)))
    assert numpy.abs(numpy.linalg.eigvalsh(bend) - expected).max() < 1e-13
    total = numpy.sum(numpy.log(numpy.where(abs(values) < 1e-9, 1.0, numpy.sin(0.5 * safe) / (0.5 * safe))))
    assert abs(log_volume - total) < 1e-13


@pytest.mark.parametrize(("engine", "with_own"), [("jax", False), ("torch", False), ("torch", True)])
def test_the_slopes_by_hand_are_those_of_the_plain_path(engine, with_own, generator):
    """Derivatives of log det J of SU(3), on PyTorch the second ones too, at generic links and at degenerate spectra."""
    backend, group = member(engine), SU(3, 1)
    xp, loops = backend.xp, 0.5 * haar_matrices((6, 3, 3), generator).transpose(1, 2, 0)
    loops[:, :, 0], loops[:, :, 1] = 0.4 * numpy.eye(3), 0.4j * numpy.diag([1.0, 1.0, -2.0])
    loop = backend.asarray(loops)
    root = (backend.asarray(0.02 * generator.standard_normal((8, 8, 6))),) if with_own else ()
    numbers = (jacobian.step_of(group, loop), group.coordinates(loop), xp.real(group.trace(loop)), *root)
    weight, along = (backend.asarray(generator.standard_normal(shape)) for shape in (6, (8, 6)))

    def by_hand(w, v, trace, *root):
        loop = group.algebra(v)
        return jacobian.log_det(group, w, loop + (trace / 3.0) * group.identity(loop), *map(symmetric, root))

    def plain(w, v, trace, *root):
        return jacobian._plain(group, w, v, trace, *map(symmetric, root))

    def symmetric(root):
        return root + matrices.transpose(root, 1)

    def slopes(f):
        return backend.jit(backend.value_and_grad(lambda numbers: xp.sum(weight * f(*numbers))))(numbers)

    def bend(f):
        slope = lambda w: backend.vjp(lambda w: f(w, *numbers[1:]), w)[1](weight)  # noqa: E731
        return backend.to_numpy(backend.jvp(slope, numbers[0], along)[1])

    (value, found), (expected, wanted) = slopes(by_hand), slopes(plain)
    assert abs(float(value) - float(expected)) < 1e-13
    for mine, theirs in zip(found, wanted, strict=True):
        assert (
            numpy.abs(backend.to_numpy(mine) - backend.to_numpy(theirs)).max()
            < 1e-12
            < abs(float(theirs[..., 3].sum()))
        )
    if engine == "torch":
        again = bend(plain)
        assert numpy.abs(bend(by_hand) - again).max() < 1e-12 < abs(again).min()


def bounded(x, share):
    return share * numpy.tanh(x / share)


def test_a_coupling_is_its_plain_twin(backend):
    """Link by link with matrices last, staples by hand, the log-determinant from a dense Jacobian of one link."""
    lattice, n, rho = (3, 4), 3, 0.3
    flow = LoopCoupling(n, 2, direction=0, colour=1)
    x = HaarLinks(lattice, n).sample(random.key(3, backends.get("numpy")), 1)
    group, last, expected = SU(n), x[0].transpose(0, 3, 4, 1, 2).copy(), 0.0

    def link(mu, t, s):
        return last[mu, t % lattice[0], s % lattice[1]]

    y = last.copy()
    for t, s in numpy.argwhere(numpy.indices(lattice)[1] % 2 == 1):
        ahead = link(1, t + 1, s) @ link(0, t, s + 1).conj().T @ link(1, t, s).conj().T
        behind = link(1, t + 1, s - 1).conj().T @ link(0, t, s - 1).conj().T @ link(1, t, s - 1)
        v = bounded(rho, 0.5) * (ahead + behind)
        y[0, t, s] = moved(group, link(0, t, s), v)
        expected += numpy.linalg.slogdet(dense(group, link(0, t, s), v))[1]
    found, log_det = backend.jit(flow.forward)({"rho": backend.asarray([[rho]])}, backend.asarray(x))
    assert numpy.abs(backend.to_numpy(found)[0].transpose(0, 3, 4, 1, 2) - y).max() < 1e-14
    assert abs(float(backend.to_numpy(log_det)[0]) - expected) < 1e-10


@pytest.mark.parametrize("n", [2, 3])
def test_the_inverse_holds_up_to_the_bound(n, host):
    """Numbers beyond all measure are cut off at the bound; links Haar, cold, and at degenerate spectra."""
    for words in ({}, {"own": 2, "pair": True}):
        flow = LoopCoupling(n, 2, 0, 0, bound=1.9, **words)
        for style, sign in (("haar", 1.0), ("cold", -1.0), ("seam", 1.0), ("seam", -1.0)):
            x = Given((4, 8), style=style, batch=40).field(SU(n, 2), (2, n, n, 4, 8))
            params = tree_map(lambda leaf, sign=sign: leaf + sign * 1e3, flow.init(random.key(0, host)))
            y, log_det = flow.forward(params, x)
            back, inverse = flow.inverse(params, y)
            slope = 20.0  # of the inverse, 1/(1 - R/2) at most
            assert numpy.abs(back - x).max() < 1e-12 * slope and numpy.abs(inverse + log_det).max() < 1e-10
            target, _ = flow.forward(params, flow.inverse(params, x)[0])
            assert numpy.abs(target - x).max() < 1e-12 * slope


def test_numbers_are_cut_off_where_the_map_is_still_invertible(host):
    """sum_k |c_k| + sum_j (1 + j) |a_kj| + 2 |p_k| is the bound for numbers beyond all measure."""
    for d, words in ((2, {}), (3, {"own": 2}), (2, {"own": 1, "pair": True, "period": 4, "reach": 3})):
        flow = LoopCoupling(2, d, 1, 0, bound=1.5, **words)
        params = tree_map(lambda leaf: leaf + 1e3, flow.init(random.key(0, host)))
        cold = SU(2, d).exp(numpy.zeros((1, d, 3, *(4,) * d)))
        paths = flow._paths(flat(cold, d), (4,) * d)
        staples = [staple for plane in flow._bounded(params, paths, None) for sides in plane for staple in sides]
        assert len(staples) == 2 * (d - 1) * flow.reach
        sums = [k.rho + sum((1 + j) * a for j, a in enumerate(k.own, 1)) + 2 * (k.pair or 0.0) for k in staples]
        assert abs(sum(sums) - 1.5) < 1e-12


def test_loops_are_wilson_loops(host):
    """Staples ahead and behind close to the frozen 1 x 2 rectangle around the link; longer paths to longer rectangles."""
    lattice, group = (4, 8), SU(3, 2)
    x = HaarLinks(lattice, 3).sample(random.key(0, host), 2)
    flow = LoopCoupling(3, 2, 0, 1, period=4, reach=3, context=2)
    active = flow.moves(lattice)[0]
    paths = flow._paths(flat(x, 2), lattice)

    def on_active(values):
        return values[:, active].T.reshape(-1)

    around = numpy.roll(group.trace(loops.rectangle(x, 0, 1, (1, 2), 2, group)).real / 3, 1, axis=-1)
    assert numpy.abs(flow._frozen(paths)[0][0]["flat"] - on_active(around)).max() < 1e-14
    for r in (1, 2, 3):
        ahead = on_active(group.trace(loops.rectangle(x, 0, 1, (1, r), 2, group)))
        behind = on_active(numpy.roll(group.trace(loops.rectangle(x, 0, 1, (1, r), 2, group)), r, axis=-1)).conj()
        for path, expected in zip(paths[0][r - 1], (ahead, behind), strict=True):
            link = x[:, 0][..., active].transpose(1, 2, 3, 0).reshape(3, 3, -1)
            assert numpy.abs(flow.group.trace(flow.group.compose(link, path)) - expected).max() < 1e-13


def test_the_step_is_the_gradient_of_its_potential(host):
    """w = N grad F with F = sum_k [c x_k + sum_j a_j x_k^(j+1)/(j+1)] + p x_+ x_-, by differences along the frame."""
    lattice, flow = (1, 4), LoopCoupling(3, 2, 0, 1, period=4, reach=2, own=2, pair=True)
    group = flow.group
    x = HaarLinks(lattice, 3).sample(random.key(0, host), 1)
    generator = numpy.random.default_rng(0)
    params = tree_map(lambda leaf: 0.02 * generator.standard_normal(leaf.shape), flow.init(random.key(0, host)))
    links = flat(x, 2)
    staples = flow._bounded(params, flow._paths(links, lattice), None)

    def potential(link):
        total = 0.0
        for pair in staples[0]:
            ahead, behind = (group.trace(group.compose(link, k.path)).real / 3 for k in pair)
            for staple, trace in zip(pair, (ahead, behind), strict=True):
                total += staple.rho * trace + sum(a * trace ** (j + 1) / (j + 1) for j, a in enumerate(staple.own, 1))
            total += pair[0].pair * ahead * behind
        return float(total.ravel()[0])

    link = flow._at(links, 0, (0, 0), lattice)
    w = jacobian.step_of(group, flow._loop(link, staples)[0]).ravel()
    for number, unit in enumerate(1e-4 * numpy.eye(8)):
        ends = [potential(group.update(link, sign * unit.reshape(8, 1))) for sign in (1, -1)]
        assert abs(w[number] - 3 * (ends[0] - ends[1]) / 2e-4) < 1e-8


def test_wrong_couplings_and_fields_are_refused(host):
    for words, message in (
        ({"direction": 2}, "a direction of 0 ... d-1"),
        ({"colour": 2}, "a colour of 0 ... period-1"),
        ({"reach": 2}, "a rectangle of 2 links across contains two active links of period 2"),
        ({"bound": 2.0}, "where the map is invertible"),
        ({"context": -1}, "context >= 0"),
        ({"n": 1}, "an integer n >= 2"),
    ):
        with pytest.raises(ValueError, match=message):
            LoopCoupling(**{"n": 2, "d": 2, "direction": 0, "colour": 0} | words)
    flow = LoopCoupling(2, 2, 0, 0)
    with pytest.raises(
        ValueError, match="a mask of period 2 along axis 1 needs an extent divisible by 2, got extent 3"
    ):
        flow.forward({"rho": numpy.zeros((1, 1))}, numpy.zeros((2, 2, 2, 4, 3), dtype=complex))
    with pytest.raises(ValueError, match=r"wants links \(\*batch, 2, 2, 2, \*lattice\)"):
        flow.forward({"rho": numpy.zeros((1, 1))}, numpy.zeros((2, 4, 4)))
    conditioned = LoopCoupling(2, 2, 0, 0, condition=("beta",))
    with pytest.raises(ValueError, match="conditioned on beta"):
        conditioned.forward(conditioned.init(random.key(0, host)), numpy.zeros((2, 2, 2, 2, 2), dtype=complex))
    with pytest.raises(ValueError, match="at least one step"):
        trivialising((4, 4), steps=0)


def test_the_untrained_flow_is_the_leading_order(host):
    """Exact weights at any step size: ln Z comes out, within 4 errors of the mean weight (chance of luck 6e-5)."""
    for n, beta, least in ((2, 1.0, 0.8), (3, 2.0, 0.8)):
        model, theory = trivialising((4, 4), n, steps=2, beta=beta), SUNGauge((4, 4), n)
        y, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), 256)
        log_w = -theory.action(y, {"beta": beta}) - log_q
        weights = numpy.exp(log_w - theory.exact({"beta": beta})["ln_Z"])
        assert ess(log_w) > least
        assert abs(weights.mean() - 1) < 4 * weights.std() / 16


def test_one_flow_serves_all_couplings(host):
    """With the condition the untrained coefficients are those of each beta, and one at beta = 0."""
    plain, flow = trivialising((2, 2), 2, 2, beta=1.5), trivialising((2, 2), 2, 2, condition=("beta",))
    key, x = random.key(0, host), plain.prior.sample(random.key(1, host), 2)
    condition = {"beta": numpy.asarray([1.5, 0.0])}
    y, log_det = flow.flow.forward(flow.init(key), x, condition)
    expected, log_expected = plain.flow.forward(plain.init(key), x)
    assert numpy.abs(y[0] - expected[0]).max() < 1e-14 and abs(log_det[0] - log_expected[0]) < 1e-13
    assert numpy.abs(y[1] - x[1]).max() < 1e-15 and abs(log_det[1]) < 1e-14


@pytest.mark.parametrize("engine, n", [("jax", 2), ("torch", 3)])
def test_gradients_are_finite_and_right(engine, n):
    """Of the loss along the parameters, against differences; from Haar links and, finite, from cold ones.

    On PyTorch through the inverse as well.
    """
    backend, theory = member(engine), SUNGauge((2, 2), n)
    flow = LoopCoupling(n, 2, 0, 0, start=0.2, context=1)
    links = HaarLinks((2, 2), n).sample(random.key(0, backend), 2)
    cold = backend.asarray(SU(n, 2).exp(numpy.zeros((2, 2, n * n - 1, 2, 2))))

    def loss(flat, x):
        y, log_det = flow.forward({"rho": flat[:1, None], "flat": flat[1:, None]}, x)
        back, log_back = (
            (y, 0.0) if engine == "jax" else flow.inverse({"rho": 0.5 * flat[:1, None], "flat": flat[1:, None]}, y)
        )
        return backend.xp.sum(theory.action(back, {"beta": 2.0}) - log_det + 0.3 * log_back)

    value = backend.jit(backend.value_and_grad(loss))
    start_values = numpy.asarray([0.2, -0.1])
    for x in (links, cold):
        _, slope = value(backend.asarray(start_values), x)
        for number, unit in enumerate(numpy.eye(2) * 1e-5):
            ends = [float(value(backend.asarray(start_values + sign * unit), x)[0]) for sign in (1, -1)]
            assert abs(float(slope[number]) - (ends[0] - ends[1]) / 2e-5) < 1e-6


@pytest.mark.statistical
@pytest.mark.parametrize("estimator, steps", [(ReverseKL(), 30), (PathGradient(), 8)])
def test_training_improves_the_flow(estimator, steps):
    """SU(2) on 4 x 4 at beta = 3, on which the leading order has an ESS of 0.06; measured with 1024 other draws.

    The gain is many times the spread of the ESS between seeds, about 0.02.
    """
    backend, theory = member("torch"), SUNGauge((4, 4), 2)
    model = trivialising((4, 4), 2, steps=2, beta=3.0, context=1, symmetric=False)
    training = Training(model, theory.action, Adam(0.01), estimator, batch=64)
    state = start(training, random.key(0, backend))

    def measured(params):
        host = backends.get("numpy")
        y, log_q = model.sample(tree_map(backend.to_numpy, params), random.key(5, host), 1024)
        return float(ess(-theory.action(y, {"beta": 3.0}) - log_q))

    trained = finish(train(training, state, steps, {"beta": 3.0})).params
    assert measured(trained) > measured(state.params) + 0.002 * steps


@pytest.mark.statistical
def test_a_recipe_trains_the_flow_and_samples_with_it(tmp_path):
    """Flow proposals alone and in a cycle with the heat bath: the exact plaquette, 5 errors (chance of luck 6e-7 each)."""
    member("torch")
    (tmp_path / "su2.toml").write_text(RECIPE)
    run(recipes.load(tmp_path / "su2.toml"), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for name in ("flow-metropolis", "flow-reweighting", "mixture"):
        entry = summary["samplers"][name]["observables"]["plaquette"]
        assert abs(entry["value"] - entry["exact"]) < 5 * entry["error"] < 0.1
    assert summary["samplers"]["flow-reweighting"]["ess"] > 0.7


@pytest.mark.slow  # compiles second derivatives
def test_what_is_computed_again_has_the_same_derivatives(autodiff_backend, monkeypatch):
    """First and second derivatives by parameters and links of fields beyond KEPT and below it."""
    backend, flow = autodiff_backend, LoopCoupling(2, 2, 0, 1, start=0.1)
    x = SU(2, 2).haar(random.key(0, backend), (2, 2, 2, 2, 2, 4))
    params, xp = flow.init(random.key(1, backend)), backend.xp

    def loss(arguments):
        y, log_det = flow.forward(arguments["params"], arguments["x"])
        return xp.sum(log_det) + xp.sum(xp.real(y) ** 3)

    def bend(rho):
        _, slopes = backend.value_and_grad(loss)({"params": {"rho": rho}, "x": x})
        return xp.sum(slopes["params"]["rho"] ** 2) + xp.sum(xp.real(slopes["x"]) ** 3)

    def derivatives():
        _, slopes = backend.jit(backend.value_and_grad(loss))({"params": params, "x": x})
        second = backend.jit(backend.value_and_grad(bend))(params["rho"])[1]
        return [backend.to_numpy(found) for found in (slopes["params"]["rho"], slopes["x"], second)]

    kept = derivatives()
    monkeypatch.setattr(residual, "KEPT", 0)
    for again, found in zip(derivatives(), kept, strict=True):
        numpy.testing.assert_allclose(again, found, rtol=1e-12, atol=1e-12)
