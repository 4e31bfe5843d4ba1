"""The objects of the core that the laws check: backends, random numbers, groups, kernels with exact draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow.backends import members
from haarflow.core import random
from haarflow.core.chains.cluster import SwendsenWang
from haarflow.core.chains.heatbath_spins import SpinHeatBath
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN, SCHEMES
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, Repeat
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis
from haarflow.core.chains.nested import Nested, Term
from haarflow.core.chains.tempering import EachReplica, ReplicaExchange, Replicas, Swap
from haarflow.core.groups.additive import U1, Complex, Real
from haarflow.core.groups.signs import Signs
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.kernels.stationary import Chained, ExactScalars
from haarflow.flows.laws.spins import configurations
from haarflow.flows.priors import FreeField, UniformLinks
from haarflow.run.samplers import SAMPLERS, Row, kernel
from haarflow.theories import Phi4, Sum, SUNGauge, U1Gauge
from haarflow.theories.exact import sun_torus
from haarflow.theories.gauge.flux_hit import FluxHit
from haarflow.theories.samplers.sun import exact_sample as exact_sun
from haarflow.theories.samplers.u1 import exact_sample
from haarflow.theories.spins.ising import Ising
from haarflow.verification.entry import Entry

PHI4 = {"m2": 2.0, "lam": 0.5}
BETA = {"beta": 1.0}
STRONG = {"beta": 3.0}
WARM = {"beta": 0.4}
SCALARS, LINKS, SPINS = Phi4((2, 2)), U1Gauge((2, 2)), Ising((3, 3))


class Plain(NamedTuple):
    """The simplest model: a prior with the signature of a flow model."""

    prior: Any

    def sample(self, params: Any, key: Any, n: Any, condition: Any = None) -> Any:
        x = self.prior.sample(key, n, params["like"].dtype if "like" in params else "float64")
        return x, self.prior.log_density(x)

    def log_density(self, params: Any, y: Any, condition: Any = None) -> Any:
        return self.prior.log_density(y)


def exact_links(key: Any, n: Any) -> Any:
    """Return exact draws of U(1) at BETA."""
    return exact_sample(LINKS, key, n, BETA).field


def scalars(kernel: Any, **words: Any) -> Any:
    """A kernel of phi^4 on 2x2 with its exact draws."""
    words = {"means": known(SCALARS, PHI4)} | words
    return Chained(kernel, ExactScalars(SCALARS, PHI4, mass=2.0), scalar_observables, **words)


def scalar_observables(fields: Any) -> Any:
    """Return the theory's observables at PHI4."""
    return SCALARS.observables(fields, PHI4)


def links(kernel: Any, **words: Any) -> Any:
    """A kernel of U(1) on 2x2 with its exact draws."""
    return Chained(kernel, exact_links, links_observables, **{"means": links_means(), **words})


def links_observables(fields: Any) -> Any:
    """Return the theory's observables, cosines and sines of the loops that wind, in time, space and both, which a drift
    would rotate, of one link, and the cosine of each plaquette.
    """
    time, space = fields[:, 0].sum(axis=1), fields[:, 1].sum(axis=2)
    both = time[:, :1] + space[:, :1]
    angles = numpy.concatenate([time, space, both, fields[:, 0, 0, :1]], axis=1)
    corners = numpy.cos(LINKS.plaquettes(fields)).reshape(len(fields), -1)
    return LINKS.observables(fields, BETA) | {"cosine": numpy.cos(angles), "sine": numpy.sin(angles), "corner": corners}


@lru_cache(maxsize=1)
def links_means() -> Any:
    """Return the exact means of `links_observables`: holonomies and links are uniform, all plaquettes equal."""
    winding = [(f"{name}[{index}]", 0.0) for name in ("cosine", "sine") for index in range(6)]
    corners = [(f"corner[{index}]", LINKS.exact(BETA)["plaquette"]) for index in range(4)]
    return (*known(LINKS, BETA), *winding, *corners)


def known(theory: Any, couplings: Any) -> Any:
    """Return the exact means of a theory's observables of one number."""
    shapes = {name: x.shape for name, x in theory.observables(numpy.zeros((1, *theory.field_shape))).items()}
    return tuple((name, float(x)) for name, x in theory.exact(couplings).items() if shapes.get(name) == (1,))


def matrices(kernel: Any, **words: Any) -> Any:
    """A kernel of SU(N) on 2x2 with its exact draws."""
    theory = kernel.theory
    words = {"means": matrix_means(kernel.theory.lattice, kernel.theory.group.n)} | words
    return Chained(kernel, partial(exact_matrices, theory), partial(matrix_observables, theory), **words)


