"""Hybrid Monte Carlo (Duane, Kennedy, Pendleton, Roweth 1987) for any theory.

Momenta w ~ N(0, 1) per algebra coordinate, H = S(U) + 1/2 sum w^2, trajectory length = steps x step size, acceptance
probability min(1, e^{-dH}). Where the theory offers a `local` density dH is a sum of per-site differences: the rounding
of a difference of two large sums never enters the accept step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Couplings, Key, Tree
from haarflow.core import fields, random
from haarflow.core.acceleration import accelerated, kernels_of
from haarflow.core.axes import batch_shape
from haarflow.core.chains.accept import action_difference as action_difference
from haarflow.core.chains.checks import check_own_scale
from haarflow.core.chains.integrators import LEAPFROG, Scheme, integrate
from haarflow.core.chains.involution import Image, accepted_step
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.parts import check_moves, check_theory, described, force_of


@dataclass(frozen=True)
class HMC(Cacheless):
    """HMC over chains `(*batch, *field_shape)` of a theory, or over NamedTuples of such arrays; itself an `Involution`.

    `values = {"couplings": {...}, "step_size": h}`, each a number or a batch-shaped array; no couplings means the
    theory's. The key is one `(2,)`, or one per chain `(*batch, 2)`. Info: `dH` and `accepted`, of the batch's shape;
    <exp(-dH)> = 1 in equilibrium. A trajectory that ends in NaN is rejected. `evolve(theory, field, momentum, scheme,
    step_size, steps, couplings)` makes the trajectory: None for the kernels of `accelerated(theory)` where there are
    some, `molecular_dynamics` for array code. Raises ValueError for steps < 1 and a step size that is not positive and
    finite, TypeError for what is no theory. `warmup.tuned` finds a step size.

    >>> from haarflow.theories import U1Gauge
    >>> HMC(U1Gauge((8, 8)), steps=10, values={"couplings": {"beta": 2.0}, "step_size": 0.1}).steps
    10
    """

    theory: Any
    scheme: Scheme = LEAPFROG
    steps: int = 10
    values: Any = field(default_factory=lambda: {"step_size": 0.1}, compare=False)
    evolve: Callable[..., tuple[Tree, Tree, Array]] | None = None

    def __post_init__(self) -> None:
        check_moves(check_theory(self.theory), "HMC")
        if int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"HMC takes a whole number of steps >= 1, got {self.steps!r}")
        check_own_scale("step_size", self.values)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one trajectory and accept step, and `{"dH", "accepted"}`."""
        momentum = self.auxiliary(random.fold_in(key, 0), state.field)
        new, final, change = self.trajectory(state.field, momentum)
        # the kinetic energy is even, so that the momentum need not be reversed
        return accepted_step(self.theory, self, key, state, momentum, Image(new, final, None, change))

    def auxiliary(self, key: Key, x: Tree) -> Tree:
        """Return momenta w ~ N(0, 1) for the fields x."""
        return fields.normal(key, described(self.theory).spaces, batch_shape(self.theory, x), fields.precision(x))

    def involution(self, x: Tree, v: Tree) -> Image:
        """Return the end of the trajectory with its momentum reversed, which preserves volume."""
        new, final, change = self.trajectory(x, v)
        return Image(new, tree_map(operator.neg, final), None, change)

    def energy_change(self, x: Tree, v: Tree, image: Image) -> Array:
        """Return the change of the kinetic energy."""
        return kinetic_change(self.theory, image.auxiliary, v)

    def trajectory(self, old: Tree, momentum: Tree) -> tuple[Tree, Tree, Array]:
        """Return field and momentum at the end of one trajectory and the change of the action."""
        evolve = evolved if self.evolve is None else self.evolve
        options = self.scheme, self.values["step_size"], self.steps, self.values.get("couplings")
        return evolve(self.theory, old, momentum, *options)


def kinetic_change(theory: Any, new: Tree, old: Tree) -> Array:
    """Return 1/2 sum (w' - w)(w' + w), the change of the kinetic energy as a sum of per-site differences.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> float(kinetic_change(Phi4((2, 2)), np.ones((2, 2)), np.zeros((2, 2))))
    2.0
    """
    difference, total = (tree_map(f, new, old) for f in (operator.sub, operator.add))
    return 0.5 * fields.inner(described(theory).spaces, difference, total)


def evolved(
    theory: Any, old: Tree, momentum: Tree, scheme: Scheme, step_size: Any, steps: int, couplings: Couplings = None
) -> tuple[Tree, Tree, Array]:
    """Return what `molecular_dynamics` does, by the theory's compiled kernels where they serve these arrays."""
    compiled: tuple[Tree, Tree, Array] | None = kernels_of(theory).evolve(
        old, momentum, scheme, step_size, steps, couplings
    )
    if compiled is not None:
        return compiled
    return molecular_dynamics(accelerated(theory), old, momentum, scheme, step_size, steps, couplings)


def molecular_dynamics(
    theory: Any, old: Tree, momentum: Tree, scheme: Scheme, step_size: Any, steps: int, couplings: Couplings = None
) -> tuple[Tree, Tree, Array]:
    """Return the field in standard form and the momentum after `steps` steps by the theory's force, and the action's change.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> at_rest = np.zeros((1, 4, 4))
    >>> molecular_dynamics(Phi4((4, 4)), at_rest, at_rest, LEAPFROG, 0.1, 5)[2]
    array([0.])
    """
    spaces, force = described(theory).spaces, partial(force_of(theory), couplings=couplings)
    new, final = integrate(force, old, momentum, scheme, step_size, steps, spaces)
    new = fields.restore(spaces, new)
    return new, final, action_difference(theory, new, old, couplings)
