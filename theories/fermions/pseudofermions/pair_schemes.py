"""The exact schemes for pairs (U, phi) of a field and its pseudofermions, for any marginal flow, conditional flow and theory.

| scheme | proposal | kernel |
|---|---|---|
| marginal | U from q(U), weighed with the determinant | `Refreshed` of `IndependenceMetropolis` |
| pseudo-marginal | U from q(U), weighed with an estimate of the determinant | `PseudoMarginal` |
| Gibbs | phi from its exact distribution, then U at fixed phi, moved in a flow's variables or proposed by a flow told phi | `Gibbs`, `GibbsByFlow` |
| autoregressive, joint | (U, phi) from q(U) q(phi|U), or from one flow of both | `IndependenceMetropolis` |

All four leave e^{-S(U, phi)} invariant (arXiv:2106.05934). A theory of pairs has `marginal`, the theory of U alone, and
`refreshed(key, U, couplings)`, an exact draw of phi at given U. A marginal model has `sample(params, key, n, condition)` and
`log_density(params, U, condition)`, a conditional one the same with the other field behind these arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Key, Tree
from haarflow.core import fields, random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import batch_shape, spread
from haarflow.core.chains.accept import coins, is_accepted, without_nan
from haarflow.core.chains.checks import check_own_scale
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.parts import described
from haarflow.core.spaces import Pair


@dataclass(frozen=True)
class Refreshed:
    """A kernel of U alone, for `theory.marginal`, made one of pairs: its step, then phi from its exact distribution. With
    `PseudofermionHMC` other pseudofermions move U.

    Values and info are those of the kernel, whose `couplings` draw phi.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> theory = yukawa_pairs((4, 4))
    >>> Refreshed(theory, HMC(theory.marginal, steps=5)).values["step_size"]
    0.1
    """

    theory: Any
    kernel: Any

    @property
    def values(self) -> Tree:
        """The values of the kernel of U."""
        return self.kernel.values

    def with_values(self, values: Tree) -> Refreshed:
        """Return this kernel with other values."""
        return replace(self, kernel=self.kernel.with_values(values))

    def init(self, field: Pair) -> State:
        """Return the state of a pair, with the cache of U."""
        batch_shape(self.theory, field)
        return State(field, self.kernel.init(field.U).cache)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one step of U and a new phi, and the info of that step."""
        moved, info = self.kernel.step(random.fold_in(key, 0), State(state.field.U, state.cache))
        phi = self.theory.refreshed(random.fold_in(key, 1), moved.field, (self.values or {}).get("couplings"))
        return State(Pair(moved.field, phi), moved.cache), info


