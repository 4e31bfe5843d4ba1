"""The SU(N) heat bath: draws of h_0, even and odd links, subgroups, over-relaxation, exact and published values."""

import math
from dataclasses import dataclass

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.heatbath_sun import NUMBERS, SUNHeatBath, one_minus_cosine, reflection, subgroup_steps
from haarflow.core.chains.kernel import run
from haarflow.core.chains.reversal import reversal
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import evenodd, loops
from haarflow.core.statistics import gamma_method
from haarflow.theories import SUNGauge
from haarflow.theories.exact import bessel
from haarflow.theories.samplers.sun import exact_sample
from tests.conftest import MEMBERS, member

BETA = {"couplings": {"beta": 4.0}}


def hot(theory, chains, seed=0, backend=None):
    backend = backends.get("numpy") if backend is None else backend
    return theory.group.haar(random.key(seed, backend), (chains, *theory.field_shape))


@pytest.mark.parametrize("lattice", [(2, 2), (4, 2), (2, 6), (4, 2, 6), (2, 4, 2, 2)])
def test_even_and_odd_sites_come_apart_and_together(lattice, generator):
    x = generator.normal(size=(3, *lattice))
    even, odd = evenodd.split(x, lattice)
    parity = numpy.indices(lattice).sum(axis=0) % 2
    assert numpy.array_equal(numpy.sort(even.ravel()), numpy.sort(x[:, parity == 0].ravel()))
    assert numpy.array_equal(evenodd.merge(even, odd, lattice), x)
    left = evenodd.masks(x, lattice)
    for mu in range(len(lattice)):
        for steps in (1, -1):
            halves = [evenodd.hop(there, mu, len(lattice), steps, left[i]) for i, there in ((0, odd), (1, even))]
            moved = numpy.roll(x, -steps, axis=mu - len(lattice))
            assert numpy.array_equal(evenodd.merge(*halves, lattice), moved)


def test_odd_extents_do_not_pack():
    with pytest.raises(ValueError, match="even extents"):
        evenodd.split(numpy.zeros((3, 4)), (3, 4))


@pytest.mark.parametrize("lattice", [(2, 2), (4, 6), (2, 4, 2)])
def test_staples_of_half_the_links_are_those_of_all(lattice):
    theory = SUNGauge(lattice, n=2)
    links, group, d = hot(theory, 2), theory.group, len(lattice)
    halves = [[loops.direction(half, mu, d, group) for mu in range(d)] for half in evenodd.split(links, lattice)]
    left = evenodd.masks(links, lattice)
    for mu in range(d):
        found = [evenodd.staple(halves[i], halves[1 - i], mu, group, left[i]) for i in (0, 1)]
        numpy.testing.assert_allclose(evenodd.merge(*found, lattice), theory.staple(links, mu), atol=1e-14)


@pytest.mark.parametrize("k", [0.0, 1e-6, 0.3, 1.6, 1.8, 6.0, 300.0])
def test_proposals_and_their_acceptance_multiply_to_the_density(k):
    """A table of u_1 with the other numbers fixed: density = |du/dh| x level, up to one constant, and level <= 1."""
    u = numpy.linspace(0.3, 0.9, 7)
    level, drop = numpy.zeros(7), numpy.zeros(7)
    for place, first in enumerate(u):
        low, high = 0.0, 1.0
        for _ in range(50):
            coin = 0.5 * (low + high)
            numbers = numpy.asarray([[first], [0.25], [0.5], [coin]])  # cos = 0: the exponential part alone
            found, good = one_minus_cosine(numbers, numpy.asarray([k]))
            low, high = (coin, high) if good[0] else (low, coin)
            drop[place] = found[0] if good[0] else drop[place]
        level[place] = low
    assert (level <= 1).all() and (level > 0).all()
    if k < 1.7:  # Creutz: the proposal is e^{k h} on [-1, 1]
        numpy.testing.assert_allclose(level, numpy.sqrt(drop * (2 - drop)), rtol=1e-9)
        expected = -numpy.log1p(-(1 - u) * -numpy.expm1(-2 * max(k, 1e-30))) / max(k, 1e-30)
        numpy.testing.assert_allclose(drop, expected, rtol=1e-12)
    else:  # Kennedy and Pendleton: a Gamma(3/2) variable, e^{-k drop} sqrt(drop)
        numpy.testing.assert_allclose(level, numpy.sqrt(1 - drop / 2), rtol=1e-9)
        numpy.testing.assert_allclose(drop, -numpy.log(u) / k, rtol=1e-12)


