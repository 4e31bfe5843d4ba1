"""Joint flows of pairs: two layers are the autoregressive flow, more are exact, are kept in files, train, and propose to Gibbs chains."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.core import random
from haarflow.core.chains.kernel import run
from haarflow.core.statistics import log_z
from haarflow.flows.conditionals import (
    is_reversed,
    links_given_pseudofermions,
    marginal_and_conditional,
    scalars_and_shears,
    scalars_and_shears_in_turn,
    shears_and_scalars,
)
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.flow import Chain, Model, Translate
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.pairs import Moves
from haarflow.flows.sampling.draws import draw
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.run.kernels import Proposal
from haarflow.run.sampler_settings import GibbsOfPairs
from haarflow.run.samplers import kernel
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.pseudofermions.pair_schemes import GibbsByFlow
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs

HOST, LATTICE, COUPLINGS = backends.get("numpy"), (2, 2), {"m2": 1.0, "lam": 0.5, "g": 0.8}
THEORY, ALONE = yukawa_pairs(LATTICE), Yukawa(LATTICE)
SMALL = {"g": 0.8, "bins": 4, "hidden": (4,)}
JOINT = scalars_and_shears_in_turn(LATTICE, THEORY.free, **SMALL)
TOLD = shears_and_scalars(LATTICE, THEORY.free, **SMALL)


def moved(params, size=0.05):
    """Parameters a little away from their first values, so that the layers that start as the identity do something."""
    generator = numpy.random.default_rng(3)
    return tree_map(lambda leaf: leaf + size * generator.standard_normal(leaf.shape), params)


def test_two_layers_are_the_autoregressive_flow():
    model = scalars_and_shears(LATTICE, THEORY.free, **SMALL)
    layers = Chain((Moves("U", model.flow.marginal), Moves("phi", model.flow.conditional)))
    params = moved(model.init(random.key(0, HOST)))
    ours, log_q = model.sample(params, random.key(1, HOST), 3)
    theirs, other = Model(model.prior, layers).sample(
        {"0": params["marginal"], "1": params["conditional"]}, random.key(1, HOST), 3
    )
    assert numpy.array_equal(ours.U, theirs.U) and numpy.array_equal(ours.phi, theirs.phi)
    numpy.testing.assert_allclose(log_q, other, rtol=1e-14)


@pytest.mark.parametrize("model", [JOINT, TOLD], ids=["joint", "told"])
def test_weights_give_the_partition_function(model):
    """ln Z is that of quadrature and V ln pi of the two real fields of V components: 4 sigma, chance 6e-5."""
    params = moved(model.init(random.key(0, HOST)))
    found = log_z(draw(model, params, THEORY, random.key(2, HOST), 20_000, COUPLINGS).log_w)
    exact = ALONE.exact(COUPLINGS)["ln_Z"] + 4 * math.log(math.pi)
    assert abs(found.value - exact) < 4 * found.error < 0.25


@pytest.mark.parametrize("model", [JOINT, TOLD], ids=["joint", "told"])
def test_files_keep_the_layers(model, tmp_path):
    params = moved(model.init(random.key(0, HOST)))
    save_model(tmp_path / "joint.safetensors", model, params)
    opened = open_model(tmp_path / "joint.safetensors", lattice=LATTICE)
    assert opened.model == model
    assert all(numpy.array_equal(a, b) for a, b in zip(leaves(opened.params), leaves(params), strict=True))


def test_layers_of_both_fields_train():
    """A few steps on PyTorch lower the loss, and move the parameters of every layer."""
    torch = backends.get("torch") if backends.is_present("torch") else pytest.skip("PyTorch is not here")
    training = Training(JOINT, THEORY, Adam(1e-2), batch=64)
    state, losses = start(training, random.key(0, torch)), []
    first = tree_map(torch.to_numpy, state.params)
    for progress in train(training, state, 24, COUPLINGS, every=8):
        state = progress.state
        losses.append(float(progress.records["loss"].mean()))
    last = tree_map(torch.to_numpy, state.params)
    assert losses[-1] < losses[0]
    for layer in first:
        assert any(not numpy.array_equal(a, b) for a, b in zip(leaves(first[layer]), leaves(last[layer]), strict=True))


def test_a_gibbs_sampler_takes_the_factor_of_the_scalar_field():
    params = moved(TOLD.init(random.key(0, HOST)))
    made = kernel(THEORY, COUPLINGS, GibbsOfPairs(), Proposal(TOLD, params, None))
    assert isinstance(made, GibbsByFlow) and made.conditional == links_given_pseudofermions(TOLD)
    pairs, _ = TOLD.sample(params, random.key(1, HOST), 100)
    state, records = run(made, random.key(2, HOST), made.init(pairs), 3)
    assert state.field.U.shape == (100, *LATTICE) and 0.05 < records["info"]["accepted"].mean() < 1.0


def test_what_is_no_model_of_that_order_is_refused():
    assert is_reversed(TOLD) and not is_reversed(JOINT)
    with pytest.raises(TypeError, match=r"q\(phi\) q\(U\|phi\) wanted, got Chain"):
        links_given_pseudofermions(JOINT)
    with pytest.raises(TypeError, match=r"q\(U\) q\(phi\|U\) wanted, got Chain"):
        marginal_and_conditional(JOINT)
    with pytest.raises(ValueError, match='moves "U" or "phi", got \'chi\''):
        Moves("chi", Translate((0, 0)))
    with pytest.raises(ValueError, match="wants the pseudofermions as its condition"):
        TOLD.flow.flows[1].flow.forward({}, numpy.zeros((1, *LATTICE)))


def test_a_joint_flow_is_fixed_by_the_couplings_of_its_layers():
    hops = OddHops(Wilson((4, 4)), kappa=0.15)
    flow = Chain((Moves("U", Translate((0, 0), internal=1)), Moves("phi", HoppingExponential(hops))))
    assert flow.fixed == {"kappa": 0.15}
