"""The Schwinger model: its parts against dense twins, limits that are known, and numbers of two flavours on 4x4."""

import math
from functools import lru_cache, partial

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.spaces import Pair
from haarflow.core.statistics import gamma_method, reweight, within
from haarflow.theories import Sum, U1Gauge
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.determinants.determinant import log_det
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.flux_hit import FluxHits
from haarflow.theories.models.schwinger import Schwinger, schwinger_pairs
from haarflow.theories.samplers.u1 import exact_sample
from tests.support.dirac_twins import dense

COUPLINGS = {"beta": 2.0, "kappa": 0.276}
# two flavours on 4x4 at these couplings, by an independent program: values and errors
KNOWN = {
    "plaquette": (0.7626, 0.0006),
    "condensate": (1.4688, 0.0009),
    "Q2": (0.0573, 0.0013),
    "p_Q0": (0.9433, 0.0013),
    "log_det": (1.810, 0.005),
}
WITHIN = tuple(f"{start}_Q{n}" for start in ("condensate_at", "p") for n in (0, 1))


def sectors(theory):
    """The quantities of a sector with |Q| = 0 or 1; on 4x4 a larger charge is too rare."""
    return {name: one for name, one in theory.derived.items() if one.inside in WITHIN}


def links(lattice, backend, batch=3, seed=1):
    return random.normal(random.key(seed, backend), (batch, 2, *lattice))


