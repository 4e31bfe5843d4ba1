"""The kernels of samplers by name: each is made from a theory, couplings, settings and, for a few, a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from haarflow.backends.types import Params
from haarflow.core.chains.cluster import SwendsenWang
from haarflow.core.chains.heatbath_spins import SpinHeatBath
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC as HybridMonteCarlo
from haarflow.core.chains.integrators import SCHEMES
from haarflow.core.chains.kernel import Cycle, Kernel
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis
from haarflow.core.parts import AngleWeight, LinkWeight, SpinWeight, described
from haarflow.flows.conditionals import is_reversed, links_given_pseudofermions, marginal_and_conditional
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import AnyModel
from haarflow.run.schema import count
from haarflow.theories.fermions.pseudofermions.one_flavour import Root
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, GibbsByFlow, Refreshed
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import Inner, PseudofermionHMC
from haarflow.theories.gauge.flux_hit import FluxHits


class Proposal(NamedTuple):
    """A trained flow: model, parameters, and the values of the couplings on which it is conditioned."""

    model: AnyModel
    params: Params
    condition: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Settings of samplers whose trajectories flux hits may follow."""

    hits: Annotated[
        int, count("flux hits after each trajectory, which change the charge: for U(1) links in two dimensions", 0)
    ] = 0


def hits_of(settings: Any) -> int:
    """Return how many flux hits follow each trajectory of a sampler.

    >>> from haarflow.run.sampler_settings import HMC, HeatBath
    >>> hits_of(HMC(hits=2)), hits_of(HeatBath())
    (2, 0)
    """
    return settings.hits if isinstance(settings, Hits) else 0


def _flow(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    if proposal is None:
        raise ValueError("this sampler needs a flow: give the recipe a [flow] or a model")
    return IndependenceMetropolis(proposal.model, theory, values=_values(proposal.params, couplings, proposal))


def _hmc(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    values = {"couplings": couplings, "step_size": settings.step_size}
    alone = described(theory).part("marginal")  # of a theory of pairs (U, phi)
    kernel = HybridMonteCarlo(alone or theory, SCHEMES[settings.scheme], settings.steps, values=values)
    return _with_hits(kernel, settings, None if alone is None else theory)


def _marginal(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    model, values = _factor(couplings, proposal)
    return Refreshed(theory, IndependenceMetropolis(model, theory.marginal, values=values))


def _gibbs(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    if proposal is not None and is_reversed(proposal.model):
        values = _values(proposal.params["1"], couplings, proposal)
        return GibbsByFlow(links_given_pseudofermions(proposal.model), theory, values)
    model, values = _factor(couplings, proposal)
    return Gibbs(model, theory, values | ({"width": settings.width} if settings.width else {}))


def _factor(couplings: Mapping[str, float], proposal: Proposal | None) -> tuple[Model, dict[str, Any]]:
    """The marginal flow of a flow of pairs, and the values of a kernel with it."""
    if proposal is None:
        raise ValueError("this sampler needs a flow of pairs: give the recipe a [flow] or a model")
    marginal, _ = marginal_and_conditional(proposal.model)
    return marginal, _values(proposal.params["marginal"], couplings, proposal)


def _values(params: Params, couplings: Mapping[str, float], proposal: Proposal) -> dict[str, Any]:
    """The values of a kernel with a flow of these parameters."""
    told = {} if proposal.condition is None else {"condition": proposal.condition}
    return {"params": params, "couplings": couplings} | told


def _with_hits(kernel: Any, settings: Any, pairs: Any = None) -> Kernel:
    """A kernel with the flux hits of its settings after each step, if there are any; each made one of `pairs` where they are given."""
    hits = hits_of(settings)
    flux = (FluxHits(kernel.theory, hits, {"couplings": kernel.values["couplings"]}),) if hits else ()
    steps: tuple[Kernel, ...] = (kernel, *flux)
    return in_turn(steps if pairs is None else (Refreshed(pairs, step) for step in steps))


def _pseudofermions(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    values = {"couplings": couplings, "step_size": settings.step_size, "masses": tuple(map(float, settings.masses))}
    inner = tuple(Inner(SCHEMES[scheme], steps) for scheme, steps in settings.inner)
    links = described(theory).part("marginal")  # of a theory of pairs (U, phi)
    kernel = PseudofermionHMC(
        links or theory,
        SCHEMES[settings.scheme],
        settings.steps,
        values,
        inner,
        Accuracy(settings.action, settings.max_steps, settings.mixed),
        Accuracy(settings.force, settings.max_steps, settings.mixed),
        Root(settings.poles, settings.lowest),
    )
    return _with_hits(kernel, settings, None if links is None else theory)


# kind of a theory's conditional weight -> its heat bath
HEAT_BATHS: dict[type, Any] = {AngleWeight: U1HeatBath, LinkWeight: SUNHeatBath, SpinWeight: SpinHeatBath}


def _heatbath(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    kind = HEAT_BATHS[type(described(theory).conditional)]
    sweeps = settings.overrelaxation
    values: dict[str, Any] = {"couplings": couplings}
    if kind is not SpinHeatBath:
        return kind(theory, overrelaxation=sweeps, values=values)  # type: ignore[no-any-return]
    if sweeps:
        raise ValueError(f"the spins of {described(theory).name} have no over-relaxation: set overrelaxation to 0")
    return SpinHeatBath(theory, values)


def _cluster(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    return SwendsenWang(theory, {"couplings": couplings})


def _metropolis(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    return LocalMetropolis(theory, values={"couplings": couplings, "width": settings.width})


class Part(NamedTuple):
    """A kernel: the function of (theory, couplings, settings, proposal) that makes it, the entry of a theory's row that
    admits it, and what to cite for it, keys of references.bib.
    """

    make: Callable[..., Kernel]
    admitted_as: str
    papers: tuple[str, ...] = ()


# name of a kernel in a cycle -> kernel; "hmc" needs a force, "heatbath" conditional weights, "metropolis" a local action
KERNELS: dict[str, Part] = {
    "flow": Part(_flow, "flow", ("Albergo2019",)),
    "hmc": Part(_hmc, "hmc", ("Duane1987",)),
    "pseudofermions": Part(_pseudofermions, "pseudofermions", ("Duane1987",)),
    "heatbath": Part(_heatbath, "heatbath"),
    "cluster": Part(_cluster, "cluster", ("SwendsenWang1987",)),
    "metropolis": Part(_metropolis, "metropolis"),
    "marginal": Part(_marginal, "marginal", ("Albergo2021fermions",)),
    "gibbs": Part(_gibbs, "gibbs", ("Albergo2021fermions",)),
}
OF_PAIRS = ("marginal", "gibbs")  # the kernels that take proposals from the marginal factor of a flow of pairs


def in_turn(kernels: Iterable[Kernel]) -> Kernel:
    """Return the kernel that is one step of each in turn; one kernel alone is itself."""
    made = tuple(kernels)
    return made[0] if len(made) == 1 else Cycle(made)
