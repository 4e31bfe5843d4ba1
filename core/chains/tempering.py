"""Replica exchange: replicas of one system at several couplings, whose neighbours are exchanged by Metropolis steps.

The replicas x_0, .., x_{R-1} at couplings c_0, .., c_{R-1} are one field `(*batch, R, *field_shape)` of the weight

    exp(-sum_r S(x_r; c_r)).

Every replica is moved by any kernel, `EachReplica`, and neighbours a, b = a + 1 are exchanged through a flow
f from c_a to c_b, by the involution

    (x_a, x_b) -> (f^-1(x_b), f(x_a)),    log_det = log |det df(x_a)| + log |det df^-1(x_b)|.

f = 1 is parallel tempering: Swendsen and Wang, Phys. Rev. Lett. 57 (1986) 2607; Hukushima and Nemoto, J. Phys. Soc.
Jpn. 65 (1996) 1604. Through flows, in lattice gauge theory: arXiv:2404.11674. An ideal f is always accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Couplings, Key, Tree
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import batch_shape
from haarflow.core.chains.accept import action_difference
from haarflow.core.chains.involution import Image, involutive_step
from haarflow.core.chains.kernel import Cacheless, Kernel, State
from haarflow.core.parts import check_theory, described, force_of
from haarflow.core.spaces import Space


@dataclass(frozen=True)
class Replicas:
    """The theory of `count` independent replicas of a theory, S = sum_r S(x_r; c_r), of fields `(*batch, count, *field_shape)`.

    Each coupling is a number that all replicas share, or a tuple or an array of `count` numbers. Raises ValueError for
    fewer than two replicas, TypeError for what is no theory.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> both = Replicas(U1Gauge((4, 4)), 2)
    >>> both.action(np.zeros((3, 2, 2, 4, 4)), {"beta": (1.0, 2.0)}).tolist()
    [-48.0, -48.0, -48.0]
    """

    theory: Any
    count: int = 2

    def __post_init__(self) -> None:
        check_theory(self.theory)
        if int(self.count) != self.count or self.count < 2:
            raise ValueError(f"replicas are counted by a whole number >= 2, got {self.count!r}")

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice of one replica."""
        lattice: tuple[int, ...] = self.theory.lattice
        return lattice

    @property
    def group(self) -> Any:
        """The group of one replica."""
        return self.theory.group

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.count} replicas of {described(self.theory).name}"

    @property
    def spaces(self) -> Tree:
        """The spaces of one replica, with the axis of replicas in front."""
        return tree_map(lambda space: Space(space.group, (self.count, *space.shape)), described(self.theory).spaces)

    def action(self, field: Tree, couplings: Couplings = None) -> Array:
        """Return sum_r S(x_r; c_r), of the batch's shape."""
        actions = accelerated(self.theory).action(field, as_arrays(couplings, field))
        return array_namespace(actions).sum(actions, axis=-1)

    def difference(self, new: Tree, old: Tree, couplings: Couplings = None) -> Array:
        """Return S(new) - S(old), each replica's by itself, of the batch's shape."""
        changes = action_difference(accelerated(self.theory), new, old, as_arrays(couplings, old))
        return array_namespace(changes).sum(changes, axis=-1)

    def force(self, field: Tree, couplings: Couplings = None) -> Tree:
        """Return the force of each replica at its couplings, shaped as the momenta."""
        return force_of(accelerated(self.theory))(field, couplings=as_arrays(couplings, field))


