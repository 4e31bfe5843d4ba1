"""Training: reaches a known answer, resumes bit for bit, compiles once, and stops with the last good state."""

import math

import numpy
import pytest
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.core import random
from haarflow.flows.modelfile import ModelFileError
from haarflow.flows.training.checkpoint import load_checkpoint, save_checkpoint
from haarflow.flows.training.coupling_plans import Annealed, Cycled, Drawn, Fixed, as_plan
from haarflow.flows.training.gradients import PathGradient
from haarflow.flows.training.loop import NotFinite, Training, finish, start, train, train_step
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine, WarmUp
from tests.support import toy

ADAM = Adam(WarmUp(Cosine(0.05, 200), 5), clip=1.0)
TOY = Training(toy.model(), toy.action, ADAM, batch=16)


def same(a, b, backend):
    pairs = zip(leaves(tuple(a)), leaves(tuple(b)), strict=True)
    return all(numpy.array_equal(backend.to_numpy(x), backend.to_numpy(y)) for x, y in pairs)


def test_reaches_the_exact_density(autodiff_backend):
    training = Training(toy.model(), toy.gaussian, Adam(Cosine(0.1, 200)), PathGradient(), batch=32)
    begin = start(training, random.key(1, autodiff_backend))
    *_, last = train(training, begin, 200, {"a": 2.0}, every=50)
    assert last.step == 200
    assert last.records["ess"][-1] > 1 - 1e-6
    assert last.records["log_z"][-1] == pytest.approx(math.log(math.pi), abs=1e-3)
    assert float(last.state.params["scale"][0]) == pytest.approx(-0.5 * math.log(2.0), abs=1e-3)


def test_blocks_and_resume_are_bit_for_bit(autodiff_backend, tmp_path):
    backend = autodiff_backend
    begin = start(TOY, random.key(3, backend))
    whole = list(train(TOY, begin, 12, {"a": 1.5}, every=5))
    assert [block.step for block in whole] == [5, 10, 12]
    assert [len(block.records["loss"]) for block in whole] == [5, 5, 2]
    first = finish(train(TOY, begin, 7, {"a": 1.5}, every=3))
    save_checkpoint(tmp_path / "c", first, {"cpu_s": 1.5})
    again, notes = load_checkpoint(tmp_path / "c", start(TOY, random.key(0, backend)))
    assert notes == {"cpu_s": 1.5}
    assert same(first, again, backend)
    *_, last = train(TOY, again, 12, {"a": 1.5})
    assert same(whole[-1].state, last.state, backend)
    assert last.records["loss"][-1] == whole[-1].records["loss"][-1]


def test_a_checkpoint_of_another_training_is_refused(autodiff_backend, tmp_path):
    backend = autodiff_backend
    save_checkpoint(tmp_path / "c", start(TOY, random.key(3, backend)))
    wider = Training(toy.Model(toy.Gaussian((3,)), toy.Affine(3)), toy.action, ADAM)
    with pytest.raises(ModelFileError, match=r"shape \(3,\)"):
        load_checkpoint(tmp_path / "c", start(wider, random.key(3, backend)))
    with pytest.raises(ModelFileError, match="precision"):
        load_checkpoint(tmp_path / "c", start(TOY, random.key(3, backend), dtype="float32"))
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data[:-20])
    with pytest.raises(ModelFileError, match="cut short"):
        load_checkpoint(tmp_path / "c", start(TOY, random.key(3, backend)))


def test_traced_once_for_all_couplings():
    backend = backends.get("jax")
    calls = []

    def action(field, couplings):
        calls.append(1)
        return toy.action(field, couplings)

    training = Training(toy.model(), action, ADAM, batch=8)
    state = start(training, random.key(0, backend))
    for a in (1.0, 2.0, 3):
        state = finish(train(training, state, int(state.step) + 3, {"a": a}))
    assert len(calls) == 1


def test_a_loss_that_is_not_finite_keeps_the_last_good_state(autodiff_backend):
    backend = autodiff_backend

    def action(field, couplings):
        """Infinite as soon as any field is above 6, which a flow that is pushed there reaches in a few steps."""
        xp = array_namespace(field)
        return xp.sum(xp.where(field > 6.0, math.inf, -4.0 * field), axis=-1)

    training = Training(toy.model(), action, Adam(0.5), batch=16)
    seen, state = [], start(training, random.key(2, backend))
    with pytest.raises(NotFinite, match="the state before that step is kept") as caught:
        for block in train(training, state, 100, every=4):
            seen.append(block.step)
    error = caught.value
    assert 0 < error.step < 40
    assert int(error.state.step) == error.step
    assert all(numpy.all(numpy.isfinite(backend.to_numpy(leaf))) for leaf in leaves(error.state.params))
    assert not numpy.isfinite(error.records["loss"][-1])
    assert same(finish(train(training, state, error.step)), error.state, backend)
    with pytest.raises(NotFinite) as again:  # the second step of a block, where the one above was another
        finish(train(training, state, 100, every=error.step - 1))
    assert again.value.records["step"].tolist() == [error.step - 1, error.step]


def test_a_gradient_that_is_not_finite_stops_too(autodiff_backend):
    def action(field, couplings):
        xp = array_namespace(field)
        return xp.sum(xp.sqrt(0.0 * field), axis=-1)

    training = Training(toy.model(), action, Adam(0.1), batch=4)
    with pytest.raises(NotFinite, match="step 0"):
        finish(train(training, start(training, random.key(2, autodiff_backend)), 5))


def test_numpy_says_that_it_cannot_train(host):
    with pytest.raises(backends.NoAutodiff, match="jax or torch"):
        train_step(TOY, start(TOY, random.key(0, host)), {"a": 1.0})


