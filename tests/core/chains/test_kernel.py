"""run, Cycle and Repeat: block-size independence, values as arguments, one trace per shape."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.kernel import Cycle, Repeat, State, run

TRACES = []


@dataclass(frozen=True)
class Walk:
    """x -> a x + noise, with the sum of x in the cache: a kernel whose every draw is known."""

    name: str = "walk"
    values: Any = field(default_factory=lambda: {"a": 0.5}, compare=False)

    def with_values(self, values):
        return replace(self, values=values)

    def init(self, field):
        return State(field, {"sum": backends.of(field).xp.sum(field, axis=-1)})

    def step(self, key, state):
        TRACES.append(self.name)
        xp = backends.of(state.field).xp
        field = self.values["a"] * state.field + random.uniform(key, tuple(state.field.shape), state.field.dtype)
        before = state.cache["sum"]
        new = self.init(field)
        return new, {"before": before, "up": new.cache["sum"] > before, "sum": xp.sum(field, axis=-1)}


def start(backend):
    return backend.asarray(numpy.linspace(0.0, 1.0, 6).reshape(2, 3))


def slow_twin(backend, kernel, draws):
    """The plain loop that `run` replaces."""
    key, state, rows = random.key(3, backend), kernel.init(start(backend)), []
    for number in range(draws):
        state, info = kernel.step(random.fold_in(key, number), state)
        rows.append(backend.to_numpy(info["sum"]))
    return backend.to_numpy(state.field), numpy.stack(rows)


def mean_field(field):
    return {"mean": field[..., 0]}


def test_run_equals_the_plain_loop(backend):
    kernel = Walk()
    state, records = run(kernel, random.key(3, backend), kernel.init(start(backend)), 5, measure=mean_field)
    field, sums = slow_twin(backend, kernel, 5)
    assert numpy.allclose(backend.to_numpy(state.field), field, rtol=1e-14, atol=0)
    assert numpy.allclose(backend.to_numpy(records["info"]["sum"]), sums, rtol=1e-14, atol=0)
    assert records["observables"]["mean"].shape == (5, 2)


def test_results_do_not_depend_on_the_block_size(backend):
    kernel, key = Walk(), random.key(3, backend)
    whole, _ = run(kernel, key, kernel.init(start(backend)), 6)
    state, made = kernel.init(start(backend)), 0
    for draws in (1, 3, 2):
        state, _ = run(kernel, key, state, draws, start=made)
        made += draws
    assert numpy.array_equal(backend.to_numpy(state.field), backend.to_numpy(whole.field))


def test_thinning_takes_the_same_steps_and_averages_their_info(backend):
    kernel, key = Walk(), random.key(3, backend)
    each, every = run(kernel, key, kernel.init(start(backend)), 6)
    state, records = run(kernel, key, kernel.init(start(backend)), 3, thin=2)
    assert numpy.array_equal(backend.to_numpy(state.field), backend.to_numpy(each.field))
    sums = backend.to_numpy(every["info"]["sum"]).reshape(3, 2, 2).mean(axis=1)
    ups = backend.to_numpy(every["info"]["up"]).reshape(3, 2, 2).mean(axis=1)
    assert numpy.allclose(backend.to_numpy(records["info"]["sum"]), sums)
    assert numpy.allclose(backend.to_numpy(records["info"]["up"]), ups)


def test_cycle_hands_on_the_field_alone(backend):
    first, second = Walk("first", {"a": 0.5}), Walk("second", {"a": -1.0})
    key, cycle = random.key(4, backend), Cycle((first, second))
    stale = State(start(backend), None)
    state, info = cycle.step(key, stale)
    once, _ = first.step(random.fold_in(key, 0), first.init(start(backend)))
    twice, expected = second.step(random.fold_in(key, 1), second.init(once.field))
    assert state.cache is None
    assert numpy.array_equal(backend.to_numpy(state.field), backend.to_numpy(twice.field))
    assert numpy.array_equal(backend.to_numpy(info["1"]["before"]), backend.to_numpy(expected["before"]))
    ran, records = run(cycle, key, cycle.init(start(backend)), 4)
    assert records["info"]["0"]["sum"].shape == (4, 2)
    again, _ = run(Cycle((first, second)), key, cycle.init(start(backend)), 4)
    assert numpy.array_equal(backend.to_numpy(ran.field), backend.to_numpy(again.field))


def test_repeat_takes_n_steps(backend):
    kernel, key = Walk(), random.key(5, backend)
    state, info = Repeat(kernel, 3).step(key, kernel.init(start(backend)))
    twin = kernel.init(start(backend))
    sums = []
    for number in range(3):
        twin, what = kernel.step(random.fold_in(key, number), twin)
        sums.append(backend.to_numpy(what["sum"]))
    assert numpy.allclose(backend.to_numpy(state.field), backend.to_numpy(twin.field), rtol=1e-14, atol=0)
    assert numpy.allclose(backend.to_numpy(info["sum"]), numpy.mean(sums, axis=0))


def test_new_values_compile_nothing():
    pytest.importorskip("jax")
    backend = backends.get("jax", dtype="float32")
    key, kernel = random.key(0, backend), Walk("traced")
    TRACES.clear()
    for a in (0.1, 1, 2.0):
        other = Cycle((kernel.with_values({"a": a}),))
        state, _ = run(other, key, other.init(start(backend)), 4)
        run(other, key, state, 4, start=4)
    assert TRACES == ["traced"]


def test_values_take_effect(backend):
    key = random.key(0, backend)
    ends = [
        backend.to_numpy(run(Walk(values={"a": a}), key, Walk().init(start(backend)), 2)[0].field) for a in (0.1, 0.9)
    ]
    assert not numpy.allclose(*ends)


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"draws": 2, "thin": 0}, {"draws": 2, "start": -1}, {"draws": 1.5}])
def test_senseless_counts_are_refused(host, wrong):
    kernel = Walk()
    with pytest.raises(ValueError, match=r"draws|thin|start"):
        run(kernel, random.key(0, host), kernel.init(start(host)), **wrong)


def test_empty_compositions_are_refused():
    with pytest.raises(ValueError, match="at least one kernel"):
        Cycle(())
    with pytest.raises(ValueError, match="repeats"):
        Repeat(Walk(), 0)
