"""Heat bath and cluster moves of spins: their whole transition matrices by enumeration, and who refuses spins."""

import itertools

import numpy
import pytest

from haarflow.backends import numpy as backend
from haarflow.core import random
from haarflow.core.chains.cluster import SwendsenWang, cluster_labels
from haarflow.core.chains.heatbath_spins import SpinHeatBath, site_colours
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.flows.laws.spins import configurations
from haarflow.theories import Sum, U1Gauge, with_parts
from haarflow.theories.spins.ising import Ising
from tests.conftest import member

LATTICE, BETA, CHAINS = (2, 2), 0.35, 4000
EVERY = configurations(LATTICE)
SITES = list(itertools.product(range(2), repeat=2))


def number(spins):
    """The index of a configuration in EVERY."""
    return ((spins.reshape(len(spins), -1) < 0) * 2 ** numpy.arange(4)).sum(axis=1)


def target():
    weight = numpy.exp(-Ising(LATTICE).action(EVERY, {"beta": BETA}))
    return weight / weight.sum()


def by_heat_bath():
    """The product of the matrices of both colours, each site by its conditional probability, of plain loops."""
    whole = numpy.eye(16)
    for colour in (0, 1):
        matrix = numpy.zeros((16, 16))
        moving = [site for site in SITES if sum(site) % 2 == colour]
        for start, spins in enumerate(EVERY):
            for signs in itertools.product((1.0, -1.0), repeat=2):
                chance, new = 1.0, spins.copy()
                for (t, x), sign in zip(moving, signs, strict=True):
                    h = 2.0 * BETA * (spins[1 - t, x] + spins[t, 1 - x])
                    chance *= numpy.exp(h * sign) / (2.0 * numpy.cosh(h))
                    new[t, x] = sign
                matrix[start, number(new[None])[0]] += chance
        whole = whole @ matrix
    return whole


def clusters(laid, links):
    """The smallest number of a site in each site's cluster."""
    label = {site: index for index, site in enumerate(SITES)}
    for _ in SITES:
        for on, (a, b) in zip(laid, links, strict=True):
            if on:
                label[a] = label[b] = min(label[a], label[b])
    return label


def by_clusters():
    """The sum over all 2^8 ways of laying bonds, each followed by all signs of the clusters, of plain loops."""
    links = [((t, x), (1 - t, x)) for t, x in SITES] + [((t, x), (t, 1 - x)) for t, x in SITES]
    matrix, p = numpy.zeros((16, 16)), 1.0 - numpy.exp(-2.0 * BETA)
    for laid in itertools.product((0, 1), repeat=8):
        label = clusters(laid, links)
        names = sorted(set(label.values()))
        ends = [
            number(numpy.asarray([[[signs[names.index(label[t, x])] for x in range(2)] for t in range(2)]]))[0]
            for signs in itertools.product((1.0, -1.0), repeat=len(names))
        ]
        for start, spins in enumerate(EVERY):
            equal = [spins[a] == spins[b] for a, b in links]
            chances = [(p if on else 1 - p) if same else 1 - on for on, same in zip(laid, equal, strict=True)]
            matrix[start, ends] += numpy.prod(chances) / len(ends)
    return matrix


KERNELS = {"heat bath": (SpinHeatBath, by_heat_bath), "clusters": (SwendsenWang, by_clusters)}


@pytest.mark.parametrize("name", KERNELS)
def test_the_transition_matrix_is_that_of_plain_loops_and_keeps_the_distribution(name):
    """Frequencies from 4000 steps from each of 16 states, within 5 binomial errors: 1e-4 to fail by luck; the seed is fixed."""
    kind, slow = KERNELS[name]
    matrix, p = slow(), target()
    assert numpy.allclose(matrix.sum(axis=1), 1.0, atol=1e-13)
    assert numpy.allclose(p @ matrix, p, atol=1e-14)
    kernel = kind(Ising(LATTICE), {"couplings": {"beta": BETA}})
    start = numpy.repeat(EVERY, CHAINS, axis=0)
    state, _ = run(kernel, random.key(5, backend), kernel.init(start), 1)
    ends = number(state.field).reshape(16, CHAINS)
    frequencies = numpy.stack([numpy.bincount(row, minlength=16) for row in ends]) / CHAINS
    error = numpy.sqrt(numpy.maximum(matrix * (1.0 - matrix), 1.0 / CHAINS) / CHAINS)
    assert numpy.max(numpy.abs(frequencies - matrix) / error) < 5.0


@pytest.mark.parametrize("kind", [SpinHeatBath, SwendsenWang])
@pytest.mark.parametrize("name", ["torch", "strict", "jax"])
def test_kernels_of_spins_make_the_same_moves_on_every_engine(kind, name):
    engine, theory = member(name), Ising((3, 4))
    found = []
    for record in (backend, engine):
        kernel = kind(theory, {"couplings": {"beta": record.asarray([0.2, 0.5])}})
        start = kernel.init(theory.group.haar(random.key(1, record), (2, 3, 4)))
        found.append(record.to_numpy(run(kernel, random.key(2, record), start, 2)[0].field))
    assert numpy.array_equal(*found)


def test_chains_of_their_own_keys_move_by_themselves():
    theory = Ising((2, 3))
    for kind in (SpinHeatBath, SwendsenWang):
        kernel, keys = kind(theory, {"couplings": {"beta": 0.3}}), random.split(random.key(3, backend), 2)
        start = numpy.ones((2, 2, 3))
        both, _ = kernel.step(keys, kernel.init(start))
        for chain in (0, 1):
            alone, _ = kernel.step(keys[chain], kernel.init(start[chain]))
            assert numpy.array_equal(alone.field, both.field[chain])


def test_colours_differ_between_neighbours():
    for lattice in ((4, 4), (3, 4), (3, 5), (1, 3), (2,), (2, 3, 4)):
        labels, count = site_colours(lattice)
        assert count == (3 if any(extent % 2 and extent > 1 for extent in lattice) else 2)
        for axis, extent in enumerate(lattice):
            assert extent == 1 or (labels != numpy.roll(labels, 1, axis=axis)).all()


def test_a_winding_snake_is_one_cluster():
    """One that ends where it began to be numbered, along a way of all sites."""
    ahead = numpy.ones((4, 5), dtype=bool)
    ahead[:, -1] = False
    down = numpy.zeros((4, 5), dtype=bool)
    down[[0, 2], -1], down[1, 0] = True, True
    assert (cluster_labels([down, ahead], d=2) == 0).all()


def test_who_moves_along_an_algebra_refuses_spins():
    for refused in (HMC, LocalMetropolis):
        with pytest.raises(
            TypeError, match="moves fields along the algebra of a group, and the values of Ising are discrete"
        ):
            refused(Ising((4, 4)))
    with pytest.raises(TypeError, match="`conditional` is a SpinWeight, which U1Gauge does not offer"):
        SpinHeatBath(U1Gauge((4, 4)))
    with pytest.raises(TypeError, match="cluster moves want an action -k sum"):
        SwendsenWang(Sum((Ising((4, 4)), Ising((4, 4)))))


def test_replaced_defaults_reach_the_weight_of_a_spin():
    spins = numpy.ones((3, 3))
    cold = with_parts(Ising((3, 3)), couplings={"beta": 2.0})
    assert (cold.conditional.field(spins) == 8.0).all() and cold.conditional.bond(spins) == 2.0