def exact_matrices(theory: Any, key: Any, n: Any) -> Any:
    """Return exact draws of SU(N) at STRONG, the same for the same key."""
    return _drawn(theory, tuple(int(word) for word in key), n)


@lru_cache(maxsize=8)
def _drawn(theory: Any, words: Any, n: Any) -> Any:
    return exact_sun(theory, numpy.asarray(words, dtype="int32"), n, STRONG)


def matrix_observables(theory: Any, fields: Any) -> Any:
    """Return the theory's observables, entries of a link, which explore the group, traces of the loops that wind in time and
    space, and of the last plaquette.
    """
    group, lattice, entry = theory.group, tuple(theory.lattice), fields[:, 0, 0, 0, 0, 0]
    winding = [loops.polyakov(fields, mu, lattice, group)[..., 0, 0] for mu in (0, 1)]
    traces = numpy.stack([numpy.trace(x, axis1=1, axis2=2) for x in winding], axis=1)
    corner = group.trace(loops.plaquette(fields, 0, 1, 2, group))[:, -1, -1].real / group.n
    own = {"real": entry.real, "imaginary": entry.imag, "size": abs(entry) ** 2, "corner": corner}
    own |= {"trace": traces.real, "turned": traces.imag, "square": abs(traces) ** 2}
    return theory.observables(fields, STRONG) | own


@lru_cache(maxsize=8)
def matrix_means(lattice: Any, n: int) -> Any:
    """Return the exact means of `matrix_observables`."""
    beta, sites, theory = STRONG["beta"], math.prod(lattice), SUNGauge(lattice, n)
    square, exact = sun_torus.holonomy_square(n, beta, sites), theory.exact(STRONG)
    zeros = [
        (name, 0.0) for name in ("real", "imaginary", "trace[0]", "trace[1]", "turned[0]", "turned[1]", "polyakov")
    ]
    squares = [("square[0]", square), ("square[1]", square), ("size", 1.0 / n)]
    return (*zeros, *squares, ("corner", exact["plaquette"]), ("plaquette", exact["plaquette"]))


def hmc_of_matrices(
    kind: Any = HMC, n: int = 3, scheme: str = "leapfrog", steps: int = 3, step_size: Any = 0.5, theory: Any = SUNGauge
) -> Any:
    """HMC of SU(N)."""
    return kind(theory((2, 2), n), SCHEMES[scheme], steps, {"couplings": STRONG, "step_size": step_size})


def hmc_of_scalars(kind: Any = HMC, scheme: str = "leapfrog", steps: int = 2, step_size: Any = 0.25) -> Any:
    """HMC of phi^4 with an energy violation of about one."""
    return kind(SCALARS, SCHEMES[scheme], steps, {"couplings": PHI4, "step_size": step_size})


def hmc_of_links(kind: Any = HMC, scheme: str = "leapfrog", steps: int = 3, step_size: Any = 0.5) -> Any:
    """HMC of U(1)."""
    return kind(LINKS, SCHEMES[scheme], steps, {"couplings": BETA, "step_size": step_size})


def hmc_on_time_scales(kind: Any = Nested, inner: Any = LEAPFROG) -> Any:
    """HMC of U(1), whose action is divided into two equal terms on nested time scales."""
    half = {"couplings": {"beta": 0.5 * BETA["beta"]}, "step_size": 0.7}
    return HMC(Sum((LINKS, LINKS)), OMELYAN, 3, half, kind(LINKS, (Term(LINKS, inner, 2),)))


def flux_hit(kind: Any = FluxHit) -> Any:
    """The instanton hit of U(1)."""
    return Involutive(LINKS, kind(LINKS, {"couplings": BETA}))


RUNGS = (1.0, 2.0, 3.0)
REPLICAS = Replicas(LINKS, len(RUNGS))


def exchange(kind: Any = ReplicaExchange) -> Any:
    """Replicas of U(1) at RUNGS: exchanges of neighbours, then a heat bath of each, with exact draws of all."""
    values = {"couplings": {"beta": RUNGS}}
    kernel = Cycle((kind(REPLICAS, values=values), EachReplica(U1HeatBath(LINKS, values=values))))
    means = [
        (f"{name}_{rung}", LINKS.exact({"beta": beta})[name]) for rung, beta in enumerate(RUNGS) for name in LADDER
    ]
    return Chained(kernel, exact_replicas, replica_observables, means=tuple(means))


LADDER = ("plaquette", "Q", "Q2", "polyakov")


def exact_replicas(key: Any, n: Any) -> Any:
    """Return exact draws of all replicas, `(n, replica, 2, 2, 2)`."""
    keys = random.split(key, len(RUNGS))
    drawn = [exact_sample(LINKS, keys[rung], n, {"beta": beta}).field for rung, beta in enumerate(RUNGS)]
    return numpy.stack(drawn, axis=1)


