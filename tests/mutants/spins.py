"""Ising spins, their kernels and their autoregressive networks with one thing wrong each, and the laws that must see it."""

import math
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.core.chains.cluster import SwendsenWang
from haarflow.core.chains.heatbath_spins import SpinHeatBath
from haarflow.core.chains.kernel import State
from haarflow.core.groups.signs import Signs
from haarflow.core.parts import SpinWeight
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import symmetrised
from haarflow.flows.priors import UniformSites
from haarflow.flows.spins.autoregressive import AutoregressiveSpins, dense
from haarflow.flows.spins.nets import MaskedConvolution, MaskedDense, before
from haarflow.theories.exact.ising_torus import observables
from haarflow.theories.spins.ising import Ising
from haarflow.verification.core_objects import SPINS, WARM, spins
from tests.mutants import Mutant, kept

TWO = {"lattice": (2, 2)}


class SeesItself(MaskedDense):
    """The first layer reads the site's own spin."""

    def masked(self, params, lattice):
        masked, sites = super().masked(params, lattice), math.prod(lattice)
        first = masked.layers[0]._replace(weight=params["w0"] * before(sites, True, params["w0"])[:, None, :, None])
        return masked._replace(layers=(first, *masked.layers[1:]))


class SeesAllAround(MaskedConvolution):
    """A convolution without the order: it reads neighbours that are not drawn yet."""

    def _matrix(self, weight, lattice, itself):
        whole = super()._matrix(weight, lattice, itself)
        return whole + 0.1 * array_namespace(whole).flip(whole, axis=2)


class Turned(AutoregressiveSpins):
    """Spins are +1 with the probability of -1."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, -x, condition)
        return -y, log_det


class Unnormalised(AutoregressiveSpins):
    """The normalisation 2 cosh h of a site is taken for 2, in both directions."""

    def _excess(self, params, y):
        h = self.local_fields(params, y)
        xp = array_namespace(h)
        return xp.sum(xp.log(xp.cosh(h)), axis=tuple(range(-self.masked_net.d, 0)))

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det - self._excess(params, y)

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, log_det + self._excess(params, y)


class ForgetsALayer(AutoregressiveSpins):
    """Draws report log q without the direct weights."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        blind = {**params, "direct": 0.0 * params["direct"]}
        return y, super().forward(blind, x, condition)[1]


class AveragedLogs(Model):
    """The logarithms of the two densities are averaged, not the densities."""

    def _averaged(self, params, images, known, condition):
        rows = [*known, *[self._log_density(params, images[k, ...], condition) for k in range(images.shape[0])]]
        return sum(rows) / len(rows)


class SummedImages(Model):
    """The two densities are added: ln 2 is forgotten."""

    def _averaged(self, params, images, known, condition):
        return super()._averaged(params, images, known, condition) + math.log(2.0)


@dataclass(frozen=True)
class AllAtOnce(SpinHeatBath):
    """All spins are drawn at once, neighbours too."""

    def step(self, key, state):
        xp = array_namespace(state.field)
        h = self.theory.local_field(state.field, self.values["couplings"])
        u = random.uniform(key, state.field.shape, state.field.dtype)
        new = xp.where(xp.log(u / (1.0 - u)) < 2.0 * h, xp.ones_like(h), -xp.ones_like(h))
        return State(new), SpinHeatBath.step(self, key, state)[1]


class NoInverse(Signs):
    def inverse(self, a):
        return -a


class Biased(Signs):
    def haar(self, key, shape, dtype="float64"):
        return self.project(random.uniform(key, shape, dtype) - 0.3)


class Blurred(Signs):
    def project(self, a):
        return 0.5 * a


def couplings(beta):
    return {"couplings": {"beta": beta}}


def of(flow, net=MaskedDense):
    def make(lattice):
        made = net(len(lattice), (2,), 3) if net is MaskedConvolution or net is SeesAllAround else net(lattice, (3,))
        return Model(UniformSites(lattice), flow(made))

    return make


