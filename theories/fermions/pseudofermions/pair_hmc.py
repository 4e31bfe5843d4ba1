"""HMC of pairs (U, phi): a trajectory of the links, in which other pseudofermions do the work, then phi anew.

The links move by pseudofermion HMC for the weight e^{-S_g} det(D D^+), to which the theory of pairs comes down when phi is
integrated out; phi = Dhat(U) chi is then drawn from its exact distribution given the links. Both steps leave e^{-S(U, phi)}
invariant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from haarflow.backends.types import Key, State, Tree
from haarflow.core import random
from haarflow.core.spaces import Pair
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.pseudofermions.pseudofermion import Factor, background, drawn
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import PseudofermionHMC


@dataclass(frozen=True)
class PairHMC:
    """The kernel of a theory of pairs, made of one for its links, whose values and info it has.

    >>> from haarflow.theories.models.qcd import QCD
    >>> theory = QCD((4, 4), n=2)
    >>> values = {"couplings": {"beta": 1.0, "kappa": 0.1}, "step_size": 0.2}
    >>> PairHMC(theory, PseudofermionHMC(theory.marginal, steps=5, values=values)).values["step_size"]
    0.2
    """

    theory: WithPseudofermions
    links: PseudofermionHMC

    @property
    def values(self) -> Tree:
        """The values of the kernel of the links."""
        return self.links.values

    def with_values(self, values: Tree) -> PairHMC:
        """Return this kernel with other values."""
        return replace(self, links=self.links.with_values(values))

    def init(self, field: Pair) -> State:
        """Return the state of a field: nothing is cached."""
        self.links.init(field.U)
        return State(field)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one trajectory of the links and a new phi, and the info of the trajectory."""
        moved, info = self.links.step(random.fold_in(key, 0), self.links.init(state.field.U))
        gauge = background(self.theory.operator, moved.field)
        phi, _ = drawn(gauge, Factor(self.values["couplings"]["kappa"]), random.fold_in(key, 1), self.links.for_action)
        return State(Pair(moved.field, phi)), info