def replica_observables(fields: Any) -> Any:
    """Return the observables of each replica."""
    measured = [LINKS.observables(fields[:, rung], {"beta": beta}) for rung, beta in enumerate(RUNGS)]
    return {f"{name}_{rung}": values[name] for rung, values in enumerate(measured) for name in LADDER}


class Stretch(NamedTuple):
    """The flow x -> sinh(k arsinh x) of scalars, site by site, of one number k."""

    def forward(self, params: Any, x: Any, condition: Any = None) -> Any:
        xp = array_namespace(x)
        angle = xp.asinh(x)
        slope = params["k"] * xp.cosh(params["k"] * angle) / xp.cosh(angle)
        return xp.sinh(params["k"] * angle), xp.sum(xp.log(slope), axis=(-2, -1))

    def inverse(self, params: Any, y: Any, condition: Any = None) -> Any:
        return self.forward({"k": 1.0 / params["k"]}, y)


MASSES, LAM = (1.0, 2.5), 0.5  # two replicas of phi^4
WIDE = {"m2": MASSES, "lam": LAM}
STRETCH = {"k": 0.6}


def stretched_swap(kind: Any = Swap) -> Any:
    """The exchange of two replicas of phi^4 through a flow."""
    return Involutive(Replicas(SCALARS), kind(SCALARS, Stretch(), {"couplings": WIDE, "params": STRETCH}))


def stretched_exchange(kind: Any = ReplicaExchange) -> Any:
    """Exchanges of two replicas of phi^4 through a flow, then local moves of each, with exact draws of both."""
    values = {"couplings": WIDE, "params": (STRETCH,)}
    moves = LocalMetropolis(SCALARS, {"couplings": WIDE, "width": 0.7})
    kernel = Cycle((kind(Replicas(SCALARS), Stretch(), values), EachReplica(moves)))
    return Chained(kernel, exact_pairs, pair_observables)


def exact_pairs(key: Any, n: Any) -> Any:
    """Return exact draws of both replicas, `(n, 2, 2, 2)`."""
    keys = random.split(key, 2)
    drawn = [
        ExactScalars(SCALARS, {"m2": m2, "lam": LAM}, mass=m2)(keys[number], n) for number, m2 in enumerate(MASSES)
    ]
    return numpy.stack(drawn, axis=1)


def pair_observables(fields: Any) -> Any:
    """Return even moments of the fields of each replica."""
    squares = fields.reshape(len(fields), 2, -1) ** 2
    return {"phi2": squares.mean(axis=-1), "phi4": (squares**2).mean(axis=-1)}


def local(theory: Any = SCALARS, kind: Any = LocalMetropolis) -> Any:
    """A sweep of local moves."""
    couplings = PHI4 if theory is SCALARS else BETA
    return kind(theory, {"couplings": couplings, "width": 0.7 if theory is SCALARS else 1.5})


def independent(kind: Any = IndependenceMetropolis, tries: int = 2, theory: Any = SCALARS) -> Any:
    """Independence Metropolis from a prior."""
    prior, couplings = (FreeField((2, 2), 1.2), PHI4) if theory is SCALARS else (UniformLinks((2, 2)), BETA)
    return kind(Plain(prior), theory, tries, {"params": {}, "couplings": couplings})


def heat_bath(kind: Any = U1HeatBath, **words: Any) -> Any:
    """Heat bath of U(1)."""
    return kind(LINKS, values={"couplings": BETA}, **words)


def heat_bath_of_matrices(
    n: int = 2, lattice: Any = (2, 2), theory: Any = SUNGauge, kind: Any = SUNHeatBath, **words: Any
) -> Any:
    """Heat bath of SU(N)."""
    return kind(theory(lattice, n), values={"couplings": STRONG}, **words)


def spins(kernel: Any, **words: Any) -> Any:
    """A kernel of the Ising model on 3x3 with its exact draws."""
    return Chained(kernel, exact_spins, spins_observables, **{"means": known(SPINS, WARM), **words})


def exact_spins(key: Any, n: Any) -> Any:
    """Return exact draws of the Ising model at WARM, from all its configurations."""
    every = configurations(SPINS.lattice)
    weight = numpy.exp(-SPINS.action(every, WARM))
    edges = numpy.cumsum(weight / weight.sum())
    return every[numpy.searchsorted(edges[:-1], random.uniform(key, (n,)))]


