"""Proposals: what has weights but no density goes the same way as a flow, and complex observables pass untouched."""

import dataclasses
import math

import numpy
import pytest
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.flows.flow import Model, Translate
from haarflow.flows.priors import FreeField, Gaussian, UniformLinks
from haarflow.flows.proposals import Draws, Proposal, Weighted, as_proposal
from haarflow.flows.sampling.draws import DrawBlock, draw, farmed_chain
from haarflow.flows.training.gradients import log_mean_exp
from haarflow.theories import U1Gauge
from haarflow.theories.exact.free_field import log_z
from tests.support.scalar_qed import Fields, ScalarQED, Uncoupled

LATTICE, M2 = (2, 2), 1.5


@dataclasses.dataclass(frozen=True)
class Free:
    """The free field as a theory, S = -log of its normalised density - ln Z."""

    lattice: tuple = LATTICE
    m2: float = M2

    def action(self, field, couplings=None):
        prior = FreeField(self.lattice, self.m2)
        return -prior.log_density(field) - prior.log_z()


@dataclasses.dataclass(frozen=True)
class Annealed:
    """Annealed importance sampling: prior draws, `levels` tempered actions, a Metropolis step at each, no density of the end."""

    prior: Gaussian
    theory: Free
    levels: int = 8
    width: float = 0.3
    work: float = 1.0  # what of the work enters the weight: anything but 1 is wrong

    def draw(self, params, key, n, couplings=None, condition=None):
        x, log_w, accepted = self.prior.sample(random.fold_in(key, 0), n), 0.0, 0.0
        for level in range(1, self.levels + 1):
            step, coin = (random.fold_in(key, 2 * level + odd) for odd in (0, 1))
            log_w = log_w - self.work / self.levels * self.difference(x)
            new = x + self.width * random.normal(step, x.shape)
            good = array_namespace(x).log(random.uniform(coin, (n,))) < self.tempered(x, level) - self.tempered(
                new, level
            )
            x = array_namespace(x).where(good[:, None, None], new, x)
            accepted = accepted + 1.0 * array_namespace(x).astype(good, x.dtype) / self.levels
        return Draws(x, log_w, info={"accepted": accepted})

    def difference(self, x):
        return self.theory.action(x) + self.prior.log_density(x)

    def tempered(self, x, level):
        return -self.prior.log_density(x) + level / self.levels * self.difference(x)


ANNEALED = Annealed(Gaussian(LATTICE, 0.6), Free())


def test_a_flow_and_an_annealed_path_are_proposals():
    model = Model(Gaussian(LATTICE), Translate((0, 1)))
    assert isinstance(Weighted(model, Free()), Proposal) and isinstance(ANNEALED, Proposal)
    assert not isinstance(model, Proposal)
    assert as_proposal(ANNEALED, Free()) is ANNEALED and as_proposal(model, Free()) == Weighted(model, Free())


def test_the_weight_of_a_flow_is_minus_action_minus_log_density(backend):
    model = Model(Gaussian(LATTICE), Translate((0, 1)))
    draws = draw(model, {}, Free(), random.key(0, backend), 5)
    field, log_q, log_w = (backend.to_numpy(part) for part in (draws.field, draws.log_q, draws.log_w))
    assert numpy.array_equal(log_w, -Free().action(field) - log_q) or numpy.allclose(
        log_w, -Free().action(field) - log_q
    )
    assert draws.observables is None and draws.info is None


def _estimate(proposal, n=60_000):
    draws = draw(proposal, {}, Free(), random.key(3, backends.get("numpy")), n, measure=squares)
    weights = numpy.exp(draws.log_w - draws.log_w.max())
    mean = (weights * draws.observables).sum() / weights.sum()
    spread = numpy.std(weights) / weights.mean() / math.sqrt(n)
    return float(log_mean_exp(draws.log_w)), float(mean), float(spread), draws


def squares(field):
    """phi^2 per site."""
    return array_namespace(field).mean(field * field, axis=(-2, -1))


def test_an_annealed_path_without_a_density_gives_the_partition_function():
    """5 sigma: fails by luck once in a million seeds; the seed is fixed."""
    ln_z, phi2, spread, draws = _estimate(ANNEALED)
    exact = FreeField(LATTICE, M2)
    wanted = numpy.mean(1.0 / (2.0 * exact._spectrum()))
    assert draws.log_q is None and 0.2 < draws.info["accepted"].mean() < 0.95
    assert abs(ln_z - log_z(LATTICE, M2)) < 5 * spread < 0.1
    assert abs(phi2 - wanted) < 0.05 * wanted


