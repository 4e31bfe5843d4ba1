"""What a run samples: the theory of a recipe on its lattice, at its couplings, with everything known about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from haarflow.backends.tree import flatten
from haarflow.backends.types import Array, Couplings, Key, Tree
from haarflow.core import fields
from haarflow.core.parts import described
from haarflow.core.spaces import Space
from haarflow.flows.priors import Gaussian
from haarflow.run.settings import Recipe
from haarflow.theories import accelerated
from haarflow.theories.catalogue import Row


@dataclass(frozen=True)
class Target:
    """The weight e^{-S} of a recipe: `theory`, its catalogue `row`, `couplings`, and `definition`, its other arguments.

    `target_of` makes it, once for a run.
    """

    recipe: Recipe
    row: Row
    theory: Any
    couplings: dict[str, float]
    definition: dict[str, Any]

    @property
    def name(self) -> str:
        """The theory's name in the recipe."""
        return str(self.recipe.theory.name)

    @property
    def words(self) -> dict[str, Any]:
        """Name, definition and couplings, as summary.json and a model's card list them."""
        return {"name": self.name, **self.definition, **self.couplings}

    @cached_property
    def exact(self) -> dict[str, float]:
        """The exact values, by name; none where the theory declares none."""
        exact = described(self.theory).exact
        return {} if exact is None else dict(exact(self.couplings))

    @cached_property
    def labels(self) -> dict[str, str]:
        """The observables' names in the report, `name -> "symbol, meaning"`."""
        return dict(described(self.theory).part("labels") or {})

    def distribution(self, observable: str) -> dict[int, float] | None:
        """Return the exact probabilities of an observable's values, or None where they are not known."""
        known = self.row.distributions.get(observable)
        return None if known is None else known(self.recipe.lattice, self.couplings)

    def hot_start(self, key: Key, chains: int, dtype: str) -> Tree:
        """Return disordered fields to start the chains from: links of Haar's measure, or normal scalars of the row's
        width; part i of several is drawn with fold_in(key, i).
        """
        spaces, rebuild = flatten(described(self.theory).spaces)
        keys = fields.part_keys(key, len(spaces))
        return rebuild([self._hot(own, space, chains, dtype) for own, space in zip(keys, spaces, strict=True)])

    def _hot(self, key: Key, space: Space, chains: int, dtype: str) -> Array:
        width = 1.0 if self.row.width is None else self.row.width(self.couplings)
        if space.group.name == "Real":
            return Gaussian(space.shape, width).sample(key, chains, dtype)
        if space.group.name == "Complex":
            return width * space.group.algebra_normal(key, (chains, *space.shape), dtype)
        return space.group.haar(key, (chains, *space.shape), dtype)


def target_of(recipe: Recipe, lattice: tuple[int, ...] | None = None) -> Target:
    """Return the theory and the couplings of a recipe, on its lattice or on another one.

    The theory's own arguments are its definition, all other fields of [theory] its couplings. `definition` lists the
    required arguments and those that differ from their defaults.

    >>> from haarflow.run.recipes import load
    >>> target = target_of(load("su2-2d", ["theory.rectangle=-0.331"]))
    >>> target.definition, target.couplings
    ({'rectangle': -0.331}, {'beta': 2.2})
    """
    row: Row = recipe.theory.row
    table = {entry.name: getattr(recipe.theory, entry.name) for entry in dataclasses.fields(recipe.theory)}
    said = {name: table[name] for name in table if name in row.options}
    defaults = row.defaults
    definition = {
        name: value
        for name, value in said.items()
        if row.options[name].required or (row.options[name].defines and value != defaults[name])
    }
    couplings = {name: float(table[name]) for name in table if name in row.couplings}
    lattice = recipe.lattice if lattice is None else lattice
    theory = accelerated(row.make(lattice, **said))
    return Target(dataclasses.replace(recipe, lattice=lattice), row, theory, couplings, definition)


@lru_cache(maxsize=16)
def measure_of(theory: Any, couplings: tuple[tuple[str, float], ...], with_field: bool = False) -> Any:
    """Return the function that measures a field, the same object for the same theory, so that it compiles once.

    It returns the theory's observables, and with `with_field` the pair (observables, field).
    """
    observables = observables_of(theory)

    def measure(field: Any) -> Any:
        values = observables(field, dict(couplings))
        return (values, field) if with_field else values

    return measure


def observables_of(theory: Any) -> Callable[..., dict[str, Array]]:
    """Return the theory's `observables(field, couplings)`, or the action where it declares none.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> sorted(observables_of(U1Gauge((4, 4)))(np.zeros((2, 4, 4)), {"beta": 1.0}))[:1]
    ['Q']
    """
    observables = described(theory).observables

    def action(field: Array, couplings: Couplings = None) -> dict[str, Array]:
        return {"action": theory.action(field, couplings)}

    return action if observables is None else observables
