"""The kinds of flow a recipe may name, as a literal table: kind -> where its constructor stands.

A constructor takes the lattice and keyword arguments and returns a `Model(prior, flow)`. One more kind is one more line.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

# theory -> kind -> (module, constructor, what it is)
ARCHITECTURES: dict[str, dict[str, tuple[str, str, str]]] = {
    "u1": {
        "tutorial": ("haarflow.flows.architectures_u1", "tutorial", "mixtures of non-compact projections, arXiv:2101.08176"),
        "convolutional": ("haarflow.flows.architectures_u1", "convolutional", "gauge-equivariant splines, any dimension"),
        "sweep": ("haarflow.flows.sweep", "sweep", "one visit per link, flux swept ahead; two dimensions only"),
    },
    "phi4": {
        "tutorial": ("haarflow.flows.architectures_phi4", "tutorial", "affine couplings, arXiv:2101.08176"),
        "convolutional": ("haarflow.flows.architectures_phi4", "convolutional", "convolutional couplings, any dimension"),
    },
}


def constructor(family: str, kind: str) -> Callable[..., Any]:
    """Return the constructor of a theory family's kind of flow.

    >>> constructor("u1", "tutorial").__name__
    'tutorial'
    """
    module, name, _ = ARCHITECTURES[family][kind]
    return getattr(import_module(module), name)
