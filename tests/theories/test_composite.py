"""Sums of theories and replaced parts: the finding that a derived theory sampled the wrong weight cannot come back."""

import pickle
from dataclasses import dataclass, replace

import numpy
import pytest

from haarflow.backends import numpy as backend
from haarflow.core import random
from haarflow.core.chains.accept import action_difference
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC, molecular_dynamics
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.core.groups.additive import U1
from haarflow.core.lattice import loops
from haarflow.core.laws.law import Given
from haarflow.core.parts import check_theory, described, force_of
from haarflow.core.statistics import gamma_method
from haarflow.theories import Phi4, Sum, SUNGauge, U1Gauge, accelerated, with_parts
from haarflow.theories.laws.tables import THEORY_LAWS
from haarflow.theories.replaced import on_lattice
from haarflow.theories.samplers.u1 import exact_sample

COUPLINGS = {"beta": 1.5, "gamma": -0.8}


@dataclass(frozen=True)
class TwicePlaquettes:
    """S = -gamma sum_P cos 2 theta_P, as a user would add it: an action, a force, no weight of one link."""

    lattice: tuple[int, ...]
    group = U1()

    @property
    def field_shape(self):
        return (2, *self.lattice)

    @property
    def couplings(self):
        return {"gamma": 0.0}

    def action(self, field, couplings=None):
        gamma = (couplings or self.couplings)["gamma"]
        return -gamma * numpy.cos(2.0 * loops.plaquettes(field, 2)).sum(axis=(-3, -2, -1))

    def force(self, field, couplings=None):
        gamma = (couplings or self.couplings)["gamma"]
        sine = 2.0 * gamma * numpy.sin(2.0 * loops.plaquette(field, 0, 1, 2))
        back = [numpy.roll(sine, 1, axis=axis) for axis in (-2, -1)]
        return numpy.stack([sine - back[1], back[0] - sine], axis=-3)


def composed(lattice=(4, 4)):
    return Sum((U1Gauge(lattice), TwicePlaquettes(lattice)))


def exact_plaquette(beta, gamma, sites):
    """<cos theta_P> on the torus: Z = sum_q c_q^V, c_q = int e^{w(t)} cos(q t) dt/2pi by an equidistant rule."""
    angles = 2 * numpy.pi * numpy.arange(512) / 512
    weight = numpy.exp(beta * numpy.cos(angles) + gamma * numpy.cos(2 * angles))
    orders = numpy.arange(-40, 41)[:, None]
    c = (weight * numpy.cos(orders * angles)).mean(axis=1)
    slope = (weight * numpy.cos(angles) * numpy.cos(orders * angles)).mean(axis=1)
    return float((c ** (sites - 1) * slope).sum() / (c**sites).sum())


def test_the_exact_answer_is_that_of_u1_without_the_term():
    exact = U1Gauge((4, 4)).exact({"beta": 1.5})["plaquette"]
    assert exact_plaquette(1.5, 0.0, 16) == pytest.approx(exact, abs=1e-12)
    assert abs(exact_plaquette(1.5, -0.8, 16) - exact) > 0.1


@pytest.mark.statistical
def test_hmc_of_a_sum_samples_the_sum():
    """32 chains of 400 draws, within five standard errors, below 0.002: by luck it fails once in two million."""
    theory = composed()
    hmc = HMC(theory, steps=6, values={"couplings": COUPLINGS, "step_size": 0.15})
    cold = hmc.init(backend.xp.zeros((32, 2, 4, 4)))
    warm, _ = run(hmc, random.key(1, backend), cold, draws=50)
    _, records = run(hmc, random.key(1, backend), warm, draws=400, start=50, measure=theory.observables)
    found = gamma_method(records["observables"]["plaquette"].T)
    creutz = gamma_method(numpy.exp(-records["info"]["dH"]).T)
    assert found.error < 0.002 and abs(found.value - exact_plaquette(1.5, -0.8, 16)) < 5 * found.error
    assert abs(creutz.value - 1) < 5 * creutz.error