@pytest.mark.parametrize("lattice", [(4, 4), (2, 6), (3, 4)])
@pytest.mark.parametrize("antiperiodic", [True, False])
def test_observables_equal_those_of_the_dense_operator(backend, lattice, antiperiodic):
    """det D, tr D^-1 and the pion correlator, source by source, of the operator written out site by site."""
    theory, field = Schwinger(lattice, antiperiodic=antiperiodic), links(lattice, backend)
    observables = backend.jit(lambda field: theory.observables(field, COUPLINGS))
    found = {name: backend.to_numpy(x) for name, x in observables(field).items()}
    sites, times = math.prod(lattice), lattice[0]
    for index, angles in enumerate(backend.to_numpy(field)):
        d = dense(numpy.exp(1j * angles)[:, None, None], COUPLINGS["kappa"], antiperiodic)
        sign, log_abs = numpy.linalg.slogdet(d)
        inverse = numpy.linalg.inv(d).reshape(2, sites, 2, sites)
        pion = numpy.zeros(times)
        for source in range(sites):
            for sink in range(sites):
                t = (sink // lattice[1] - source // lattice[1]) % times
                pion[t] += (numpy.abs(inverse[:, sink, :, source]) ** 2).sum() / sites
        assert found["log_det"][index] == pytest.approx(log_abs, abs=1e-10)
        assert found["sign"][index] == pytest.approx(sign.real)
        assert found["condensate"][index] == pytest.approx(numpy.einsum("axax->", inverse).real / sites, abs=1e-9)
        assert numpy.allclose(found["pion"][index], pion, atol=1e-9)


def test_pairs_measure_what_links_have():
    """Gauge observables, determinant, condensate and pion of a pair are those of the model of its links alone."""
    pairs, alone, host = schwinger_pairs((4, 4)), Schwinger((4, 4)), backends.get("numpy")
    field = links((4, 4), host)
    wanted = alone.observables(field, COUPLINGS)
    found = pairs.observables(Pair(field, pairs.refreshed(random.key(2, host), field, COUPLINGS)), COUPLINGS)
    names = set(wanted) & set(found) - {"action"}
    assert {*pairs.summary} - {"pseudofermion"} <= names and set(pairs.correlators) <= names
    for name in names:
        numpy.testing.assert_allclose(found[name], wanted[name], atol=1e-12)
    assert pairs.derived["chi_top"].function(1.0) == alone.derived["chi_top"].function(1.0) == 1 / 16
    assert schwinger_pairs((4, 4), quarks=False).measurements == ()


@pytest.mark.parametrize("flavours", [1, 2, 3])
def test_it_is_the_sum_of_its_terms(backend, flavours):
    theory, field = Schwinger((4, 4), flavours), links((4, 4), backend)
    both = Sum((U1Gauge((4, 4)), Fermions(Wilson((4, 4)), flavours)))
    for method in ("action", "force"):
        one, other = (backend.jit(partial(getattr(it, method), couplings=COUPLINGS))(field) for it in (theory, both))
        assert numpy.array_equal(backend.to_numpy(one), backend.to_numpy(other))
    found = backend.to_numpy(log_det(theory.operator, field, COUPLINGS["kappa"])[0])
    gauge = backend.to_numpy(theory.gauge.action(field, {"beta": 2.0}))
    assert numpy.allclose(backend.to_numpy(theory.action(field, COUPLINGS)), gauge - flavours * found, atol=1e-10)


@pytest.mark.parametrize("flavours", [1, 2])
def test_the_condensate_of_a_sector_is_the_mean_over_its_configurations(host, flavours):
    """By hand over the configurations with |Q| = n, weighted with the sign where the number of flavours is odd."""
    theory = Schwinger((4, 4), flavours)
    field = math.pi * random.uniform(random.key(3, host), (200, 2, 4, 4), "float64") * 2.0
    values = theory.observables(field, {"beta": 2.0, "kappa": 0.4})
    sign = values["sign"] if flavours == 1 else numpy.ones(200)
    assert (values["sign"] < 0).any()
    for n in (0, 1, 2):
        name = f"{'signed_' if flavours == 1 else ''}condensate_Q{n}"
        one, here = theory.derived[name], numpy.abs(theory.charge(field)) == n
        assert here.sum() > 20 and name in theory.summary and theory.labels[name].endswith(f"|Q| = {n}")
        found = within(one.function, [values[word] for word in one.ingredients], values[one.inside], numpy.zeros(200))
        assert found.value == pytest.approx((values["condensate"] * sign)[here].sum() / sign[here].sum(), rel=1e-12)


def test_without_hopping_it_is_pure_gauge_theory(host):
    theory, field = Schwinger((4, 4)), links((4, 4), host)
    heavy = {"beta": 2.0, "kappa": 0.0}
    values = theory.observables(field, heavy)
    assert numpy.allclose(values["condensate"], 2.0) and numpy.allclose(values["log_det"], 0.0, atol=1e-12)
    assert numpy.allclose(values["pion"], [2.0, 0.0, 0.0, 0.0], atol=1e-12)
    exact, gauge = theory.exact(heavy), theory.gauge.exact({"beta": 2.0})
    assert all(exact[name] == gauge[name] for name in ("plaquette", "Q2", "ln_Z"))
    assert theory.exact(COUPLINGS) == {"Q": 0.0}


def test_on_two_sites_the_weight_integrates_to_the_known_partition_function():
    """2x1: three angles after gauge fixing; <plaquette> by quadrature equals its Fourier form at kappa = 0 and moves with kappa."""
    host = backends.get("numpy")
    theory, points = Schwinger((2, 1)), 40
    grid = 2 * math.pi * numpy.arange(points) / points
    a, b, c = (x.ravel() for x in numpy.meshgrid(grid, grid, grid, indexing="ij"))
    field = host.asarray(numpy.zeros((points**3, 2, 2, 1)))
    field[:, 0, 1, 0], field[:, 1, 0, 0], field[:, 1, 1, 0] = a, b, c
    means = []
    for kappa in (0.0, 0.3):
        couplings = {"beta": 1.5, "kappa": kappa}
        weight = numpy.exp(-theory.action(field, couplings))
        plaquette = theory.gauge.observables(field, {"beta": 1.5})["plaquette"]
        means.append((weight * plaquette).sum() / weight.sum())
    assert means[0] == pytest.approx(theory.exact({"beta": 1.5, "kappa": 0.0})["plaquette"], abs=1e-10)
    assert means[1] - means[0] > 1e-3


def test_wrong_definitions_are_refused():
    with pytest.raises(ValueError, match=r"lives in two dimensions, got the lattice \[4, 4, 4\]"):
        Schwinger((4, 4, 4))
    with pytest.raises(ValueError, match="flavours must be a whole number >= 1, got 0"):
        Schwinger((4, 4), flavours=0)
    with pytest.raises(TypeError, match="antiperiodic must be True or False, got 'no'"):
        Schwinger((4, 4), antiperiodic="no")
    with pytest.raises(ValueError, match="did you mean 'kappa'"):
        Schwinger((4, 4)).check({"kapa": 0.1})


# Statistical: 4 sigma, chance of luck 6e-5 a number; the seeds are fixed.


def compared(estimates, known=KNOWN):
    for name, (value, error) in known.items():
        found = estimates[name]
        assert abs(found.value - value) < 4.0 * math.hypot(found.error, error), (name, found)


@lru_cache(maxsize=1)
def exact_draws():
    """20,000 exact draws of pure gauge theory with weight det^2, whose ESS is 0.33."""
    theory = Schwinger((4, 4))
    field = exact_sample(theory.gauge, random.key(5, backends.get("numpy")), 20_000, {"beta": 2.0}).field
    blocks = [theory.observables(field[first : first + 2500], COUPLINGS) for first in range(0, 20_000, 2500)]
    return {name: numpy.concatenate([block[name] for block in blocks]) for name in (*KNOWN, *WITHIN)}


@pytest.mark.statistical
def test_exact_draws_reweighted_give_the_numbers_of_two_flavours():
    values = exact_draws()
    log_w = 2.0 * values["log_det"][None]
    compared({name: reweight(log_w, values[name][None]) for name in KNOWN})


@pytest.mark.statistical
def test_hmc_with_hits_gives_the_numbers_of_two_flavours():
    """64 chains of 400 trajectories with the exact determinant on JAX, or NumPy without it; the condensate of each sector is that of
    exact draws.
    """
    where = backends.get("jax" if backends.is_present("jax") else "numpy")
    theory = Schwinger((4, 4))
    hmc = HMC(theory, OMELYAN, 4, {"couplings": COUPLINGS, "step_size": 0.35})
    both = Cycle((hmc, FluxHits(theory, 1, {"couplings": COUPLINGS})))
    measure, state = partial(theory.observables, couplings=COUPLINGS), both.init(0.3 * links((4, 4), where, 64))
    state, _ = run(both, random.key(6, where), state, 50, measure=measure)
    blocks = []
    for block in range(1, 9):
        state, records = run(both, random.key(6, where), state, 50, start=50 * block, measure=measure)
        blocks.append(records)
    names = (*KNOWN, *WITHIN)
    series = {name: numpy.concatenate([where.to_numpy(one["observables"][name]) for one in blocks]).T for name in names}
    compared({name: gamma_method(series[name]) for name in KNOWN})
    exact = exact_draws()
    for name, one in sectors(theory).items():
        chain, reweighted = (
            within(one.function, [values[word] for word in one.ingredients], values[one.inside], log_w)
            for values, log_w in ((series, None), (exact, 2.0 * exact["log_det"]))
        )
        compared({name: chain}, {name: reweighted[:2]})
    d_h = numpy.concatenate([where.to_numpy(one["info"]["0"]["dH"]) for one in blocks]).T
    ratio = gamma_method(numpy.exp(-d_h))
    assert abs(ratio.value - 1.0) < 4.0 * ratio.error
