"""The exact sampler of 2D SU(N): boxes that bound, links that close, and the exact torus."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.theories import SUNGauge
from haarflow.theories.exact import characters, sun_torus
from haarflow.theories.samplers import class_angles, class_kernels, sun_strips
from haarflow.theories.samplers import sun as sun_sampler
from haarflow.theories.samplers.sun import exact_sample


@pytest.mark.parametrize("n, beta", [(2, 0.0), (2, 2.2), (2, 300.0), (3, 0.5), (3, 6.0), (4, 8.0)])
def test_no_density_exceeds_its_bound_and_the_boxes_cover_all(n, beta, generator):
    boxes = class_angles.cut(n, beta)
    inside = boxes.lower[:, None, :] + boxes.width[:, None, :] * generator.uniform(size=(len(boxes.keep), 20, n - 1))
    room = boxes.log_bound[:, None] - class_angles.log_density(list(numpy.moveaxis(inside, -1, 0)), beta)
    assert room[inside.sum(axis=-1) <= 2 * math.pi].min() >= 0
    gaps = 2 * math.pi * generator.dirichlet(numpy.ones(n), 200)[:, : n - 1]
    low, high = boxes.lower[None], (boxes.lower + boxes.width)[None]
    assert (((gaps[:, None] >= low) & (gaps[:, None] < high)).all(axis=-1).sum(axis=-1) == 1).all()


def test_aliases_restore_the_chances(generator):
    chances = generator.dirichlet(0.3 * numpy.ones(50))
    keep, alias = class_angles.aliases(chances)
    restored = keep / 50 + numpy.bincount(alias, (1 - keep) / 50, minlength=50)
    numpy.testing.assert_allclose(restored, chances, atol=1e-15)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("lattice", [(4, 4), (1, 3), (3, 1), (1, 1), (2, 5)])
def test_links_have_the_plaquettes_and_holonomies_asked_for(host, lattice, n):
    group, keys = SU(n, 2), random.split(random.key(0, host), 4)
    free = group.haar(keys[0], (3, n, n, *lattice))
    time, space = (SU(n).haar(keys[i], (3, n, n)) for i in (1, 2))
    whole, links = sun_strips.closed(free, time, space)
    found = loops.plaquette(links, 0, 1, 2, group)
    numpy.testing.assert_allclose(found, whole, atol=1e-13)
    numpy.testing.assert_allclose(whole.reshape(3, n, n, -1)[..., :-1], free.reshape(3, n, n, -1)[..., :-1])
    numpy.testing.assert_allclose(loops.polyakov(links, 0, lattice, group)[..., 0, 0], time, atol=1e-13)
    numpy.testing.assert_allclose(loops.polyakov(links, 1, lattice, group)[..., 0, 0], space, atol=1e-13)
    turned = sun_sampler.random_links(keys[3], free, time, space)
    traces = group.trace(loops.plaquette(turned, 0, 1, 2, group))
    numpy.testing.assert_allclose(traces, group.trace(whole), atol=1e-13)
    numpy.testing.assert_allclose(numpy.linalg.det(numpy.moveaxis(turned, (2, 3), (-2, -1))), 1, atol=1e-13)


def test_the_same_configurations_on_every_backend(backend, host):
    theory, beta = SUNGauge((2, 2), n=2), {"beta": 1.0}
    there = backend.to_numpy(exact_sample(theory, random.key(5, backend), 4, beta))
    numpy.testing.assert_allclose(there, exact_sample(theory, random.key(5, host), 4, beta), atol=1e-12)


def test_single_precision(host):
    draw = exact_sample(SUNGauge((2, 2), n=2), random.key(5, host), 4, {"beta": 1.0}, "float32")
    assert draw.dtype == numpy.complex64


def test_configurations_do_not_repeat_over_rounds(host, monkeypatch):
    monkeypatch.setattr(sun_sampler, "BLOCK", 160)
    draw = exact_sample(SUNGauge((2, 2), n=2), random.key(5, host), 40, {"beta": 1.0})
    assert draw.shape == (40, 2, 2, 2, 2, 2)
    assert len(numpy.unique(draw[:, 0, 0, 0, 0, 0])) == 40


def test_no_key_serves_two_rounds(host, monkeypatch):
    """Rounds of candidates, rounds of strips and the gauge transformation fold different numbers into the key."""
    folded, fold_in = [], random.fold_in
    monkeypatch.setattr(random, "fold_in", lambda key, number: folded.append(number) or fold_in(key, number))
    monkeypatch.setattr(sun_sampler, "BLOCK", 16)
    monkeypatch.setattr(sun_strips, "TRIES", 4)
    exact_sample(SUNGauge((2, 4), n=2), random.key(5, host), 5, {"beta": 4.0})
    assert min(sum(number % 2 == parity for number in folded) for parity in (0, 1)) > 3
    assert len(set(folded)) == len(folded)


def test_strips_of_candidates_are_units_up_to_the_last_plaquette(host):
    drawn = sun_sampler.candidates(random.key(4, host), 2, 2.2, (2, 5), 3, "float64", 4)
    strip = drawn.plaquettes[..., -1, -4:]
    assert numpy.array_equal(strip[..., :-1], numpy.broadcast_to(numpy.eye(2)[:, :, None], (3, 2, 2, 3)))
    assert not numpy.allclose(strip[..., -1], numpy.eye(2))
    assert not numpy.allclose(drawn.plaquettes[..., -1, 0], numpy.eye(2))


@pytest.mark.parametrize(
    "theory, n, couplings, error, words",
    [
        (SUNGauge((2, 2, 2)), 1, {"beta": 1.0}, ValueError, "two dimensions"),
        (SUNGauge((2, 2), rectangle=-0.1), 1, {"beta": 1.0}, ValueError, "plaquettes only"),
        (SUNGauge((2, 2), n=5), 1, {"beta": 1.0}, ValueError, "N = 2, 3 or 4"),
        (SUNGauge((2, 2)), 0, {"beta": 1.0}, ValueError, "n = 0"),
        (SUNGauge((2, 2)), 1, {"beta": -1.0}, ValueError, "beta >= 0"),
        (SUNGauge((2, 2)), 1, {"beta": numpy.ones(2)}, TypeError, "beta as a number"),
    ],
)
def test_bad_input(host, theory, n, couplings, error, words):
    with pytest.raises(error, match=words):
        exact_sample(theory, random.key(0, host), n, couplings)


def pulls(theory, beta, n, seed):
    """(mean - exact)/error of plaquette, Wilson loops, both Polyakov loops, and one link, a gauge-variant number."""
    backend = backends.get("numpy")
    field = exact_sample(theory, random.key(seed, backend), n, {"beta": beta})
    exact = theory.exact({"beta": beta})
    seen = {name: (x, exact[name]) for name, x in theory.observables(field).items() if name in exact}
    del seen["action"]
    seen["second moment of a link"] = (abs(field[:, 1, 0, 0, 0, 0]) ** 2, 1 / theory.n)
    seen["link"] = (field[:, 0, 0, 1, 0, 0].imag, 0.0)
    return {name: (x.mean() - value) / (x.std() / math.sqrt(n)) for name, (x, value) in seen.items()}


def test_the_acceptance_is_what_is_said(host):
    """4000 coins at 0.15 and 20000 tries at 0.84 (N = 3), 0.98 (N = 2): 4 sigma, chance 6e-5 each."""
    drawn = sun_sampler.candidates(random.key(2, host), 3, 2.0, (2, 2), 4000, "float64")
    share = sun_sampler.acceptance(3, 2.0, (2, 2))
    dropped = 4 * (1 - class_angles.acceptance(3, 2.0)) ** sun_strips._tries(3, 2.0, 4)
    error = math.sqrt(share * (1 - share) / 4000)
    assert share * (1 - dropped) - 4 * error < drawn.accepted.mean() < share + 4 * error
    for n, beta, said in ((2, 2.2, 0.98), (3, 6.0, 0.84)):
        share = class_angles.acceptance(n, beta)
        _, found = class_angles.draw(random.key(3, host), n, beta, (20000,), 1, "float64")
        assert share == pytest.approx(said, abs=0.01)
        assert abs(found.mean() - share) < 4 * math.sqrt(share * (1 - share) / 20000)


def test_strips_close_as_the_whole_torus_does(host):
    """What follows from a strip and its surroundings is the last plaquette of `closed`."""
    group, lattice, keys = SU(3, 2), (3, 5), random.split(random.key(0, host), 3)
    free = group.haar(keys[0], (4, 3, 3, *lattice))
    time, space = (SU(3).haar(keys[i], (4, 3, 3)) for i in (1, 2))
    whole, _ = sun_strips.closed(free, time, space)
    columns, start = sun_strips._surroundings(whole, time, space, 4)
    around = SU(3).compose(space, SU(3).inverse(time))
    found = sun_strips.closing(whole[..., -1, -4:-1], start, columns, around)
    numpy.testing.assert_allclose(found, whole[..., -1, -1], atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_characters_by_traces(n, host):
    """chi_r of e^{i diag} by Weyl's ratio of alternants; K_1 from its own expansion."""
    angles = numpy.random.default_rng(n).uniform(-1, 1, (5, n))
    angles[:, -1] -= angles.sum(axis=1)
    z = numpy.exp(1j * angles)
    u = numpy.stack([numpy.diag(row) for row in z])
    h = class_kernels.complete(class_kernels.elementary(u), 12)

    def alternant(powers):
        return numpy.linalg.det(z[:, :, None] ** numpy.asarray(powers))

    for rows in characters.shell(n, 1) + characters.shell(n, 3)[:4]:
        powers = [row + n - 1 - i for i, row in enumerate(rows)]
        expected = alternant(powers) / alternant(range(n - 1, -1, -1))
        numpy.testing.assert_allclose(class_kernels.character(rows, h), expected, atol=1e-11)