def test_samplers_of_a_part_refuse_the_sum():
    theory = composed()
    assert described(theory).missing("exact", "conditional", "local") == ["exact", "conditional", "local"]
    with pytest.raises(TypeError, match=r"AngleWeight, which U1Gauge \+ TwicePlaquettes does not offer: use HMC"):
        U1HeatBath(theory)
    with pytest.raises(TypeError, match="does not offer: give it one, or use HMC"):
        LocalMetropolis(theory)
    with pytest.raises(ValueError, match="needs Wilson's action"):
        exact_sample(theory, random.key(0, backend), 3)


def test_laws_hold_for_a_sum():
    theory, given = composed((2, 3)), Given((2, 3), seed=3, style="haar", backend=backend)
    laws = [law for law in THEORY_LAWS if law.applies(theory) is None]
    assert {"force_by_differences", "couplings_by_row", "compiled_as_eager"} <= {law.name for law in laws}
    for law in laws:
        if law.name != "couplings_by_row":  # the term above takes numbers only
            assert law.check(theory, given).passed, law.name


@pytest.mark.parametrize("kind", [U1Gauge, SUNGauge, Phi4, Sum])
@pytest.mark.parametrize("words", [{}, {"slots": True}], ids=["a class", "slots"])
def test_theories_are_final(kind, words):
    with pytest.raises(TypeError, match=r"Bad is derived from the theory .*Sum\(\(theory, term\)\).*with_parts"):

        @dataclass(frozen=True, **words)
        class Bad(kind):
            def action(self, field, couplings=None):
                return 0.0


@dataclass(frozen=True)
class Mine:
    lattice: tuple[int, ...]
    group = U1()

    def action(self, field, couplings=None):
        return (field**2).sum(axis=tuple(range(-len(self.lattice), 0)))

    def force(self, field, couplings=None):
        return 2.0 * field


class Stronger(Mine):
    def action(self, field, couplings=None):
        return 2.0 * super().action(field, couplings)


class Renamed(Mine):
    """The same theory with a helper of its own."""

    def helper(self):
        return 1


def test_a_users_derived_theory_is_refused_where_it_replaces_a_part():
    for make in (check_theory, HMC):
        with pytest.raises(TypeError, match=r"Stronger is derived from the theory Mine and replaces its action"):
            make(Stronger((4,)))
    assert check_theory(Renamed((4,))) == Renamed((4,)) and check_theory(Mine((4,))) == Mine((4,))


def test_parts_are_records():
    theory = Mine((4,))
    with pytest.raises(TypeError, match=r"wants Local .* as its `local`, got 3"):
        with_parts(theory, local=3)
    with pytest.raises(TypeError, match="got 'forse': did you mean 'force'"):
        with_parts(theory, forse=None)
    with pytest.raises(ValueError, match="new couplings must have the names m2, lam, got mass"):
        with_parts(Phi4((4, 4)), couplings={"mass": 1.0})


def test_a_new_action_takes_what_described_the_old_one_with_it():
    plain, extra = U1Gauge((4, 4)), TwicePlaquettes((4, 4))
    made = with_parts(
        plain, action=lambda field, couplings=None: plain.action(field) + extra.action(field, {"gamma": 1.0})
    )
    assert described(made).missing("force", "difference", "local", "conditional", "conjugates", "exact", "charge") == [
        *("force", "difference", "local", "conditional", "conjugates", "exact", "charge")
    ]
    field = U1().haar(random.key(0, backend), (3, 2, 4, 4))
    assert numpy.array_equal(made.observables(field)["action"], made.action(field))
    assert not numpy.allclose(made.action(field), plain.action(field))
    with pytest.raises(AttributeError, match="U1Gauge with other parts does not offer exact"):
        made.exact()
    kept = with_parts(plain, exact=None)
    assert described(kept).local is not None and described(kept).missing("exact") == ["exact"]


