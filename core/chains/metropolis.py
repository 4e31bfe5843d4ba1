"""Metropolis by independent proposals, as one associative pass over a whole chain, and by local moves.

Proposal t with log weight w_t = log p(y_t) - log q(y_t) is accepted over the present w when log u_t < w_t - w, that is
when w < T_t = w_t - log u_t. Elements (T, i, w) then combine: f followed by g is (max(T_f, T_g), g's (i, w) if
w_f < T_g, else f's), which is associative, so a prefix by doubling replaces the loop.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Tree
from haarflow.core import fields, random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import batch_shape, per_chain, spread, total
from haarflow.core.broadcasting import of_rank
from haarflow.core.chains.accept import bar, coins, is_accepted, log_coins, without_nan
from haarflow.core.chains.checks import check_own_scale
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.groups.matrices import precision
from haarflow.core.parts import Local, check_moves, check_theory, described, one_space


def independence_chain(log_w: Array, uniforms: Array, start: Array | None = None) -> tuple[Array, Array]:
    """Return which proposal each chain sits on after each step, and which were accepted.

    Shapes: `log_w` and `uniforms` `(T, *batch)` with uniforms in (0, 1), `start` the log weights `(*batch,)` of the
    states before; indices `(T, *batch)` int32, accepted `(T, *batch)` bool. Without `start` the first proposal is taken
    as it is; with it the index -1 means "still the start". A NaN weight is never accepted. Costs log2(T) passes.
    Raises ValueError for shapes that do not fit or no proposals.

    >>> import numpy as np
    >>> indices, accepted = independence_chain(np.asarray([0.0, -9.0, 1.0]), np.asarray([0.5, 0.5, 0.5]))
    >>> indices.tolist(), accepted.tolist()
    ([0, 0, 2], [True, False, True])
    """
    if log_w.ndim < 1 or log_w.shape[0] < 1 or tuple(log_w.shape) != tuple(uniforms.shape):
        raise ValueError(
            f"log_w and uniforms of one shape (proposals, *batch) wanted, got {tuple(log_w.shape)} "
            f"and {tuple(uniforms.shape)}"
        )
    if start is not None and tuple(start.shape) != tuple(log_w.shape[1:]):
        raise ValueError(f"start wants one log weight a chain, {tuple(log_w.shape[1:])}, got {tuple(start.shape)}")
    xp = array_namespace(log_w)
    weight = without_nan(log_w)
    own = xp.reshape(
        xp.arange(log_w.shape[0], dtype=xp.int32, device=backends.place(log_w)), (-1, *(1,) * (log_w.ndim - 1))
    )
    own = xp.broadcast_to(own, log_w.shape)
    threshold, index = bar(weight, log_coins(uniforms)), own
    if start is None:
        threshold = xp.concat([xp.full_like(threshold[:1, ...], math.inf), threshold[1:, ...]])
    else:
        first = without_nan(start)[None, ...]
        threshold = xp.concat([xp.full_like(first, math.inf), threshold])
        index = xp.concat([xp.full_like(own[:1, ...], -1), own])
        weight = xp.concat([first, weight])
    _, index, _ = _prefix(threshold, index, weight)
    index = index if start is None else index[1:, ...]
    return index, index == own


def _prefix(threshold: Array, index: Array, weight: Array) -> tuple[Array, Array, Array]:
    """All prefixes of the composition along axis 0, by doubling (Hillis and Steele)."""
    xp, step = array_namespace(weight), 1
    while step < weight.shape[0]:
        stays = weight[:-step, ...] >= threshold[step:, ...]
        joined = (
            xp.maximum(threshold[:-step, ...], threshold[step:, ...]),
            xp.where(stays, index[:-step, ...], index[step:, ...]),
            xp.where(stays, weight[:-step, ...], weight[step:, ...]),
        )
        heads = (threshold[:step, ...], index[:step, ...], weight[:step, ...])
        threshold, index, weight = (xp.concat(pair) for pair in zip(heads, joined, strict=True))
        step *= 2
    return threshold, index, weight


@dataclass(frozen=True)
class IndependenceMetropolis:
    """`tries` independent proposals a step from a model with `sample` and `log_density`, for a theory with `action`.

    `values = {"params": ..., "couplings": {...}, "condition": {...}}` (the last two may be absent). The cache is the
    log weight -S - log q of the field, which `init` computes by one inverse pass. Fields are `(*batch, *field_shape)`,
    or NamedTuples of such arrays; one key for all chains. Info: `accepted`, the accepted fraction of a step's
    proposals, and `log_w` of the new state. Raises ValueError for tries < 1, TypeError for a complex action.
    """

    proposal: Any
    theory: Any
    tries: int = 1
    values: Any = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if int(self.tries) != self.tries or self.tries < 1:
            raise ValueError(f"independence Metropolis makes a whole number of tries >= 1, got {self.tries!r}")
        check_theory(self.theory)

    def with_values(self, values: Any) -> IndependenceMetropolis:
        """Return this kernel with other parameters, couplings or condition."""
        return replace(self, values=values)

    def init(self, field: Tree) -> State:
        """Return the state of a field, its log weight in the cache."""
        batch, spaces = batch_shape(self.theory, field), described(self.theory).spaces
        xp = array_namespace(leaves(field)[0])
        flat = fields.map(lambda part, space: xp.reshape(part, (math.prod(batch), *space.shape)), field, spaces)
        log_q = self.proposal.log_density(self.values["params"], flat, self.values.get("condition"))
        return State(field, self._log_weight(field, xp.reshape(log_q, batch)))

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after `tries` proposals for each chain."""
        old, xp = state.field, array_namespace(state.cache)
        batch = batch_shape(self.theory, old)
        draws, coin = random.fold_in(key, 0), random.fold_in(key, 1)
        new, log_q = self.proposal.sample(
            self.values["params"], draws, self.tries * math.prod(batch), self.values.get("condition")
        )
        new = fields.map(lambda part, drawn: xp.reshape(drawn, (self.tries, *part.shape)), old, new)
        log_w = self._log_weight(new, xp.reshape(log_q, (self.tries, *batch)))
        uniforms = random.uniform(coin, (self.tries, *batch), log_w.dtype)
        index, accepted = independence_chain(log_w, uniforms, state.cache)
        last = index[-1, ...]
        field = fields.map(lambda part, drawn: _pick(part, drawn, last), old, new)
        weight = _pick(state.cache, log_w, last)
        fraction = xp.mean(xp.astype(accepted, weight.dtype), axis=0)
        return State(field, weight), {"accepted": fraction, "log_w": weight}

    def _log_weight(self, field: Tree, log_q: Array) -> Array:
        log_w = -accelerated(self.theory).action(field, self.values.get("couplings")) - log_q
        if array_namespace(log_w).isdtype(log_w.dtype, "complex floating"):
            raise TypeError(
                f"Metropolis needs a real action, and that of {described(self.theory).name} is complex: reweight draws with "
                "their phase instead"
            )
        return log_w


