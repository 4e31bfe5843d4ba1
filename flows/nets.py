"""Periodic convolutional nets, from which couplings take their parameters.

Features are `(*batch, channel, *lattice)`; a layer is a convolution with a bias, followed by an activation, or by an output
function at the end. Weights do not depend on the lattice, so that a net can be used on other volumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Key, Params, Tree
from haarflow.core import random
from haarflow.core.lattice.geometry import shift
from haarflow.flows import hypercubic
from haarflow.flows.flow import is_number


def leaky_relu(x: Array) -> Array:
    """Return x where positive, 0.01 x elsewhere."""
    return backends.of(x).leaky_relu(x)


def silu(x: Array) -> Array:
    """Return x / (1 + e^-x) = x (1 + tanh(x/2)) / 2."""
    return 0.5 * x * (1.0 + array_namespace(x).tanh(0.5 * x))


def tanh(x: Array) -> Array:
    """Return tanh(x), an odd activation."""
    return array_namespace(x).tanh(x)


def identity(x: Array) -> Array:
    """Return x."""
    return x


# A net computes in the field's precision, or in single precision while parameters and everything else keep theirs.
NET_PRECISIONS = ("field", "float32")


def check_net_precision(precision: str) -> None:
    """Raise ValueError for a precision that is not one of NET_PRECISIONS."""
    if precision not in NET_PRECISIONS:
        raise ValueError(f"a net computes in the precision 'field' or 'float32', got net_precision={precision!r}")


def lowered(precision: str, tree: Tree) -> Tree:
    """Return the input of a net, features and parameters, in the net's precision.

    >>> import numpy as np
    >>> lowered("float32", {"w0": np.ones(2)})["w0"].dtype, lowered("field", np.ones(2)).dtype
    (dtype('float32'), dtype('float64'))
    """
    return tree if precision == "field" else tree_map(_single, tree)


def _single(x: Array) -> Any:
    if is_number(x):
        return x
    xp = array_namespace(x)
    return xp.astype(x, xp.float32)


def raised(x: Array, like: Array) -> Array:
    """Return the output of a net in the precision of the field."""
    return x if x.dtype == like.dtype else array_namespace(x).astype(x, like.dtype)


ACTIVATIONS = {"leaky_relu": leaky_relu, "silu": silu, "tanh": tanh, "none": identity}


@dataclass(frozen=True)
class ConvNet:
    """A periodic convolutional net in d dimensions.

    `channels` lists the numbers of features from the input to the output; `kernel` is the odd extent of all kernels, or a
    tuple with one for each layer; `activation` acts between layers, `final` on the output; `biased=False` with an odd
    activation gives an odd net; `tied=True` ties each kernel by the hypercubic group (one weight for each orbit of
    displacements); `condition` names couplings that are appended to the input as constant features; `final_scale` scales
    the last layer's initial weights (0: the net starts at zero). With `separated` the kernels are sums of one along each
    axis, 1 + d (k - 1) weights in place of k^d; their taps may be `dilations` sites apart, one number for each layer, so that
    few layers see far. `net_precision="float32"` computes the net in single
    precision whatever the field's: the output is still a function of the features, so that a coupling stays invertible and
    its log_det exact. Raises ValueError for another precision, for kernels that are both tied and separated, and for
    dilations that are not one whole number >= 1 for each layer of separated kernels.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.nets import ConvNet
    >>> net = ConvNet(2, (1, 4, 3))
    >>> params = net.init(random.key(0, backend))
    >>> net.apply(params, backend.xp.ones((5, 1, 4, 4))).shape
    (5, 3, 4, 4)
    """

    d: int
    channels: tuple[int, ...]
    kernel: int | tuple[int, ...] = 3
    activation: str = "leaky_relu"
    final: str = "none"
    biased: bool = True
    tied: bool = False
    condition: tuple[str, ...] = ()
    final_scale: float = 1.0
    net_precision: str = "field"
    separated: bool = False
    dilations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", tuple(self.dilations))
        check_net_precision(self.net_precision)
        if self.tied and self.separated:
            raise ValueError("a net's kernels are tied by the hypercubic group or separated along the axes, not both")
        layers = len(self.channels) - 1
        if self.dilations and not (self.separated and len(self.dilations) == layers and min(self.dilations) >= 1):
            raise ValueError(
                "dilations belong to separated kernels, one whole number >= 1 for each layer: "
                f"got {self.dilations} for {layers} layers" + ", not separated" * (not self.separated)
            )

    def kernels(self) -> tuple[int, ...]:
        """Return the kernel extent of every layer."""
        layers = len(self.channels) - 1
        return (self.kernel,) * layers if isinstance(self.kernel, int) else self.kernel

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return weights and biases, uniform within +-1/sqrt(fan in), fan in = channels x taps."""
        params = {}
        inputs = (self.channels[0] + len(self.condition), *self.channels[1:])
        for layer, extent in enumerate(self.kernels()):
            weight_key, bias_key = random.split(random.fold_in(key, layer))[0, :], random.fold_in(key, 1000 + layer)
            fan_in, out = inputs[layer], self.channels[layer + 1]
            bound = 1.0 / math.sqrt(fan_in * self._taps(extent))
            bound *= self.final_scale if layer == len(self.channels) - 2 else 1.0
            shape = (out, fan_in, *self._kernel_shape(extent))
            params[f"w{layer}"] = bound * (2.0 * random.uniform(weight_key, shape, dtype) - 1.0)
            if self.biased:
                params[f"b{layer}"] = bound * (2.0 * random.uniform(bias_key, (out,), dtype) - 1.0)
        return params

    def apply(self, params: Params, features: Array, condition: Condition = None) -> Array:
        """Return the output features `(*batch, channels[-1], *lattice)`.

        Raises ValueError if `condition` lacks a coupling that the net is conditioned on.
        """
        layers = range(len(self.kernels()))
        weights = [self._kernel(params[f"w{layer}"], extent) for layer, extent in enumerate(self.kernels())]
        biases = [params[f"b{layer}"] if self.biased else None for layer in layers]
        activations = [ACTIVATIONS[self.activation]] * (len(layers) - 1) + [ACTIVATIONS[self.final]]
        inputs = lowered(self.net_precision, (self._with_condition(features, condition), weights, biases))
        apart = self.dilations or (1,) * len(layers)
        run = partial(_separated, self.d, apart) if self.separated else backends.of(features).conv_net
        return raised(run(*inputs, activations), features)

    def _taps(self, extent: int) -> int:
        return 1 + self.d * (extent - 1) if self.separated else extent**self.d

    def _kernel_shape(self, extent: int) -> tuple[int, ...]:
        if self.separated:
            return (self._taps(extent),)
        return (hypercubic.orbits(self.d, extent),) if self.tied else (extent,) * self.d

    def _kernel(self, weight: Array, extent: int) -> Array:
        return hypercubic.expand(weight, self.d, extent) if self.tied else weight

    def _with_condition(self, features: Array, condition: Condition) -> Array:
        if not self.condition:
            return features
        xp = array_namespace(features)
        pick = (..., slice(0, 1), *(slice(None),) * self.d)
        constant = [coupling(condition, name, features, self.d + 1) for name in self.condition]
        return xp.concat([features, *[xp.zeros_like(features[pick]) + value for value in constant]], axis=-self.d - 1)