@dataclass(frozen=True)
class Swap:
    """The involution (x_a, x_b) -> (f^-1(x_b), f(x_a)) of two replicas of `theory`, without an auxiliary variable.

    `flow` is f, from the couplings of the first to those of the second, with the values "params" and, where it is told
    couplings, "condition"; None is the identity. `Involutive(Replicas(theory), Swap(theory, flow, values))` is its
    kernel.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> x = np.stack([np.zeros((2, 2)), np.ones((2, 2))])
    >>> Swap(Phi4((2, 2))).involution(x, None).field[:, 0, 0].tolist()
    [1.0, 0.0]
    """

    theory: Any
    flow: Any = None
    values: Any = field(default_factory=dict, compare=False)

    def with_values(self, values: Tree) -> Swap:
        """Return this involution with other values."""
        return replace(self, values=values)

    def auxiliary(self, key: Key, x: Tree) -> None:
        """Return None: there is no auxiliary variable."""

    def involution(self, x: Tree, v: None) -> Image:
        """Return the exchanged replicas and log_det of both maps."""
        a, b = replicas_of(self.theory, x)
        if self.flow is None:
            return Image(joined(self.theory, [b, a]), None)
        told = self.values["params"], self.values.get("condition")
        there, up = self.flow.forward(told[0], a, told[1])
        back, down = self.flow.inverse(told[0], b, told[1])
        return Image(joined(self.theory, [back, there]), None, up + down)

    def energy_change(self, x: Tree, v: None, image: Image) -> float:
        """Return 0: nothing is drawn."""
        return 0.0


@dataclass(frozen=True)
class ReplicaExchange(Cacheless):
    """One exchange of every pair of neighbours of `Replicas`: of 0 and 1, 2 and 3, ..., then of 1 and 2, 3 and 4, ....

    `values = {"couplings": {...}}`, each a number or a tuple with one for every replica; with a `flow`, "params" is a
    tuple of the parameters of each pair and "condition", where it is told couplings, a tuple of what it is told. Pair p
    has the key `fold_in(key, p)`; keys as for all kernels. Info: `swapped` and `swap_dH`, `(*batch, R - 1)`. Alternate
    it with what moves the replicas: `Cycle((EachReplica(heatbath, R, values), ReplicaExchange(replicas,
    values=values)))`. Raises TypeError for a theory other than `Replicas`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.kernel import run
    >>> from haarflow.theories import U1Gauge
    >>> exchange = ReplicaExchange(Replicas(U1Gauge((2, 2)), 3), values={"couplings": {"beta": (1.0, 1.0, 1.0)}})
    >>> state = exchange.init(backend.xp.zeros((4, 3, 2, 2, 2)))
    >>> run(exchange, random.key(0, backend), state, 1)[1]["info"]["swapped"].shape
    (1, 4, 2)
    """

    theory: Any
    flow: Any = None
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.theory, Replicas):
            raise TypeError(f"replicas are exchanged of the theory Replicas(theory, count), got {self.theory!r:.80}")

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after the exchanges, and `{"swapped", "swap_dH"}`."""
        single, pairs = self.theory.theory, self.theory.count - 1
        both, rows = Replicas(single, 2), replicas_of(single, state.field)
        told: list[dict[str, Any]] = [{}] * pairs
        for pair in (*range(0, pairs, 2), *range(1, pairs, 2)):
            start = State(joined(single, rows[pair : pair + 2]))
            moved, told[pair] = involutive_step(both, self.swap(pair), random.fold_in(key, pair), start)
            rows[pair : pair + 2] = replicas_of(single, moved.field)
        xp = array_namespace(told[0]["dH"])
        info = {name: xp.stack([one[old] for one in told], axis=-1) for name, old in INFO.items()}
        return State(joined(single, rows)), info

    def swap(self, pair: int) -> Swap:
        """Return the involution of one pair of neighbours."""
        return Swap(self.theory.theory, self.flow, of_pair(self.values, pair))


def of_pair(values: Tree, pair: int) -> Tree:
    """Return the values of one pair of neighbours, of those of all replicas.

    >>> of_pair({"couplings": {"beta": (1.0, 2.0, 3.0), "lam": 0.5}, "params": ({}, {"c": 0.1})}, 1)
    {'couplings': {'beta': (2.0, 3.0), 'lam': 0.5}, 'params': {'c': 0.1}}
    """
    couplings = {
        name: value if isinstance(value, (int, float)) else value[pair : pair + 2]
        for name, value in (values.get("couplings") or {}).items()
    }
    told = {name: values[name][pair] for name in ("params", "condition") if name in values}
    return {"couplings": couplings or None} | told


INFO = {"swapped": "accepted", "swap_dH": "dH"}  # what the info of exchanges calls that of an involution


@dataclass(frozen=True)
class EachReplica:
    """A kernel that moves every replica by a kernel of one, at its own couplings.

    Its values are those of `kernel`, of which couplings may be tuples with a number for each of the `count` replicas.
    One program moves all replicas, as further chains. Info: the kernel's, with an axis of replicas behind the batch.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.heatbath_u1 import U1HeatBath
    >>> from haarflow.theories import U1Gauge
    >>> heatbath = U1HeatBath(U1Gauge((2, 2)), values={"couplings": {"beta": (1.0, 2.0)}})
    >>> kernel = EachReplica(heatbath)
    >>> kernel.step(random.key(0, backend), kernel.init(backend.xp.zeros((3, 2, 2, 2, 2))))[0].field.shape
    (3, 2, 2, 2, 2)
    """

    kernel: Kernel

    @property
    def values(self) -> Tree:
        """The kernel's values."""
        return self.kernel.values

    def with_values(self, values: Tree) -> EachReplica:
        """Return this kernel with other values."""
        return replace(self, kernel=self.kernel.with_values(values))

    def init(self, field: Tree) -> State:
        """Return the kernel's state of all replicas."""
        return self._at(field).init(field)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one step of every replica, and the kernel's info."""
        return self._at(state.field).step(key, state)

    def _at(self, field: Tree) -> Kernel:
        """The kernel with couplings that are arrays."""
        return self.kernel.with_values(_arrays_in(self.kernel.values, field))