def averaged(kind):
    def make(lattice):
        whole = symmetrised(dense(lattice, (3,)), ("Z2",))
        return kind(whole.prior, whole.flow, whole.images)

    return make


def forward_neighbours(lattice):
    """The local field of the neighbours ahead alone."""
    theory = Ising(lattice)

    def field(x, couplings=None):
        ahead = [array_namespace(x).roll(x, -1, axis=axis - len(lattice)) for axis in range(len(lattice))]
        return theory.bond(x, couplings) * sum(ahead)

    return kept(theory, conditional=SpinWeight(field, theory.bond))


def bonds_too_strong(lattice):
    """Bonds of twice the strength."""
    theory = Ising(lattice)
    return kept(
        theory, conditional=SpinWeight(theory.local_field, lambda x, couplings=None: 2.0 * theory.bond(x, couplings))
    )


def positive_zero_mode(lattice):
    """The root of the zero mode is taken positive also above the critical temperature."""

    def exact(couplings=None):
        beta = couplings["beta"]
        found, sums = observables(lattice, beta), []
        for shift in ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5), (0.0, 0.0)):
            waves = [numpy.cos(2 * math.pi * (numpy.arange(n) + s) / n) for n, s in zip(lattice, shift, strict=True)]
            w = math.cosh(2 * beta) ** 2 - math.sinh(2 * beta) * (waves[0][:, None] + waves[1])
            sums.append(math.exp(0.5 * numpy.log(numpy.abs(w)).sum()))
        return {**found, "ln_Z": (math.prod(lattice) - 1) * math.log(2.0) + math.log(sum(sums))}

    return kept(Ising(lattice), exact=exact)


def kernel(name, made, *laws):
    return Mutant(name, "kernel", lambda lattice: spins(made), laws)


FLOWS = (
    Mutant(
        "a masked net that sees its own site",
        "model",
        of(AutoregressiveSpins, SeesItself),
        ("order_of_sites", "sums_to_one", "sample_is_its_density"),
        TWO,
    ),
    Mutant(
        "a convolution without the order",
        "model",
        of(AutoregressiveSpins, SeesAllAround),
        ("order_of_sites", "sample_is_its_density"),
        TWO,
    ),
    Mutant("spins drawn the wrong way", "model", of(Turned), ("support", "draws_have_the_density"), TWO),
    Mutant("spins without their normalisation", "model", of(Unnormalised), ("sums_to_one",), TWO),
    Mutant("draws that forget a layer", "model", of(ForgetsALayer), ("sample_is_its_density", "log_dets_cancel"), TWO),
)
DENSITIES = (
    Mutant("an average of logarithms over the flip", "density", averaged(AveragedLogs), ("sums_to_one",), TWO),
    Mutant("an average over the flip that forgets ln 2", "density", averaged(SummedImages), ("sums_to_one",), TWO),
)
KERNELS = (
    kernel("a heat bath of spins at a wrong beta", SpinHeatBath(SPINS, couplings(0.6)), "stationary", "equilibrium"),
    kernel("a heat bath of all spins at once", AllAtOnce(SPINS, {"couplings": WARM}), "stationary"),
    kernel("clusters of too many bonds", SwendsenWang(SPINS, couplings(0.6)), "stationary", "equilibrium"),
)
THEORIES = (
    Mutant(
        "a local field of the neighbours ahead", "theory", forward_neighbours, ("spin_weight",), {"lattice": (3, 3)}
    ),
    Mutant("bonds of twice the strength", "theory", bonds_too_strong, ("spin_weight",), {"lattice": (3, 3)}),
    Mutant("a zero mode of one sign", "theory", positive_zero_mode, ("exact_by_quadrature",), {"lattice": (2, 1)}),
)
GROUPS = (
    Mutant("signs whose inverse is the other one", "group", lambda lattice: NoInverse(), ("inverses",)),
    Mutant("signs of unequal odds", "group", lambda lattice: Biased(), ("haar_moments",)),
    Mutant("signs that are not projected", "group", lambda lattice: Blurred(), ("projection", "closure")),
)
HEALTHY = of(AutoregressiveSpins)
