"""Context nets of scalar couplings: networks that map frozen sites to the parameters of the active ones.

`CheckerboardNet` works on the active sublattice only: its first kernel connects active sites to frozen ones (displacements
of odd sum), the others (extent 1 or more) connect active sites. With `symmetric=True` the first `even` outputs are even
and the last `odd` outputs odd under phi -> -phi: hidden features come in pairs f(b + u), f(b - u), whose sum is even and
whose difference is odd, and the next linear map does not mix the two, which halves the work of an unconstrained net.
`LatticeNet` is a `ConvNet` on the whole lattice with active sites set to zero: the published architecture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.broadcasting import of_rank
from haarflow.flows import hypercubic
from haarflow.flows.flow import is_number
from haarflow.flows.nets import ACTIVATIONS, ConvNet, check_net_precision, coupling, lowered, raised
from haarflow.flows.scalar.checkerboard import displacements, merge, stencil, sublattice, take


class ContextNet(Protocol):
    """A network from the frozen sublattice `(V/2, n)` of a checkerboard to parameters of the active one."""

    @property
    def d(self) -> int:
        """The dimension of the lattice."""
        ...

    @property
    def symmetric(self) -> bool:
        """Whether the outputs have definite parity under phi -> -phi."""
        ...

    @property
    def tied(self) -> bool:
        """Whether kernels are tied by the hypercubic group."""
        ...

    def init(self, key: Key, even: int, odd: int, dtype: str = "float64") -> Params:
        """Return fresh parameters for so many even and odd outputs."""
        ...

    def apply(
        self,
        params: Params,
        passive: Array,
        lattice: tuple[int, ...],
        parity: int,
        even: int,
        odd: int,
        condition: Condition = None,
    ) -> Array:
        """Return the outputs `(even + odd, V/2, n)` on the active sites, those of `parity`."""
        ...


@dataclass(frozen=True)
class CheckerboardNet:
    """A periodic net on the active sublattice.

    `hidden` lists the numbers of features; the first kernel has the odd extent `reach`, the others `kernel`;
    `symmetric=True` gives outputs of definite parity under phi -> -phi; `tied=True` ties kernels by the hypercubic group;
    `condition` names couplings that shift the first layer, `features` and `odd_features` fields `(*batch, *lattice)` of the condition
    whose values at the active site do, these odd under phi -> -phi; `gain` is the first layer's response to a field of size 1;
    `final_scale` scales the initial weights of the output (0: a coupling starts as the identity); `net_precision` as in
    `ConvNet`. Raises ValueError for kernels that do not fit the layers.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> net = CheckerboardNet(2, hidden=(4,))
    >>> params = net.init(random.key(0, backend), even=1, odd=1)
    >>> net.apply(params, backend.xp.ones((8, 5)), (4, 4), 0, 1, 1).shape
    (2, 8, 5)
    """

    d: int
    hidden: tuple[int, ...] = (12, 12)
    reach: int = 7
    kernel: int = 1
    activation: str = "leaky_relu"
    symmetric: bool = True
    tied: bool = False
    condition: tuple[str, ...] = ()
    gain: float = 2.5
    final_scale: float = 0.0
    net_precision: str = "field"
    features: tuple[str, ...] = ()
    odd_features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_net_precision(self.net_precision)
        if not self.hidden:
            raise ValueError("a context net has at least one hidden layer, got hidden=()")
        if self.reach < 3 or self.reach % 2 == 0 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(
                f"kernels have odd extents, the first at least 3 to reach the other colour, got reach={self.reach}, "
                f"kernel={self.kernel}"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"an activation is one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")

    def init(self, key: Key, even: int, odd: int, dtype: str = "float64") -> Params:
        """Return fresh weights, uniform with variance 1/fan-in; biases vary where features would otherwise be equal.

        All come from a single draw, since JAX compiles an eager draw anew for each shape.
        """
        shapes = self._shapes(even, odd)
        sizes = [math.prod(shape) for shape, _ in shapes.values()]
        noise = math.sqrt(12.0) * (random.uniform(key, (sum(sizes),), dtype) - 0.5)
        xp, params, begin = array_namespace(noise), {}, 0
        for (name, (shape, deviation)), size in zip(shapes.items(), sizes, strict=True):
            params[name] = deviation * xp.reshape(noise[begin : begin + size], shape)
            begin += size
        return params

    def _shapes(self, even: int, odd: int) -> dict[str, tuple[tuple[int, ...], float]]:
        """The shape of every parameter and its initial standard deviation."""
        first, last = self.hidden[0], self.hidden[-1]
        shapes: dict[str, tuple[tuple[int, ...], float]] = {
            "w0": ((first, 1, self._weights(0)), self.gain / math.sqrt(len(self._steps(0)))),
            "b0": ((first,), 0.3),
        }
        if self.condition:
            shapes["k0"] = ((first, len(self.condition)), 0.1)
        for name, features in (("f0", self.features), ("g0", self.odd_features)):
            if features:
                shapes[name] = ((first, len(features)), 0.3)
        for layer in range(1, len(self.hidden)):
            inputs, outputs = self.hidden[layer - 1], self.hidden[layer]
            deviation = 1.0 / math.sqrt(inputs * len(self._steps(layer)))
            for stream in ("even", "odd") if self.symmetric else ("w",):
                shapes[f"{stream}{layer}"] = ((outputs, inputs, self._weights(layer)), deviation)
            shapes[f"b{layer}"] = ((outputs,), 0.0)
        for stream, count in self._outputs(even, odd):
            shapes[stream] = ((count, last), self.final_scale / math.sqrt(last))
        shapes["bias"] = ((even if self.symmetric else even + odd,), 0.0)
        return shapes

    def apply(
        self,
        params: Params,
        passive: Array,
        lattice: tuple[int, ...],
        parity: int,
        even: int,
        odd: int,
        condition: Condition = None,
    ) -> Array:
        """Return the outputs `(even + odd, V/2, n)` on the active sites, those of `parity`."""
        weights, features, values = lowered(self.net_precision, (params, passive, condition))
        return raised(self._outputs_on(weights, features, values, (lattice, parity), (even, odd)), passive)

    def _outputs_on(
        self,
        params: Params,
        passive: Array,
        condition: Condition,
        sublattice: tuple[tuple[int, ...], int],
        counts: tuple[int, int],
    ) -> Array:
        lattice, parity = sublattice
        u = self._convolve(params["w0"], passive[None, ...], lattice, parity, 0)
        b = self._first_bias(params, passive, condition)
        if self.features:
            b = b + _mix(params["f0"], self._local(self.features, condition, lattice, parity))
        if self.odd_features:
            u = u + _mix(params["g0"], self._local(self.odd_features, condition, lattice, parity))
        if not self.symmetric:
            return self._plain(params, b + u, lattice, parity)
        plus, minus = self._act(b + u), self._act(b - u)
        for layer in range(1, len(self.hidden)):
            a = self._convolve(params[f"even{layer}"], 0.5 * (plus + minus), lattice, parity, layer)
            a = a + params[f"b{layer}"][:, None, None]
            u = self._convolve(params[f"odd{layer}"], 0.5 * (plus - minus), lattice, parity, layer)
            plus, minus = self._act(a + u), self._act(a - u)
        even, odd = counts
        outputs = []
        if even:
            outputs.append(_mix(params["even"], 0.5 * (plus + minus)) + params["bias"][:, None, None])
        if odd:
            outputs.append(_mix(params["odd"], 0.5 * (plus - minus)))
        return array_namespace(passive).concat(outputs, axis=0)

    def _first_bias(self, params: Params, passive: Array, condition: Condition) -> Array:
        """The bias of the first layer, shifted by the couplings: `(C, 1, 1)`, or `(C, 1, n)`."""
        b = params["b0"][:, None, None]
        for index, name in enumerate(self.condition):
            value = per_row(coupling(condition, name, passive, 0))
            b = b + params["k0"][:, index, None, None] * of_rank(value, 3)
        return b

    def _local(self, names: tuple[str, ...], condition: Condition, lattice: tuple[int, ...], parity: int) -> Array:
        """Fields of the condition at the active sites, `(C, V/2, n)`."""
        fields = [coupling(condition, name, (), 0) for name in names]
        return sublattice(array_namespace(*fields).stack(fields, axis=-1 - self.d), self.d, parity)

    def _plain(self, params: Params, u: Array, lattice: tuple[int, ...], parity: int) -> Array:
        features = self._act(u)
        for layer in range(1, len(self.hidden)):
            u = self._convolve(params[f"w{layer}"], features, lattice, parity, layer)
            features = self._act(u + params[f"b{layer}"][:, None, None])
        return _mix(params["w"], features) + params["bias"][:, None, None]

    def _act(self, x: Array) -> Array:
        return ACTIVATIONS[self.activation](x)

    def _outputs(self, even: int, odd: int) -> tuple[tuple[str, int], ...]:
        return (("even", even), ("odd", odd)) if self.symmetric else (("w", even + odd),)

    def _steps(self, layer: int) -> tuple[tuple[int, ...], ...]:
        """The displacements of a layer's taps: to the other colour in the first layer, within the colour in the others."""
        return displacements(self.d, self.reach if layer == 0 else self.kernel, layer == 0)

    def _weights(self, layer: int) -> int:
        """The number of free weights of a kernel: its taps, or their orbits."""
        steps = self._steps(layer)
        return hypercubic.count_orbits(steps) if self.tied else len(steps)

    def _convolve(self, w: Array, x: Array, lattice: tuple[int, ...], parity: int, layer: int) -> Array:
        """Return the kernel's sum over taps, `(C, V/2, n) -> (O, V/2, n)`."""
        xp = array_namespace(x)
        if self.tied:
            w = take(w, hypercubic.orbit_numbers(self._steps(layer)), 2)
        weights = xp.reshape(w, (w.shape[0], -1))
        if layer > 0 and self.kernel == 1:
            return _mix(weights, x)
        table = stencil(lattice, parity, self.reach if layer == 0 else self.kernel, layer == 0)
        rows = take(x, table.ravel(), 1)
        return _mix(weights, xp.reshape(rows, (-1, *x.shape[1:])))


