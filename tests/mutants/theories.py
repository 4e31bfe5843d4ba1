"""Theories with one thing wrong, each of which must fail the laws that are named beside it in MUTANTS."""

import itertools
import math
from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from haarflow.backends import of
from haarflow.core.acceleration import Accelerated, Kernels
from haarflow.core.chains.hmc import molecular_dynamics
from haarflow.core.groups.additive import Real
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import AngleWeight, Local
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from haarflow.theories.exact import bessel
from haarflow.theories.gauge.links import beta_for
from haarflow.theories.theory import couplings_for
from tests.mutants import Mutant, compiled, hidden, kept, matrices, spins


def at_the_origin(x, d):
    """The value at site 0, one number a field."""
    return x[(..., *(0,) * d)]


def parts_of(links, d):
    """The links of each direction."""
    return [loops.direction(links, mu, d) for mu in range(d)]


def plus(theory, term):
    """The theory with a term added to its action alone."""
    return kept(theory, action=lambda field, couplings=None: theory.action(field, couplings) + term(field, couplings))


def with_force(theory, change):
    """The theory with a term added to its force alone."""
    return kept(theory, force=lambda field, couplings=None: theory.force(field, couplings) + change(field, couplings))


def with_density(theory, density):
    """The theory with another density, of the same reach."""
    return kept(theory, local=Local(density, theory.local.reach))


def summed(x, axes):
    """The sum over the last axes."""
    return array_namespace(x).sum(x, axis=tuple(range(-axes, 0)))


def force_too_strong(lattice):
    theory = Phi4(lattice)
    return with_force(theory, lambda field, couplings: 0.001 * theory.force(field, couplings))


def backward_neighbour_subtracted(lattice):
    d = len(lattice)
    return with_force(Phi4(lattice), lambda field, couplings: 4.0 * shift(field, d - 1, d, -1))


def quartic_force_quartered(lattice):
    theory = Phi4(lattice)
    return with_force(theory, lambda field, couplings: -3.0 * couplings_for(theory, field, couplings)["lam"] * field**3)


def gauge_force_along_the_orbit(lattice):
    return with_force(U1Gauge(lattice), lambda field, couplings: 1e-3 * of(field).sincos(field)[0])


def bond_counted_twice(lattice):
    theory, d = Phi4(lattice), len(lattice)

    def density(field, couplings=None):
        bond = (shift(field, 0, d) - field) ** 2
        return theory.density(field, couplings) + bond[(..., None) + (slice(None),) * d]

    return with_density(theory, density)


def density_without_terms(lattice):
    theory = Phi4(lattice)
    rest = (slice(None),) * len(lattice)
    return with_density(theory, lambda field, couplings=None: theory.density(field, couplings)[(..., 0, *rest)])


def no_reach(lattice):
    theory = Phi4(lattice)
    return kept(theory, local=Local(theory.density, reach=0))


def link_forgotten(lattice):
    theory = U1Gauge(lattice)

    def action(field, couplings=None):
        (first, second), xp = parts_of(field, 2), array_namespace(field)
        open_loop = first + shift(second, 0, 2) - shift(first, 1, 2)
        return -beta_for(theory, field, couplings, 0) * xp.sum(xp.cos(open_loop), axis=(-2, -1))

    return kept(theory, action=action)


def open_boundary(lattice):
    """Links that leave the lattice are taken to be 1."""
    theory = U1Gauge(lattice)

    def action(field, couplings=None):
        (first, second), xp = parts_of(field, 2), array_namespace(field)
        ahead = xp.concat([second[..., 1:, :], xp.zeros_like(second[..., :1, :])], axis=-2)
        above = xp.concat([first[..., 1:], xp.zeros_like(first[..., :1])], axis=-1)
        cosine = xp.cos(first + ahead - above - second)
        return -beta_for(theory, field, couplings, 0) * xp.sum(cosine, axis=(-2, -1))

    return kept(theory, action=action)


def observable_of_one_link(lattice):
    theory = U1Gauge(lattice)

    def observables(field, couplings=None):
        xp = array_namespace(field)
        return theory.observables(field, couplings) | {"link": xp.mean(xp.cos(field), axis=(-3, -2, -1))}

    return kept(theory, observables=observables)


def charge_without_wrap(lattice):
    theory = U1Gauge(lattice)

    def charge(field):
        return summed(theory.plaquettes(field), 3) / (2 * math.pi)

    def observables(field, couplings=None):
        q = charge(field)
        values = {"Q": q, "Q2": q * q, "p_Q0": array_namespace(q).astype(q == 0.0, q.dtype)}
        return theory.observables(field, couplings) | values

    return kept(theory, charge=charge, observables=observables)


def even_charge(lattice):
    """Takes Q for invariant under what turns it round."""
    theory = U1Gauge(lattice)
    return kept(theory, symmetries=replace(theory.symmetries, odd={}))


