"""Kernels of pairs with one thing wrong, each with the laws that must catch it."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import State
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.spaces import Pair
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, GibbsByFlow, PseudoMarginal, Refreshed
from haarflow.verification.pair_kernels import (
    CONDITIONAL,
    COUPLINGS,
    MARGINAL,
    PAIRS,
    SCALARS,
    THEORY,
    chained,
)
from tests.mutants import Mutant, kept


@dataclass(frozen=True)
class NoiseDrawnAnew(PseudoMarginal):
    """The noise of the present field is another one in each step."""

    def step(self, key, state):
        n, old = state.field.U.shape[0], state.field
        every = self._flat(self._repeated(old.U, 1))
        phi, _ = self.conditional.sample(
            self.values["params"]["conditional"], random.fold_in(key, 3), n * self.estimates, every
        )
        anew = Pair(old.U, array_namespace(phi).reshape(phi, old.phi.shape))
        return super().step(key, self.init(anew))


@dataclass(frozen=True)
class MeanOfLogarithms(PseudoMarginal):
    """The mean of the logarithms of the weights in place of the logarithm of their mean."""

    def _log_weight(self, pair, repeated, log_q, log_q_phi):
        xp = array_namespace(log_q)
        action = self.theory.action(Pair(repeated, pair.phi), self.values.get("couplings"))
        return xp.mean(-action - xp.reshape(log_q_phi, action.shape), axis=-1) - log_q


@dataclass(frozen=True)
class KeepsItsVariables(Gibbs):
    """The flow's variables are those of before where a proposal was accepted."""

    def step(self, key, state):
        moved, info = super().step(key, state)
        return State(moved.field, state.cache), info


@dataclass(frozen=True)
class NoiseOfVarianceOne:
    """A theory whose pseudofermions are drawn with twice their variance."""

    right: object

    def __getattr__(self, name):
        return getattr(self.right, name)

    def refreshed(self, key, field, couplings=None):
        return 2.0**0.5 * self.right.refreshed(key, field, couplings)


@dataclass(frozen=True)
class ForgetsTheRatio(GibbsByFlow):
    """Proposals are taken for draws of a symmetric kind: the densities of the flow are left out."""

    def _proposed(self, key, phi, batch):
        new, log_q = super()._proposed(key, phi, batch)
        return new, log_q + self.conditional.log_density(self.values["params"], new, phi) * -1.0


@dataclass(frozen=True)
class OfTheOldField(Refreshed):
    """The pseudofermions are drawn at the field before its step."""

    def step(self, key, state):
        moved, info = super().step(key, state)
        phi = self.theory.refreshed(random.fold_in(key, 1), state.field.U, COUPLINGS)
        return State(Pair(moved.field.U, phi), moved.cache), info


VALUES, ALONE = {"couplings": COUPLINGS}, {"params": {}, "couplings": COUPLINGS}


def quenched():
    """The marginal scheme without the determinant."""
    return Refreshed(
        THEORY,
        IndependenceMetropolis(
            MARGINAL,
            THEORY.scalar,
            values={"params": {}, "couplings": {"m2": COUPLINGS["m2"], "lam": COUPLINGS["lam"]}},
        ),
    )


LAW, LATER = ("stationary",), ("equilibrium",)
MUTANTS = (
    Mutant("noise of the present field drawn anew", "kernel", lambda lattice: chained(NoiseDrawnAnew(MARGINAL, CONDITIONAL, THEORY, 1, VALUES), 1, "pairs", 2.0), LAW),
    Mutant("the mean of log weights", "kernel", lambda lattice: chained(MeanOfLogarithms(MARGINAL, CONDITIONAL, THEORY, 2, VALUES), 2, "pairs", 2.0, burn_in=60), LATER),
    Mutant("variables of a flow that stay behind", "kernel", lambda lattice: chained(KeepsItsVariables(MARGINAL, THEORY, ALONE)), ("fresh_cache",)),
    Mutant("Gibbs with pseudofermions of variance one", "kernel", lambda lattice: chained(Gibbs(MARGINAL, NoiseOfVarianceOne(THEORY), ALONE)), LAW),
    Mutant("Gibbs without the flow's densities", "kernel", lambda lattice: chained(ForgetsTheRatio(SCALARS, THEORY, VALUES), flow="scalars", burn_in=60), LATER),
    Mutant("pseudofermions of the field before", "kernel", lambda lattice: chained(OfTheOldField(THEORY, HMC(THEORY.marginal, steps=3, values={"couplings": COUPLINGS, "step_size": 0.2}))), LAW),
    Mutant("a marginal scheme without determinant", "kernel", lambda lattice: chained(quenched()), LAW),
    Mutant("pairs weighed without pseudofermions", "kernel", lambda lattice: chained(IndependenceMetropolis(PAIRS, kept(THEORY, action=lambda pair, couplings=None: THEORY.marginal.action(pair.U, COUPLINGS)), values=VALUES), flow="pairs"), LAW),
)  # fmt: skip
