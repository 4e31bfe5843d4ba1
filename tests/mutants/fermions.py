"""Wilson operators with one thing wrong, each of which must fail the laws that are named beside it in MUTANTS."""

import itertools
from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from haarflow.core.axes import spread
from haarflow.core.lattice import spinors
from haarflow.core.lattice.geometry import shift
from haarflow.theories.fermions import hopping
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.hopping import less
from haarflow.theories.fermions.wilson import Wilson
from tests.mutants import Mutant

CALLS = itertools.count()


@dataclass(frozen=True)
class PeriodicTime(Wilson):
    """Says it is antiperiodic in time, and is not."""

    def links(self, field):
        return Wilson(self.lattice, self.n, antiperiodic=False).links(field)


@dataclass(frozen=True)
class SignInSpace(Wilson):
    """The sign of the boundary on the last links of the last direction."""

    def links(self, field):
        xp, lattice = array_namespace(field), self.lattice[::-1]
        axes = tuple(range(field.ndim - self.d)) + tuple(range(field.ndim - 1, field.ndim - 1 - self.d, -1))
        turned = Wilson(lattice, self.n).links(xp.flip(xp.permute_dims(field, axes), axis=-1 - self.d))
        return xp.flip(xp.permute_dims(turned, axes), axis=-1 - self.d)


@dataclass(frozen=True)
class ByHop(Wilson):
    """Products that are made of `hop` and gamma_5, whatever they are."""

    def apply(self, prepared, kappa, psi):
        return less(psi, spread(kappa, len(self.spinor_shape)), self.hop(prepared, psi))

    def adjoint(self, prepared, kappa, psi):
        return self.gamma5(self.apply(prepared, kappa, self.gamma5(psi)))


@dataclass(frozen=True)
class OtherProjector(ByHop):
    """(1 + gamma_mu) on the forward hop too."""

    def hop(self, prepared, psi):
        return hopped(self, prepared, psi, forward=1)


@dataclass(frozen=True)
class ProjectorsExchanged(ByHop):
    """(1 + gamma_mu) forward, (1 - gamma_mu) backward: gamma_5 hermitian, and of the wrong handedness."""

    def hop(self, prepared, psi):
        return hopped(self, prepared, psi, forward=1, backward=-1)


def hopped(operator, prepared, psi, forward=-1, backward=1):
    """The sum over neighbours with any projectors, by rolls."""
    xp, d, axis, total = array_namespace(psi), operator.d, -len(operator.spinor_shape), 0.0
    shaped = xp.reshape(prepared, (*prepared.shape[:-1], *operator.lattice))
    rest = (slice(None),) * (d + 2 * len(operator.colour))
    for row in range(2 * d):
        sign, mu = (forward, row) if row < d else (backward, row - d)
        half = spinors.project(shift(psi, mu, d, 1 if row < d else -1), mu, sign, axis)
        total = total + spinors.rebuild(carried(operator, shaped[(..., row, *rest)], half), mu, sign, axis)
    return total


def carried(operator, link, half):
    """A link times a half spinor."""
    xp, lattice = array_namespace(half), (slice(None),) * operator.d
    if operator.n == 1:
        return link[(..., None, *lattice)] * half
    wide = link[(..., None, slice(None), slice(None), *lattice)] * half[(..., None, slice(None), *lattice)]
    return xp.sum(wide, axis=-1 - operator.d)


@dataclass(frozen=True)
class LinkNotReversed(Wilson):
    """U_mu(x-mu) on the backward hop, not its inverse."""

    def _reversed(self, link):
        return link


@dataclass(frozen=True)
class Transposed(Wilson):
    """The transposed link on the backward hop, not conjugated."""

    def _reversed(self, link):
        return array_namespace(link).conj(Wilson._reversed(self, link))


@dataclass(frozen=True)
class LinkOfTheSite(Wilson):
    """U_mu(x)^+ on the backward hop, the link that leaves the site."""

    def doubled(self, field):
        return unshifted(self, field)


def unshifted(operator, field):
    xp, links = array_namespace(field), operator.links(field)
    doubled = xp.concat([links, xp.conj(links)], axis=-1 - operator.d)
    return xp.reshape(doubled, (*doubled.shape[: -operator.d], -1))


@dataclass(frozen=True)
class KappaInHop(Wilson):
    """D = 1 - 2 kappa H."""

    def apply(self, prepared, kappa, psi):
        return Wilson.apply(self, prepared, 2.0 * kappa, psi)


@dataclass(frozen=True)
class AdjointWithoutGamma5(ByHop):
    """D in the place of D^+."""

    def adjoint(self, prepared, kappa, psi):
        return self.apply(prepared, kappa, psi)


@dataclass(frozen=True)
class UpperGamma5(ByHop):
    """gamma_5 in another basis than the operator's: it exchanges the halves."""

    def gamma5(self, psi):
        up, down = spinors.halves(psi, -len(self.spinor_shape))
        return array_namespace(psi).concat([down, up], axis=-len(self.spinor_shape))

    def adjoint(self, prepared, kappa, psi):
        return Wilson(self.lattice, self.n).adjoint(prepared, kappa, psi)


@dataclass(frozen=True)
class MatrixTransposed(Wilson):
    """Columns in the place of rows."""

    def matrix(self, prepared, kappa):
        return array_namespace(prepared).matrix_transpose(Wilson.matrix(self, prepared, kappa))


@dataclass(frozen=True)
class ConjugateHop(ByHop):
    """Antilinear: H conj(psi)."""

    def hop(self, prepared, psi):
        return Wilson.hop(self, prepared, array_namespace(psi).conj(psi))


