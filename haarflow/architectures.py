"""The kinds of flow a recipe may name, as a literal table: kind -> where its constructor stands.

A constructor takes the lattice and keyword arguments and returns a `Model(prior, flow)`. One more kind is one more line.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """Where a constructor stands, what it makes, and which fields of which class its further `**options` are."""

    module: str
    name: str
    what: str
    options: tuple[str, str, tuple[str, ...]] | None = None


GAUGE = (
    "haarflow.flows.equivariant",
    "GaugeCoupling",
    (
        "map",
        "pieces",
        "hidden",
        "harmonics",
        "kernel",
        "activation",
        "final_scale",
        "tied",
        "condition",
        "net_precision",
    ),
)
CHECKERBOARD = (
    "haarflow.flows.context",
    "CheckerboardNet",
    ("hidden", "reach", "kernel", "activation", "symmetric", "tied", "net_precision"),
)

# theory -> kind -> architecture
ARCHITECTURES: dict[str, dict[str, Architecture]] = {
    "u1": {
        "tutorial": Architecture(
            "haarflow.flows.architectures_u1", "tutorial", "mixtures of non-compact projections, arXiv:2101.08176"
        ),
        "stripes": Architecture(
            "haarflow.flows.architectures_u1", "stripes", "the published masks, larger loops as context", GAUGE
        ),
        "convolutional": Architecture(
            "haarflow.flows.architectures_u1", "convolutional", "gauge-equivariant couplings, any dimension", GAUGE
        ),
        "sweep": Architecture("haarflow.flows.sweep", "sweep", "one visit per link, flux swept ahead; two dimensions"),
    },
    "sun": {
        "trivialising": Architecture(
            "haarflow.flows.architectures_sun",
            "trivialising",
            "couplings by the gradient of loops, at first the leading order of arXiv:0907.5491; any dimension",
        ),
        "spectral": Architecture(
            "haarflow.flows.architectures_sun",
            "spectral",
            "couplings of the eigen-angles of plaquettes, SU(2) and SU(3), arXiv:2008.05456; any dimension",
        ),
        "loops": Architecture(
            "haarflow.flows.loop_flow",
            "loops",
            "continuous time, Luescher's series or [fit], arXiv:0907.5491; any dimension",
        ),
        "sweep": Architecture(
            "haarflow.flows.sweep_sun", "class_sweep", "one visit per link, SU(2) and SU(3); two dimensions"
        ),
    },
    "phi4": {
        "tutorial": Architecture("haarflow.flows.architectures_phi4", "tutorial", "affine couplings, arXiv:2101.08176"),
        "copula": Architecture(
            "haarflow.flows.architectures_phi4", "copula", "momentum scalings and quartic tails, some 20 numbers"
        ),
        "convolutional": Architecture(
            "haarflow.flows.architectures_phi4",
            "convolutional",
            "the copula, then convolutional couplings; any dimension",
            CHECKERBOARD,
        ),
    },
}


def constructor(family: str, kind: str) -> Callable[..., Any]:
    """Return the constructor of a theory family's kind of flow.

    >>> constructor("u1", "tutorial").__name__
    'tutorial'
    """
    entry = ARCHITECTURES[family][kind]
    return getattr(import_module(entry.module), entry.name)


def options(family: str, kind: str) -> dict[str, Any]:
    """Return the words [flow] may hold beside `kind`, with their types.

    >>> options("u1", "tutorial")["layers"]
    <class 'int'>
    """
    build = constructor(family, kind)
    hints = typing.get_type_hints(build)
    parameters = list(inspect.signature(build).parameters.values())[1:]
    found = {p.name: hints.get(p.name, Any) for p in parameters if p.kind is not p.VAR_KEYWORD}
    further = ARCHITECTURES[family][kind].options
    if further is not None:
        module, name, fields = further
        types = typing.get_type_hints(getattr(import_module(module), name))
        found |= {field: types[field] for field in fields}
    return found
