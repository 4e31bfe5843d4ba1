"""The exact schemes for pairs leave their distribution as it is: the Yukawa model on 2x2 against quadrature, U(1) links with fermions.

Statistical: chains start from exact draws, so that nothing has to relax; pulls of 4 sigma, chance 6e-5 each, fixed seeds.
"""

import math
from functools import lru_cache

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.spaces import Pair
from haarflow.core.statistics import log_z
from haarflow.flows.conditionals import Conditional, marginal_and_conditional
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.shears import Shears
from haarflow.flows.flow import Model, Translate
from haarflow.flows.pairs import PairFlow, PairPrior
from haarflow.flows.priors import Gaussian, Noise, UniformLinks
from haarflow.theories import U1Gauge
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, PseudoMarginal, Refreshed
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs

HOST = backends.get("numpy")
LATTICE, COUPLINGS = (2, 2), {"m2": -4.0, "lam": 8.0, "g": 0.8}
THEORY, ALONE = yukawa_pairs(LATTICE), Yukawa(LATTICE)
MARGINAL = Model(Gaussian(LATTICE, 0.5), Translate((0, 0)))
CONDITIONAL = Conditional(Gaussian((2, *LATTICE), math.sqrt(0.5)), Shears(THEORY.free(COUPLINGS["g"])))
PAIRS = Model(PairPrior(MARGINAL.prior, CONDITIONAL.noise), PairFlow(MARGINAL.flow, CONDITIONAL.flow))
PARAMS = {"marginal": {}, "conditional": CONDITIONAL.flow.init(random.key(0, HOST))}
BOUND = 7.0  # of ln e^{-S} / q at a normal field of width 1/2: the largest on 10^6 fields is 5.6
KNOWN = ("phi2", "phi4", "E", "chi2", "G_min", "log_det", "phi_condensate", "identity", "m", "condensate")
CHAINS, STEPS = 3000, 4


def exact_fields(key, n):
    """Exact draws of the scalar field with the determinant, by rejection from the normal distribution."""
    found = []
    while sum(map(len, found)) < n:
        draws, coins, key = random.split(key, 3)
        fields, log_q = MARGINAL.sample({}, draws, 40 * n)
        log_w = -ALONE.action(fields, COUPLINGS) - log_q
        assert log_w.max() < BOUND
        found.append(fields[numpy.log(random.uniform(coins, (len(fields),))) < log_w - BOUND])
    return numpy.concatenate(found)[:n]


@lru_cache(maxsize=2)
def exact_pairs(n, seed=1):
    phi = exact_fields(random.key(seed, HOST), n)
    return Pair(phi, THEORY.refreshed(random.key(seed + 1, HOST), phi, COUPLINGS))


def with_company(pair, estimates, seed=3):
    """The state of a pseudo-marginal chain: one phi exact given U, the others from the conditional flow."""
    n = len(pair.U)
    others = [
        CONDITIONAL.sample(PARAMS["conditional"], random.key(seed + i, HOST), n, pair.U)[0]
        for i in range(estimates - 1)
    ]
    return Pair(pair.U, numpy.stack([pair.phi, *others], axis=1))


def kernels():
    alone, both = {"params": {}, "couplings": COUPLINGS}, {"params": PARAMS, "couplings": COUPLINGS}
    hmc = {"couplings": COUPLINGS, "step_size": 0.1}
    return {
        "hmc": Refreshed(THEORY, HMC(THEORY.marginal, steps=5, values=hmc)),
        "marginal": Refreshed(THEORY, IndependenceMetropolis(MARGINAL, THEORY.marginal, values=alone)),
        "pseudo-marginal": PseudoMarginal(MARGINAL, CONDITIONAL, THEORY, 1, both),
        "pseudo-marginal, three estimates": PseudoMarginal(MARGINAL, CONDITIONAL, THEORY, 3, both),
        "gibbs": Gibbs(MARGINAL, THEORY, alone),
        "gibbs, narrow": Gibbs(MARGINAL, THEORY, alone | {"width": 0.2}),
        "autoregressive": IndependenceMetropolis(PAIRS, THEORY, values=both),
    }


def pulls(kernel, field, known, exact, observables, seed=5):
    """The deviations from exact means after some steps, in standard errors of independent chains."""
    state, records = run(kernel, random.key(seed, HOST), kernel.init(field), STEPS, measure=observables)
    assert numpy.mean(records["info"]["accepted"]) > 0.05
    series = {name: records["observables"][name][-1] for name in known}
    return {name: (x.mean() - exact[name]) / (x.std(ddof=1) / math.sqrt(len(x))) for name, x in series.items()}, state


