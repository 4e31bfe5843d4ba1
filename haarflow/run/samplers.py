"""The samplers that a recipe may name, one row each: their settings, their kernels, and what one draw is.

Every sampler counts draws per chain: `warmup` draws are dropped, the next `draws` are kept, each of `thin` steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from haarflow.backends.types import Params
from haarflow.core.chains import tempering
from haarflow.core.chains.cluster import SwendsenWang
from haarflow.core.chains.heatbath_spins import SpinHeatBath
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC as HybridMonteCarlo
from haarflow.core.chains.integrators import SCHEMES
from haarflow.core.chains.kernel import Cycle, Kernel, Repeat
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis
from haarflow.core.chains.tempering import EachReplica, Replicas
from haarflow.core.parts import AngleWeight, LinkWeight, SpinWeight, described
from haarflow.flows.between import Between, told_between
from haarflow.flows.conditionals import is_reversed, links_given_pseudofermions, marginal_and_conditional
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import AnyModel
from haarflow.run.schema import STRICT, count, number
from haarflow.theories.fermions.pseudofermions.one_flavour import Root
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, GibbsByFlow, Refreshed
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import ACTION, FORCE, ROOT, Inner, PseudofermionHMC
from haarflow.theories.gauge.flux_hit import FluxHits


class Proposal(NamedTuple):
    """A trained flow: model, parameters, and the values of the couplings on which it is conditioned."""

    model: AnyModel
    params: Params
    condition: dict[str, float] | None


# ---- kernels


def _flow(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    if proposal is None:
        raise ValueError("this sampler needs a flow: give the recipe a [flow] or a model")
    return IndependenceMetropolis(proposal.model, theory, values=_values(proposal.params, couplings, proposal))


def _hmc(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    values = {"couplings": couplings, "step_size": settings.step_size}
    alone = described(theory).part("marginal")  # of a theory of pairs (U, phi)
    kernel = HybridMonteCarlo(alone or theory, SCHEMES[settings.scheme], settings.steps, values=values)
    return _with_hits(kernel, settings) if alone is None else Refreshed(theory, kernel)


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


def _with_hits(kernel: Any, settings: Any) -> Kernel:
    """A kernel with the flux hits of its settings after each step, if there are any."""
    hits = hits_of(settings)
    if not hits:
        return kernel
    return Cycle((kernel, FluxHits(kernel.theory, hits, {"couplings": kernel.values["couplings"]})))


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
        Accuracy(settings.action, settings.max_steps),
        Accuracy(settings.force, settings.max_steps),
        Root(settings.poles, settings.lowest),
    )
    return _with_hits(kernel, settings) if links is None else Refreshed(theory, kernel)


# kind of a theory's conditional weight -> its heat bath
HEAT_BATHS: dict[type, Any] = {AngleWeight: U1HeatBath, LinkWeight: SUNHeatBath, SpinWeight: SpinHeatBath}


def _heatbath(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    kind = HEAT_BATHS[type(described(theory).conditional)]
    sweeps = settings.overrelaxation if isinstance(settings, HeatBath | ReplicaExchange) else 0
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
    """A kernel: the function of (theory, couplings, settings, proposal) that makes it, and the entry of a theory's row that
    admits it.
    """

    make: Callable[..., Kernel]
    admitted_as: str


# name of a kernel in a cycle -> kernel; "hmc" needs a force, "heatbath" conditional weights, "metropolis" a local action
KERNELS: dict[str, Part] = {
    "flow": Part(_flow, "flow"),
    "hmc": Part(_hmc, "hmc"),
    "pseudofermions": Part(_pseudofermions, "pseudofermions"),
    "heatbath": Part(_heatbath, "heatbath"),
    "cluster": Part(_cluster, "cluster"),
    "metropolis": Part(_metropolis, "metropolis"),
    "marginal": Part(_marginal, "marginal"),
    "gibbs": Part(_gibbs, "gibbs"),
}
OF_PAIRS = ("marginal", "gibbs")  # the kernels that take proposals from the marginal factor of a flow of pairs


# ---- settings

Steps = Annotated[int, count("steps between two recorded draws")]
Chains = Annotated[int, count("parallel chains, each with its own random numbers")]
Draws = Annotated[int, count("draws kept for each chain")]
Warmup = Annotated[int, count("draws dropped at the start of each chain", 0)]
Block = Annotated[int, count("draws per block, the unit that is computed, written and resumed; 0: automatic", 0)]
Scheme = Annotated[
    Literal["leapfrog", "omelyan", "omelyan4"], Field(description="integrator: leapfrog, omelyan, omelyan4")
]


@dataclass(frozen=True, kw_only=True)
class _Sampler:
    chains: Chains = 64
    draws: Draws = 1000
    warmup: Warmup = 100
    block: Block = 0


@dataclass(frozen=True, kw_only=True)
class _Averaged:
    symmetrised: Annotated[
        bool, Field(description="the model as it is; false: without the average of its density over symmetries")
    ] = True


@dataclass(frozen=True, kw_only=True)
class FlowMetropolis(_Averaged, _Sampler):
    """Independence Metropolis with proposals from the flow."""

    __pydantic_config__ = STRICT
    kind: Literal["flow-metropolis"] = "flow-metropolis"
    chains: Chains = 1
    draws: Draws = 90_000
    warmup: Warmup = 10_000
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class FlowReweighting(_Averaged):
    """Independent draws from the flow with weights."""

    __pydantic_config__ = STRICT
    kind: Literal["flow-reweighting"] = "flow-reweighting"
    draws: Draws = 50_000
    block: Block = 0
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class Path:
    """Paths with weights from easier couplings to the theory's: flow layers fitted one by one, and Markov kernels between them."""

    __pydantic_config__ = STRICT
    kind: Literal["path"] = "path"
    draws: Draws = 4096
    block: Block = 0
    first: Annotated[
        dict[str, Annotated[float, number("coupling")]],
        Field(description="couplings where the paths start, such as beta = 0; others are the theory's"),
    ] = field(default_factory=dict)
    steps: Annotated[int, count("steps of a path")] = 64
    power: Annotated[float, number("couplings of step k of n: first + (last - first) (k/n)^power", gt=0)] = 1.0
    layers: Annotated[Literal["gradient", "none"], Field(description="flow before each kernel: gradient, none")] = (
        "gradient"
    )
    kernels: Annotated[
        tuple[Literal["heatbath", "hmc", "metropolis"], ...],
        Field(description="kernels of one step, in order, from: heatbath, hmc, metropolis"),
    ] = ("heatbath",)
    sweeps: Annotated[int, count("how often the kernels run in one step")] = 1
    trajectory: Annotated[int, count("integrator steps of an HMC trajectory")] = 4
    step_size: Annotated[float, number("step size of HMC", gt=0)] = 0.2
    overrelaxation: Annotated[int, count("over-relaxation sweeps after each heat-bath sweep", 0)] = 0
    width: Annotated[float, number("width of a proposed local change", gt=0)] = 1.0
    pilot: Annotated[int, count("paths on which the layers are fitted", 2)] = 256
    degree: Annotated[int, count("degree of the polynomials in k/n that the layers' numbers follow", 0)] = 4
    population: Annotated[int, count("paths that are resampled together, or start from one chain; 1: independent")] = 1
    resample: Annotated[
        float, number("effective share of a population below which it is resampled; 0: never", ge=0, le=1)
    ] = 0.0
    chain: Annotated[
        int, count("warm-up steps of a chain at `first` from which the paths start; 0: an exact draw there", 0)
    ] = 0


