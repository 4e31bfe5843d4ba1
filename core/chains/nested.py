"""Nested time scales: a cheap, stiff force is integrated in many small steps inside each drift of a costly, soft one.

With S = S_1 + S_2 + ... an integrator of S_1 alternates kicks of S_1 with the flow of the rest, T + S_2 + ..., which in
turn is an integrator of S_2 around that of T + S_3 + ..., down to the free motion U -> exp(t w) U (Sexton and Weingarten,
Nucl. Phys. B380 (1992) 665). Every scheme is a palindrome, so the whole is reversible, preserves volume, and has the
smallest of the orders. `nested` makes the trajectory; `Nested` makes one of the terms of a theory, for HMC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from haarflow.backends.types import Array, Couplings, Tree
from haarflow.core import fields
from haarflow.core.acceleration import accelerated
from haarflow.core.chains.accept import action_difference
from haarflow.core.chains.integrators import Map, Scheme, alternate, drift, kick
from haarflow.core.parts import check_theory, described, force_of


class Level(NamedTuple):
    """The flow of one part of the Hamiltonian, (state, time) -> state, the scheme that alternates it with the rest, and the
    number of steps that take the place of one drift of the level above.
    """

    kick: Map
    scheme: Scheme
    steps: int


def nested(levels: tuple[Level, ...], free: Map, state: Tree, step_size: float | Array) -> Tree:
    """Return the state after the trajectory of several levels, the slowest first, around the free motion `free`.

    `step_size` is that of the first level. A state is any tree, such as (field, momentum); see `kick`.
    Raises ValueError without levels and for steps < 1.

    >>> import numpy as np
    >>> from haarflow.core.chains.integrators import LEAPFROG, OMELYAN, kick
    >>> levels = Level(kick(lambda x: x), LEAPFROG, 4), Level(kick(lambda x: 9.0 * x), OMELYAN, 5)
    >>> free = lambda state, time: (state[0] + time * state[1], state[1])
    >>> x, w = nested(levels, free, (np.ones(1), np.zeros(1)), 0.25)
    >>> float(abs(x - np.cos(np.sqrt(10.0))).round(2)[0])
    0.0
    """
    if not levels:
        raise ValueError("a trajectory has one level of forces or more, got none")
    for level in levels:
        if int(level.steps) != level.steps or level.steps < 1:
            raise ValueError(f"each level takes a whole number of steps >= 1, got {level.steps!r}")
    outer, *inner = levels

    def rest(state: Tree, time: float | Array) -> Tree:
        return nested(tuple(inner), free, state, time / inner[0].steps) if inner else free(state, time)

    return alternate(rest, outer.kick, state, outer.scheme, step_size, outer.steps)


class Term(NamedTuple):
    """A term of the action, a theory, with the scheme of its force and the steps within one drift of the level above."""

    theory: Any
    scheme: Scheme
    steps: int


@dataclass(frozen=True)
class Nested:
    """The trajectory of a sum of actions on nested time scales, for `HMC(..., evolve=Nested(outer, inner))`.

    HMC's own scheme and steps are those of the theory `outer`; `inner` are the other terms, the slowest first. The terms add
    up to HMC's theory: that is not checked, for the accept step makes every force exact; a wrong one is rejected often.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.core.chains.integrators import LEAPFROG, OMELYAN
    >>> from haarflow.theories import Sum, U1Gauge
    >>> term = U1Gauge((4, 4))
    >>> both = HMC(Sum((term, term)), OMELYAN, 3, evolve=Nested(term, (Term(term, LEAPFROG, 4),)))
    >>> both.evolve.inner[0].steps
    4
    """

    outer: Any
    inner: tuple[Term, ...]

    def __post_init__(self) -> None:
        for theory in (self.outer, *(term.theory for term in self.inner)):
            check_theory(theory)

    def __call__(
        self,
        theory: Any,
        old: Tree,
        momentum: Tree,
        scheme: Scheme,
        step_size: Any,
        steps: int,
        couplings: Couplings = None,
    ) -> tuple[Tree, Tree, Array]:
        """Return the field in standard form and the momentum at the end, and the change of the action of `theory`."""
        terms = (Term(self.outer, scheme, steps), *self.inner)
        levels = tuple(Level(kick(_force(term.theory, couplings)), term.scheme, term.steps) for term in terms)
        spaces = described(theory).spaces
        new, final = nested(levels, drift(spaces), (old, momentum), step_size)
        new = fields.restore(spaces, new)
        return new, final, action_difference(accelerated(theory), new, old, couplings)


def _force(theory: Any, couplings: Couplings) -> Callable[[Tree], Tree]:
    """A term's force at those of the couplings that it declares."""
    names = described(theory).couplings or {}
    own = None if couplings is None else {name: couplings[name] for name in names if name in couplings}
    return partial(force_of(accelerated(theory)), couplings=own)
