"""Metropolis steps by involutions (Neklyudov, Welling, Egorov, Vetrov, arXiv:2006.16653; Green, Biometrika 82 (1995) 711).

A step draws an auxiliary variable v ~ p(v|x) and applies a map of pairs that is its own inverse, (x, v) -> (x', v'). It is
accepted with probability min(1, e^{-dH}),

    dH = S(x') - S(x) + K(x', v') - K(x, v) - log |det d(x', v')/d(x, v)|,    K(x, v) = -log p(v|x),

and then leaves e^{-S} invariant. HMC is the case of v the momenta and the map a trajectory, the momenta then reversed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self

from haarflow.backends.types import Array, Key, State, Tree
from haarflow.core import fields, random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import batch_shape, per_chain
from haarflow.core.chains.accept import action_difference, coins, is_accepted
from haarflow.core.parts import check_theory


class Image(NamedTuple):
    """Where an involution takes (x, v): x', v' and log |det d(x', v')/d(x, v)| of the batch's shape, None for 0.

    `change` is S(x') - S(x) where the map has computed it on its way, else None.
    """

    field: Tree
    auxiliary: Tree
    log_det: Array | None = None
    change: Array | None = None


class Involution(Protocol):
    """A map of pairs (x, v) that is its own inverse, with the distribution of v; like a kernel it is a frozen dataclass
    whose numbers are in `values`, {"couplings": {...}, ...}.
    """

    @property
    def values(self) -> Tree:
        """Couplings and other numbers and arrays, which compile nothing."""
        ...

    def with_values(self, values: Tree) -> Self:
        """Return this involution with other values."""
        ...

    def auxiliary(self, key: Key, x: Tree) -> Tree:
        """Return v ~ p(v|x), None where there is none, by one key `(2,)` or one for each chain."""
        ...

    def involution(self, x: Tree, v: Tree) -> Image:
        """Return the image of (x, v), x' in the standard form of its groups."""
        ...

    def energy_change(self, x: Tree, v: Tree, image: Image) -> Array | float:
        """Return K(x', v') - K(x, v) with K = -log p(v|x), of the batch's shape."""
        ...


@dataclass(frozen=True)
class Involutive:
    """The Markov kernel of an involution for a theory; its values are those of the involution.

    One key `(2,)` or one for each chain. Info: `dH` and `accepted`, of the batch's shape; <exp(-dH)> = 1 in equilibrium.
    Raises TypeError for what is no theory.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import U1Gauge
    >>> theory = U1Gauge((4, 4))
    >>> Involutive(theory, HMC(theory, values={"couplings": {"beta": 2.0}, "step_size": 0.1})).values["step_size"]
    0.1
    """

    theory: Any
    involution: Involution

    def __post_init__(self) -> None:
        check_theory(self.theory)

    @property
    def values(self) -> Tree:
        """The involution's values."""
        return self.involution.values

    def with_values(self, values: Tree) -> Involutive:
        """Return this kernel with other values."""
        return replace(self, involution=self.involution.with_values(values))

    def init(self, field: Tree) -> State:
        """Return the state of a field: nothing is cached."""
        batch_shape(self.theory, field)
        return State(field)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one proposal and accept step, and `{"dH", "accepted"}`."""
        return involutive_step(self.theory, self.involution, key, state)


def involutive_step(theory: Any, involution: Involution, key: Key, state: State) -> tuple[State, dict[str, Any]]:
    """Return the state after one step by an involution: v from fold_in(key, 0), the coin from fold_in(key, 1).

    >>> import numpy as np
    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, start = Phi4((4, 4)), State(np.zeros((3, 4, 4)))
    >>> involutive_step(theory, HMC(theory), random.key(0, backend), start)[1]["dH"].shape
    (3,)
    """
    v = involution.auxiliary(random.fold_in(key, 0), state.field)
    return accepted_step(theory, involution, key, state, v, involution.involution(state.field, v))


def accepted_step(
    theory: Any, involution: Involution, key: Key, state: State, v: Tree, image: Image
) -> tuple[State, dict[str, Any]]:
    """Return the state after the accept step between (x, v) and its image, the coin from fold_in(key, 1)."""
    x, change = state.field, image.change
    if change is None:
        change = action_difference(accelerated(theory), image.field, x, involution.values.get("couplings"))
    d_h = change + involution.energy_change(x, v, image)
    if image.log_det is not None:
        d_h = d_h - image.log_det
    log_u = coins(random.fold_in(key, 1), per_chain(key, tuple(d_h.shape)), fields.precision(x))
    accepted = is_accepted(log_u, d_h)
    return State(fields.where(accepted, image.field, x)), {"dH": d_h, "accepted": accepted}