def staple_of_the_other_orientation(lattice):
    """Staples, and the weight that is made of them."""
    theory = U1Gauge(lattice)

    def staple(field, mu):
        real, imaginary = theory.staple(field, mu)
        return real, -imaginary

    def weight(field, mu, couplings=None):
        a, b = theory.local_weight(field, mu, couplings)
        return a, -b

    return kept(theory, conditional=AngleWeight(weight, staple))


def heat_bath_of_the_other_orientation(lattice):
    theory = U1Gauge(lattice)

    def weight(field, mu, couplings=None):
        a, b = theory.local_weight(field, mu, couplings)
        return a, -b

    return kept(theory, conditional=AngleWeight(weight, theory.staple))


def map_without_kappa(lattice):
    theory = Phi4(lattice, "hopping")

    def other_form(couplings=None):
        other, mapped, factor = theory.other_form(couplings)
        return other, {**mapped, "lam": mapped["lam"] * theory.check(couplings)["kappa"]}, factor

    return kept(theory, other_form=other_form)


def exact_without_kappa(lattice):
    theory = Phi4(lattice, "hopping")

    def exact(couplings=None):
        known = theory.exact(couplings)
        return known | {"phi2": known["phi2"] * theory.check(couplings)["kappa"]}

    return kept(theory, exact=exact)


def next_bessel(lattice):
    theory = U1Gauge(lattice)

    def exact(couplings=None):
        wrong = float(bessel.ratios(theory.check(couplings)["beta"], 2)[2])
        return theory.exact(couplings) | {"plaquette": wrong}

    return kept(theory, exact=exact)


def half_the_plaquettes(lattice):
    return kept(U1Gauge(lattice), conjugates={"beta": {"plaquette": -0.5 * math.prod(lattice)}})


def mixed_batch(lattice):
    theory = Phi4(lattice)
    return plus(theory, lambda field, couplings: 1e-6 * array_namespace(field).mean(theory.action(field, couplings)))


def sum_over_the_batch(lattice):
    theory = Phi4(lattice)
    return kept(
        theory, action=lambda field, couplings=None: array_namespace(field).sum(theory.action(field, couplings))
    )


def writes_its_input(lattice):
    theory = Phi4(lattice)

    def action(field, couplings=None):
        field[...] = 0.5 * field
        return theory.action(field, couplings)

    return kept(theory, action=action)


def defect(lattice):
    return plus(Phi4(lattice), lambda field, couplings: 1e-3 * at_the_origin(field, len(lattice)) ** 2)


def cubic(lattice):
    return plus(Phi4(lattice), lambda field, couplings: 1e-3 * summed(field**3, len(lattice)))


def observable_with_a_sign(lattice):
    """Takes m for even."""
    theory = Phi4(lattice)
    return kept(theory, symmetries=replace(theory.symmetries, odd={}))


def one_way(lattice):
    """Translations and Z2 hold, but phi(x)^3 phi(x + 0) knows ahead from behind."""
    d = len(lattice)
    return plus(Phi4(lattice), lambda field, couplings: 1e-3 * summed(field**3 * shift(field, 0, d), d))


def anisotropic(lattice):
    d = len(lattice)
    return plus(Phi4(lattice), lambda field, couplings: 1e-3 * summed(field * shift(field, 0, d), d))


def sine_of_the_plaquette(lattice):
    def term(field, couplings):
        return 1e-3 * summed(array_namespace(field).sin(loops.plaquettes(field, 2)), 3)

    return plus(U1Gauge(lattice), term)


def not_on_the_circle(lattice):
    return plus(U1Gauge(lattice), lambda field, couplings: 1e-3 * summed(loops.plaquettes(field, 2) ** 2, 3))


def mean_coupling(lattice, part="action"):
    theory = U1Gauge(lattice)

    def averaged(field, couplings=None):
        values = dict(couplings or {})
        if getattr(values.get("beta"), "shape", ()):
            values["beta"] = array_namespace(field).mean(values["beta"])
        return getattr(theory, part)(field, values)

    return kept(theory, **{part: averaged})


def mean_coupling_when_it_measures(lattice):
    return mean_coupling(lattice, "observables")


def no_border(lattice):
    """Takes whatever couplings it is given, of any name and value."""
    theory = Phi4(lattice)

    def taken(couplings):
        known = couplings if isinstance(couplings, dict) else {}
        return {name: known.get(name, value) for name, value in theory.couplings.items()}

    def action(field, couplings=None):
        return theory.action(field, taken(couplings))

    return kept(theory, check=taken, action=action)


def compiled_force_turned(lattice):
    """A kernel of the force with its sign wrong, beside array code that is right."""
    return Accelerated(
        U1Gauge(lattice), Kernels(force=lambda theory, field, couplings: -theory.force(field, couplings))
    )


def compiled_momenta_turned(lattice):
    """A kernel of trajectories that forgets to turn a sign of the momenta back."""

    def evolve(theory, *given):
        field, momentum, change = molecular_dynamics(theory, *given)
        return field, -momentum, change

    return Accelerated(Phi4(lattice), Kernels(evolve=evolve))


