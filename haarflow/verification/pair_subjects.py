"""Recipes of pairs as subjects of the laws, which know fields of one array.

A theory of pairs is checked by its own law and as one of its links at fixed pseudofermions. Of a model q(U) q(phi|U) with complex
pseudofermions each factor is checked, the second at fixed links: its Jacobian is triangular. A model of real fields is one of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from haarflow.core.parts import described
from haarflow.core.spaces import Pair
from haarflow.flows.conditionals import marginal_and_conditional
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import AnyModel, components, on_components
from haarflow.theories.fermions.pseudofermions.measurements import PointPion
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.verification.joint_objects import as_rows
from haarflow.verification.pair_objects import AtLinks, AtNoise, Parted

Lattice = tuple[int, ...]
Make = Callable[[Lattice], Any]
EXTENTS = (2, 3, 4, 8)  # of the lattices to try: a pair has many components


def is_of_pairs(theory: Any) -> bool:
    """Return whether the fields of a theory are pairs.

    >>> from haarflow.theories import Phi4
    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> is_of_pairs(Phi4((4, 4))), is_of_pairs(yukawa_pairs((4, 4)))
    (False, True)
    """
    return isinstance(described(theory).spaces, Pair)


def theories(theory: Make) -> list[tuple[str, str, Make]]:
    """Return what stands for a theory of pairs: names, kinds, and functions of the lattice."""

    def links(on: Lattice) -> AtNoise:
        return AtNoise(_without_point_sources(theory(on)))

    return [("theory", "pairs", theory), ("theory at fixed pseudofermions", "theory", links)]


def _without_point_sources(theory: Any) -> Any:
    """A theory without the pion of a point source: the laws take kappa beyond where its solves converge."""
    if not isinstance(theory, WithPseudofermions):
        return theory
    return replace(theory, measurements=tuple(one for one in theory.measurements if not isinstance(one, PointPion)))


def models(model: Make, theory: Make, lattice: Lattice, kappa: float | None) -> list[tuple[str, str, Make]]:
    """Return what stands for a model of pairs; `kappa` is that of the theory's hops, None where its pseudofermions are real."""
    if kappa is None:
        return [("flow", _kind(model(lattice)), lambda on: on_components(as_rows, model(on)))]

    def links(on: Lattice) -> AnyModel:
        return on_components(lambda part: marginal_and_conditional(part)[0], model(on))

    def pseudofermions(on: Lattice) -> Model:
        factor = marginal_and_conditional(components(model(on))[0])[1]
        return Model(Parted(factor.noise), AtLinks(factor.flow, theory(on).hops(kappa), factor.noise.field_shape))

    return [("flow of links", _kind(links(lattice)), links), ("flow of pseudofermions", "model", pseudofermions)]


def _kind(model: AnyModel) -> str:
    return "model" if isinstance(model, Model) else "density"