def _separated(
    d: int,
    dilations: Sequence[int],
    x: Array,
    weights: Sequence[Array],
    biases: Sequence[Any],
    activations: Sequence[Callable[[Array], Array]],
) -> Array:
    """The layers of `conv_net` with kernels `(out, in, 1 + d (k - 1))`: matrices times features and their shifts."""
    xp = array_namespace(x)
    for w, b, activate, apart in zip(weights, biases, activations, dilations, strict=True):
        views = [shift(x, axis, d, apart * step) for axis, step in _displacements(d, w.shape[2])]
        rows = xp.reshape(xp.concat(views, axis=-d - 1), (*x.shape[: -d - 1], w.shape[1] * w.shape[2], -1))
        y = xp.matmul(xp.reshape(xp.permute_dims(w, (0, 2, 1)), (w.shape[0], -1)), rows)
        y = xp.reshape(y, (*x.shape[: -d - 1], w.shape[0], *x.shape[-d:]))
        x = activate(y if b is None else y + b[(..., *(None,) * d)])
    return x


def _displacements(d: int, taps: int) -> list[tuple[int, int]]:
    """Axis and steps of every tap of a separated kernel: none, then those along each axis."""
    reach = (taps - 1) // (2 * d)
    steps = [*range(-reach, 0), *range(1, reach + 1)]
    return [(0, 0), *[(axis, step) for axis in range(d) for step in steps]]


def coupling(condition: Condition, name: str, like: Array, axes: int) -> Any:
    """Return a coupling of the condition, with `axes` trailing axes of extent one if it is batch-shaped.

    Raises ValueError if the condition lacks it.
    """
    if condition is None or name not in condition:
        names = ", ".join(condition) if condition else "none"
        raise ValueError(f"this flow is conditioned on {name!r}; pass condition={{{name!r}: value}}, got {names}")
    value = condition[name]
    return value if is_number(value) or value.ndim == 0 else value[(..., *(None,) * axes)]
