"""The settings of samplers.

Every sampler counts draws per chain: `warmup` draws are dropped, the next `draws` are kept, each of `thin` steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from haarflow.run.kernels import KERNELS, Hits
from haarflow.run.schema import STRICT, count, number
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import ACTION, FORCE, ROOT

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
class Averaged:
    symmetrised: Annotated[
        bool, Field(description="the model as it is; false: without the average of its density over symmetries")
    ] = True


@dataclass(frozen=True, kw_only=True)
class FlowMetropolis(Averaged, _Sampler):
    """Independence Metropolis with proposals from the flow."""

    __pydantic_config__ = STRICT
    kind: Literal["flow-metropolis"] = "flow-metropolis"
    chains: Chains = 1
    draws: Draws = 90_000
    warmup: Warmup = 10_000
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class FlowReweighting(Averaged):
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
class Integrator:
    scheme: Scheme = "leapfrog"
    steps: Annotated[int, count("integrator steps per trajectory")] = 10
    step_size: Annotated[
        float, number("step size of the integrator; a trajectory has length steps x step_size", gt=0)
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class Trajectory(Integrator):
    target_acceptance: Annotated[
        float,
        number(
            "acceptance to which the warm-up tunes step_size, in as many steps as keep the length; 0: step_size stays",
            ge=0,
            lt=1,
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class HMC(Hits, Trajectory, _Sampler):
    """Hybrid Monte Carlo."""

    __pydantic_config__ = STRICT
    kind: Literal["hmc"] = "hmc"
    thin: Steps = 1


@dataclass(frozen=True, kw_only=True)
class Pseudofermions(Hits, Trajectory, _Sampler):
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
    mixed: Annotated[
        bool,
        Field(description="whether solves for pairs of flavours step in single precision between residuals in double"),
    ] = False
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
class Mixture(Trajectory, _Sampler):
    """Several kernels in turn, such as flow proposals alternating with HMC or the heat bath."""

    __pydantic_config__ = STRICT
    kind: Literal["cycle"] = "cycle"
    kernels: Annotated[
        tuple[Literal[*KERNELS], ...],  # type: ignore[valid-type]
        Field(min_length=1, description=f"kernels of one step, in order, from: {', '.join(KERNELS)}"),
    ] = ("flow", "hmc")
    thin: Steps = 1
    overrelaxation: Annotated[int, count("over-relaxation sweeps after each heat-bath sweep", 0)] = 0
    width: Annotated[float, number("width of a proposed local change", gt=0)] = 1.0
    model: Annotated[str, Field(description="another model for the flow; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class ReplicaExchange(Integrator, _Sampler):
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
