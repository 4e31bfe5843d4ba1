"""Replica exchange: the ideal map between couplings is always accepted, its broken twins are not; one pair at a time is the same."""

import numpy
import pytest

from haarflow.core import random
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, State, run
from haarflow.core.chains.tempering import EachReplica, ReplicaExchange, Replicas, Swap
from haarflow.core.groups.additive import wrap
from haarflow.theories import Phi4, U1Gauge
from tests.support.ideal_angles import IdealMap, OpenPlaquettes
from tests.support.scalar_qed import ScalarQED

OPEN, LOW, HIGH = OpenPlaquettes((4, 4)), 4.0, 4.4


def swap(flow, betas=(LOW, HIGH)):
    return Involutive(Replicas(OPEN), Swap(OPEN, flow, {"couplings": {"beta": betas}, "params": {}}))


def drawn(n=40):
    generator = numpy.random.default_rng(3)
    return numpy.stack([OPEN.exact_sample(generator, n, beta) for beta in (LOW, HIGH)], axis=1)


def test_the_ideal_map_is_always_accepted_and_is_an_involution(host):
    """Its weight is the ratio of the partition functions for every draw, so that dH of a swap vanishes."""
    x, kernel = drawn(), swap(IdealMap(LOW, HIGH))
    moved, info = kernel.step(random.key(1, host), State(x))
    assert abs(info["dH"]).max() < 1e-10 and info["accepted"].all()
    back, _ = kernel.step(random.key(2, host), moved)
    assert abs(wrap(back.field - x)).max() < 1e-9


@pytest.mark.parametrize("flow", [None, IdealMap(LOW, HIGH, 0.0), IdealMap(HIGH, LOW), IdealMap(LOW, 5.0)])
def test_any_other_map_is_not(host, flow):
    """No map, one without log_det, the inverse, one to another coupling."""
    _, info = swap(flow).step(random.key(1, host), State(drawn()))
    assert abs(info["dH"]).max() > 1e-2


def test_a_swap_without_a_flow_is_parallel_tempering(host):
    """dH = (beta_a - beta_b)(C(x_a) - C(x_b)), C = sum cos theta_P."""
    theory, x = U1Gauge((4, 4)), random.uniform(random.key(1, host), (5, 2, 2, 4, 4))
    exchange = ReplicaExchange(Replicas(theory), values={"couplings": {"beta": (1.0, 3.0)}})
    info = exchange.step(random.key(2, host), State(x))[1]
    cosines = -theory.action(x, {"beta": 1.0})
    assert abs(info["swap_dH"][:, 0] - (1.0 - 3.0) * (cosines[:, 0] - cosines[:, 1])).max() < 1e-12


def test_exchanges_are_made_pair_by_pair(host):
    """The same as swaps of single pairs, first of the even ones and then of the odd ones; what is exchanged is only moved."""
    theory, x = U1Gauge((2, 2)), random.uniform(random.key(1, host), (64, 4, 2, 2, 2))
    betas, key = (1.0, 1.2, 1.4, 1.6), random.key(2, host)
    moved, info = ReplicaExchange(Replicas(theory, 4), values={"couplings": {"beta": betas}}).step(key, State(x))
    twin = x.copy()
    for pair in (0, 2, 1):
        kernel = Involutive(Replicas(theory), Swap(theory, None, {"couplings": {"beta": betas[pair : pair + 2]}}))
        state, told = kernel.step(random.fold_in(key, pair), State(twin[:, pair : pair + 2]))
        twin[:, pair : pair + 2] = state.field
        assert (told["accepted"] == info["swapped"][:, pair]).all() and 0 < told["accepted"].sum() < 64
    assert (twin == moved.field).all()
    assert numpy.allclose(numpy.sort(x, axis=1), numpy.sort(moved.field, axis=1), atol=0.0)


def test_replicas_move_as_chains_of_their_couplings(host):
    """One replica after another, with the random numbers that the whole has drawn for it, gives the same links."""
    theory, betas = U1Gauge((2, 2)), (0.5, 2.0)
    keys, x = random.split(random.key(3, host), 3), random.uniform(random.key(1, host), (3, 2, 2, 2, 2))
    kernel = EachReplica(U1HeatBath(theory, values={"couplings": {"beta": betas}}))
    moved = kernel.step(keys, kernel.init(x))[0].field
    shared = U1HeatBath(theory, values={"couplings": {"beta": numpy.broadcast_to(numpy.asarray(betas), (3, 2))}})
    assert abs(wrap(moved - shared.step(keys, State(x))[0].field)).max() < 1e-12


def test_fields_of_several_parts_are_exchanged_as_a_whole(host):
    theory = ScalarQED((2, 2))
    links, phi = random.uniform(random.key(1, host), (3, 2, 2, 2, 2)), random.normal(random.key(2, host), (3, 2, 2, 2))
    field = type(theory.spaces)(links, phi + 0.0j)
    couplings = {"beta": 1.0, "m2": 2.0, "kappa": 0.7}
    moved, info = ReplicaExchange(Replicas(theory), values={"couplings": couplings}).step(
        random.key(3, host), State(field)
    )
    assert abs(info["swap_dH"]).max() < 1e-12 and info["swapped"].all()
    assert all((new == old[:, ::-1]).all() for new, old in zip(moved.field, field, strict=True))


def test_every_backend_draws_the_same(backend, host):
    theory, betas = U1Gauge((2, 2)), (1.0, 1.5, 2.0)
    values = {"couplings": {"beta": betas}}
    moves = HMC(theory, steps=1, values={**values, "step_size": 0.4})
    kernel = Cycle((EachReplica(moves), ReplicaExchange(Replicas(theory, 3), values=values)))
    start = numpy.zeros((4, 3, 2, 2, 2))
    state, records = run(kernel, random.key(5, backend), kernel.init(backend.asarray(start)), 2)
    twin, wanted = run(kernel, random.key(5, host), kernel.init(start), 2)
    assert abs(wrap(backend.to_numpy(state.field) - twin.field)).max() < 1e-9
    assert (backend.to_numpy(records["info"]["1"]["swapped"]) == wanted["info"]["1"]["swapped"]).all()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="replicas are counted by a whole number >= 2, got 1"):
        Replicas(Phi4((2, 2)), 1)
    with pytest.raises(TypeError, match=r"replicas are exchanged of the theory Replicas\(theory, count\), got Phi4"):
        ReplicaExchange(Phi4((2, 2)))
    with pytest.raises(ValueError, match="3 replicas of Phi4 wants"):
        ReplicaExchange(Replicas(Phi4((2, 2)), 3)).init(numpy.zeros((5, 2, 2, 2)))
