"""What a recipe may say: frozen dataclasses, one field a key, checked all at once by `haarflow.recipes`.

The description of a field is the comment that `haarflow new` writes beside it. Every sampler counts in draws per chain:
`warmup` draws are dropped, the next `draws` are kept, each of `thin` steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

_STRICT = {"extra": "forbid"}


def _count(text: str, least: int = 1) -> Any:
    return Field(ge=least, description=text)


def _number(text: str, **bounds: Any) -> Any:
    return Field(allow_inf_nan=False, description=text, **bounds)


Steps = Annotated[int, _count("steps between two recorded draws")]
Chains = Annotated[int, _count("chains side by side, each with its own random numbers")]
Draws = Annotated[int, _count("draws kept for each chain")]
Warmup = Annotated[int, _count("draws dropped at the start of each chain", 0)]
Block = Annotated[int, _count("draws in a block, the unit that is computed, written and resumed; 0 chooses one", 0)]
Scheme = Annotated[
    Literal["leapfrog", "omelyan", "omelyan4"], Field(description="integrator: leapfrog, omelyan, omelyan4")
]


@dataclass(frozen=True, kw_only=True)
class U1Theory:
    """U(1) gauge theory, S = -beta sum_P cos theta_P."""

    __pydantic_config__ = _STRICT
    name: Annotated[Literal["u1"], Field(description="u1: U(1) gauge theory, S = -beta sum_P cos theta_P")] = "u1"
    beta: Annotated[float, _number("inverse coupling", ge=0)]


@dataclass(frozen=True, kw_only=True)
class Phi4Theory:
    """phi^4, S = sum_x [sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4]."""

    __pydantic_config__ = _STRICT
    name: Annotated[Literal["phi4"], Field(description="phi4: S = sum [(d phi)^2 + m2 phi^2 + lam phi^4]")] = "phi4"
    m2: Annotated[float, _number("bare mass squared; may be negative where lam > 0")]
    lam: Annotated[float, _number("quartic coupling", ge=0)]


@dataclass(frozen=True, kw_only=True)
class Phi4HoppingTheory:
    """phi^4 in hopping form, S = sum_x [-2 kappa sum_mu phi phi + (1 - 2 lam) phi^2 + lam phi^4]."""

    __pydantic_config__ = _STRICT
    name: Annotated[Literal["phi4-hopping"], Field(description="phi4-hopping: phi^4 by kappa and lam")] = "phi4-hopping"
    kappa: Annotated[float, _number("hopping parameter")]
    lam: Annotated[float, _number("quartic coupling", ge=0)]


@dataclass(frozen=True, kw_only=True)
class SUTheory:
    """SU(2), SU(3) or SU(4) gauge theory, S = -(beta/N) sum_P Re tr U_P."""

    __pydantic_config__ = _STRICT
    name: Annotated[
        Literal["su2", "su3", "su4"], Field(description="su2, su3, su4: SU(N), S = -(beta/N) sum_P Re tr U_P")
    ]
    beta: Annotated[float, _number("inverse coupling, 2N/g^2", ge=0)]
    rectangle: Annotated[
        float,
        _number(
            "weight c1 of the 1x2 loops: 0 Wilson, -0.0833333333 Luescher-Weisz, -0.331 Iwasaki; a heat bath then wants "
            "extents that are multiples of 4"
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class SUNTheory(SUTheory):
    """SU(N) gauge theory, S = -(beta/N) sum_P Re tr U_P."""

    __pydantic_config__ = _STRICT
    name: Annotated[Literal["sun"], Field(description="sun: SU(N), S = -(beta/N) sum_P Re tr U_P")]  # type: ignore[assignment]
    n: Annotated[int, _count("the N of SU(N)", 2)]


# theory -> the family whose flows it takes
FAMILIES = {
    "u1": "u1",
    "su2": "sun",
    "su3": "sun",
    "su4": "sun",
    "sun": "sun",
    "phi4": "phi4",
    "phi4-hopping": "phi4",
}
GAUGE = tuple(name for name, family in FAMILIES.items() if family != "phi4")
DEFINITION = ("n", "rectangle")  # words of [theory] that are no couplings: they say which theory it is

Theory = Annotated[
    U1Theory | SUTheory | SUNTheory | Phi4Theory | Phi4HoppingTheory,
    Field(discriminator="name"),
]


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the flow is trained, from nothing or from an existing model."""

    __pydantic_config__ = _STRICT
    steps: Annotated[int, _count("optimiser steps")] = 1000
    batch: Annotated[int, _count("configurations drawn in each step", 2)] = 128
    lr: Annotated[float, _number("Adam's learning rate at the start", gt=0)] = 1e-3
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(description="course of the learning rate: constant, linear, cosine"),
    ] = "cosine"
    warmup: Annotated[int, _count("steps over which the learning rate rises from 0", 0)] = 0
    clip: Annotated[float, _number("largest norm of a gradient; 0 clips nothing", ge=0)] = 10.0
    b1: Annotated[float, _number("memory of Adam's mean gradient", ge=0, lt=1)] = 0.9
    b2: Annotated[float, _number("memory of Adam's mean square; 0.95 forgets a rough start sooner", ge=0, lt=1)] = 0.999
    estimator: Annotated[
        Literal["reverse-kl", "path-gradient", "reinforce"],
        Field(description="gradient estimator: reverse-kl, path-gradient, reinforce"),
    ] = "reverse-kl"
    checkpoint: Annotated[int, _count("steps between checkpoints, and between lines of metrics.jsonl")] = 50
    start: Annotated[str, Field(description="a model file to start from (fine-tuning); empty: from nothing")] = ""
    anneal: Annotated[
        dict[str, Annotated[float, _number("coupling")]], Field(description="couplings at the first step, such as beta")
    ] = field(default_factory=dict)
    anneal_steps: Annotated[int, _count("steps from those couplings to the theory's", 0)] = 0
    between: Annotated[
        dict[str, Annotated[tuple[float, float], Field(description="")]],
        Field(description="ranges of couplings, such as beta = [1.0, 3.0], for a flow conditioned on them"),
    ] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a flow along loops is fitted to Luescher's equation: heat-bath samples on a small lattice, and least squares."""

    __pydantic_config__ = _STRICT
    couplings: Annotated[int, _count("couplings from 0 to the theory's, equally spaced, more than flow.degree", 2)] = 9
    samples: Annotated[
        int, _count("independent configurations at each coupling; 0: no fit, the flow stays Luescher's series", 0)
    ] = 300
    sweeps: Annotated[
        int, _count("heat-bath sweeps, each with one of over-relaxation, from one coupling to the next")
    ] = 20
    products: Annotated[int, _count("products of loops to keep, those that the equation wants most; 0: all", 0)] = 0
    lattice: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...],
        Field(description="extents of the samples; empty: the smallest that hold the equation's loops"),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class _Sampler:
    chains: Chains = 64
    draws: Draws = 1000
    warmup: Warmup = 100
    block: Block = 0


