"""Training by the spread of log w: a free field of another mass is found exactly, and interruptions leave no trace."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.core import random
from haarflow.flows.flow import Chain, Model
from haarflow.flows.mixtures import mixed, symmetrised
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.flows.training import least_spread
from haarflow.flows.training.loop import NotFinite, Training
from haarflow.theories import Phi4

FREE = Model(Gaussian((3, 4)), MomentumScaling(2, 0, m2=0.4))
COUPLINGS = {"m2": 1.5, "lam": 0.0}
AUTODIFF = [name for name in ("jax", "torch") if backends.is_present(name)]


def begin(name="torch", model=FREE, batch=30):
    training = Training(model, Phi4((3, 4)), batch=batch)
    return training, least_spread.start(training, random.key(5, backends.get(name, dtype="float64")))


def numbers(state):
    return numpy.concatenate([numpy.asarray(leaf).reshape(-1) for leaf in leaves(state.params)])


@pytest.mark.parametrize("name", AUTODIFF)
def test_a_free_field_of_another_mass_is_found(name):
    """m2 = 0.4 -> 1.5 with a scale that has to stay one; the weights end up constant."""
    training, state = begin(name)
    *_, last = least_spread.train(training, state, 8, COUPLINGS, every=3)
    params, (spread,) = last.state.params, last.records["spread"][-1:]
    assert abs(float(params["log_m2"]) - math.log(1.5)) < 1e-6 and abs(float(params["a"][0])) < 1e-6
    assert last.step == 8 and list(last.records["step"]) == [6, 7] and 0.0 <= spread < 1e-10
    assert last.records["ess"][-1] > 1 - 1e-9


def test_backends_take_the_same_steps():
    ends = []
    for name in AUTODIFF:
        training, state = begin(name)
        *_, last = least_spread.train(training, state, 2, COUPLINGS)
        ends.append(numbers(last.state))
    assert numpy.allclose(ends[0], ends[-1], rtol=1e-9, atol=1e-12)


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened():
    model = Model(Gaussian((3, 4)), Chain((MomentumScaling(2, 1, m2=0.5), QuarticTail(2, 0.6))))
    couplings = {"m2": -4.0, "lam": 8.0}
    training, state = begin(model=model)
    *_, whole = least_spread.train(training, state, 4, couplings)
    *_, half = least_spread.train(training, state, 2, couplings)
    *_, rest = least_spread.train(training, half.state, 4, couplings)
    assert numpy.array_equal(numbers(whole.state), numbers(rest.state))
    assert float(whole.state.optimiser["damping"]) == float(rest.state.optimiser["damping"])
    assert (
        whole.records["spread"][-1] < 0.2 * next(least_spread.train(training, state, 1, couplings)).records["spread"][0]
    )


def test_a_batch_in_pieces_has_the_slopes_of_differences(monkeypatch):
    """The derivatives of a step, draw by draw, are those of log w by differences, also where the batch comes in pieces."""
    monkeypatch.setattr(least_spread, "SITES", 100)
    training, state = begin("torch", batch=31)
    seen = {}

    def look(log_w, here, block, damping):
        unit = 1e-5 * numpy.eye(len(here))
        seen["twin"] = numpy.stack([(log_w(here + row) - log_w(here - row)) / 2e-5 for row in unit], axis=1)
        seen["block"] = block
        return here, damping

    monkeypatch.setattr(least_spread, "lowered", look)
    next(least_spread.train(training, state, 1, COUPLINGS))
    assert seen["block"].slopes.shape == (32, 2)  # four pieces of eight
    assert numpy.allclose(seen["block"].slopes, seen["twin"], atol=1e-8)


def test_a_step_that_lowers_nothing_is_not_taken():
    here, log_w = numpy.zeros(1), numpy.asarray([0.0, 1.0, 3.0])
    wrong = least_spread.Block(log_w, numpy.asarray([[1.0], [-1.0], [0.5]]))
    found, damping = least_spread.lowered(lambda c: log_w + numpy.abs(c) * log_w, here, wrong, 1e-3)
    assert found.tolist() == [0.0] and damping == pytest.approx(3e-2)


def test_refuses_what_it_cannot_train():
    for model in (mixed(lambda: FREE, 2), symmetrised(FREE, ("Z2",))):
        with pytest.raises(ValueError, match="least-spread trains one flow: leave out flow"):
            begin(model=model)
    with pytest.raises(ValueError, match="got 2 numbers and 2 draws: enlarge train"):
        begin(batch=2)
    training, state = begin()
    with pytest.raises(NotFinite, match="training stopped at step 0"):
        next(least_spread.train(training, state, 1, {"m2": 1.5, "lam": 1e308}))
