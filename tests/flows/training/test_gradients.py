"""Gradient estimators: one expectation, checked against quadrature, and no variance at the exact density."""

import math
from functools import partial

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.core import random
from haarflow.flows.training.gradients import ForwardKL, PathGradient, Reinforce, ReverseKL, Samples, ess, target_ess
from tests.support import toy

PARAMS = {"scale": numpy.asarray([0.2, -0.3]), "shift": numpy.asarray([0.4, -0.1])}
EXACT = {"scale": numpy.asarray([-0.5 * math.log(1.7)] * 2), "shift": numpy.asarray([1.0, 1.0])}
REVERSE = (ReverseKL(), PathGradient(), Reinforce())


def gradients(estimator, backend, params, action, batches, n, couplings=None, samples=None):
    """One gradient per key as host rows `(batches, parameters)`."""
    params = tree_map(backend.asarray, params)
    keys = random.split(random.key(5, backend), batches)

    def one(key):
        return estimator.gradient(toy.model(), action, params, key, n, couplings, samples=samples)[0]

    compiled = backend.jit(one)
    rows = [leaves(compiled(keys[i, :])) for i in range(batches)]
    return numpy.asarray([numpy.concatenate([backend.to_numpy(leaf).ravel() for leaf in row]) for row in rows])


def quadrature(params):
    """d/dparams E_q[log q + S] of the toy model and action, site by site on Gauss-Hermite nodes."""
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    scale, shift = params["scale"][:, None], params["shift"][:, None]
    y = numpy.exp(scale) * nodes + shift
    force = y + 0.4 * y**3
    d_scale = (weights * force * numpy.exp(scale) * nodes).sum(axis=1) - 1.0
    return numpy.concatenate([d_scale, (weights * force).sum(axis=1)])


@pytest.mark.statistical
@pytest.mark.parametrize("estimator", REVERSE, ids=lambda e: type(e).__name__)
def test_every_estimator_has_the_exact_expectation(autodiff_backend, estimator):
    """4 parameters x 3 estimators x 2 backends within 4.5 sigma of quadrature: by luck it fails once in 6,000 times."""
    rows = gradients(estimator, autodiff_backend, PARAMS, toy.action, batches=100, n=400)
    pulls = (rows.mean(axis=0) - quadrature(PARAMS)) / (rows.std(axis=0, ddof=1) / math.sqrt(len(rows)))
    assert numpy.max(numpy.abs(pulls)) < 4.5, pulls


@pytest.mark.parametrize("estimator", REVERSE, ids=lambda e: type(e).__name__)
def test_expectation_within_a_few_percent(autodiff_backend, estimator):
    """A quick look with one large batch, 6 sigma: the statistical test above is the sharp one."""
    rows = gradients(estimator, autodiff_backend, PARAMS, toy.action, batches=2, n=40_000)
    assert numpy.max(numpy.abs(rows.mean(axis=0) - quadrature(PARAMS))) < 0.12


@pytest.mark.parametrize("power", [0.25, 0.5])
def test_powers_of_weights_have_the_gradient_of_their_mean(autodiff_backend, power):
    """-ln E_q[w^a]/(a (1 - a)) by Gauss-Hermite nodes and differences; 40,000 draws, the same 6 sigma as above."""
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def loss(flat):
        total = 0.0
        for scale, shift in zip(flat[:2], flat[2:], strict=True):
            y = numpy.exp(scale) * nodes + shift
            log_w = -(y**2 / 2 + 0.1 * y**4) + nodes**2 / 2 + scale
            total -= numpy.log((weights * numpy.exp(power * log_w)).sum()) / (power * (1.0 - power))
        return total

    at = numpy.concatenate([PARAMS["scale"], PARAMS["shift"]])
    exact = numpy.asarray([(loss(at + step) - loss(at - step)) / 2e-5 for step in 1e-5 * numpy.eye(4)])
    rows = gradients(Reinforce(power), autodiff_backend, PARAMS, toy.action, batches=2, n=40_000)
    assert numpy.max(numpy.abs(rows.mean(axis=0) - exact)) < 0.06


def test_path_gradient_has_no_variance_at_the_exact_density(autodiff_backend):
    rows = gradients(PathGradient(), autodiff_backend, EXACT, toy.gaussian, 3, 8, {"a": 1.7})
    assert numpy.max(numpy.abs(rows)) < 1e-14


def test_reinforce_has_no_variance_at_the_exact_density(autodiff_backend):
    """The leave-one-out baseline is exact where log w is constant."""
    rows = gradients(Reinforce(), autodiff_backend, EXACT, toy.gaussian, 3, 8, {"a": 1.7})
    assert numpy.max(numpy.abs(rows)) < 1e-13


def test_total_gradient_does_have_one_there(autodiff_backend):
    rows = gradients(ReverseKL(), autodiff_backend, EXACT, toy.gaussian, 3, 8, {"a": 1.7})
    assert numpy.min(rows.std(axis=0)) > 1e-2


