"""Adam against a plain twin and optax, schedules against their formulas."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.flows.training import schedules
from haarflow.flows.training.optimisers import Adam, apply_updates, clip_by_norm, norm

START = {"a": numpy.asarray([0.5, -1.0, 2.0]), "b": {"c": numpy.asarray([[3.0]])}}
GRADS = [{"a": numpy.asarray([1.0, -2.0, 0.3]) * k, "b": {"c": numpy.asarray([[-0.2 * k]])}} for k in (1.0, -3.0, 0.5)]


def twin(rate, grads, b1=0.9, b2=0.999, eps=1e-8):
    """Adam as its paper writes it, number by number."""
    x = [leaf.copy() for leaf in leaves(START)]
    m, v = [0.0 * leaf for leaf in x], [0.0 * leaf for leaf in x]
    for t, step in enumerate(grads, start=1):
        for i, g in enumerate(leaves(step)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            x[i] = x[i] - rate(t - 1) * (m[i] / (1 - b1**t)) / (numpy.sqrt(v[i] / (1 - b2**t)) + eps)
    return x


def run(optimiser, backend, grads=GRADS):
    params = tree_map(backend.asarray, START)
    state = optimiser.init(params)
    for step in grads:
        updates, state = optimiser.update(tree_map(backend.asarray, step), state, params)
        params = apply_updates(params, updates)
    return [backend.to_numpy(leaf) for leaf in leaves(params)]


@pytest.mark.parametrize("rate", [0.1, schedules.Cosine(0.1, 4)])
def test_adam_equals_its_paper(backend, rate):
    found = run(Adam(rate), backend)
    wanted = twin(lambda t: float(rate(t)) if callable(rate) else rate, GRADS)
    for a, b in zip(found, wanted, strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-12)


def test_adam_equals_optax():
    optax = pytest.importorskip("optax")
    backend = backends.get("jax")
    clipped = optax.chain(optax.clip_by_global_norm(0.7), optax.adam(0.05))
    for a, b in zip(run(Adam(0.05, clip=0.7), backend), run(clipped, backend), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-10)


def test_the_twin_bites(host):
    found, wanted = run(Adam(0.1, b2=0.99), host), twin(lambda t: 0.1, GRADS)
    assert (
        max(numpy.max(numpy.abs(a - b)) for a, b in zip(found, wanted, strict=True)) > 1e-6
    )  # the law above holds to 1e-12


def test_adam_keeps_single_precision(backend):
    params = {"a": backend.asarray([1.0, 2.0], dtype="float32")}
    adam = Adam(schedules.WarmUp(schedules.Cosine(0.1, 10), 2), clip=1.0)
    updates, state = adam.update(params, adam.init(params), params)
    assert {str(leaf.dtype).rpartition(".")[2] for leaf in leaves((updates, state.mean))} == {"float32"}


def test_the_norm_is_clipped_and_nan_stays(backend):
    tree = {"a": backend.asarray([3.0]), "b": backend.asarray([[4.0]])}
    assert float(norm(tree)) == pytest.approx(5.0)
    assert float(norm(clip_by_norm(tree, 2.0))) == pytest.approx(2.0)
    assert float(norm(clip_by_norm(tree, 7.0))) == pytest.approx(5.0)
    bad = {"a": backend.asarray([math.nan]), "b": backend.asarray([1.0])}
    assert math.isnan(float(clip_by_norm(bad, 1.0)["b"][0]))


FORMULAS = [
    (schedules.Constant(0.3), lambda t: 0.3),
    (schedules.Linear(1.0, 3.0, 8), lambda t: 1 + 2 * min(t / 8, 1)),
    (schedules.Cosine(2.0, 10, 0.5), lambda t: 0.5 + 1.5 * 0.5 * (1 + math.cos(math.pi * min(t / 10, 1)))),
    (schedules.WarmUp(schedules.Linear(1.0, 0.0, 10), 5), lambda t: (t + 1) / 5 if t < 5 else 1 - min((t - 5) / 10, 1)),
    (schedules.Step(1.0, (3, 6)), lambda t: 0.1 ** ((t >= 3) + (t >= 6))),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=lambda x: type(x).__name__)
def test_schedules(backend, schedule, formula):
    for t in (0, 1, 4, 5, 6, 12, 50):
        for step in (t, backend.asarray(float(t)), backend.asarray(t)):
            assert float(schedule(step)) == pytest.approx(formula(t), rel=1e-6, abs=1e-7)
        assert float(schedule(backend.asarray(float(t)))) == pytest.approx(formula(t), rel=1e-14, abs=1e-15)