def test_a_batch_has_as_many_couplings_as_leave_sixteen_samples_to_each():
    """As many as divide the batch, one at least."""
    plan = Drawn({"a": 0.5}, {"a": 4.0})
    for n in range(1, 130):
        assert plan.groups(n) == max(k for k in range(1, n + 1) if n % k == 0 and (k == 1 or n // k >= 16))


def test_one_conditioned_flow_serves_a_range_of_couplings(autodiff_backend):
    """scale = -ln(a)/2 for every a: the slope of the condition must come out as -1/2."""
    backend = autodiff_backend
    training = Training(toy.model("a"), toy.gaussian, Adam(Cosine(0.1, 200)), PathGradient(), 32, ("a",))
    for plan in (Drawn({"a": 0.5}, {"a": 4.0}), Cycled({"a": (0.5, 1.0, 2.0, 4.0)})):
        last = finish(train(training, start(training, random.key(1, backend)), 200, plan))
        assert float(last.params["slope"][0]) == pytest.approx(-0.5, abs=2e-3)


def test_cycled_batches_report_the_ess_of_each_coupling(autodiff_backend):
    exact = {"scale": [0.0, 0.0], "shift": [1.0, 1.0], "slope": [-0.5]}
    params = {name: autodiff_backend.asarray(value) for name, value in exact.items()}
    training = Training(toy.model("a"), toy.gaussian, ADAM, batch=8, condition=("a",))
    state = start(training, random.key(1, autodiff_backend), params)
    cycled = train_step(training, state, Cycled({"a": (0.5, 4.0)}))[1]
    assert float(cycled["ess"]) == pytest.approx(1.0)


def test_drawn_batches_report_the_ess_of_each_coupling(autodiff_backend):
    """The exact flow of every coupling: pooled weights of different ln Z would give ESS 0.9 or less."""
    exact = {"scale": [0.0, 0.0], "shift": [1.0, 1.0], "slope": [-0.5]}
    params = {name: autodiff_backend.asarray(value) for name, value in exact.items()}
    training = Training(toy.model("a"), toy.gaussian, ADAM, batch=64, condition=("a",))
    drawn = train_step(
        training, start(training, random.key(1, autodiff_backend), params), Drawn({"a": 0.5}, {"a": 4.0})
    )[1]
    assert float(drawn["ess"]) == pytest.approx(1.0)


def test_annealing_moves_the_coupling(autodiff_backend):
    backend = autodiff_backend
    plan = as_plan(Annealed({"a": 1.0}, {"a": 3.0}, 10), backend, "float64")
    values = [float(plan.draw(None, backend.asarray(t), 4)["a"]) for t in (0, 5, 10, 99)]
    assert values == [1.0, 2.0, 3.0, 3.0]
    training = Training(toy.model(), toy.gaussian, Adam(0.05), PathGradient(), batch=16)
    last = finish(train(training, start(training, random.key(1, backend)), 150, Annealed({"a": 0.3}, {"a": 2.0}, 100)))
    assert float(last.params["scale"][0]) == pytest.approx(-0.5 * math.log(2.0), abs=0.05)


def test_fine_tuning_starts_from_given_parameters(autodiff_backend):
    backend = autodiff_backend
    params = {"scale": backend.asarray([0.1, 0.2]), "shift": backend.asarray([1.0, 1.0])}
    state = start(TOY, random.key(9, backend), params)
    assert same([state.params], [params], backend)
    assert int(state.step) == 0


def test_plans(backend):
    key, step = random.key(4, backend), backend.asarray(3)
    drawn = as_plan(Drawn({"a": 1.0, "b": 0.0}, {"a": 2.0, "b": 10.0}), backend, "float64").draw(key, step, 800)
    a, b = backend.to_numpy(drawn["a"]), backend.to_numpy(drawn["b"])
    assert a.shape == (800,) and len(set(a.tolist())) == 50  # sixteen samples of each
    assert 1.0 < a.min() < 1.05 and 1.95 < a.max() < 2.0
    assert b.max() > 8.0
    assert abs(numpy.corrcoef(a, b)[0, 1]) < 0.5
    cycled = as_plan(Cycled({"a": (1.0, 2.0, 3.0)}), backend, "float64")
    assert backend.to_numpy(cycled.draw(key, step, 6)["a"]).tolist() == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert as_plan({"a": 2}, backend, "float64").draw(key, step, 6)["a"].dtype == backend.xp.float64
    assert as_plan(None, backend, "float64").draw(key, step, 6) == {}


def test_bad_plans_are_refused(host):
    for plan in ({"a": math.nan}, Fixed({"a": math.inf}), Cycled({"a": (1.0, math.nan)})):
        with pytest.raises(ValueError, match="finite"):
            as_plan(plan, host, "float64")
    with pytest.raises(ValueError, match="same couplings"):
        as_plan(Drawn({"a": 1.0}, {"b": 1.0}), host, "float64")
    with pytest.raises(ValueError, match="same length"):
        as_plan(Cycled({"a": (1.0, 2.0), "b": (1.0,)}), host, "float64")
    with pytest.raises(ValueError, match="multiple of 3"):
        Cycled({"a": (1.0, 2.0, 3.0)}).groups(8)


def test_an_optax_transform_drops_in():
    optax = pytest.importorskip("optax")
    backend = backends.get("jax")
    ours = Training(toy.model(), toy.action, Adam(0.05, clip=0.5), batch=16)
    theirs = Training(toy.model(), toy.action, optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05)), batch=16)
    ends = [finish(train(one, start(one, random.key(0, backend)), 20)).params for one in (ours, theirs)]
    for a, b in zip(leaves(ends[0]), leaves(ends[1]), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-9)