@dataclass(frozen=True)
class FirstKappa(Wilson):
    """The kappa of the first row for every row."""

    def apply(self, prepared, kappa, psi):
        first = kappa if isinstance(kappa, float) or kappa.ndim == 0 else 0.0 * kappa + kappa[:1]
        return Wilson.apply(self, prepared, first, psi)


@dataclass(frozen=True)
class HalfTheForce(Wilson):
    """Re x^+ H y differentiated, not twice that."""

    def hop_force(self, field, x, y):
        return 0.5 * Wilson.hop_force(self, field, x, y)


@dataclass(frozen=True)
class SwappedForce(Wilson):
    """x and y exchanged."""

    def hop_force(self, field, x, y):
        return Wilson.hop_force(self, field, y, x)


@dataclass(frozen=True)
class PeriodicForce(Wilson):
    """The derivative knows no sign at the boundary."""

    def hop_force(self, field, x, y):
        return Wilson(self.lattice, self.n, antiperiodic=False).hop_force(field, x, y)


@dataclass(frozen=True)
class RealHop(ByHop):
    """Loses the imaginary part."""

    def hop(self, prepared, psi):
        xp = array_namespace(psi)
        return xp.real(Wilson.hop(self, prepared, psi))


@dataclass(frozen=True)
class Drifting(Wilson):
    """Links that drift from call to call."""

    def links(self, field):
        return Wilson.links(self, field) * (1.0 + 1e-3 * next(CALLS))


@dataclass(frozen=True)
class KappaOnce(EvenOdd):
    """Dhat = 1 - kappa H_oe H_eo."""

    def schur(self, prepared, kappa, odd):
        return self._hop(prepared, self.hop_eo(prepared, odd), 1, 1, odd, kappa)


@dataclass(frozen=True)
class ParitiesExchanged(EvenOdd):
    """The links of the even sites on the odd ones."""

    def prepare(self, field):
        links = EvenOdd.prepare(self, field)
        return Halves(links.odd, links.even)


@dataclass(frozen=True)
class SchurNotAdjoint(EvenOdd):
    """Dhat in the place of Dhat^+."""

    def schur_adjoint(self, prepared, kappa, odd):
        return self.schur(prepared, kappa, odd)


@dataclass(frozen=True)
class WithForm(Wilson):
    """Wilson's operator with another even-odd form."""

    form: type = EvenOdd

    @property
    def even_odd(self):
        return self.form(self)


def turned_adjoint(links, psi, sites, sign=1, *added):
    """A kernel that hops with the projectors of D for D^+ too."""
    return hopping.hop(links, psi, sites, 1, *added)


def kernel_without_the_adjoint(lattice):
    return Wilson(lattice, hopping=replace(hopping.ARRAYS, hop=turned_adjoint))


def operator(name, kind, *laws, **given):
    n = given.pop("n", 1)
    words = {"lattice": (4, 4), **given}
    return Mutant(name, "operator", lambda lattice: kind(lattice, n), laws, words)


def form(name, kind, *laws):
    make = lambda lattice: replace(WithForm(lattice), form=kind)  # noqa: E731
    return Mutant(name, "operator", make, laws, {"lattice": (4, 4)})


MUTANTS = (
    Mutant(
        "a kernel without the adjoint",
        "operator",
        kernel_without_the_adjoint,
        ("equals_arrays", "adjoint_product"),
        {"lattice": (4, 4)},
    ),
    operator("periodic time", PeriodicTime, "plane_waves"),
    operator("the sign of the boundary in space", SignInSpace, "plane_waves"),
    operator("(1 + gamma) on the forward hop", OtherProjector, "plane_waves", "gamma5_hermiticity", "adjoint_product"),
    operator("projectors exchanged", ProjectorsExchanged, "plane_waves", "bilinear_by_differences"),
    operator("U instead of U^+ backward", LinkNotReversed, "plane_waves", "gauge_covariance", "adjoint_product"),
    operator("U^T instead of U^+ backward", Transposed, "gauge_covariance", "gamma5_hermiticity", n=2),
    operator("the link of the site backward", LinkOfTheSite, "gauge_covariance", "adjoint_product"),
    operator("twice kappa", KappaInHop, "hopping_form"),
    operator("D instead of its adjoint", AdjointWithoutGamma5, "adjoint_product"),
    operator("gamma_5 of another basis", UpperGamma5, "gamma5_hermiticity"),
    operator("the dense matrix transposed", MatrixTransposed, "dense_matrix", lattice=(2, 2)),
    operator("an antilinear hop", ConjugateHop, "linearity"),
    operator("one kappa for all rows", FirstKappa, "rows_apart"),
    operator("half the bilinear", HalfTheForce, "bilinear_by_differences", "bilinear_by_autodiff"),
    operator("the bilinear of exchanged spinors", SwappedForce, "bilinear_by_differences", "bilinear_by_autodiff"),
    operator("the bilinear periodic in time", PeriodicForce, "bilinear_by_differences", "bilinear_by_autodiff"),
    operator("a hop that is real", RealHop, "spinor_values"),
    operator("links that drift from call to call", Drifting, "equals_numpy"),
    form("kappa for kappa^2 in the Schur form", KappaOnce, "even_odd_form"),
    form("links of the other parity", ParitiesExchanged, "even_odd_form"),
    form("the Schur form for its adjoint", SchurNotAdjoint, "even_odd_form"),
)