@dataclass(frozen=True, kw_only=True)
class _Integrator:
    scheme: Scheme = "leapfrog"
    steps: Annotated[int, count("integrator steps per trajectory")] = 10
    step_size: Annotated[
        float, number("step size of the integrator; a trajectory has length steps x step_size", gt=0)
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class _Trajectory(_Integrator):
    target_acceptance: Annotated[
        float,
        number(
            "acceptance to which the warm-up tunes step_size, in as many steps as keep the length; 0: step_size stays",
            ge=0,
            lt=1,
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class _Hits:
    hits: Annotated[
        int, count("flux hits after each trajectory, which change the charge: for U(1) links in two dimensions", 0)
    ] = 0


@dataclass(frozen=True, kw_only=True)
class HMC(_Hits, _Trajectory, _Sampler):
    """Hybrid Monte Carlo."""

    __pydantic_config__ = STRICT
    kind: Literal["hmc"] = "hmc"
    thin: Steps = 1


@dataclass(frozen=True, kw_only=True)
class Pseudofermions(_Hits, _Trajectory, _Sampler):
    """Hybrid Monte Carlo with pseudofermions in place of the determinant."""

    __pydantic_config__ = STRICT
    kind: Literal["pseudofermions"] = "pseudofermions"
    thin: Steps = 1
    masses: Annotated[
        tuple[Annotated[float, number("hopping parameter", gt=0)], ...],
        Field(description="Hasenbusch's hopping parameters, falling from below kappa; empty: none"),
    ] = ()
    inner: Annotated[
        tuple[tuple[Scheme, Annotated[int, count("steps within one drift")]], ...],
        Field(
            description="schemes and steps of the faster forces, those of the heavier factors and then the gauge force, "
            'such as [["omelyan", 2]]; empty: all forces together'
        ),
    ] = ()
    action: Annotated[float, number("relative residual of the solves for the action", gt=0, lt=1)] = ACTION.tolerance
    force: Annotated[float, number("relative residual of the solves for the force", gt=0, lt=1)] = FORCE.tolerance
    max_steps: Annotated[int, count("steps of a solve before its retry with more")] = FORCE.max_steps
    poles: Annotated[int, count("poles of the rational approximation of an odd flavour")] = ROOT.poles
    lowest: Annotated[
        float,
        number(
            "smallest eigenvalue that the approximation of an odd flavour holds, in units of the largest possible one",
            gt=0,
            lt=1,
        ),
    ] = ROOT.lowest


@dataclass(frozen=True, kw_only=True)
class HeatBath(_Sampler):
    """Heat bath sweeps of a gauge theory or of spins."""

    __pydantic_config__ = STRICT
    kind: Literal["heatbath"] = "heatbath"
    thin: Steps = 1
    overrelaxation: Annotated[int, count("over-relaxation sweeps after each heat-bath sweep", 0)] = 0


@dataclass(frozen=True, kw_only=True)
class Cluster(_Sampler):
    """Swendsen and Wang's cluster moves of Ising spins."""

    __pydantic_config__ = STRICT
    kind: Literal["cluster"] = "cluster"
    thin: Steps = 1


@dataclass(frozen=True, kw_only=True)
class Metropolis(_Sampler):
    """Local Metropolis sweeps, for any theory."""

    __pydantic_config__ = STRICT
    kind: Literal["metropolis"] = "metropolis"
    thin: Steps = 1
    width: Annotated[float, number("width of a proposed change", gt=0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Marginal(_Sampler):
    """Pairs by independence Metropolis of the marginal flow with the exact determinant; then phi, exactly."""

    __pydantic_config__ = STRICT
    kind: Literal["marginal"] = "marginal"
    thin: Steps = 1
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class GibbsOfPairs(_Sampler):
    """Pairs by an exact draw of phi, then Metropolis at fixed phi: in the variables of a marginal flow, or by a flow told phi."""

    __pydantic_config__ = STRICT
    kind: Literal["gibbs"] = "gibbs"
    thin: Steps = 1
    width: Annotated[
        float, number("width of a move in the flow's variables; 0: independent proposals of the flow", ge=0)
    ] = 0.2
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class Mixture(_Trajectory, _Sampler):
    """Several kernels in turn, such as flow proposals alternating with HMC or the heat bath."""

    __pydantic_config__ = STRICT
    kind: Literal["cycle"] = "cycle"
    kernels: Annotated[
        tuple[Literal[*KERNELS], ...],  # type: ignore[valid-type]
        Field(min_length=1, description=f"kernels of one step, in order, from: {', '.join(KERNELS)}"),
    ] = ("flow", "hmc")
    thin: Steps = 1
    width: Annotated[float, number("width of a proposed local change", gt=0)] = 1.0
    model: Annotated[str, Field(description="another model for the flow; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class ReplicaExchange(_Integrator, _Sampler):
    """Replicas at a ladder of couplings, each moved by its own chain, and exchanges of neighbours."""

    __pydantic_config__ = STRICT
    kind: Literal["replicas"] = "replicas"
    ladder: Annotated[
        dict[str, tuple[Annotated[float, number("coupling")], ...]],
        Field(description="couplings of the replicas, such as beta = [2.0, 3.0, 4.0]; the recipe's is one of them"),
    ] = field(default_factory=dict)
    kernels: Annotated[
        tuple[Literal["heatbath", "hmc", "metropolis"], ...],
        Field(min_length=1, description="kernels of one step of every replica, from: heatbath, hmc, metropolis"),
    ] = ("heatbath",)
    sweeps: Annotated[int, count("steps of every replica between two exchanges")] = 1
    overrelaxation: Annotated[int, count("over-relaxation sweeps after each heat-bath sweep", 0)] = 0
    width: Annotated[float, number("width of a proposed local change", gt=0)] = 1.0
    through_flow: Annotated[
        bool,
        Field(
            description="exchange neighbours through the recipe's flow, which is conditioned on the ladder's coupling"
        ),
    ] = False
    model: Annotated[str, Field(description="another model for the flow; empty: the recipe's")] = ""
    thin: Literal[1] = 1


# ---- rows


def _in_turn(theory: Any, couplings: Mapping[str, Any], settings: Any, proposal: Proposal | None) -> Kernel:
    """The kernels of the settings one after another."""
    made = tuple(KERNELS[word].make(theory, couplings, settings, proposal) for word in kernels_of(settings))
    return made[0] if len(made) == 1 else Cycle(made)


def _tempered(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    """The kernels of the settings for every replica, then the exchange of neighbours."""
    ladder = couplings | settings.ladder
    moves = EachReplica(Repeat(_in_turn(theory, ladder, settings, proposal), settings.sweeps))
    replicas = Replicas(theory, rungs_of(settings))
    if proposal is None:
        return Cycle((moves, tempering.ReplicaExchange(replicas, values={"couplings": ladder})))
    model, pairs = proposal.model, range(replicas.count - 1)
    if not isinstance(model, Model) or set(proposal.condition or ()) != set(settings.ladder):
        raise ValueError(
            f"replicas are exchanged through one flow that is told the couplings of the ladder, {', '.join(settings.ladder)}: "
            "give flow.condition and train.between, or set through_flow = false"
        )
    told = tuple(told_between(settings.ladder, pair) for pair in pairs)
    values = {"couplings": ladder, "params": (proposal.params,) * len(pairs), "condition": told}
    return Cycle((moves, tempering.ReplicaExchange(replicas, Between(model.flow), values)))


class Row(NamedTuple):
    """A sampler as recipes, runs and reports know it.

    `draws` is the kind of its draws: "chain", a Markov chain; "accepted", independent proposals of a flow that an accept
    step turns into a chain; "weighted", proposals of a flow with weights. `kernels` are its kernels if its settings name
    none, `colour` is an index into `figures.COLOURS`, `draw` says what one draw is. `small` are examples for the laws, each
    a theory of the catalogue (phi4, u1 or su2) with settings. `compose` makes one kernel of them all.
    """

    settings: type
    draws: Literal["chain", "accepted", "weighted"]
    kernels: tuple[str, ...]
    draw: str
    colour: int | None = None
    small: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    compose: Callable[..., Kernel] = _in_turn


SAMPLERS: dict[str, Row] = {
    "flow-metropolis": Row(FlowMetropolis, "accepted", ("flow",), "one proposal of the flow", 0),
    "flow-reweighting": Row(FlowReweighting, "weighted", ("flow",), "one proposal of the flow", 1),
    "hmc": Row(HMC, "chain", ("hmc",), "one HMC trajectory (times thin)", 2),
    "pseudofermions": Row(Pseudofermions, "chain", ("pseudofermions",), "one pseudofermion trajectory (times thin)", 4),
    "heatbath": Row(HeatBath, "chain", ("heatbath",), "one heat-bath sweep (times thin)", 3),
    "cluster": Row(Cluster, "chain", ("cluster",), "one cluster move of all spins (times thin)"),
    "metropolis": Row(Metropolis, "chain", ("metropolis",), "one sweep of local Metropolis (times thin)"),
    "marginal": Row(Marginal, "chain", ("marginal",), "one proposal of the marginal flow (times thin)"),
    "gibbs": Row(GibbsOfPairs, "chain", ("gibbs",), "one draw of phi and one proposal at fixed phi (times thin)"),
    "path": Row(Path, "weighted", (), "one path", 5),
    "cycle": Row(Mixture, "chain", (), "one round of a cycle's kernels (times thin)"),
    "replicas": Row(
        ReplicaExchange, "chain", (), "steps of every replica and one exchange of neighbours", compose=_tempered
    ),
}


def row_of(settings: Any) -> Row:
    """Return the row of a sampler's settings.

    >>> row_of(HMC()).draws
    'chain'
    """
    return SAMPLERS[settings.kind]


def kernels_of(settings: Any) -> tuple[str, ...]:
    """Return the names of a sampler's kernels, in order.

    >>> kernels_of(Mixture()), kernels_of(HMC())
    (('flow', 'hmc'), ('hmc',))
    """
    return row_of(settings).kernels or settings.kernels


def rungs_of(settings: Any) -> int:
    """Return the number of replicas of each chain, 0 for a sampler without a ladder of couplings.

    >>> rungs_of(ReplicaExchange(ladder={"beta": (1.0, 2.0, 3.0)})), rungs_of(HMC())
    (3, 0)
    """
    return max(map(len, settings.ladder.values()), default=0) if isinstance(settings, ReplicaExchange) else 0


def target_acceptance(settings: Any) -> float:
    """Return the acceptance to which a sampler's warm-up tunes HMC, 0 where its step size is fixed.

    >>> target_acceptance(HMC(target_acceptance=0.8)), target_acceptance(HeatBath())
    (0.8, 0.0)
    """
    return settings.target_acceptance if isinstance(settings, _Trajectory) else 0.0


def hits_of(settings: Any) -> int:
    """Return how many flux hits follow each trajectory of a sampler.

    >>> hits_of(HMC(hits=2)), hits_of(HeatBath())
    (2, 0)
    """
    return settings.hits if isinstance(settings, _Hits) else 0


def averages(settings: Any) -> bool:
    """Return whether a sampler takes a flow with the average of its density over symmetries.

    >>> averages(FlowReweighting()), averages(FlowReweighting(symmetrised=False))
    (True, False)
    """
    return settings.symmetrised if isinstance(settings, _Averaged) else True


def needs_flow(settings: Any) -> bool:
    """Return whether a sampler takes proposals from a flow, or exchanges replicas through one."""
    through = isinstance(settings, ReplicaExchange) and settings.through_flow
    return through or any(word in ("flow", *OF_PAIRS) for word in kernels_of(settings))


def starts_from_flow(settings: Any) -> bool:
    """Return whether the chains start from draws of the flow: at a disordered start the weights p/q are so large that
    proposals are refused for long.
    """
    return any(word in OF_PAIRS for word in kernels_of(settings))


def kernel(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None = None) -> Kernel:
    """Return the Markov kernel of a sampler's settings; raises ValueError if it needs a flow and there is none.

    >>> from haarflow.theories import U1Gauge
    >>> kernel(U1Gauge((4, 4)), {"beta": 1.0}, HMC(steps=5)).steps
    5
    """
    return row_of(settings).compose(theory, couplings, settings, proposal)