def test_a_wrong_work_gives_a_wrong_partition_function():
    ln_z, _, spread, _ = _estimate(dataclasses.replace(ANNEALED, work=0.5))
    assert abs(ln_z - log_z(LATTICE, M2)) > 10 * spread


def test_a_farm_takes_proposals_without_a_density():
    job = DrawBlock(ANNEALED, Free(), 30, backends.get("numpy"), {}, (5, 6))
    chain = farmed_chain(job, range(3))
    assert chain.field.shape == (90, *LATTICE) and 0.0 < chain.accepted.mean() <= 1.0


def phases(theory, couplings):
    """A complex observable: the mean of e^{i theta} over the links."""
    return _phases


def _phases(field):
    xp = array_namespace(field)
    return {"phase": xp.mean(xp.exp(1j * field), axis=(-3, -2, -1))}


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_complex_observables_pass_through_draws_and_farms(name):
    pytest.importorskip(name)
    model = Model(UniformLinks((4, 4)), Translate((0, 0), internal=1))
    block = DrawBlock(model, U1Gauge((4, 4)), 6, backends.get(name), {}, (5, 6), {"beta": 0.5}, measures=phases)(0)
    phase = block["observables"]["phase"]
    assert phase.dtype == numpy.complex128 and numpy.abs(phase.imag).min() > 0.0
    assert numpy.allclose(phase, numpy.exp(1j * block["field"]).mean(axis=(1, 2, 3)), atol=1e-14)


@dataclasses.dataclass(frozen=True)
class Tilted(Free):
    """The free field with an imaginary source, S + i h sum phi."""

    h: float = 0.4

    def action(self, field, couplings=None):
        xp = array_namespace(field)
        return super().action(field) + 1j * self.h * xp.sum(field, axis=(-2, -1))


def test_a_complex_action_has_a_phase_beside_the_weight(backend):
    """The draws are exact but for the source: log w is constant and the phase -h sum phi, whose sum has variance V / 2 m2.

    Three numbers at 5 sigma: chance of luck 2e-6; the seed is fixed.
    """
    model = Model(FreeField(LATTICE, M2), Translate((0, 0)))
    draws = draw(model, {}, Tilted(), random.key(4, backend), 4000)
    field, log_w, phase = (backend.to_numpy(part) for part in (draws.field, draws.log_w, draws.phase))
    assert log_w.dtype.kind == "f" and numpy.ptp(log_w) < 1e-12
    assert numpy.allclose(phase, -0.4 * field.sum(axis=(-2, -1)), atol=1e-13)
    mean = numpy.exp(1j * phase)
    exact = math.exp(-(0.4**2) * math.prod(LATTICE) / (4 * M2))
    for part, wanted in ((mean.real, exact), (mean.imag, 0.0)):
        assert abs(part.mean() - wanted) < 5 * part.std() / math.sqrt(part.size)
    block = DrawBlock(model, Tilted(), 3, backend, {}, (5, 6))
    assert block(0)["phase"].shape == (3,) and draw(model, {}, Free(), random.key(4, backend), 2).phase is None
    with pytest.raises(ValueError, match="real weights"):
        farmed_chain(block, range(2))


def test_a_farm_draws_fields_of_several_parts():
    theory = ScalarQED((2, 3))
    couplings = {"beta": 0.7, "m2": 2.0, "kappa": 0.0}
    block = DrawBlock(Uncoupled(theory, 2.0), theory, 30, backends.get("numpy"), {}, (5, 6), couplings)
    chain = farmed_chain(block, range(3))
    assert type(chain.field) is Fields and chain.field.U.shape == (90, 2, 2, 3) and chain.field.phi.shape == (90, 2, 3)
    moved = numpy.any(chain.field.U[1:] != chain.field.U[:-1], axis=(1, 2, 3))
    assert numpy.array_equal(moved, chain.accepted[1:]) and 0 < moved.sum() < 89
    assert numpy.array_equal(moved, numpy.any(chain.field.phi[1:] != chain.field.phi[:-1], axis=(1, 2)))