def test_other_defaults_reach_every_part():
    theory, plain = with_parts(U1Gauge((4, 4)), couplings={"beta": 0.7}), U1Gauge((4, 4))
    field, values = U1().haar(random.key(0, backend), (3, 2, 4, 4)), {"beta": 0.7}
    for given in (None, {}, values):
        assert numpy.array_equal(theory.action(field, given), plain.action(field, values))
        assert numpy.array_equal(theory.force(field, given), plain.force(field, values))
        assert numpy.array_equal(theory.local.density(field, given), plain.density(field, values))
        assert numpy.array_equal(theory.conditional.weight(field, 0, given), plain.local_weight(field, 0, values))
        assert theory.exact(given) == plain.exact(values) and theory.check(given) == values
    assert numpy.array_equal(theory.action(field, couplings={"beta": 3.0}), plain.action(field, {"beta": 3.0}))
    matrices = with_parts(SUNGauge((2, 2)), couplings={"beta": 0.9})
    links = matrices.group.haar(random.key(0, backend), (2, 3, 3, 2, 2))
    assert matrices.conditional.strength(links) == pytest.approx(0.3, rel=1e-15)


class Nowhere:
    """A theory that is no dataclass: nothing says how to make it for another lattice."""

    lattice, group = (4, 4), U1()

    def action(self, field, couplings=None):
        return field.sum(axis=(-3, -2, -1))


def test_theories_move_to_another_lattice_unless_a_part_holds_them():
    plain = U1Gauge((4, 4))
    free = with_parts(plain, couplings={"beta": 0.7}, exact=None)
    assert on_lattice(free, (2, 3)) == with_parts(U1Gauge((2, 3)), couplings={"beta": 0.7}, exact=None)
    assert on_lattice(accelerated(plain), (2, 3)) == accelerated(U1Gauge((2, 3)))
    for part in ({"action": plain.action}, {"local": described(plain).local}):
        held = with_parts(plain, **part)
        assert on_lattice(held, (2, 3)) is None and on_lattice(Sum((plain, held)), (2, 3)) is None
    for theory in (Nowhere(), U1Gauge):
        assert on_lattice(theory, (2, 3)) is None


def test_terms_must_fit():
    for terms, words in (
        ((U1Gauge((4, 4)), U1Gauge((4, 6))), r"one lattice, got \(4, 4\) of U1Gauge and \(4, 6\) of U1Gauge"),
        ((U1Gauge((4, 4)), SUNGauge((4, 4))), "one group"),
        ((Phi4((4, 4)), Phi4((4, 4), "hopping")), "share the coupling lam, which is 8.0 by default in one and 0.022"),
        ((), "one term or more"),
    ):
        with pytest.raises(ValueError, match=words):
            Sum(terms)
    with pytest.raises(TypeError, match="int lacks lattice"):
        Sum((3,))


def test_couplings_go_to_the_terms_that_name_them():
    theory, field = composed(), U1().haar(random.key(0, backend), (3, 2, 4, 4))
    assert theory.couplings == {"beta": 2.0, "gamma": 0.0} and theory.check({"beta": 1.0}) == {
        "beta": 1.0,
        "gamma": 0.0,
    }
    wanted = U1Gauge((4, 4)).action(field, {"beta": 1.5}) + TwicePlaquettes((4, 4)).action(field, {"gamma": -0.8})
    assert numpy.allclose(theory.action(field, COUPLINGS), wanted, rtol=1e-14)
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        theory.action(field, {"gama": 1.0})
    with pytest.raises(ValueError, match="beta >= 0"):
        theory.check({"beta": -1.0})


def test_a_sum_of_theories_with_all_parts_is_one_theory_of_the_summed_coupling():
    """U(1) twice at beta is U(1) at 2 beta, in every part: the heat bath of the sum draws its links."""
    plain = U1Gauge((4, 4))
    double, field = Sum((plain, plain)), U1().haar(random.key(0, backend), (3, 2, 4, 4))
    once, twice = {"beta": 1.25}, {"beta": 2.5}
    near = {"rtol": 0, "atol": 1e-13}
    assert numpy.allclose(double.action(field, once), plain.action(field, twice), **near)
    assert numpy.allclose(double.force(field, once), plain.force(field, twice), **near)
    assert double.local.density(field, once).shape == (3, 2, 4, 4) and double.local.reach == 1
    other = field + 0.1
    wanted = action_difference(plain, other, field, twice)
    assert numpy.allclose(action_difference(double, other, field, once), wanted, **near)
    for one, two in zip(double.conditional.weight(field, 1, once), plain.local_weight(field, 1, twice), strict=True):
        assert numpy.allclose(one, two, **near)
    moved = [
        U1HeatBath(theory, values={"couplings": values})
        .step(random.key(3, backend), U1HeatBath(theory).init(field))[0]
        .field
        for theory, values in ((double, once), (plain, twice))
    ]
    assert numpy.allclose(*moved, rtol=0, atol=1e-9)
    assert double.symmetries == plain.symmetries and double.conjugates is None