def test_reports_ess_and_log_z_of_the_batch(autodiff_backend):
    backend = autodiff_backend
    params = tree_map(backend.asarray, EXACT)
    for estimator in REVERSE:
        _, info = estimator.gradient(toy.model(), toy.gaussian, params, random.key(1, backend), 8, {"a": 1.7})
        assert float(info["ess"]) == pytest.approx(1.0)
        assert float(info["log_z"]) == pytest.approx(math.log(2 * math.pi / 1.7))
        assert float(info["loss"]) == pytest.approx(-math.log(2 * math.pi / 1.7))


def test_forward_kl_is_the_gradient_of_the_log_likelihood(autodiff_backend, generator):
    """Its mean over batches is the exact gradient over the whole set, known in closed form; 6 sigma."""
    backend = autodiff_backend
    data = generator.normal(0.7, 1.3, (500, 2))
    rows = gradients(ForwardKL(), backend, PARAMS, toy.action, 20, 2000, samples=backend.asarray(data))
    z = (data - PARAMS["shift"]) * numpy.exp(-PARAMS["scale"])
    exact = numpy.concatenate([1.0 - (z**2).mean(axis=0), -(z * numpy.exp(-PARAMS["scale"])).mean(axis=0)])
    error = rows.std(axis=0, ddof=1) / math.sqrt(len(rows))
    assert numpy.max(numpy.abs(rows.mean(axis=0) - exact) / error) < 6.0


def test_forward_kl_carries_each_samples_coupling(autodiff_backend):
    backend = autodiff_backend
    model = toy.model("a")
    params = model.init(random.key(0, backend))
    a = numpy.asarray([0.5, 1.0, 2.0, 4.0])
    field = numpy.stack([a, -a], axis=1)
    seen = []

    def action(field, couplings):
        seen.append((backend.to_numpy(field[:, 0]), backend.to_numpy(couplings["a"])))
        return toy.gaussian(field, couplings)

    samples = Samples(backend.asarray(field), {"a": backend.asarray(a)})
    ForwardKL().gradient(model, action, params, random.key(1, backend), 16, None, {"a": None}, samples)
    numpy.testing.assert_array_equal(*seen[0])
    assert len(set(seen[0][1])) > 1


class Centred:
    """The density e^{-sum (y - a)^2/2}, whose score for a is y - a."""

    def log_density(self, params, y, condition=None):
        return -0.5 * ((y - params["a"]) ** 2).sum((-2, -1))


def test_forward_kl_learns_from_images_of_its_samples(autodiff_backend):
    """One spin down among four: over the images the mean of every site is 1/2; 6 sigma."""
    backend = autodiff_backend
    params = {"a": backend.asarray(numpy.zeros((2, 2)))}
    samples = backend.asarray(numpy.asarray([[[-1.0, 1.0], [1.0, 1.0]]]))
    action = lambda field, couplings: 0.0 * field[:, 0, 0]  # noqa: E731
    for images, low in ((False, 1.0), (True, 0.5)):
        gradient = partial(ForwardKL(images).gradient, Centred(), action, params)
        compiled = backend.jit(lambda key: gradient(key, 2000, samples=samples)[0]["a"])  # noqa: B023 (used at once)
        found = -backend.to_numpy(compiled(random.key(1, backend)))
        assert abs(found[1, 1] - low) < (6 * (0.75 / 2000) ** 0.5 if images else 1e-12)
        assert abs(found.sum() - 2.0) < 1e-9


def test_asks_for_what_it_needs(autodiff_backend):
    backend = autodiff_backend
    params = tree_map(backend.asarray, PARAMS)
    with pytest.raises(ValueError, match="samples"):
        ForwardKL().gradient(toy.model(), toy.action, params, random.key(0, backend), 4)
    with pytest.raises(ValueError, match=r"a power in \[0, 1\), got 1.0"):
        Reinforce(power=1.0)
    with pytest.raises(ValueError, match="at least 2"):
        Reinforce().gradient(toy.model(), toy.action, params, random.key(0, backend), 1)


@pytest.mark.parametrize("estimator", (*REVERSE, ForwardKL()), ids=lambda e: type(e).__name__)
def test_no_autodiff_says_what_to_do(host, estimator):
    samples = numpy.ones((3, 2))
    with pytest.raises(backends.NoAutodiff, match="jax or torch"):
        estimator.gradient(toy.model(), toy.action, PARAMS, random.key(0, host), 4, samples=samples)


def test_ess_by_hand(backend):
    w = numpy.asarray([1.0, 2.0, 5.0])
    log_w = backend.asarray(numpy.log(w) + 700.0)
    assert float(ess(log_w)) == pytest.approx(w.sum() ** 2 / (3 * (w**2).sum()))
    assert float(target_ess(log_w)) == pytest.approx(1 / (w.mean() * (1 / w).mean()))
