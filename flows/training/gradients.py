"""Estimators of the gradient of a loss: each has a method `gradient`, which averages over n samples.

    reverse KL   L = E_q[log q + S] = KL(q|p) - ln Z,     forward KL   L = -E_p[log q]

with log_w = -S - log q of shape (n,). Every estimator returns `(grads, info)`: grads, a tree like the parameters, and
info, a dict of the 0-dimensional arrays `loss`, `ess` in (0, 1] and `log_z`, and of `log_w` itself. Sources:
arXiv:2206.09016 and 2207.08219 (path gradients), 2202.01314 (REINFORCE with a leave-one-out baseline).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key, Params
from haarflow.core import random
from haarflow.core.lattice.random_images import random_images
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import components
from haarflow.flows.proposals import Density, log_mean_exp, log_weight
from haarflow.flows.traits import traits

Action = Callable[[Array, Any], Array]  # (field, couplings) -> S of the batch's shape
Values = dict[str, Any]  # couplings or conditions by name: numbers or `(n,)` arrays
Info = dict[str, Array]


class Samples(NamedTuple):
    """Configurations of the target `(N, *field)`, and where they differ the couplings of each, a dict of `(N,)`."""

    field: Array
    couplings: dict[str, Array] | None = None


class Estimator(Protocol):
    """What training needs from an estimator.

    `action(field, couplings)` has shape `(n,)`; `couplings` and `condition` are dicts of numbers or `(n,)` arrays.
    """

    def gradient(
        self,
        model: Density,
        action: Action,
        params: Params,
        key: Key,
        n: int,
        couplings: Values | None = None,
        condition: Values | None = None,
        samples: Array | Samples | None = None,
    ) -> tuple[Params, Info]: ...


@dataclass(frozen=True)
class ReverseKL:
    """Total derivative of E_q[log q + S] by the reparameterisation trick: one forward pass and its gradient."""

    def gradient(
        self,
        model: Density,
        action: Action,
        params: Params,
        key: Key,
        n: int,
        couplings: Values | None = None,
        condition: Values | None = None,
        samples: Array | Samples | None = None,
    ) -> tuple[Params, Info]:
        """Return the gradient by reparameterisation, and the batch's loss and weights.

        Raises ValueError for a model of discrete fields.
        """
        refuse_discrete(model, self)

        def loss(params: Params) -> tuple[Array, Array]:
            y, log_q = model.sample(params, key, n, condition)
            return _mean_and_log_w(action(y, couplings), log_q)

        return _differentiate(loss, params, key)


@dataclass(frozen=True)
class PathGradient:
    """Derivative through the samples only, d/dy [S(y) + log q(y)] dy/dparams: its variance vanishes where q = p.

    The parameters within log q are held fixed (their score has mean zero); log q is computed by an inverse pass, so the
    flow's inverse must be differentiable. Costs about twice as much as `ReverseKL`. Source: arXiv:2206.09016.
    """

    def gradient(
        self,
        model: Density,
        action: Action,
        params: Params,
        key: Key,
        n: int,
        couplings: Values | None = None,
        condition: Values | None = None,
        samples: Array | Samples | None = None,
    ) -> tuple[Params, Info]:
        """Return the gradient along the samples' paths, and the batch's loss and weights.

        Raises ValueError for a model of discrete fields.
        """
        refuse_discrete(model, self)
        frozen = backends.of(key).stop_gradient(params)

        def loss(params: Params) -> tuple[Array, Array]:
            y, _ = model.sample(params, key, n, condition)
            return _mean_and_log_w(action(y, couplings), model.log_density(frozen, y, condition))

        return _differentiate(loss, params, key)


@dataclass(frozen=True)
class Reinforce:
    """Score-function gradient 1/n sum_i (l_i - b_i) d log q(y_i), l = log q + S, b_i = mean of the other l_j.

    Needs no derivative of the action or of the samples: one forward pass and the gradient of one inverse pass. With a `power`
    a > 0 the loss is L_a = -ln E_q[w^a]/(a (1 - a)), which is the reverse KL for a -> 0 and rates rare large weights the
    higher the larger a is; its gradient is -1/n sum_i (w_i^a/mean w^a - 1)/a d log q(y_i), with a bias of order 1/n. a = 1/2
    belongs to the overlap of sqrt(p) and sqrt(q), symmetric in p and q. Raises ValueError for n < 2, where there is no other
    sample, and for a power outside [0, 1). Source: arXiv:2202.01314.
    """

    power: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.power < 1.0:
            raise ValueError(f"Reinforce raises the weights to a power in [0, 1), got {self.power}")

    def gradient(
        self,
        model: Density,
        action: Action,
        params: Params,
        key: Key,
        n: int,
        couplings: Values | None = None,
        condition: Values | None = None,
        samples: Array | Samples | None = None,
    ) -> tuple[Params, Info]:
        """Return the gradient by the score function, and the batch's loss and weights."""
        if n < 2:
            raise ValueError(f"Reinforce compares each sample with the others: a batch of at least 2 wanted, got {n}")
        backend = backends.of(key)
        y, log_q = backend.stop_gradient(model.sample(params, key, n, condition))
        log_w = log_weight(action(y, couplings), log_q)
        xp = array_namespace(log_w)
        value, gain = self._value_and_gain(log_w)
        weight = backend.stop_gradient(-gain * (n / (n - 1)))

        def surrogate(params: Params) -> Array:
            return xp.mean(weight * model.log_density(params, y, condition))

        _, grads = backend.value_and_grad(surrogate)(params)
        return grads, report(value, log_w)

    def _value_and_gain(self, log_w: Array) -> tuple[Array, Array]:
        """The loss, and what each sample gains over the mean."""
        xp, a = array_namespace(log_w), self.power
        if a == 0.0:
            return -xp.mean(log_w), log_w - xp.mean(log_w)
        mean = log_mean_exp(a * log_w)
        return -mean / (a * (1.0 - a)), (xp.exp(a * log_w - mean) - 1.0) / a