def test_a_heat_bath_of_summed_matrices_is_that_of_the_summed_coupling():
    plain = SUNGauge((2, 4), n=2)
    double, field = Sum((plain, plain)), plain.group.haar(random.key(0, backend), (3, 2, 2, 2, 2, 4))
    betas = numpy.asarray([1.0, 2.0, 3.0])
    moved = [
        SUNHeatBath(theory, values={"couplings": {"beta": beta}}, sweep=SUNHeatBath.by_arrays)
        .step(random.key(3, backend), SUNHeatBath(theory).init(field))[0]
        .field
        for theory, beta in (
            (double, betas),
            (with_parts(plain, conditional=replace(plain.conditional, plaquettes_only=False)), 2 * betas),
        )
    ]
    assert numpy.allclose(*moved, rtol=0, atol=1e-9)


def test_conjugates_are_offered_where_every_term_has_its_own():
    plain = U1Gauge((4, 4))
    assert Sum((plain,)).conjugates == plain.conjugates
    named = with_parts(TwicePlaquettes((4, 4)), conjugates={"gamma": {"twice": -16.0}})
    assert Sum((plain, named)).conjugates == {"beta": {"plaquette": -16.0}, "gamma": {"twice": -16.0}}
    assert described(composed()).missing("conjugates") == ["conjugates"]


def test_a_sum_travels_and_compares():
    theory = composed()
    assert pickle.loads(pickle.dumps(theory)) == theory == composed() and hash(theory) == hash(composed())
    made = with_parts(Phi4((4, 4)), couplings={"m2": 1.0, "lam": 0.0})
    again = with_parts(Phi4((4, 4)), couplings={"m2": 1.0, "lam": 0.0})
    assert made == again and hash(made) == hash(again) and pickle.loads(pickle.dumps(made)) == made
    assert made != with_parts(Phi4((4, 4)), couplings={"m2": 2.0, "lam": 0.0})


def test_kernels_are_asked_term_by_term_and_the_plain_path_has_a_name():
    theory = composed()
    assert accelerated(accelerated(theory)) == accelerated(theory)
    assert accelerated(theory).terms[0] == accelerated(U1Gauge((4, 4)))
    field = U1().haar(random.key(0, backend), (3, 2, 4, 4))
    numpy.testing.assert_allclose(accelerated(theory).force(field), force_of(theory)(field), rtol=0, atol=1e-13)
    plain = HMC(U1Gauge((4, 4)), evolve=molecular_dynamics)
    momentum = numpy.cos(numpy.arange(field.size)).reshape(field.shape)
    for one, two in zip(
        plain.trajectory(field, momentum), HMC(U1Gauge((4, 4))).trajectory(field, momentum), strict=True
    ):
        numpy.testing.assert_allclose(one, two, rtol=0, atol=1e-12)


def test_a_heat_bath_of_matrices_refuses_an_angles_weight():
    with pytest.raises(TypeError, match="a LinkWeight, which U1Gauge does not offer"):
        SUNHeatBath(U1Gauge((4, 4)))


def test_a_sum_of_one_term_is_that_term():
    theory = U1Gauge((3, 4))
    alone, field = Sum((theory,)), numpy.random.default_rng(0).uniform(-3, 3, (2, 3, 4))
    assert (alone.name, alone.lattice, alone.field_shape) == ("U1Gauge", (3, 4), (2, 3, 4))
    assert alone.action(field, {"beta": 1.5}) == theory.action(field, {"beta": 1.5})
    numpy.testing.assert_array_equal(alone.force(field, {"beta": 1.5}), theory.force(field, {"beta": 1.5}))


def test_a_sum_is_told_by_all_its_terms_and_the_first_has_the_last_word():
    one, other = (with_parts(U1Gauge((2, 2)), labels={"plaquette": word, word: word}) for word in ("first", "second"))
    assert Sum((one, other)).labels == {"plaquette": "first", "first": "first", "second": "second"}
