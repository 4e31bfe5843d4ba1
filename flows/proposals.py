"""Proposals: draws with their weights under a theory, from a flow or from anything else that knows its weights.

A draw y carries log_w, such that the mean of w O(y) over the mean of w is <O>, and the mean of w is Z. A flow has a density,
and log_w = -S(y) - log q(y). Annealed importance sampling or a stochastic flow has only a weight of its path, prior to
field: log_w is then minus the work, and log_q is None. What samples, trains and reports needs log_w only.

Where the action is complex the weight is e^{log_w + i phase} with both real: the phase stands beside log_w, and means are
those of w e^{i phase} O over those of w e^{i phase}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Couplings, Key, Params, Theory, Tree
from haarflow.core.acceleration import accelerated


class Draws(NamedTuple):
    """Fields `(n, *field_shape)` with their log weights `(n,)`; log q `(n,)` where there is a density, observables, info.

    A field of several parts is a NamedTuple or dict of such arrays. `phase` `(n,)` in radians is None for real weights;
    `observables` is what a `measure` returned, complex where the theory's observables are; `info` holds arrays `(n,)` by
    name that a proposal reports beside its draws.
    """

    field: Tree
    log_w: Array
    log_q: Array | None = None
    observables: Tree = None
    info: dict[str, Array] | None = None
    phase: Array | None = None


class Density(Protocol):
    """A distribution of fields that can be drawn from and evaluated: what `Model` makes of a prior and a flow."""

    def sample(self, params: Params, key: Key, n: int, condition: Condition = None) -> tuple[Tree, Array]:
        """Return n fields `(n, *field_shape)` and their log-densities `(n,)`."""
        ...

    def log_density(self, params: Params, y: Tree, condition: Condition = None) -> Array:
        """Return log q(y) `(*batch,)`."""
        ...


@runtime_checkable
class Proposal(Protocol):
    """Independent draws with their weights under a theory; a frozen dataclass, as equal proposals share a compiled program."""

    def __hash__(self) -> int: ...

    def draw(self, params: Params, key: Key, n: int, couplings: Couplings = None, condition: Condition = None) -> Draws:
        """Return n draws."""
        ...


@dataclass(frozen=True)
class Weighted:
    """The proposal that a density makes for a theory, log_w = -S(y) - log q(y), by compiled kernels where there are some.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.theories import U1Gauge
    >>> proposal = Weighted(Model(UniformLinks((4, 4)), Translate((0, 0), internal=1)), U1Gauge((4, 4)))
    >>> proposal.draw({}, random.key(0, backend), 5, {"beta": 1.0}).log_w.shape
    (5,)
    """

    model: Density
    theory: Theory

    def draw(self, params: Params, key: Key, n: int, couplings: Couplings = None, condition: Condition = None) -> Draws:
        """Return n draws with their log-densities."""
        y, log_q = self.model.sample(params, key, n, condition)
        log_w, phase = modulus_and_phase(log_weight(accelerated(self.theory).action(y, couplings), log_q))
        return Draws(y, log_w, log_q, phase=phase)

    def weigh(self, params: Params, y: Array, couplings: Couplings = None, condition: Condition = None) -> Array:
        """Return the log weights `(n,)` of given configurations, by one inverse pass."""
        log_q = self.model.log_density(params, y, condition)
        return log_weight(accelerated(self.theory).action(y, couplings), log_q)


def as_proposal(model: Density | Proposal, theory: Theory) -> Proposal:
    """Return a proposal as it is, and a density weighted by the theory."""
    return model if isinstance(model, Proposal) else Weighted(model, theory)


def log_weight(action: Array, log_q: Array) -> Array:
    """Return log_w = -S - log q.

    >>> log_weight(1.5, -2.0)
    0.5
    """
    return -action - log_q


def log_mean_exp(x: Array) -> Array:
    """Return ln of the mean of exp(x) over axis 0, without overflow.

    >>> import numpy
    >>> float(log_mean_exp(numpy.asarray([1000.0, 1000.0])))
    1000.0
    """
    xp = array_namespace(x)
    top = xp.max(x, axis=0, keepdims=True)
    return xp.squeeze(top, axis=0) + xp.log(xp.mean(xp.exp(x - top), axis=0))


def modulus_and_phase(log_w: Array) -> tuple[Array, Array | None]:
    """Return ln |w| and the phase of weights w whose logarithm is complex, or a real log w as it is, and None.

    >>> import numpy as np
    >>> [part.tolist() for part in modulus_and_phase(np.asarray([1.0 - 0.5j]))], modulus_and_phase(np.asarray([1.0]))[1]
    ([[1.0], [-0.5]], None)
    """
    xp = array_namespace(log_w)
    return (xp.real(log_w), xp.imag(log_w)) if xp.isdtype(log_w.dtype, "complex floating") else (log_w, None)
