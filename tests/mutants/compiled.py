"""Theories with a kernel that is wrong beside array code that is right, one for each kind of kernel and of fault."""

from array_api_compat import array_namespace

from haarflow.core.acceleration import Accelerated, Kernels
from haarflow.core.chains.hmc import molecular_dynamics
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from tests.mutants import Mutant


def spoiled(make, name, change):
    """The theory with a kernel of this name whose result is that of array code, changed."""

    def theory(lattice):
        plain = make(lattice)
        return Accelerated(plain, Kernels(**{name: lambda theory, *given: change(getattr(theory, name)(*given))}))

    return theory


def evolved(change):
    """Scalars with a kernel of trajectories that gives (field, momentum, change of the action) changed."""
    return lambda lattice: Accelerated(
        Phi4(lattice), Kernels(evolve=lambda theory, *given: change(*molecular_dynamics(theory, *given)))
    )


def swept(change):
    """SU(2) with a heat bath that gives (links, failed) changed; it knows the links and the coupling before."""

    def sweep(theory, key, links, coupling, tries, overrelaxation, by_arrays):
        return change(by_arrays, key, links, coupling)

    return lambda lattice: Accelerated(SUNGauge(lattice, 2), Kernels(sweep=sweep))


def but_the_rest(x):
    """Whole registers of two chains alone: those behind keep what the last of them had."""
    xp, whole = array_namespace(x), x.shape[0] // 2 * 2
    return xp.concat([x[:whole, ...], *[x[whole - 1 : whole, ...]] * (x.shape[0] - whole)], axis=0)


def moved_by_a_lane(x):
    """Each row one site too far along the last axis, as a vector loop with its lanes shifted."""
    return array_namespace(x).roll(x, 1, axis=-1)


def cut_at_the_edge(x):
    """Nothing at the last site of each row, as a loop that ends one too early."""
    xp = array_namespace(x)
    return xp.concat([x[..., :-1], xp.zeros_like(x[..., -1:])], axis=-1)


def in_single(x):
    """Computed in single precision."""
    xp = array_namespace(x)
    return xp.astype(xp.astype(x, xp.float32), x.dtype)


def first_direction_alone(by_arrays, key, links, coupling):
    """A sweep that leaves the links of all other directions."""
    new, failed = by_arrays(key, links, coupling)
    return array_namespace(links).concat([new[:, :1, ...], links[:, 1:, ...]], axis=1), failed


def uncounted(by_arrays, key, links, coupling):
    """A heat bath that says of every link that its tries have failed."""
    new, failed = by_arrays(key, links, coupling)
    return new, failed + 1.0


def moved_for_scalars(field, momentum, change):
    return moved_by_a_lane(field), momentum, change


def backwards(field, momentum, change):
    """The change of the action of the way back."""
    return field, momentum, -change


def squared(found):
    """The square of the mean plaquette."""
    return found | {"plaquette": found["plaquette"] ** 2}


SMALL = {"lattice": (2, 4)}


def _caught(name, make):
    return Mutant(name, "theory", make, ("equals_plain",), SMALL)


MUTANTS = (
    _caught("a compiled action of whole registers of chains", spoiled(Phi4, "action", but_the_rest)),
    _caught("a compiled action in single precision", spoiled(U1Gauge, "action", in_single)),
    _caught("a compiled force that stops one site short", spoiled(Phi4, "force", cut_at_the_edge)),
    _caught("a compiled force shifted by a lane", spoiled(U1Gauge, "force", moved_by_a_lane)),
    _caught("compiled plaquettes shifted by a lane", spoiled(U1Gauge, "plaquettes", moved_by_a_lane)),
    _caught("a compiled plaquette that is squared", spoiled(SUNGauge, "observables", squared)),
    _caught("a compiled trajectory whose field is shifted by a lane", evolved(moved_for_scalars)),
    _caught("a compiled change of the action of the wrong sign", evolved(backwards)),
    _caught("a compiled heat bath of one direction", swept(first_direction_alone)),
    _caught("a compiled heat bath that counts failures wrongly", swept(uncounted)),
)