def test_the_product_of_plaquettes_has_the_density_said(host):
    """int K_m = a_0^m over Haar, and K_m(1) is its largest value: 4 sigma, chance 6e-5 each."""
    for n, beta, m in ((2, 2.2, 4), (3, 4.0, 4), (3, 6.0, 8), (4, 3.0, 4)):
        u = SU(n).haar(random.key(n, host), (20_000, n, n))
        ratio = numpy.exp(class_kernels.log_ratio(u, beta, m))
        whole = class_kernels.expansion(n, beta, m)[1]
        assert ratio.min() >= 0 and ratio.max() <= 1 + 1e-12
        assert abs(ratio.mean() * whole - 1) < 4 * ratio.std() * whole / math.sqrt(20_000)
        one = numpy.eye(n) + 0j
        assert class_kernels.log_ratio(one, beta, m) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("strip", [1, 4])
def test_one_stage_and_two_have_their_acceptance(host, strip):
    """2000 coins: 4 sigma, chance 6e-5; at most 2% of the candidates miss a plaquette."""
    drawn = sun_sampler.candidates(random.key(4, host), 2, 2.2, (4, 4), 2000, "float64", strip)
    share = sun_sampler.acceptance(2, 2.2, (4, 4), strip)
    error = math.sqrt(share * (1 - share) / 2000)
    assert 0.98 * share - 4 * error < drawn.accepted.mean() < share + 4 * error