def _pick(old: Array, new: Array, last: Array) -> Array:
    """For each chain the proposal `last` of `new`, or `old` for -1."""
    xp, rank = array_namespace(old), old.ndim - last.ndim
    where = xp.astype(xp.broadcast_to(spread(last, rank), old.shape), xp.asarray(0, device=backends.place(old)).dtype)
    return xp.take_along_axis(xp.concat([old[None, ...], new]), where[None, ...] + 1, axis=0)[0, ...]


@dataclass(frozen=True)
class LocalMetropolis(Cacheless):
    """A sweep of local moves U(x) -> exp(width w) U(x), w ~ N(0, 1), for any theory that offers a `local` density.

    The term of the action at x feels fields up to `reach` sites away in each direction, so sites more than 2 reach
    apart are moved at once, each accepted by the change of the terms around it. A site's internal components (the links
    of a gauge theory) move together. `values = {"couplings": {...}, "width": s}`, numbers or batch-shaped arrays; one
    key `(2,)` or one per chain. Any extent is legal: sites are coloured ring by ring (`colours`). Info: `accepted`, the
    accepted fraction of the sites. Raises ValueError for a width that is not positive and finite, TypeError for a
    theory without a `local` density and for a field of several parts.
    """

    theory: Any
    values: Any = field(default_factory=lambda: {"width": 0.5}, compare=False)

    def __post_init__(self) -> None:
        one_space(check_theory(self.theory), "local moves")
        check_moves(self.theory, "local Metropolis")
        check_own_scale("width", self.values)
        if described(self.theory).local is None:
            raise TypeError(
                f"local moves want a theory with a `local` density, Local(density, reach), which "
                f"{described(self.theory).name} does not offer: give it one, or use HMC"
            )

    @property
    def local(self) -> Local:
        """The theory's density and its reach."""
        local = described(self.theory).local
        assert local is not None, "checked when the kernel was made"
        return local

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after every site was offered one move."""
        old, lattice = state.field, tuple(self.theory.lattice)
        xp, batch = array_namespace(old), batch_shape(self.theory, old)
        rank, d, real = old.ndim - len(batch), len(lattice), precision(old)
        draws, coin = random.fold_in(key, 0), random.fold_in(key, 1)
        moves = self.theory.group.algebra_normal(draws, per_chain(key, tuple(old.shape)), real)
        moves = spread(self.values["width"], moves.ndim - len(batch)) * moves
        thrown = coins(coin, per_chain(key, (*batch, *lattice)), real)
        labels = backends.of(old).asarray(colours(lattice, self.local.reach), dtype=xp.int32)

        def one_colour(field: Array, colour: Array) -> tuple[Array, Array]:
            active = of_rank(labels == colour, len(batch) + d)
            new = self.theory.group.update(field, xp.where(active, moves, xp.zeros_like(moves)))
            new = self.theory.group.restore(new)
            accepted = is_accepted(thrown, self._local_difference(field, new)) & active
            aside = xp.reshape(accepted, (*batch, *(1,) * (rank - d), *lattice))
            return xp.where(aside, new, field), total(xp.astype(accepted, thrown.dtype), len(batch))

        count = int(numpy.max(colours(lattice, self.local.reach))) + 1
        numbers = xp.arange(count, dtype=xp.int32, device=backends.place(old))
        field, accepted = backends.of(old).scan(one_colour, old, numbers)
        return State(field), {"accepted": xp.sum(accepted, axis=0) / math.prod(lattice)}

    def _local_difference(self, old: Array, new: Array) -> Array:
        """S(new) - S(old) gathered around each moved site, `(*batch, *lattice)`."""
        xp, lattice, reach = array_namespace(old), self.theory.lattice, self.local.reach
        couplings, d = self.values.get("couplings"), len(self.theory.lattice)
        change = self.local.density(new, couplings) - self.local.density(old, couplings)
        change = xp.sum(change, axis=-d - 1)
        for mu, extent in enumerate(lattice):
            # a window longer than the ring would count terms twice
            window = range(-reach, min(reach, extent - 1 - reach) + 1)
            change = sum(xp.roll(change, offset, axis=mu - d) for offset in window)
        return change


@lru_cache(maxsize=64)
def colours(lattice: tuple[int, ...], reach: int) -> numpy.ndarray:
    """Return labels `(*lattice)` such that equal labels are either the same on an axis or over 2 reach apart on it.

    Each ring is cut into segments of length 2 reach + 1 or a little more, the label is the place in the segment: for an
    extent that 2 reach + 1 divides this is x mod (2 reach + 1). Rings shorter than that have one site a label.

    >>> colours((7,), 1).tolist(), colours((2,), 1).tolist()
    ([0, 1, 2, 0, 1, 2, 3], [0, 1])
    """
    axes = [_ring(extent, 2 * reach + 1) for extent in lattice]
    labels = numpy.zeros(lattice, dtype=numpy.int32)
    for site in itertools.product(*[range(extent) for extent in lattice]):
        label = 0
        for ring, x in zip(axes, site, strict=True):
            label = label * (max(ring) + 1) + ring[x]
        labels[site] = label
    return labels


def _ring(extent: int, distance: int) -> list[int]:
    count = max(1, extent // distance)
    lengths = [extent // count + (number >= count - extent % count) for number in range(count)]
    return [place for length in lengths for place in range(length)]
