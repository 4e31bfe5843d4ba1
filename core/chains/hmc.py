"""Hybrid Monte Carlo (Duane, Kennedy, Pendleton, Roweth 1987) for any theory.

Momenta w ~ N(0, 1) per algebra coordinate, H = S(U) + 1/2 sum w^2, trajectory length = steps x step size, acceptance
probability min(1, e^{-dH}). Where the theory offers a `local` density dH is a sum of per-site differences: the rounding of
a difference of two large sums never enters the accept step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from haarflow.backends.types import Array, Couplings
from haarflow.core import random
from haarflow.core.acceleration import accelerated, kernels_of
from haarflow.core.axes import batch_shape, per_chain, spread, total
from haarflow.core.chains.accept import action_difference as action_difference
from haarflow.core.chains.accept import chosen, coins, is_accepted
from haarflow.core.chains.integrators import LEAPFROG, Scheme, integrate
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.groups.additive import restored
from haarflow.core.groups.matrices import precision
from haarflow.core.parts import check_theory, force_of


@dataclass(frozen=True)
class HMC(Cacheless):
    """HMC over chains `(*batch, *field_shape)` of a theory.

    `values = {"couplings": {...}, "step_size": h}`, each a number or a batch-shaped array; no couplings means the
    theory's. The key is one `(2,)`, or one per chain `(*batch, 2)`. Info: `dH` and `accepted`, of the batch's shape;
    <exp(-dH)> = 1 in equilibrium. A trajectory that ends in NaN is rejected. `evolve(theory, field, momentum, scheme,
    step_size, steps, couplings)` makes the trajectory: None for the kernels of `accelerated(theory)` where there are some,
    `molecular_dynamics` for array code. Raises ValueError for steps < 1, TypeError for what is no theory.

    >>> from haarflow.theories import U1Gauge
    >>> HMC(U1Gauge((8, 8)), steps=10, values={"couplings": {"beta": 2.0}, "step_size": 0.1}).steps
    10
    """

    theory: Any
    scheme: Scheme = LEAPFROG
    steps: int = 10
    values: Any = field(default_factory=lambda: {"step_size": 0.1}, compare=False)
    evolve: Callable[..., tuple[Array, Array, Array]] | None = None

    def __post_init__(self) -> None:
        check_theory(self.theory)
        if int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"HMC takes a whole number of steps >= 1, got {self.steps!r}")

    def step(self, key: Array, state: State) -> tuple[State, dict]:
        """Return the state after one trajectory and accept step, and `{"dH", "accepted"}`."""
        old, group, real = state.field, self.theory.group, precision(state.field)
        batch = batch_shape(self.theory, old)
        draws, coin = random.fold_in(key, 0), random.fold_in(key, 1)
        momentum = group.algebra_normal(draws, per_chain(key, tuple(old.shape)), real)
        new, final, change = self.trajectory(old, momentum)
        d_h = self.energy_difference(momentum, final, change)
        accepted = is_accepted(coins(coin, per_chain(key, batch), real), d_h)
        return State(chosen(accepted, new, old)), {"dH": d_h, "accepted": accepted}

    def trajectory(self, old: Array, momentum: Array) -> tuple[Array, Array, Array]:
        """Return field and momentum at the end of one trajectory and the change of the action."""
        evolve = evolved if self.evolve is None else self.evolve
        words = self.scheme, self.values["step_size"], self.steps, self.values.get("couplings")
        return evolve(self.theory, old, momentum, *words)

    def energy_difference(self, momentum: Array, final: Array, change: Array) -> Array:
        """Return the change of H of the batch's shape, given that of the action: a sum of per-site differences."""
        return change + 0.5 * total(self.theory.group.inner(final - momentum, final + momentum), change.ndim)


def evolved(
    theory: Any, old: Array, momentum: Array, scheme: Scheme, step_size: Any, steps: int, couplings: Couplings = None
) -> tuple[Array, Array, Array]:
    """Return what `molecular_dynamics` does, by the theory's compiled kernels where they serve these arrays."""
    found = kernels_of(theory).evolve(old, momentum, scheme, step_size, steps, couplings)
    if found is not None:
        return found
    return molecular_dynamics(accelerated(theory), old, momentum, scheme, step_size, steps, couplings)


def molecular_dynamics(
    theory: Any, old: Array, momentum: Array, scheme: Scheme, step_size: Any, steps: int, couplings: Couplings = None
) -> tuple[Array, Array, Array]:
    """Return the field in standard form and the momentum after `steps` steps by the theory's force, and the action's change.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> at_rest = np.zeros((1, 4, 4))
    >>> molecular_dynamics(Phi4((4, 4)), at_rest, at_rest, LEAPFROG, 0.1, 5)[2]
    array([0.])
    """
    scale = spread(step_size, momentum.ndim - len(batch_shape(theory, old)))
    force = partial(force_of(theory), couplings=couplings)
    new, final = integrate(force, old, momentum, scheme, scale, steps, theory.group)
    new = restored(theory.group, new)
    return new, final, action_difference(theory, new, old, couplings)