CASES = [
    (SUNGauge((4, 4), n=2), 2.2, 6000),
    (SUNGauge((3, 5), n=2), 2.7, 6000),
    (SUNGauge((2, 2), n=3), 2.0, 6000),
    (SUNGauge((4, 4), n=3), 4.0, 2500),
    (SUNGauge((3, 3), n=3), 6.0, 2000),
    (SUNGauge((1, 3), n=4), 2.0, 3000),
    (SUNGauge((2, 5), n=4), 4.0, 3000),
    (SUNGauge((8, 8), n=3), 6.0, 1000),
]


@pytest.mark.statistical
@pytest.mark.parametrize("theory, beta, n", CASES, ids=str)
def test_agrees_with_the_exact_torus(theory, beta, n):
    """About 30 pulls in all, each below 4 sigma: chance of bad luck 0.2%; seeds fixed."""
    found = pulls(theory, beta, n, seed=0)
    assert max(abs(pull) for pull in found.values()) < 4, found


@pytest.mark.statistical
def test_a_torus_that_closes_without_the_accept_step_is_caught(monkeypatch):
    """The law bites: without it the mean plaquette is the infinite one times (V - 1)/V, many sigma off."""
    monkeypatch.setattr(sun_sampler, "acceptance", lambda *_: 1.0)
    monkeypatch.setattr(sun_sampler, "_on_host", lambda drawn, backend: [backend.to_numpy(part) for part in drawn[:3]])
    assert abs(pulls(SUNGauge((2, 2), n=3), 2.5, 5000, seed=0)["plaquette"]) > 10
    sun_sampler._round.cache_clear()


def test_infinite_volume_is_one_plaquette_alone(host):
    """Means of the one-plaquette draws: 20000 angles, 4 sigma, chance 6e-5."""
    for n, beta in ((2, 2.7), (3, 6.0), (4, 8.0)):
        angles, found = class_angles.draw(random.key(1, host), n, beta, (20_000,), 12, "float64")
        x = numpy.cos(angles[:, found]).mean(axis=0)
        assert abs(x.mean() - sun_torus.infinite_plaquette(n, beta)) < 4 * x.std() / math.sqrt(x.size)