def spins_observables(fields: Any) -> Any:
    """Return the theory's observables and the products of a spin with a neighbour, and of one with the opposite corner."""
    pairs = {"near": fields[:, 0, 0] * fields[:, 0, 1], "far": fields[:, 0, 0] * fields[:, 1, 1]}
    return SPINS.observables(fields, WARM) | pairs


GROUPS = {
    "Real": Real(),
    "Complex": Complex(),
    "U1": U1(),
    "SU(2)": SU(2, 2),
    "SU(3)": SU(3, 2),
    "SU(4)": SU(4, 2),
    "Signs": Signs(),
}  # on two axes
KERNELS = {
    "hmc_phi4": scalars(hmc_of_scalars(), reversible=True),
    "hmc_u1_omelyan": links(hmc_of_links(scheme="omelyan", step_size=0.7), reversible=True),
    "hmc_phi4_forest_ruth": scalars(hmc_of_scalars(scheme="forest_ruth", steps=3, step_size=0.16), reversible=True),
    "hmc_u1_omelyan4": links(hmc_of_links(scheme="omelyan4", step_size=0.7), reversible=True),
    "hmc_su2": matrices(hmc_of_matrices(n=2), reversible=True),
    "hmc_su3_omelyan": matrices(hmc_of_matrices(scheme="omelyan", step_size=0.7), reversible=True, burn_in=8),
    "involutive_phi4": scalars(Involutive(SCALARS, hmc_of_scalars()), reversible=True),
    "hmc_u1_nested": links(hmc_on_time_scales(), reversible=True),
    "hmc_u1_nested_volume": Involutive(LINKS, hmc_on_time_scales()),
    "flux_hit": flux_hit(),
    "hmc_with_flux_hits": links(Cycle((hmc_of_links(), flux_hit()))),
    "replicas_u1": exchange(),
    "replica_swap_through_flow": stretched_swap(),
    "replicas_through_flow": stretched_exchange(),
    "local_phi4": scalars(local()),
    "local_u1": links(local(LINKS)),
    "local_su2": matrices(LocalMetropolis(SUNGauge((2, 2), 2), {"couplings": STRONG, "width": 1.0}), burn_in=80),
    "independence_phi4": scalars(independent(), reversible=True),
    "independence_u1": links(independent(theory=LINKS, tries=4), reversible=True),
    "heat_bath": links(heat_bath()),
    "heat_bath_few_tries": links(heat_bath(tries=1)),
    "heat_bath_overrelaxed": links(heat_bath(overrelaxation=1)),
    "heat_bath_su2_few_tries": matrices(heat_bath_of_matrices(tries=1)),
    "heat_bath_su2_odd": matrices(heat_bath_of_matrices(lattice=(3, 2))),
    "heat_bath_su3_overrelaxed": matrices(heat_bath_of_matrices(3, overrelaxation=1), burn_in=8),
    "heat_bath_su2_rectangles": heat_bath_of_matrices(
        lattice=(4, 4), theory=partial(SUNGauge, rectangle=-1 / 12), overrelaxation=1
    ),
    "heat_bath_spins": spins(SpinHeatBath(SPINS, {"couplings": WARM})),
    "cluster": spins(SwendsenWang(SPINS, {"couplings": WARM}), reversible=True),
    "cycle": scalars(Cycle((independent(tries=1), local()))),
    "repeat": scalars(Repeat(local(), 2)),
}


def _small(theory: str, row: Row, words: Mapping[str, Any]) -> Chained:
    """A sampler's example: its kernel of a theory on 2x2 with exact draws."""
    model, couplings, chained = {
        "phi4": (SCALARS, PHI4, scalars),
        "u1": (LINKS, BETA, links),
        "su2": (SUNGauge((2, 2), 2), STRONG, matrices),
    }[theory]
    return chained(kernel(model, couplings, row.settings(**words)))


KERNELS |= {
    f"{name}_{theory}": _small(theory, row, words) for name, row in SAMPLERS.items() for theory, words in row.small
}


def _this(obj: Any, lattice: tuple[int, ...]) -> Any:
    """The same object on every lattice."""
    return obj


def _member(name: str, lattice: tuple[int, ...]) -> Any:
    """A backend's record; its lattices are shapes of test arrays."""
    return members.member(name)


CORE_ENTRIES: tuple[Entry, ...] = (
    *(Entry(name, "backend", partial(_member, name), ((4, 3), (40,), (2, 2, 2))) for name in members.OURS),
    Entry("random numbers", "random", partial(_this, random), ((4,),)),
    *(Entry(name, "group", partial(_this, group), ((4, 3),)) for name, group in GROUPS.items()),
    *(Entry(name, "kernel", partial(_this, kernel), ((2, 2),)) for name, kernel in KERNELS.items()),
)