def test_the_first_success_counts_and_failures_are_told(backend):
    bad, good = [0.5, 0.1, 0.5, 0.9999999], [0.6, 0.25, 0.5, 0.01]
    rows = numpy.asarray([[*bad, *good], [*good, *bad], [*bad, *bad]]).T
    drop, found = backend.jit(one_minus_cosine)(backend.asarray(rows), backend.asarray([0.5, 0.5, 0.5]))
    assert backend.to_numpy(found).tolist() == [True, True, False]
    drop = backend.to_numpy(drop)
    assert drop[0] == drop[1] != 0.0


@pytest.mark.parametrize("backwards", [False, True])
def test_a_sweep_is_the_same_on_every_backend(backend, host, backwards):
    theory = SUNGauge((2, 2), n=2)
    kernel, links = SUNHeatBath(theory, 2, 1, values=BETA, backwards=backwards), hot(theory, 3)

    def sweep(engine):
        state, info = engine.jit(kernel.step)(random.key(2, engine), kernel.init(engine.asarray(links)))
        return engine.to_numpy(state.field), engine.to_numpy(info["failed"])

    for ours, theirs in zip(sweep(backend), sweep(host), strict=True):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("lattice", [(4, 4), (3, 4)])
@pytest.mark.parametrize("n", [2, 3])
def test_a_sweep_stays_in_the_group_and_moves_every_link(lattice, n):
    theory = SUNGauge(lattice, n=n)
    kernel, links = SUNHeatBath(theory, values=BETA), hot(theory, 4)
    state, info = kernel.step(random.key(1, backends.get("numpy")), kernel.init(links))
    assert numpy.abs(state.field - links).max(axis=(-4, -3)).min() > 1e-3
    assert info["failed"].shape == (4,) and info["failed"].max() < 0.05
    unit = matrices.matmul(state.field, matrices.dagger(state.field, 2), 2)
    numpy.testing.assert_allclose(unit - matrices.identity(unit, 2), 0, atol=1e-14)
    numpy.testing.assert_allclose(matrices.determinant(state.field, 2), 1, atol=1e-14)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_reflections_keep_the_action_and_move_the_links(n, host):
    group, keys = SU(n, 1), random.split(random.key(0, host), 2)
    links, staples = (group.haar(key, (20, n, n, 3)) for key in keys)
    staples = staples + 0.3 * group.haar(random.key(9, host), (20, n, n, 3))
    moved, missed = subgroup_steps(links, staples, group, reflection)
    before, after = (matrices.trace(group.compose(x, staples), 1).real for x in (links, moved))
    numpy.testing.assert_allclose(after, before, atol=1e-13)
    assert numpy.abs(moved - links).max(axis=(1, 2)).min() > 1e-3 and not missed.any()


def test_two_reflections_of_su2_lead_back(host):
    group, keys = SU(2, 1), random.split(random.key(0, host), 2)
    links, staples = (group.haar(key, (20, 2, 2, 3)) for key in keys)
    there, _ = subgroup_steps(links, staples, group, reflection)
    back, _ = subgroup_steps(there, staples, group, reflection)
    numpy.testing.assert_allclose(back, links, atol=1e-13)


@dataclass(frozen=True)
class ReflectionsAlone(SUNHeatBath):
    """The visits that reflect, without those that draw."""

    def _visits(self):
        return [visit for visit in SUNHeatBath._visits(self) if visit[0]]


@pytest.mark.parametrize("theory", [SUNGauge((2, 4), n=3), SUNGauge((2, 3), n=3)], ids=["packed", "coloured"])
def test_reflections_backwards_undo_those_forwards(theory):
    """Every visit undoes itself, so that two sweeps are undone by the same visits in the opposite order, and by no other."""
    kernel = ReflectionsAlone(theory, overrelaxation=2, values=BETA, sweep=SUNHeatBath.by_arrays)
    links, key = hot(theory, 3), random.key(2, backends.get("numpy"))
    there = kernel.step(key, kernel.init(links))[0]
    back, again = (one.step(key, there)[0].field for one in (reversal(kernel), kernel))
    numpy.testing.assert_allclose(back, links, atol=1e-11)
    assert numpy.abs(again - links).max() > 0.1 and reversal(reversal(kernel)) == kernel