@dataclass(frozen=True)
class PseudoMarginal:
    """Independence Metropolis of U with the mean of `estimates` weights in place of the determinant.

    The weight of U is e^{-S_g} / q(U) times the mean of e^{-S_pf(U, phi_k)} / q(phi_k|U), positive and without bias; its phi_k are kept
    with the state, so that the chain is exact in U for any number of them (Andrieu and Roberts, Ann. Statist. 37 (2009) 697).
    Were they drawn anew for the present U, it would not be. Fields are `Pair(U, phi)` with phi `(*batch, estimates, *shape)`.

    `values = {"params": {"marginal": ..., "conditional": ...}, "couplings": {...}}`, the cache is the log weight, info `accepted`
    and `log_w`. Raises ValueError for estimates < 1.
    """

    marginal: Any
    conditional: Any
    theory: Any
    estimates: int = 1
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if int(self.estimates) != self.estimates or self.estimates < 1:
            raise ValueError(f"an estimate takes a whole number of pseudofermions >= 1, got {self.estimates!r}")

    def with_values(self, values: Any) -> PseudoMarginal:
        """Return this kernel with other parameters or couplings."""
        return replace(self, values=values)

    def proposed(self, key: Key, n: int) -> tuple[Pair, Array]:
        """Return n independent fields with their log weights `(n,)`, from which chains may start, too."""
        params = self.values["params"]
        links, log_q = self.marginal.sample(params["marginal"], random.fold_in(key, 0), n)
        repeated = self._repeated(links, 1)
        phi, log_q_phi = self.conditional.sample(
            params["conditional"], random.fold_in(key, 1), n * self.estimates, self._flat(repeated)
        )
        pair = Pair(links, array_namespace(phi).reshape(phi, (n, self.estimates, *phi.shape[1:])))
        return pair, self._log_weight(pair, repeated, log_q, log_q_phi)

    def init(self, field: Pair) -> State:
        """Return the state of a field, its log weight in the cache."""
        space, batch = self._spaces.U.shape, tuple(field.phi.shape[: field.phi.ndim - 1 - len(self._spaces.phi.shape)])
        xp, n = array_namespace(field.phi), math.prod(batch)
        links = xp.reshape(field.U, (n, *space))
        phi = xp.reshape(field.phi, (n, *field.phi.shape[len(batch) :]))
        repeated, params = self._repeated(links, 1), self.values["params"]
        log_q = self.marginal.log_density(params["marginal"], links)
        log_q_phi = self.conditional.log_density(params["conditional"], self._flat(phi), self._flat(repeated))
        return State(field, xp.reshape(self._log_weight(Pair(links, phi), repeated, log_q, log_q_phi), batch))

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one proposal for each chain."""
        batch = tuple(state.cache.shape)
        new, log_w = self.proposed(key, math.prod(batch))
        xp = array_namespace(log_w)
        new = fields.map(lambda part, old: xp.reshape(part, old.shape), new, state.field)
        log_w = without_nan(xp.reshape(log_w, batch))
        accepted = is_accepted(coins(random.fold_in(key, 2), batch, log_w.dtype), state.cache - log_w)
        moved = fields.map(lambda n, o: xp.where(spread(accepted, o.ndim - len(batch)), n, o), new, state.field)
        weight = xp.where(accepted, log_w, state.cache)
        return State(moved, weight), {"accepted": accepted, "log_w": weight}

    @property
    def _spaces(self) -> Pair:
        spaces: Pair = described(self.theory).spaces
        return spaces

    def _log_weight(self, pair: Pair, repeated: Array, log_q: Array, log_q_phi: Array) -> Array:
        """ln of the mean of e^{-S(U, phi_k)} / q(phi_k|U), less ln q(U), `(n,)`."""
        xp = array_namespace(log_q)
        every = Pair(repeated, pair.phi)
        action = accelerated(self.theory).action(every, self.values.get("couplings"))
        log_w = without_nan(-action - xp.reshape(log_q_phi, action.shape))
        top = xp.max(log_w, axis=-1, keepdims=True)
        mean = xp.log(xp.mean(xp.exp(log_w - top), axis=-1)) + top[..., 0]
        return mean - log_q

    def _repeated(self, links: Array, batch: int) -> Array:
        """U for each of the estimates, `(n, estimates, *shape)`."""
        xp, shape = array_namespace(links), tuple(links.shape)
        return xp.broadcast_to(xp.expand_dims(links, axis=batch), (*shape[:batch], self.estimates, *shape[batch:]))

    def _flat(self, every: Array) -> Array:
        """Arrays `(n, estimates, ...)` as `(n estimates, ...)`."""
        return array_namespace(every).reshape(every, (every.shape[0] * every.shape[1], *every.shape[2:]))


@dataclass(frozen=True)
class Gibbs:
    """phi from its exact distribution at given U, then Metropolis in U at given phi, in the variables of a flow.

    The flow's z with U = f(z) have the density e^{-S(f(z), phi)} |det df/dz|. A proposed z is independent, from the model's
    prior, or with `values["width"]` the old one moved by exp(width w), w ~ N(0, 1): the first has the whole action of phi to overcome,
    whose fluctuations grow with the volume.

    `values = {"params": ..., "couplings": {...}, "width": s}`. The cache is (z, ln |det df/dz|); info `accepted`. Raises ValueError for
    a width that is not positive and finite.
    """

    marginal: Any
    theory: Any
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.values is not None and "width" in self.values:
            check_own_scale("width", self.values)

    def with_values(self, values: Any) -> Gibbs:
        """Return this kernel with other parameters, couplings or width."""
        return replace(self, values=values)

    def init(self, field: Pair) -> State:
        """Return the state of a pair, with the flow's variables of U."""
        batch_shape(self.theory, field)
        z, log_det = self.marginal.flow.inverse(self.values["params"], field.U, self.values.get("condition"))
        return State(field, (z, -log_det))

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after a new phi and one proposal of U."""
        old, (z, log_det), couplings = state.field.U, state.cache, self.values.get("couplings")
        batch, xp = tuple(log_det.shape), array_namespace(log_det)
        phi = self.theory.refreshed(random.fold_in(key, 0), old, couplings)
        z_new, log_prior = self._proposed(random.fold_in(key, 1), z, batch)
        new, log_det_new = self.marginal.flow.forward(self.values["params"], z_new, self.values.get("condition"))
        action = accelerated(self.theory).action
        change = (
            action(Pair(new, phi), couplings) - action(Pair(old, phi), couplings) - (log_det_new - log_det) + log_prior
        )
        accepted = is_accepted(coins(random.fold_in(key, 2), batch, log_det.dtype), change)

        def chosen(ours: Array, theirs: Array) -> Array:
            return xp.where(spread(accepted, ours.ndim - len(batch)), ours, theirs)

        cache = chosen(z_new, z), chosen(log_det_new, log_det)
        return State(Pair(chosen(new, old), phi), cache), {"accepted": accepted}

    def _proposed(self, key: Key, z: Array, batch: tuple[int, ...]) -> tuple[Array, Any]:
        """A new z, and ln r(z') - ln r(z) of a proposal from the prior, 0 of a symmetric one."""
        prior, xp = self.marginal.prior, array_namespace(z)
        dtype = fields.precision(z)
        if "width" not in self.values:
            new = xp.reshape(prior.sample(key, math.prod(batch), dtype), z.shape)
            return new, prior.log_density(new) - prior.log_density(z)
        moves = prior.group.algebra_normal(key, tuple(z.shape), dtype)
        moves = spread(self.values["width"], moves.ndim - len(batch)) * moves
        return prior.group.restore(prior.group.update(z, moves)), 0.0


@dataclass(frozen=True)
class GibbsByFlow(Cacheless):
    """phi from its exact distribution at given U, then independence Metropolis in U at given phi by a flow that is told phi.

    U' from q(U|phi) is accepted with probability min(1, e^{-S(U', phi)} q(U|phi) / (e^{-S(U, phi)} q(U'|phi))), the scheme of
    arXiv:2106.05934. `values = {"params": ..., "couplings": {...}}`, the parameters those of `conditional`; nothing is cached, as phi is
    another one in each step; info `accepted`.
    """

    conditional: Any
    theory: Any
    values: Any = field(default_factory=dict, compare=False)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after a new phi and one proposal of U."""
        old, couplings = state.field.U, self.values.get("couplings")
        batch = batch_shape(self.theory, state.field)
        phi = self.theory.refreshed(random.fold_in(key, 0), old, couplings)
        new, log_q = self._proposed(random.fold_in(key, 1), phi, batch)
        log_q_old = self.conditional.log_density(self.values["params"], old, phi, self.values.get("condition"))
        action, xp = accelerated(self.theory).action, array_namespace(log_q)
        change = action(Pair(new, phi), couplings) + log_q - action(Pair(old, phi), couplings) - log_q_old
        accepted = is_accepted(coins(random.fold_in(key, 2), batch, log_q.dtype), change)
        moved = xp.where(spread(accepted, new.ndim - len(batch)), new, old)
        return State(Pair(moved, phi)), {"accepted": accepted}

    def _proposed(self, key: Key, phi: Array, batch: tuple[int, ...]) -> tuple[Array, Array]:
        """U from q(U|phi) and log q, of the batch's shape."""
        xp, n = array_namespace(phi), math.prod(batch)
        flat = xp.reshape(phi, (n, *phi.shape[len(batch) :]))
        new, log_q = self.conditional.sample(self.values["params"], key, n, flat, self.values.get("condition"))
        return xp.reshape(new, (*batch, *new.shape[1:])), xp.reshape(log_q, batch)