@dataclass(frozen=True, kw_only=True)
class FlowMetropolis(_Sampler):
    """Independence Metropolis: proposals from the flow, accepted by their weights."""

    __pydantic_config__ = _STRICT
    kind: Literal["flow-metropolis"] = "flow-metropolis"
    chains: Chains = 1
    draws: Draws = 90_000
    warmup: Warmup = 10_000
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class FlowReweighting:
    """Independent draws of the flow, each with its weight."""

    __pydantic_config__ = _STRICT
    kind: Literal["flow-reweighting"] = "flow-reweighting"
    draws: Draws = 50_000
    block: Block = 0
    model: Annotated[str, Field(description="another model for this sampler; empty: the recipe's")] = ""


@dataclass(frozen=True, kw_only=True)
class _HMCKnobs:
    scheme: Scheme = "leapfrog"
    steps: Annotated[int, _count("integrator steps of a trajectory")] = 10
    step_size: Annotated[float, _number("size of an integrator step; steps x step_size is the length", gt=0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class HMC(_HMCKnobs, _Sampler):
    """Hybrid Monte Carlo."""

    __pydantic_config__ = _STRICT
    kind: Literal["hmc"] = "hmc"
    thin: Steps = 1


@dataclass(frozen=True, kw_only=True)
class HeatBath(_Sampler):
    """Heat bath sweeps of a gauge theory."""

    __pydantic_config__ = _STRICT
    kind: Literal["heatbath"] = "heatbath"
    thin: Steps = 1
    overrelaxation: Annotated[int, _count("sweeps of reflections at equal action after each heat-bath sweep", 0)] = 0


@dataclass(frozen=True, kw_only=True)
class Metropolis(_Sampler):
    """Local Metropolis sweeps, for any theory."""

    __pydantic_config__ = _STRICT
    kind: Literal["metropolis"] = "metropolis"
    thin: Steps = 1
    width: Annotated[float, _number("width of a proposed change", gt=0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Mixture(_HMCKnobs, _Sampler):
    """Several kernels in turn: flow proposals alternating with HMC or heat bath."""

    __pydantic_config__ = _STRICT
    kind: Literal["cycle"] = "cycle"
    kernels: Annotated[
        tuple[Literal["flow", "hmc", "heatbath", "metropolis"], ...],
        Field(min_length=1, description="kernels of one step, in order: flow, hmc, heatbath, metropolis"),
    ] = ("flow", "hmc")
    thin: Steps = 1
    width: Annotated[float, _number("width of a local Metropolis change", gt=0)] = 1.0
    model: Annotated[str, Field(description="another model for the flow; empty: the recipe's")] = ""


Sampler = Annotated[
    FlowMetropolis | FlowReweighting | HMC | HeatBath | Metropolis | Mixture, Field(discriminator="kind")
]
SAMPLER_KINDS = ("flow-metropolis", "flow-reweighting", "hmc", "heatbath", "metropolis", "cycle")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which engine computes; empty strings leave the choice to the command."""

    __pydantic_config__ = _STRICT
    backend: Annotated[
        Literal["", "numpy", "cupy", "jax", "torch"],
        Field(description="numpy, cupy, jax, torch; empty: the first present"),
    ] = ""
    device: Annotated[str, Field(description="such as cpu or cuda; empty: the engine's default")] = ""
    dtype: Annotated[Literal["float64", "float32"], Field(description="precision: float64, float32")] = "float64"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a run depends on: the same recipe on the same engine gives the same numbers."""

    __pydantic_config__ = _STRICT
    name: Annotated[str, Field(min_length=1, description="what the run is called")]
    description: Annotated[str, Field(description="one line on what it shows")] = ""
    lattice: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1, description="extents, time first")]
    seed: Annotated[int, Field(ge=0, lt=2**63, description="the one seed of all random numbers")] = 0
    fields_every: Annotated[int, _count("keep every n-th configuration in ensemble.h5; 0 keeps none", 0)] = 0
    model: Annotated[str, Field(description="a model file or a shipped model's name, instead of training")] = ""
    theory: Theory
    flow: Annotated[dict[str, Any], Field(description="the flow's kind and its constructor's arguments")] = field(
        default_factory=dict
    )
    train: Train | None = None
    fit: Fit | None = None
    samplers: dict[str, Sampler] = field(default_factory=dict)
    run: Engine = Engine()
    versions: dict[str, str] = field(default_factory=dict)