@pytest.mark.statistical
def test_a_sweep_of_links_and_its_reversal_have_equal_flows_of_probability():
    """<f(x) g(kx)> = <f(k~x) g(x)> over exact draws x, 4 sigma (chance 6e-5), with a compiled sweep there and array code back."""
    theory = SUNGauge((2, 2), n=2)
    kernel = SUNHeatBath(theory, values=BETA)
    host = backends.get("numpy")
    x = exact_sample(theory, random.key(5, host), 40_000, BETA["couplings"])
    keys = [random.key(seed, host) for seed in (6, 7)]
    f, g = (lambda u: u[:, 0, 0, 0, 0, 0].real), (lambda u: u[:, 1, 0, 0, 1, 1].real * u[:, 0, 1, 0, 0, 1].imag)
    there, back = (
        one.step(key, one.init(x))[0].field for one, key in zip((kernel, reversal(kernel)), keys, strict=True)
    )
    off = f(x) * g(there) - f(back) * g(x)
    assert abs(off.mean()) < 4 * off.std() / math.sqrt(len(off))


def test_subgroup_steps_whose_tries_all_fail_are_left_out(host):
    group = SU(3, 1)
    links, staples = (group.haar(random.key(seed, host), (5, 3, 3, 4)) for seed in (0, 1))
    kept, missed = subgroup_steps(links, staples, group, lambda place, size, unit: (unit, size < 0))
    numpy.testing.assert_allclose(kept, links, atol=0)
    assert (missed == 3).all()


def test_no_staples_means_haar(host):
    """From U = 1 at beta = 0: |U_00|^2 is uniform in [0, 1]; 4 sigma, and 0.2% of the links kept their value."""
    theory = SUNGauge((2, 2), n=2)
    kernel = SUNHeatBath(theory, values={"couplings": {"beta": 0.0}})
    state, info = kernel.step(random.key(1, host), kernel.init(theory.group.exp(numpy.zeros((4000, 2, 3, 2, 2)))))
    kept = info["failed"].mean()  # a try fails with the chance 1 - pi/4
    assert abs(kept - (1 - math.pi / 4) ** 4) < 0.001
    squares = numpy.abs(state.field[:, 0, 0, 0, 0, 0]) ** 2
    assert abs(squares.mean() - 0.5 - 0.5 * kept) < 4 * math.sqrt(1 / 12 / 4000)


def test_each_chain_may_have_its_own_coupling_and_key(host):
    theory, betas = SUNGauge((3, 4), n=2), [0.5, 3.0]
    links, keys = hot(theory, 2), random.split(random.key(9, host), 2)
    for lattice in ((3, 4), (4, 4)):
        theory = SUNGauge(lattice, n=2)
        links = hot(theory, 2)
        both = SUNHeatBath(theory, values={"couplings": {"beta": numpy.asarray(betas)}})
        state, info = both.step(keys, both.init(links))
        assert info["failed"].shape == (2,)
        for chain, beta in enumerate(betas):
            single = SUNHeatBath(theory, values={"couplings": {"beta": beta}})
            alone, _ = single.step(keys[chain], single.init(links[chain]))
            numpy.testing.assert_allclose(alone.field, state.field[chain], atol=1e-12)