def compiled_heat_bath_turned(lattice):
    """A kernel of the heat bath that draws from the weight of the other sign."""

    def sweep(theory, key, links, coupling, tries, overrelaxation, by_arrays):
        return by_arrays(key, links, -coupling)

    return Accelerated(SUNGauge(lattice, 2), Kernels(sweep=sweep))


@dataclass(frozen=True)
class Drifting:
    """Every call adds far more than the one before, whoever makes it."""

    lattice: tuple[int, ...]
    calls = itertools.count()
    group = Real()

    def action(self, field, couplings=None):
        xp = array_namespace(field)
        return xp.sum(field**2, axis=(-2, -1)) + 1e-6 * 100.0 ** next(self.calls)


TINY = {"lattice": (2, 2)}


BOTH_FORCES = ("force_by_differences", "force_by_autodiff")
MUTANTS = (
    Mutant("a force off by a factor", "theory", force_too_strong, BOTH_FORCES),
    Mutant("a backward neighbour of the wrong sign", "theory", backward_neighbour_subtracted, BOTH_FORCES),
    Mutant("lam phi^3 in the force for 4 lam phi^3", "theory", quartic_force_quartered, BOTH_FORCES),
    Mutant("a force along the gauge orbit", "theory", gauge_force_along_the_orbit, ("gauge_orbit", *BOTH_FORCES), TINY),
    Mutant("a density that counts a bond twice", "theory", bond_counted_twice, ("density_sums",)),
    Mutant("a density without the axis of terms", "theory", density_without_terms, ("density_sums",)),
    Mutant("a reach that is too short", "theory", no_reach, ("density_reach",)),
    Mutant("a plaquette of three links", "theory", link_forgotten, ("gauge_invariance",), TINY),
    Mutant("an open boundary", "theory", open_boundary, ("gauge_invariance", "translation_invariance"), TINY),
    Mutant("an observable of one link", "theory", observable_of_one_link, ("gauge_invariance",), TINY),
    Mutant("a charge without the wrap", "theory", charge_without_wrap, ("charge_of_flux",), TINY),
    Mutant(
        "a charge declared even",
        "theory",
        even_charge,
        ("reflection_invariance", "exchange_invariance", "conjugation_invariance"),
        {"lattice": (3, 3)},
    ),
    Mutant("a staple of the other orientation", "theory", staple_of_the_other_orientation, ("link_weight",), TINY),
    Mutant(
        "a heat bath of the other orientation",
        "theory",
        heat_bath_of_the_other_orientation,
        ("link_weight", "staple_weight"),
        TINY,
    ),
    Mutant("a map of the forms off by kappa", "theory", map_without_kappa, ("forms_agree",), TINY),
    Mutant("exact values off by kappa", "theory", exact_without_kappa, ("exact_by_quadrature",), {"lattice": (2, 1)}),
    Mutant(
        "a plaquette of I_2",
        "theory",
        next_bessel,
        ("exact_by_quadrature", "exact_by_samples", "thermodynamic_identity"),
        {"lattice": (2, 1)},
    ),
    Mutant(
        "half the plaquettes in dS/dbeta",
        "theory",
        half_the_plaquettes,
        ("conjugate_observables", "thermodynamic_identity"),
        TINY,
    ),
    Mutant("an action that mixes the batch", "theory", mixed_batch, ("batch_rows",)),
    Mutant("an action that sums over the batch", "theory", sum_over_the_batch, ("action_values", "batch_rows")),
    Mutant("an action that writes to its input", "theory", writes_its_input, ("inputs_unchanged",)),
    Mutant("a defect", "theory", defect, ("translation_invariance",)),
    Mutant("a cubic term", "theory", cubic, ("sign_invariance",)),
    Mutant("an odd observable declared even", "theory", observable_with_a_sign, ("sign_invariance",)),
    Mutant("a term that knows ahead from behind", "theory", one_way, ("reflection_invariance",)),
    Mutant("an axis of its own weight", "theory", anisotropic, ("exchange_invariance",)),
    Mutant(
        "sines of plaquettes",
        "theory",
        sine_of_the_plaquette,
        ("conjugation_invariance", "reflection_invariance"),
        TINY,
    ),
    Mutant("squares of angles", "theory", not_on_the_circle, ("winding_invariance",), TINY),
    Mutant("one beta for all chains", "theory", mean_coupling, ("couplings_by_row",), TINY),
    Mutant(
        "one beta for all chains it measures", "theory", mean_coupling_when_it_measures, ("couplings_by_row",), TINY
    ),
    Mutant("a theory without a border", "theory", no_border, ("border",)),
    Mutant("an action that drifts from call to call", "theory", Drifting, ("compiled_as_eager", "equals_numpy")),
    Mutant("a compiled force of the wrong sign", "theory", compiled_force_turned, ("equals_plain",), TINY),
    Mutant("compiled momenta of the wrong sign", "theory", compiled_momenta_turned, ("equals_plain",), TINY),
    Mutant("a compiled heat bath of the wrong sign", "theory", compiled_heat_bath_turned, ("equals_plain",), TINY),
    *compiled.MUTANTS,
    *matrices.THEORIES,
    *hidden.THEORIES,
    *spins.THEORIES,
)
