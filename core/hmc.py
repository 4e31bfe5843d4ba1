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

from haarflow.core import random
from haarflow.core.batch import batch_shape, per_chain, spread, total
from haarflow.core.groups import restored
from haarflow.core.integrators import LEAPFROG, Scheme, integrate
from haarflow.core.kernels import Cacheless, State
from haarflow.core.matrices import precision

Array = Any


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
        new, final = self.trajectory(old, momentum)
        d_h = self.energy_difference(old, momentum, new, final)
        accepted = xp.log(random.uniform(coin, per_chain(key, batch), real)) < -d_h
        chosen = xp.where(spread(accepted, old.ndim - len(batch)), restored(group, new), old)
        return State(chosen), {"dH": d_h, "accepted": accepted}

    def trajectory(self, old: Array, momentum: Array) -> tuple[Array, Array]:
        """Return field and momentum at the end of one trajectory, by the theory's compiled `trajectory` where it has one."""
        couplings, step_size = self.values.get("couplings"), self.values["step_size"]
        own = getattr(self.theory, "trajectory", None)
        found = own and own(old, momentum, self.scheme, step_size, self.steps, couplings)
        if found is not None:
            return found
        step_size = spread(step_size, momentum.ndim - len(batch_shape(self.theory, old)))
        force = partial(self.theory.force, couplings=couplings)
        return integrate(force, old, momentum, self.scheme, step_size, self.steps, self.theory.group)

    def energy_difference(self, old: Array, momentum: Array, new: Array, final: Array) -> Array:
        """Return H(new, final) - H(old, momentum) of the batch's shape as a sum of per-site differences."""
        batch = len(batch_shape(self.theory, old))
        twice = self.theory.group.inner(final - momentum, final + momentum)
        return action_difference(self.theory, new, old, self.values.get("couplings")) + 0.5 * total(twice, batch)


def action_difference(theory: Any, new: Array, old: Array, couplings: Any = None) -> Array:
    """Return S(new) - S(old) term by term; a theory without a `density` gives the difference of two sums."""
    if not hasattr(theory, "density"):
        return theory.action(new, couplings) - theory.action(old, couplings)
    change = theory.density(new, couplings) - theory.density(old, couplings)
    return total(change, len(batch_shape(theory, old)))
