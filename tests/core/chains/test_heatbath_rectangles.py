"""Heat bath and over-relaxation of actions with rectangles: colours, staples, action, HMC's means, borders."""

import itertools
import math
from dataclasses import replace

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath, link_colours, loop_reach
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.chains.kernel import run
from haarflow.core.groups import matrices
from haarflow.core.lattice import loops
from haarflow.core.statistics import gamma_method
from haarflow.theories import SUNGauge, U1Gauge, with_parts

TREE, IWASAKI = -1 / 12, -0.331
BETA = {"couplings": {"beta": 3.0}}


def hot(theory, chains, seed=0):
    return theory.group.haar(random.key(seed, backends.get("numpy")), (chains, *theory.field_shape))


def links_of_loops(lattice):
    """The numbers of the links of every plaquette and 1x2 rectangle, each `(links, *lattice)`, by the definition."""
    numbers = numpy.arange(len(lattice) * math.prod(lattice)).reshape(len(lattice), *lattice)

    def at(mu, *steps):
        moved = numbers[mu]
        for axis in steps:
            moved = numpy.roll(moved, -1, axis)
        return moved

    for mu, nu in itertools.permutations(range(len(lattice)), 2):
        yield numpy.stack([at(mu), at(nu, mu), at(mu, nu), at(nu)])
        yield numpy.stack([at(mu), at(mu, mu), at(nu, mu, mu), at(mu, nu), at(mu, mu, nu), at(nu)])


@pytest.mark.parametrize("lattice", [(4, 4), (8, 4), (4, 4, 8), (4, 4, 4, 4)])
def test_no_loop_holds_two_links_of_one_colour(lattice):
    colours = [link_colours(lattice, mu, reach=2) for mu in range(len(lattice))]
    classes = numpy.stack([4 * mu + labels for mu, (labels, _) in enumerate(colours)]).ravel()
    assert all(count == 4 for _, count in colours) and (numpy.bincount(classes) == math.prod(lattice) // 4).all()
    for loop in links_of_loops(lattice):
        for first, second in itertools.combinations(loop, 2):
            assert (classes[first] != classes[second]).all()


@pytest.mark.parametrize("lattice, n", [((4, 8), 3), ((4, 4, 4), 2)])
def test_links_of_one_colour_change_the_action_one_by_one(lattice, n):
    theory = SUNGauge(lattice, n, TREE)
    links, others, d = hot(theory, 2), hot(theory, 2, seed=1), len(lattice)
    for mu in range(d):
        staple, (labels, count) = theory.staple(links, mu), link_colours(lattice, mu, reach=2)
        for colour in range(count):
            moves = (labels == colour) & (numpy.arange(d) == mu).reshape(d, *(1,) * (d + 2))
            moved = numpy.where(moves, others, links)
            change = loops.direction(moved - links, mu, d, theory.group)
            weight = matrices.trace(theory.group.compose(change, staple), d).real.sum(axis=tuple(range(-d, 0)))
            difference = theory.action(moved, BETA["couplings"]) - theory.action(links, BETA["couplings"])
            numpy.testing.assert_allclose(difference, -3.0 / n * weight, atol=1e-11)


@pytest.mark.parametrize("lattice, n", [((3, 4), 3), ((3, 4, 3), 2)])
def test_staples_of_one_direction_are_those_of_all(lattice, n):
    theory = SUNGauge(lattice, n, IWASAKI)
    links = hot(theory, 2)
    for mu, wanted in enumerate(theory.staples(links)):
        numpy.testing.assert_allclose(theory.staple(links, mu), wanted, atol=1e-13)


@pytest.mark.parametrize("lattice, n, rectangle", [((4, 4), 3, TREE), ((8, 4), 2, IWASAKI), ((4, 4, 4), 2, TREE)])
def test_reflections_keep_the_action_and_move_every_link(lattice, n, rectangle, host):
    theory = SUNGauge(lattice, n, rectangle)
    links, key = hot(theory, 2), random.key(1, host)
    kernels = [SUNHeatBath(theory, overrelaxation=sweeps, values=BETA) for sweeps in (0, 1)]
    drawn, reflected = (kernel.step(key, kernel.init(links))[0].field for kernel in kernels)
    before, after = (theory.action(field, BETA["couplings"]) for field in (drawn, reflected))
    numpy.testing.assert_allclose(after, before, atol=1e-11)
    axes = (2, 3)
    assert min(numpy.abs(moved).max(axis=axes).min() for moved in (drawn - links, reflected - drawn)) > 1e-3


def test_a_sweep_is_the_same_on_every_backend(backend, host):
    theory = SUNGauge((4, 4), 2, TREE)
    kernel, links = SUNHeatBath(theory, tries=2, overrelaxation=1, values=BETA), hot(theory, 2)

    def sweep(engine):
        state, info = engine.jit(kernel.step)(random.key(2, engine), kernel.init(engine.asarray(links)))
        return engine.to_numpy(state.field), engine.to_numpy(info["failed"])

    for ours, theirs in zip(sweep(backend), sweep(host), strict=True):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-12)


def with_loops(theory, **words):
    """The theory with another account of its loops."""
    return with_parts(theory, conditional=replace(theory.conditional, **words))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: SUNHeatBath(SUNGauge((4, 6), rectangle=TREE)), r"multiples of 4, got the lattice \(4, 6\).*HMC"),
        (lambda: SUNHeatBath(SUNGauge((2, 4), rectangle=TREE)), r"multiples of 4, got the lattice \(2, 4\)"),
        (lambda: SUNHeatBath(with_loops(SUNGauge((4, 4)), reach=3)), "up to 1x2 links, got a theory of reach 3"),
        (
            lambda: SUNHeatBath(with_loops(SUNGauge((4, 4)), reach=2, rectangular=False)),
            "one plaquette, or `rectangular` ones",
        ),
        (lambda: U1HeatBath(with_loops(U1Gauge((4, 4)), reach=2)), "one plaquette, or `rectangular` ones"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_theory_that_does_not_say_has_plaquettes():
    assert loop_reach(object()) == 1


# Statistical: 4 sigma of both chains together, chance of luck 6e-5 per number; seeds fixed.
@pytest.mark.statistical
@pytest.mark.parametrize("n, beta, rectangle, overrelaxation", [(2, 1.0, IWASAKI, 1), (3, 4.0, TREE, 0)])
def test_means_are_those_of_hmc(n, beta, rectangle, overrelaxation):
    theory, values = SUNGauge((4, 4), n, rectangle), {"couplings": {"beta": beta}}
    hmc = HMC(theory, OMELYAN, 6, values=values | {"step_size": 0.16})
    bath = SUNHeatBath(theory, overrelaxation=overrelaxation, values=values)
    found = [means(kernel, theory, draws) for kernel, draws in ((hmc, 80), (bath, 50))]
    for name in ("plaquette", "rectangle"):
        one, two = (estimates[name] for estimates in found)
        assert abs(one.value - two.value) < 4 * math.hypot(one.error, two.error)
        assert max(one.error, two.error) < 0.005


def means(kernel, theory, draws, chains=40, burn_in=25):
    """Estimates of plaquette and rectangle."""
    host = backends.get("numpy")
    state, _ = run(kernel, random.key(1, host), kernel.init(hot(theory, chains, 3)), burn_in)
    _, records = run(kernel, random.key(2, host), state, draws, measure=theory.observables)
    return {name: gamma_method(records["observables"][name].T) for name in ("plaquette", "rectangle")}