@pytest.mark.parametrize("name", kernels())
def test_every_scheme_keeps_the_means_of_quadrature(name):
    kernel, field = kernels()[name], exact_pairs(CHAINS)
    if isinstance(kernel, PseudoMarginal):
        field = with_company(field, kernel.estimates)
    found, _ = pulls(kernel, field, KNOWN, ALONE.exact(COUPLINGS), lambda pair: ALONE.observables(pair.U, COUPLINGS))
    assert max(map(abs, found.values())) < 4.0, found


def test_weights_of_pairs_give_the_partition_function():
    """ln Z of the pairs is that of quadrature and V ln pi of the two real fields of V components; within 4 sigma."""
    pairs, log_q = PAIRS.sample(PARAMS, random.key(7, HOST), 40_000)
    found = log_z(-THEORY.action(pairs, COUPLINGS) - log_q)
    exact = ALONE.exact(COUPLINGS)["ln_Z"] + 4 * math.log(math.pi)
    assert abs(found.value - exact) < 4 * found.error < 0.1


class Anew(PseudoMarginal):
    """Draws the noise of the present field anew before it compares, which is not exact."""

    def step(self, key, state):
        phi, _ = self.conditional.sample(
            self.values["params"]["conditional"], random.fold_in(key, 3), len(state.field.U), state.field.U
        )
        return super().step(key, self.init(Pair(state.field.U, phi[:, None])))


def test_noise_is_kept_with_the_field_and_not_drawn_anew():
    """With a bad estimate the chain is exact as long as its noise is kept: 4 sigma, against 8 and more with new noise."""
    wide = {**PARAMS["conditional"], "mass": numpy.asarray(2.0), "shears": numpy.zeros(2)}
    bad = {"params": {"marginal": {}, "conditional": wide}, "couplings": COUPLINGS}
    field, exact = with_company(exact_pairs(CHAINS), 1), ALONE.exact(COUPLINGS)
    worst = {}
    for kind in (PseudoMarginal, Anew):
        kernel = kind(MARGINAL, CONDITIONAL, THEORY, 1, bad)
        found, state = pulls(kernel, field, ("phi2", "chi2"), exact, lambda x: ALONE.observables(x.U, COUPLINGS))
        worst[kind] = max(map(abs, found.values()))
        numpy.testing.assert_allclose(kernel.init(state.field).cache, state.cache, atol=1e-9)
    assert worst[PseudoMarginal] < 4.0 and worst[Anew] > 8.0, worst


def test_a_kernel_of_pairs_runs_on_links_with_fermions():
    """Gibbs and the pseudo-marginal scheme of U(1) links on 2x2: the mean of the pseudofermion action is its exact one."""
    couplings = {"beta": 0.5, "kappa": 0.15}
    theory = WithPseudofermions(U1Gauge((2, 2)), Wilson((2, 2)))
    links, hops = Model(UniformLinks((2, 2)), Translate((0, 0), internal=1)), theory.hops(couplings["kappa"])
    flow = HoppingExponential(hops, 2)
    model = Model(PairPrior(links.prior, Noise(hops.shape)), PairFlow(links.flow, flow))
    marginal, conditional = marginal_and_conditional(model)
    params = model.init(random.key(0, HOST))
    values = {"params": params, "couplings": couplings}

    def observables(pair):
        return theory.marginal.observables(pair.U, couplings) | theory.observables(pair, couplings)

    n = 250
    gibbs = Gibbs(marginal, theory, {"params": params["marginal"], "couplings": couplings, "width": 0.7})
    start, _ = model.sample(params, random.key(1, HOST), n)
    _, records = run(gibbs, random.key(2, HOST), gibbs.init(start), 30, measure=observables)
    pseudo = PseudoMarginal(marginal, conditional, theory, 2, values)
    first, _ = pseudo.proposed(random.key(3, HOST), n)
    _, others = run(
        pseudo,
        random.key(4, HOST),
        pseudo.init(first),
        30,
        measure=lambda x: theory.marginal.observables(x.U, couplings),
    )
    reference, _ = links.sample({}, random.key(5, HOST), 20_000)
    weights = numpy.exp(-theory.marginal.action(reference, couplings))
    plaquettes = theory.marginal.observables(reference, couplings)["plaquette"]
    exact = (weights * plaquettes).sum() / weights.sum()
    error = math.sqrt((weights**2 * (plaquettes - exact) ** 2).sum()) / weights.sum()
    for series in (records["observables"]["plaquette"][10:], others["observables"]["plaquette"][10:]):
        means = series.mean(axis=0)
        assert abs(means.mean() - exact) < 4 * math.hypot(error, means.std(ddof=1) / math.sqrt(n))
    action = records["observables"]["pseudofermion"][10:].mean(axis=0)
    assert abs(action.mean() - theory.exact()["pseudofermion"]) < 4 * action.std(ddof=1) / math.sqrt(n)
