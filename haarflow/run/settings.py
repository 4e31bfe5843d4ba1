"""The settings of a recipe: frozen dataclasses, one field per key, all checked together by `haarflow.run.recipes`.

The class of [theory] is made from its catalogue row; those of [samplers.NAME] are in `haarflow.run.samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from haarflow.run.schema import NAME, STRICT, count, number, theory_settings
from haarflow.theories.catalogue import THEORIES

THEORY_SETTINGS = {name: theory_settings(name, row) for name, row in THEORIES.items()}


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training of the flow, from scratch or from an existing model."""

    __pydantic_config__ = STRICT
    method: Annotated[
        Literal["adam", "least-spread"],
        Field(
            description="adam, or least-spread: Gauss-Newton steps on the variance of log w, for flows of at most some 100 numbers; ten "
            "steps with some hundred draws"
        ),
    ] = "adam"
    steps: Annotated[int, count("optimiser steps; 0: what train.closed_form fits, and no more", 0)] = 1000
    batch: Annotated[int, count("configurations drawn in each step", 2)] = 128
    lr: Annotated[float, number("initial learning rate of Adam", gt=0)] = 1e-3
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(description="schedule of the learning rate: constant, linear, cosine"),
    ] = "cosine"
    warmup: Annotated[int, count("steps over which the learning rate rises from 0", 0)] = 0
    clip: Annotated[float, number("largest norm of a gradient; 0: no clipping", ge=0)] = 10.0
    b1: Annotated[float, number("decay rate of Adam's mean gradient", ge=0, lt=1)] = 0.9
    b2: Annotated[
        float, number("decay rate of Adam's mean square; 0.95 forgets large initial gradients sooner", ge=0, lt=1)
    ] = 0.999
    estimator: Annotated[
        Literal["reverse-kl", "path-gradient", "reinforce", "hellinger", "forward-kl"],
        Field(description="gradient estimator: reverse-kl, path-gradient, reinforce, hellinger, forward-kl"),
    ] = "reverse-kl"
    symmetrised: Annotated[
        bool,
        Field(
            description="train the density averaged over flow.symmetrised, a pass for each image; false: that of one image, which "
            "costs less"
        ),
    ] = False
    samples: Annotated[int, count("configurations of the target from which forward-kl learns")] = 4096
    images: Annotated[
        bool,
        Field(
            description="forward-kl: move each configuration by a random translation, reflections and an exchange of axes, for "
            "fields on sites"
        ),
    ] = False
    chain: Annotated[
        str, Field(description="the chain sampler that draws them, apart from its own draws; empty: the first")
    ] = ""
    checkpoint: Annotated[int, count("steps between checkpoints, and between lines of metrics.jsonl")] = 50
    start: Annotated[str, Field(description="a model file to start from (fine-tuning); empty: from scratch")] = ""
    closed_form: Annotated[
        int,
        count("steps that first fit each division of flux to its closed form in two dimensions, for U(1); 0: none", 0),
    ] = 0
    anneal: Annotated[
        dict[str, Annotated[float, number("coupling")]],
        Field(description="couplings at the first step, such as beta, for annealing"),
    ] = field(default_factory=dict)
    anneal_steps: Annotated[int, count("steps from the couplings of train.anneal to the theory's; 0: all steps", 0)] = 0
    between: Annotated[
        dict[str, Annotated[tuple[float, float], Field(description="")]],
        Field(description="ranges of couplings, such as beta = [1.0, 3.0], for a flow conditioned on them"),
    ] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Least-squares fit of a flow along loops to Luescher's equation, on heat-bath samples on a small lattice."""

    __pydantic_config__ = STRICT
    couplings: Annotated[
        int, count("number of equally spaced couplings from 0 to the theory's; more than flow.degree", 2)
    ] = 9
    samples: Annotated[
        int, count("independent configurations at each coupling; 0: no fit, the flow is Luescher's series", 0)
    ] = 300
    sweeps: Annotated[
        int, count("heat-bath sweeps, each followed by an over-relaxation sweep, between two couplings")
    ] = 20
    products: Annotated[int, count("number of products of loops to keep, the most important ones; 0: all", 0)] = 0
    lattice: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...],
        Field(description="extents of the samples; empty: the smallest on which the equation's loops fit"),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class Thermodynamics:
    """ln Z on several lattices or at several couplings: by draws of the flow, and by integration over couplings with a chain."""

    __pydantic_config__ = STRICT
    extents: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...],
        Field(description="extents of the first axis, time, each on the lattice's other axes; empty: none"),
    ] = ()
    wider: Annotated[int, count("sites by which the second axis grows for the pressure")] = 2
    along: Annotated[
        dict[str, Annotated[tuple[Annotated[float, number("coupling")], ...], Field(min_length=4)]],
        Field(description="one coupling with four increasing values or more, such as beta, at which ln Z is a curve"),
    ] = field(default_factory=dict)
    draws: Annotated[int, count("draws of the flow at each point; 0: none", 0)] = 20_000
    first: Annotated[
        dict[str, Annotated[float, number("coupling")]],
        Field(
            description="couplings where ln Z is known, from which chains integrate to each point; empty: no integration"
        ),
    ] = field(default_factory=dict)
    points: Annotated[int, count("couplings at which a chain measures on the way to another lattice's", 4)] = 12
    sampler: Annotated[str, Field(description="the chain sampler whose kernel integrates; empty: the first")] = ""
    sweeps: Annotated[int, count("draws of each of its chains at each coupling, after a quarter as many", 20)] = 200


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The backend that computes; empty strings leave the choice to the command."""

    __pydantic_config__ = STRICT
    backend: Annotated[
        Literal["", "numpy", "cupy", "jax", "torch"],
        Field(description="numpy, cupy, jax, torch; empty: the first of jax and torch that is installed"),
    ] = ""
    device: Annotated[str, Field(description="such as cpu or cuda; empty: the backend's default")] = ""
    dtype: Annotated[Literal["float64", "float32"], Field(description="precision: float64, float32")] = "float64"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a run depends on: the same recipe on the same backend gives the same numbers."""

    __pydantic_config__ = STRICT
    name: Annotated[str, Field(pattern=f"^{NAME}$", description="name of the run")]
    description: Annotated[str, Field(description="one line that describes the run")] = ""
    lattice: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1, description="extents, time first")]
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of all random numbers")] = 0
    fields_every: Annotated[int, count("keep every n-th configuration in ensemble.h5; 0: none", 0)] = 0
    model: Annotated[str, Field(description="a model file or a shipped model's name, instead of training")] = ""
    extrapolate: Annotated[
        bool, Field(description="use a model outside the couplings that it was trained or made for")
    ] = False
    theory: Any  # of the class `schema.theory_settings` makes of the theory's row
    flow: Annotated[dict[str, Any], Field(description="the flow's kind and its constructor's arguments")] = field(
        default_factory=dict
    )
    train: Train | None = None
    fit: Fit | None = None
    thermodynamics: Thermodynamics | None = None
    samplers: dict[str, Any] = field(default_factory=dict)
    run: Backend = Backend()
    versions: dict[str, str] = field(default_factory=dict)