def test_single_precision_stays_single():
    backend = backends.get("numpy", dtype="float32")
    theory = SUNGauge((2, 3), n=3)
    kernel = SUNHeatBath(theory, overrelaxation=1, values=BETA)
    links = theory.group.haar(random.key(0, backend), (2, *theory.field_shape), "float32")
    state, records = run(kernel, random.key(0, backend), kernel.init(links), 2)
    assert state.field.dtype == numpy.complex64 and records["info"]["failed"].dtype == numpy.float32


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: SUNHeatBath(SUNGauge((4, 1))), "its own staple"),
        (lambda: SUNHeatBath(SUNGauge((4, 4)), tries=0), "tries"),
        (lambda: SUNHeatBath(SUNGauge((4, 4)), overrelaxation=-1), "overrelaxation"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# Statistical: 4 sigma, chance of luck 6e-5 per number; seeds fixed.
@pytest.mark.statistical
@pytest.mark.parametrize("k", [0.0, 0.1, 1.0, 1.69, 1.71, 5.0, 50.0])
def test_moments_of_h0(k):
    """<h_0> = I_2(k)/I_1(k) and <h_0^2> = 1 - 3 <h_0>/k."""
    u = numpy.random.default_rng(int(100 * k)).uniform(size=(12 * NUMBERS, 200_000))
    drop, found = one_minus_cosine(u, numpy.full(200_000, k))
    assert found.mean() > 0.99999
    h = 1 - drop[found]
    r = bessel.ratios(k)
    first = r[2] / r[1] if k else 0.0
    for sample, exact in ((h, first), (h * h, 1 - 3 * first / k if k else 0.25)):
        assert abs(sample.mean() - exact) < 4 * sample.std() / math.sqrt(sample.size)


def pull(theory, beta, chains, draws, burn_in=30, backend=None, expected=None, **words):
    """((mean - exact)/error, error) of the plaquette; burn-in and draws in blocks of one compiled program."""
    backend = backends.get("numpy") if backend is None else backend
    kernel = SUNHeatBath(theory, values={"couplings": {"beta": beta}}, **words)
    state, size = kernel.init(hot(theory, chains, 3, backend)), draws // 10
    assert burn_in % size == 0
    for seed, blocks in ((1, burn_in // size), (2, 10)):
        plaquettes = []
        for block in range(blocks):
            key, start = random.key(seed, backend), block * size
            state, records = run(kernel, key, state, size, start=start, measure=_plaquette(theory))
            plaquettes.append(backend.to_numpy(records["observables"]))
    found = gamma_method(numpy.concatenate(plaquettes).T)
    value, error = (theory.exact({"beta": beta})["plaquette"], 0.0) if expected is None else expected
    return (found.value - value) / math.hypot(found.error, error), found.error


def _plaquette(theory):
    if theory not in _MEASURES:
        _MEASURES[theory] = lambda links: theory.observables(links)["plaquette"]
    return _MEASURES[theory]


_MEASURES: dict = {}


@pytest.mark.statistical
@pytest.mark.parametrize(
    "lattice, n, beta",
    [((4, 4), 2, 2.2), ((4, 4), 2, 2.7), ((4, 4), 3, 4.0), ((4, 4), 3, 6.0), ((3, 5), 3, 6.0), ((2, 2), 4, 3.0)],
)
@pytest.mark.parametrize("overrelaxation", [0, 1])
def test_the_heat_bath_has_the_exact_plaquette(lattice, n, beta, overrelaxation):
    off, error = pull(SUNGauge(lattice, n), beta, 200, 100, overrelaxation=overrelaxation)
    assert abs(off) < 4 and error < 0.0012


@pytest.mark.statistical
def test_few_tries_are_still_exact():
    """One try fails for a quarter of the subgroup steps: the bias of keeping the last proposal would be many sigma."""
    off, error = pull(SUNGauge((4, 4), 3), 4.0, 200, 100, tries=1)
    assert abs(off) < 4 and error < 0.001


@pytest.mark.statistical
@pytest.mark.parametrize("overrelaxation", [0, 1])
@pytest.mark.parametrize("n, beta, expected", [(2, 2.3, (0.6092, 0.0002)), (3, 5.7, (0.5597, 0.0003))])
def test_four_dimensions_have_the_tabulated_plaquette(n, beta, expected, overrelaxation):
    """SU(2) 4^4 at 2.3, SU(3) 4^4 at 5.7; the tables' errors are added in squares."""
    engine = member("jax" if "jax" in MEMBERS else "numpy")
    theory = SUNGauge((4, 4, 4, 4), n)
    off, error = pull(theory, beta, 16, 200, 100, engine, expected, overrelaxation=overrelaxation)
    assert abs(off) < 4 and error < 0.001
