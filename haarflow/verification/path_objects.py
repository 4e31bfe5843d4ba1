"""Paths between couplings that the laws check: short, badly tuned ones, of which ln Z at both ends is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import Repeat
from haarflow.core.laws.kernels.stationary import ExactScalars
from haarflow.flows.laws.paths import KnownPath
from haarflow.flows.priors import FreeField, HaarLinks, UniformLinks
from haarflow.flows.stochastic.paths import Path, Step, path, spaced
from haarflow.flows.stochastic.starts import FromChain, FromPrior, Start
from haarflow.flows.sun.gradient_sweep import SUNGradientSweep
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from haarflow.theories.samplers import sun
from haarflow.theories.samplers.u1 import exact_sample
from haarflow.verification.entry import Entry

Lattice = tuple[int, ...]
BETA = 1.5  # at the end of the paths of U(1)
STEPS = 3
NUMBER = 0.2  # of a layer, larger than is good


def u1(lattice: Lattice, flow: Any = None, start: Start | None = None, first: float = 0.0, **words: Any) -> KnownPath:
    """Return a path of U(1) from beta = `first` to BETA in a few steps of the heat bath.

    >>> u1((2, 2)).path.steps
    3
    """
    theory = U1Gauge(lattice)
    kernel = U1HeatBath(theory, tries=4)
    numbers = None if flow is None else {"c": NUMBER}
    steps = [Step(at, flow, numbers, kernel) for at in spaced({"beta": first}, {"beta": BETA}, STEPS, power=2.0)]
    made = path(theory, start or FromPrior(UniformLinks(lattice)), {"beta": first}, steps, **words)
    return known_u1(theory, made, first)


def known_u1(theory: Any, made: Path, first: float = 0.0) -> KnownPath:
    """Return a path of U(1) with ln Z, exact draws and means at BETA.

    >>> known_u1(U1Gauge((2, 2)), u1((2, 2)).path).log_z == U1Gauge((2, 2)).exact({"beta": BETA})["ln_Z"]
    True
    """
    exact = theory.exact({"beta": BETA})
    log_z = float(exact["ln_Z"]) - (float(theory.exact({"beta": first})["ln_Z"]) if first else 0.0)
    means = {name: float(exact[name]) for name in ("plaquette", "Q2")}
    return KnownPath(made, {"beta": BETA}, log_z, means, partial(_u1_draws, theory))


def _u1_draws(theory: Any, couplings: Mapping[str, float]) -> Callable[[Any, int], Any]:
    def draws(key: Any, n: int) -> Any:
        found = exact_sample(theory, key, n, couplings)
        if not found.accepted.all():
            raise ValueError("an exact draw of U(1) found no candidate: take another seed")
        return found.field

    return draws


def from_chain(lattice: Lattice) -> KnownPath:
    """Return a path from a chain at beta = 0.5, whose ln Z is that of the ratio.

    >>> from_chain((2, 2)).path.population
    4
    """
    kernel = Repeat(U1HeatBath(U1Gauge(lattice), tries=4), 2)
    return u1(lattice, GradientSweep(2), FromChain(kernel, 10, 2), 0.5, population=4)


def scalars(lattice: Lattice) -> KnownPath:
    """Return a path of phi^4 from the free field, by HMC.

    >>> sorted(scalars((2, 2)).means)
    ['phi2']
    """
    theory, first, last = Phi4(lattice), {"m2": 1.5, "lam": 0.0}, {"m2": 1.0, "lam": 0.6}
    kernel = HMC(theory, steps=3, values={"step_size": 0.3})
    made = path(
        theory,
        FromPrior(FreeField(lattice, 1.5)),
        first,
        [Step(at, kernel=kernel) for at in spaced(first, last, STEPS)],
    )
    exact = theory.exact(last)
    return KnownPath(made, last, float(exact["ln_Z"]), {"phi2": float(exact["phi2"])}, partial(_scalar_draws, theory))


def _scalar_draws(theory: Any, couplings: Mapping[str, float]) -> Callable[[Any, int], Any]:
    return ExactScalars(theory, couplings, mass=couplings["m2"])


def su2(lattice: Lattice) -> KnownPath:
    """Return a path of SU(2) in two dimensions with a gradient step before each heat bath.

    >>> su2((2, 2)).path.stretches[0].flow
    SUNGradientSweep(n=2, d=2, start=0.0)
    """
    theory, last = SUNGauge(lattice, n=2), {"beta": 2.0}
    flow, kernel = SUNGradientSweep(2, len(lattice)), SUNHeatBath(theory)
    steps = [Step(at, flow, {"c": 0.1}, kernel) for at in spaced({"beta": 0.0}, last, 2)]
    exact = theory.exact(last)
    made = path(theory, FromPrior(HaarLinks(lattice, 2)), {"beta": 0.0}, steps)
    means = {"plaquette": float(exact["plaquette"])}
    return KnownPath(made, last, float(exact["ln_Z"]), means, partial(_sun_draws, theory))


def _sun_draws(theory: Any, couplings: Mapping[str, float]) -> Callable[[Any, int], Any]:
    return lambda key, n: sun.exact_sample(theory, key, n, couplings)


PATH_ENTRIES: tuple[Entry, ...] = (
    Entry("annealing of U(1)", "path", u1, ((2, 2), (3, 2))),
    Entry("stochastic flow of U(1)", "path", partial(u1, flow=GradientSweep(2)), ((2, 2), (2, 3))),
    Entry(
        "sequential Monte Carlo of U(1)",
        "path",
        partial(u1, flow=GradientSweep(2), population=16, resample=0.9),
        ((2, 2),),
    ),
    Entry("paths of U(1) from a chain", "path", from_chain, ((2, 2),)),
    Entry("annealing of phi^4 from the free field", "path", scalars, ((2, 2),)),
    Entry("stochastic flow of SU(2)", "path", su2, ((2, 2),)),
)
