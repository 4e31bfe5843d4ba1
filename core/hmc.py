"""Hybrid Monte Carlo (Duane, Kennedy, Pendleton, Roweth 1987) for any theory with `density`, `force` and a group.

Momenta w ~ N(0, 1) per algebra coordinate, H = S(U) + 1/2 sum w^2, trajectory length = steps x step size, acceptance
probability min(1, e^{-dH}). dH is the sum of per-site differences: the rounding of a difference of two large sums
never enters the accept step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.batch import batch_shape, per_chain, spread, total
from haarflow.core.groups import restored
from haarflow.core.integrators import LEAPFROG, Scheme, integrate
from haarflow.core.kernels import Cacheless, State
from haarflow.core.matrices import precision


@dataclass(frozen=True)
class HMC(Cacheless):
    """HMC over chains `(*batch, *field_shape)` of a theory.

    `values = {"couplings": {...}, "step_size": h}`, each a number or a batch-shaped array; no couplings means the
    theory's. The key is one `(2,)`, or one per chain `(*batch, 2)`. Info: `dH` and `accepted`, of the batch's shape;
    <exp(-dH)> = 1 in equilibrium. A trajectory that ends in NaN is rejected. Raises ValueError for steps < 1.

    >>> from haarflow.theories import U1Gauge
    >>> HMC(U1Gauge((8, 8)), steps=10, values={"couplings": {"beta": 2.0}, "step_size": 0.1}).steps
    10
    """

    theory: Any
    scheme: Scheme = LEAPFROG
    steps: int = 10
    values: Any = field(default_factory=lambda: {"step_size": 0.1}, compare=False)

    def __post_init__(self):
        if int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"HMC takes a whole number of steps >= 1, got {self.steps!r}")

    def step(self, key: Array, state: State) -> tuple[State, dict]:
        """Return the state after one trajectory and accept step, and `{"dH", "accepted"}`."""
        old, group, real = state.field, self.theory.group, precision(state.field)
        xp, batch = array_namespace(old), batch_shape(self.theory, old)
        draws, coin = random.fold_in(key, 0), random.fold_in(key, 1)
        momentum = group.algebra_normal(draws, per_chain(key, tuple(old.shape)), real)
        new, final, change = self.trajectory(old, momentum)
        d_h = self.energy_difference(momentum, final, change)
        accepted = xp.log(random.uniform(coin, per_chain(key, batch), real)) < -d_h
        chosen = xp.where(spread(accepted, old.ndim - len(batch)), new, old)
        return State(chosen), {"dH": d_h, "accepted": accepted}

    def trajectory(self, old: Array, momentum: Array) -> tuple[Array, Array, Array]:
        """Return field and momentum at the end of one trajectory and the change of the action.

        By the theory's own `trajectory`, compiled, where it has one, else by `molecular_dynamics`.
        """
        numbers = self.scheme, self.values["step_size"], self.steps, self.values.get("couplings")
        own = getattr(self.theory, "trajectory", None)
        found = own and own(old, momentum, *numbers)
        return molecular_dynamics(self.theory, old, momentum, *numbers) if found is None else found

    def energy_difference(self, momentum: Array, final: Array, change: Array) -> Array:
        """Return the change of H of the batch's shape, given that of the action: a sum of per-site differences."""
        return change + 0.5 * total(self.theory.group.inner(final - momentum, final + momentum), change.ndim)


def molecular_dynamics(
    theory: Any, old: Array, momentum: Array, scheme: Scheme, step_size: Any, steps: int, couplings: Any = None
) -> tuple[Array, Array, Array]:
    """Return the field in standard form and the momentum after `steps` steps by the theory's force, and the action's change.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> at_rest = np.zeros((1, 4, 4))
    >>> molecular_dynamics(Phi4((4, 4)), at_rest, at_rest, LEAPFROG, 0.1, 5)[2]
    array([0.])
    """
    scale = spread(step_size, momentum.ndim - len(batch_shape(theory, old)))
    force = partial(theory.force, couplings=couplings)
    new, final = integrate(force, old, momentum, scheme, scale, steps, theory.group)
    new = restored(theory.group, new)
    return new, final, action_difference(theory, new, old, couplings)


def action_difference(theory: Any, new: Array, old: Array, couplings: Any = None) -> Array:
    """Return S(new) - S(old) term by term; a theory without a `density` gives the difference of two sums."""
    if not hasattr(theory, "density"):
        return theory.action(new, couplings) - theory.action(old, couplings)
    change = theory.density(new, couplings) - theory.density(old, couplings)
    return total(change, len(batch_shape(theory, old)))
