"""What a recipe may say: frozen dataclasses, one field a key, checked all at once by `haarflow.run.recipes`.

[theory] is made from the catalogue's row, [samplers.NAME] stands in `haarflow.run.samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from haarflow.run.schema import STRICT, count, number, theory_settings
from haarflow.theories.catalogue import THEORIES

THEORY_SETTINGS = {name: theory_settings(name, row) for name, row in THEORIES.items()}


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the flow is trained, from nothing or from an existing model."""

    __pydantic_config__ = STRICT
    steps: Annotated[int, count("optimiser steps")] = 1000
    batch: Annotated[int, count("configurations drawn in each step", 2)] = 128
    lr: Annotated[float, number("Adam's learning rate at the start", gt=0)] = 1e-3
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(description="course of the learning rate: constant, linear, cosine"),
    ] = "cosine"
    warmup: Annotated[int, count("steps over which the learning rate rises from 0", 0)] = 0
    clip: Annotated[float, number("largest norm of a gradient; 0 clips nothing", ge=0)] = 10.0
    b1: Annotated[float, number("memory of Adam's mean gradient", ge=0, lt=1)] = 0.9
    b2: Annotated[float, number("memory of Adam's mean square; 0.95 forgets a rough start sooner", ge=0, lt=1)] = 0.999
    estimator: Annotated[
        Literal["reverse-kl", "path-gradient", "reinforce"],
        Field(description="gradient estimator: reverse-kl, path-gradient, reinforce"),
    ] = "reverse-kl"
    checkpoint: Annotated[int, count("steps between checkpoints, and between lines of metrics.jsonl")] = 50
    start: Annotated[str, Field(description="a model file to start from (fine-tuning); empty: from nothing")] = ""
    anneal: Annotated[
        dict[str, Annotated[float, number("coupling")]], Field(description="couplings at the first step, such as beta")
    ] = field(default_factory=dict)
    anneal_steps: Annotated[int, count("steps from those couplings to the theory's", 0)] = 0
    between: Annotated[
        dict[str, Annotated[tuple[float, float], Field(description="")]],
        Field(description="ranges of couplings, such as beta = [1.0, 3.0], for a flow conditioned on them"),
    ] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a flow along loops is fitted to Luescher's equation: heat-bath samples on a small lattice, and least squares."""

    __pydantic_config__ = STRICT
    couplings: Annotated[int, count("couplings from 0 to the theory's, equally spaced, more than flow.degree", 2)] = 9
    samples: Annotated[
        int, count("independent configurations at each coupling; 0: no fit, the flow stays Luescher's series", 0)
    ] = 300
    sweeps: Annotated[
        int, count("heat-bath sweeps, each with one of over-relaxation, from one coupling to the next")
    ] = 20
    products: Annotated[int, count("products of loops to keep, those that the equation wants most; 0: all", 0)] = 0
    lattice: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...],
        Field(description="extents of the samples; empty: the smallest that hold the equation's loops"),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which engine computes; empty strings leave the choice to the command."""

    __pydantic_config__ = STRICT
    backend: Annotated[
        Literal["", "numpy", "cupy", "jax", "torch"],
        Field(description="numpy, cupy, jax, torch; empty: the first present"),
    ] = ""
    device: Annotated[str, Field(description="such as cpu or cuda; empty: the engine's default")] = ""
    dtype: Annotated[Literal["float64", "float32"], Field(description="precision: float64, float32")] = "float64"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a run depends on: the same recipe on the same engine gives the same numbers."""

    __pydantic_config__ = STRICT
    name: Annotated[str, Field(min_length=1, description="what the run is called")]
    description: Annotated[str, Field(description="one line on what it shows")] = ""
    lattice: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1, description="extents, time first")]
    seed: Annotated[int, Field(ge=0, lt=2**63, description="the one seed of all random numbers")] = 0
    fields_every: Annotated[int, count("keep every n-th configuration in ensemble.h5; 0 keeps none", 0)] = 0
    model: Annotated[str, Field(description="a model file or a shipped model's name, instead of training")] = ""
    theory: Any  # of the class `schema.theory_settings` makes of the theory's row
    flow: Annotated[dict[str, Any], Field(description="the flow's kind and its constructor's arguments")] = field(
        default_factory=dict
    )
    train: Train | None = None
    fit: Fit | None = None
    samplers: dict[str, Any] = field(default_factory=dict)
    run: Engine = Engine()
    versions: dict[str, str] = field(default_factory=dict)