def _arrays_in(values: Tree, field: Tree) -> Tree:
    """A kernel's values, or those of a cycle's kernels, with tuples of couplings as arrays."""
    if isinstance(values, tuple):
        return tuple(_arrays_in(own, field) for own in values)
    return {**values, "couplings": as_arrays(values.get("couplings"), field)} if values else values


def as_arrays(couplings: Couplings, field: Tree) -> Couplings:
    """Return couplings with tuples of numbers as arrays on the field's backend.

    >>> import numpy as np
    >>> as_arrays({"beta": (1.0, 2.0)}, np.zeros(2))["beta"].shape
    (2,)
    """
    if couplings is None:
        return None
    backend = backends.of(*leaves(field))
    return {
        name: backend.xp.stack([backend.asarray(one) for one in value]) if isinstance(value, tuple) else value
        for name, value in couplings.items()
    }


def replicas_of(theory: Any, field: Tree) -> list[Tree]:
    """Return the replicas `(*batch, *field_shape)` of a field `(*batch, R, *field_shape)` of a theory's replicas.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> [one.shape for one in replicas_of(U1Gauge((4, 4)), np.zeros((3, 2, 2, 4, 4)))]
    [(3, 2, 4, 4), (3, 2, 4, 4)]
    """
    spaces = described(theory).spaces
    return [tree_map(partial(_one, number), spaces, field) for number in range(batch_shape(theory, field)[-1])]


def _one(number: int, space: Space, part: Array) -> Array:
    """One replica of an array of a field."""
    return part[(..., number, *(slice(None),) * len(space.shape))]


def joined(theory: Any, replicas: list[Tree]) -> Tree:
    """Return the field `(*batch, R, *field_shape)` of replicas.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> joined(Phi4((4, 4)), [np.zeros((3, 4, 4))] * 5).shape
    (3, 5, 4, 4)
    """

    def stacked(space: Space, *parts: Array) -> Array:
        return array_namespace(*parts).stack(parts, axis=-1 - len(space.shape))

    return tree_map(stacked, described(theory).spaces, *replicas)