@dataclass(frozen=True)
class ForwardKL:
    """Gradient of -E_p[log q] on n of the target samples, drawn with replacement.

    With `images` each is moved by a random symmetry of the lattice (core/lattice/random_images.py), of fields on sites alone:
    where the target has these symmetries, few samples teach what many would. `ess` is the mode-aware one, Z/E_p[w] =
    1/(E_p[1/w] E_p[w]), and `log_z` is -ln E_p[1/w]. Raises ValueError without samples.
    """

    images: bool = False

    def gradient(
        self,
        model: Density,
        action: Action,
        params: Params,
        key: Key,
        n: int,
        couplings: Values | None = None,
        condition: Values | None = None,
        samples: Array | Samples | None = None,
    ) -> tuple[Params, Info]:
        """Return the gradient at n of the samples, and the batch's loss and weights."""
        if samples is None:
            raise ValueError("ForwardKL learns from samples of the target: pass samples=(N, *field), got None")
        y, couplings, condition = _pick(samples, key, n, couplings, condition)
        if self.images:
            y = random_images(random.fold_in(key, 1), y, y.ndim - 1)

        def loss(params: Params) -> tuple[Array, Array]:
            log_q = model.log_density(params, y, condition)
            return -array_namespace(log_q).mean(log_q), log_q

        (value, log_q), grads = backends.of(key).value_and_grad(loss, has_aux=True)(params)
        log_w = log_weight(action(y, couplings), log_q)
        info = {"loss": value, "ess": target_ess(log_w), "log_z": -log_mean_exp(-log_w), "log_w": log_w}
        return grads, info


# names in recipes
ESTIMATORS: dict[str, Estimator] = {
    "reverse-kl": ReverseKL(),
    "path-gradient": PathGradient(),
    "reinforce": Reinforce(),
    "hellinger": Reinforce(power=0.5),
    "forward-kl": ForwardKL(),
}


def refuse_discrete(model: Density, estimator: Any) -> None:
    """Raise ValueError for an estimator that differentiates through the samples of a model whose samples are discrete.

    >>> from haarflow.flows.spins.autoregressive import dense
    >>> refuse_discrete(dense((2, 2)), ReverseKL())
    Traceback (most recent call last):
        ...
    ValueError: ReverseKL differentiates through the samples, and those of AutoregressiveSpins are discrete: take Reinforce (reinforce) or ForwardKL (forward-kl)
    """
    flows = [part.flow for part in components(model) if isinstance(part, Model)]  # type: ignore[arg-type]
    found = next((flow for flow in flows if traits(flow).onto is not None), None)
    if found is not None and isinstance(estimator, ReverseKL | PathGradient):
        raise ValueError(
            f"{type(estimator).__name__} differentiates through the samples, and those of {type(found).__name__} are discrete: "
            "take Reinforce (reinforce) or ForwardKL (forward-kl)"
        )


def report(value: Array, log_w: Array) -> Info:
    """Return the info of an estimator that draws from the model: loss, ess, log_z and log_w."""
    return {"loss": value, "ess": ess(log_w), "log_z": log_mean_exp(log_w), "log_w": log_w}


def ess(log_w: Array) -> Array:
    """Return the effective sample size of weights over axis 0, (sum w)^2/(n sum w^2) in (0, 1].

    >>> import numpy
    >>> float(ess(numpy.log(numpy.asarray([1.0, 3.0]))).round(12))
    0.8
    """
    xp = array_namespace(log_w)
    return xp.exp(2.0 * log_mean_exp(log_w) - log_mean_exp(2.0 * log_w))


def target_ess(log_w: Array) -> Array:
    """Return the mode-aware effective sample size Z/E_p[w] from weights at samples of the target.

    >>> import numpy
    >>> float(target_ess(numpy.log(numpy.asarray([1.0, 3.0]))).round(12))
    0.75
    """
    return array_namespace(log_w).exp(-log_mean_exp(-log_w) - log_mean_exp(log_w))


def _mean_and_log_w(action: Array, log_q: Array) -> tuple[Array, Array]:
    log_w = log_weight(action, log_q)
    return -array_namespace(log_w).mean(log_w), log_w


def _differentiate(loss: Callable[[Params], tuple[Array, Array]], params: Params, key: Key) -> tuple[Params, Info]:
    (value, log_w), grads = backends.of(key).value_and_grad(loss, has_aux=True)(params)
    return grads, report(value, log_w)


def _pick(
    samples: Array | Samples, key: Key, n: int, couplings: Values | None, condition: Values | None
) -> tuple[Array, Values | None, Values | None]:
    """Draw n of the samples with their couplings, from which the condition is then taken."""
    samples = samples if isinstance(samples, Samples) else Samples(samples)
    xp = array_namespace(samples.field)
    count = samples.field.shape[0]
    u = random.uniform(key, (n,), samples.field.dtype)
    index = xp.clip(xp.astype(xp.floor(u * count), xp.int32), 0, count - 1)
    if samples.couplings is not None:
        couplings = {name: xp.take(values, index, axis=0) for name, values in samples.couplings.items()}
        condition = None if condition is None else {name: couplings[name] for name in condition}
    return xp.take(samples.field, index, axis=0), couplings, condition