@dataclass(frozen=True)
class LatticeNet:
    """A `ConvNet` on the whole lattice, whose input is the field with active sites set to zero.

    Its outputs have no definite parity under phi -> -phi. Fields as in `ConvNet`; `hidden` lists the numbers of features.

    >>> LatticeNet(2, hidden=(8, 8), final="tanh").net(2).channels
    (1, 8, 8, 2)
    """

    d: int
    hidden: tuple[int, ...] = (8, 8)
    kernel: int | tuple[int, ...] = 3
    activation: str = "leaky_relu"
    final: str = "none"
    tied: bool = False
    condition: tuple[str, ...] = ()
    final_scale: float = 1.0
    net_precision: str = "field"

    @property
    def symmetric(self) -> bool:
        """False: a bias breaks the parity."""
        return False

    def net(self, outputs: int) -> ConvNet:
        """Return the net with a number of output channels."""
        return ConvNet(
            self.d,
            (1, *self.hidden, outputs),
            self.kernel,
            self.activation,
            self.final,
            tied=self.tied,
            condition=self.condition,
            final_scale=self.final_scale,
            net_precision=self.net_precision,
        )

    def init(self, key: Key, even: int, odd: int, dtype: str = "float64") -> Params:
        """Return the net's parameters."""
        return self.net(even + odd).init(key, dtype)

    def apply(
        self,
        params: Params,
        passive: Array,
        lattice: tuple[int, ...],
        parity: int,
        even: int,
        odd: int,
        condition: Condition = None,
    ) -> Array:
        """Return the outputs `(even + odd, V/2, n)` on the active sites, those of `parity`."""
        xp = array_namespace(passive)
        features = merge(xp.zeros_like(passive), passive, parity, (passive.shape[1], 1, *lattice), self.d)
        condition = condition and {name: per_row(value) for name, value in condition.items()}
        return sublattice(self.net(even + odd).apply(params, features, condition), self.d, parity)


def per_row(value: Any) -> Any:
    """Return a batch-shaped coupling as one number per configuration, `(n,)`; single numbers pass unchanged."""
    return value if is_number(value) or value.ndim == 0 else array_namespace(value).reshape(value, (-1,))


def _mix(w: Array, x: Array) -> Array:
    """Return w (O, C) times x (C, V/2, n) as one matrix product."""
    xp = array_namespace(x)
    return xp.reshape(w @ xp.reshape(x, (x.shape[0], -1)), (w.shape[0], *x.shape[1:]))
