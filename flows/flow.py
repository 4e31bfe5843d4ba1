"""Flows: bijections with their log-determinants, and their composition.

A flow is a frozen definition (numbers, strings, tuples) together with a nested dict of parameters:
`init(key, dtype) -> params`, `forward(params, x, condition=None) -> (y, log_det)` with log_det = log |det dy/dx| of
the batch's shape, `inverse` likewise with log |det dx/dy|. A definition does not contain the lattice: on another volume
the same flow acts on another prior. A stochastic layer takes a key as well and returns log_ratio in place of log_det.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Condition, Group, Key, Params, Tree
from haarflow.backends.types import Flow as Flow
from haarflow.backends.types import Prior as Prior
from haarflow.core import random
from haarflow.core.lattice.symmetries import SYMMETRIES
from haarflow.core.parts import described
from haarflow.core.spaces import batch_shape
from haarflow.flows.images import Images, chosen
from haarflow.flows.proposals import log_mean_exp
from haarflow.flows.symmetries import common, common_periods, total_displacement
from haarflow.flows.traits import traits

IMAGE = 0x696D6167  # folded into the key of a draw for the choice of its image
UNROLLED = 2  # repetitions: on JAX the gradient of a scan this short took up to 1.9 times as long as that of a loop

Direction = Callable[[Params, Array, Condition], tuple[Array, Array]]  # a flow's `forward` or its `inverse`


class StochasticLayer(Protocol):
    """A random move of a field, such as a Metropolis or Langevin step, with its contribution to the weight."""

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters."""
        ...

    def forward(self, params: Params, key: Key, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return y drawn from P(x -> y) and log_ratio = log P~(y -> x) - log P(x -> y), of the batch's shape.

        P~ is the reverse move. log_ratio takes the place of log_det: log_w = -S(y) - log r(x) + sum of both over
        layers.
        """
        ...


@dataclass(frozen=True)
class Chain:
    """Flows applied one after another; parameters {"0": ..., "1": ...}.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.flow import Chain, Translate
    >>> flow = Chain((Translate((1,)), Translate((-1,))))
    >>> y, log_det = flow.forward({"0": {}, "1": {}}, backend.asarray([[1.0, 2.0, 3.0]]))
    >>> y.tolist(), log_det.tolist()
    ([[1.0, 2.0, 3.0]], [0.0])
    """

    flows: tuple[Flow, ...]

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries shared by all flows."""
        return common(self.flows)

    @property
    def periods(self) -> tuple[int, ...]:
        """The smallest translation along each axis with which all flows commute."""
        return common_periods(self.flows)

    @property
    def displacement(self) -> tuple[int, ...]:
        """The number of sites by which the field is translated in total, along each axis."""
        return total_displacement(self.flows)

    @property
    def fixed(self) -> dict[str, float]:
        """The couplings by which a flow is defined."""
        return {name: value for flow in self.flows for name, value in (traits(flow).fixed or {}).items()}

    @property
    def hasenbusch(self) -> tuple[float, ...] | None:
        """The hopping parameters of the factors of pseudofermions, where all flows say the same."""
        found = {traits(flow).hasenbusch for flow in self.flows}
        return found.pop() if len(found) == 1 else None

    @property
    def integrated(self) -> bool:
        """Whether a log-determinant is that of continuous time."""
        return any(traits(flow).integrated for flow in self.flows)

    @property
    def refined(self) -> Callable[[int], Chain] | None:
        """What returns the same flows in a multiple of the steps of those in continuous time, where there are any."""
        return self._refined if self.integrated else None

    def _refined(self, factor: int) -> Chain:
        def finer(flow: Flow) -> Flow:
            found = traits(flow)
            refined: Flow = found.refined(factor) if found.integrated and found.refined else flow
            return refined

        return Chain(tuple(map(finer, self.flows)))

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the parameters of every flow, each drawn with a separate key."""
        keys = random.split(key, max(len(self.flows), 1))
        return {str(index): flow.init(keys[index, :], dtype) for index, flow in enumerate(self.flows)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the flows in order."""
        steps = [(flow.forward, params[str(index)]) for index, flow in enumerate(self.flows)]
        return _in_turn(steps, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo the flows from the last to the first."""
        steps = [(flow.inverse, params[str(index)]) for index, flow in enumerate(self.flows)]
        return _in_turn(reversed(steps), y, condition)


def _in_turn(steps: Iterable[tuple[Direction, Params]], x: Array, condition: Condition) -> tuple[Array, Array]:
    total = None
    for apply, params in steps:
        x, log_det = apply(params, x, condition)
        total = log_det if total is None else total + log_det
    if total is None:
        raise ValueError("a Chain of no flows has no batch shape for its log-determinant: give at least one flow")
    return x, total


@dataclass(frozen=True)
class Repeat:
    """One flow applied n times, each time with separate parameters; they are stacked on axis 0 and scanned over.

    The flow compiles once, whatever n is; up to n = UNROLLED the scan is unrolled. With `recompute` the gradient
    stores only the fields between the repetitions and recomputes what happens within each: less memory, more time,
    the same numbers.
    """

    flow: Flow
    n: int
    recompute: bool = False

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the repeated flow."""
        return common([self.flow])

    @property
    def periods(self) -> tuple[int, ...]:
        """The smallest translation along each axis with which the repeated flow commutes."""
        return common_periods([self.flow])

    @property
    def displacement(self) -> tuple[int, ...]:
        """The number of sites by which the field is translated in total, along each axis."""
        return total_displacement([self.flow] * self.n)

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return n sets of parameters, stacked on axis 0."""
        xp = array_namespace(key)
        keys = random.split(key, self.n)
        each = [self.flow.init(keys[index, :], dtype) for index in range(self.n)]
        return tree_map(lambda *rows: xp.stack(rows, axis=0), *each)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the flow with the first parameters, then with the second, and so on."""
        return self._scan(self.flow.forward, params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo the repetitions from the last to the first."""
        flipped = tree_map(lambda p: array_namespace(p).flip(p, axis=0), params)
        return self._scan(self.flow.inverse, flipped, y, condition)

    def _scan(self, apply: Direction, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        backend = backends.of(x)

        def body(x: Array, params: Params) -> tuple[Array, Array]:
            return apply(params, x, condition)

        step = backend.checkpoint(body) if self.recompute else body
        scan = _unrolled if 0 < self.n <= UNROLLED else backend.scan
        x, log_dets = scan(step, x, params, length=self.n)
        return x, array_namespace(x).sum(log_dets, axis=0)


def _unrolled(
    body: Callable[[Array, Params], tuple[Array, Array]], x: Array, params: Params, length: int
) -> tuple[Array, Array]:
    """The backends' `scan` as a plain loop, so that the gradient does not stack the intermediate results."""
    log_dets = []
    for index in range(length):
        x, log_det = body(x, tree_map(itemgetter((index, ...)), params))
        log_dets.append(log_det)
    return x, array_namespace(x).stack(log_dets, axis=0)


@dataclass(frozen=True)
class Translate:
    """A translation of the field by `shifts` sites along the lattice axes, y(n + shifts) = x(n).

    Between couplings it does the work of a shifted mask. `internal` is the number of axes between batch and lattice
    (one for a U(1) gauge field, three for SU(N)).
    """

    shifts: tuple[int, ...]
    internal: int = 0

    symmetries = SYMMETRIES

    @property
    def periods(self) -> tuple[int, ...]:
        """One site along every axis."""
        return (1,) * len(self.shifts)

    @property
    def displacement(self) -> tuple[int, ...]:
        """The shifts themselves."""
        return self.shifts

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Translate the field by `shifts`; the log-determinant is zero."""
        return self._roll(x, self.shifts)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Translate the field back."""
        return self._roll(y, tuple(-steps for steps in self.shifts))

    def _roll(self, x: Array, shifts: tuple[int, ...]) -> tuple[Array, Array]:
        xp, d = array_namespace(x), len(shifts)
        moving = [(steps, axis - d) for axis, steps in enumerate(shifts) if steps]
        if moving:
            x = xp.roll(x, tuple(steps for steps, _ in moving), axis=tuple(axis for _, axis in moving))
        return x, zero_log_det(x, d + self.internal)


def constant(key: Array, value: float, shape: tuple[int, ...], dtype: str) -> Array:
    """Return a parameter that starts at `value`, on the key's device."""
    xp = array_namespace(key)
    return xp.full(shape, value, dtype=real_dtype(xp, dtype), device=backends.place(key))


def real_dtype(xp: Any, name: str) -> Any:
    """Return an array namespace's real type "float32" or "float64"."""
    return {"float32": xp.float32, "float64": xp.float64}[name]


def is_number(x: object) -> bool:
    """Return whether a coupling or coefficient is a Python number, which has neither axes nor a precision.

    >>> import numpy as np
    >>> is_number(2.0), is_number(np.float64(2.0))
    (True, False)
    """
    return type(x) in (int, float)


def zero_log_det(x: Array, field_axes: int) -> Array:
    """Return real zeros of the batch's shape: the log-determinant of a volume-preserving map."""
    xp = array_namespace(x)
    return xp.zeros_like(xp.abs(x[(..., *(0,) * field_axes)]))


@dataclass(frozen=True)
class Model:
    """A prior pushed through a flow: log q(y) = log r(x) - log |det dy/dx|; with `images`, averaged over them."""

    prior: Any  # a Prior and a dataclass: `dataclasses.replace` puts it on another lattice
    flow: Any  # a Flow, whose own fields (n, order, ...) callers may read
    images: Images | None = None

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the density: those shared by the prior and the flow, and internal ones that it is averaged over."""
        shared = common([self.prior, self.flow])
        averaged = () if self.images is None else self.images.internal
        return tuple(name for name in SYMMETRIES if name in (*shared, *averaged))

    @property
    def lattice(self) -> tuple[int, ...]:
        """The prior's lattice."""
        return tuple(self.prior.lattice)

    @property
    def group(self) -> Group:
        """The group of the fields, of pairs a `Pair` of groups: the prior's, or a discrete one onto which the flow maps."""
        group: Group = traits(self.flow).onto or self.prior.group
        return group

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, for fields of one array."""
        return tuple(self.prior.field_shape)

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return fresh parameters of the flow."""
        return self.flow.init(key, dtype)

    def sample(self, params: Params, key: Key, n: int, condition: Condition = None) -> tuple[Array, Array]:
        """Return n fields `(n, *field_shape)` and their log-densities `(n,)`."""
        x = self.prior.sample(key, n, precision(params))
        y, log_det = self.flow.forward(params, x, condition)
        log_q = self.prior.log_density(x) - log_det
        if self.images is None:
            return y, log_q
        images = self.images.of(y, self.group, self.prior.lattice)
        others = tree_map(itemgetter((slice(1, None), ...)), images)
        mean = self._averaged(params, others, [log_q], condition)
        return chosen(images, random.fold_in(key, IMAGE)), mean

    def log_density(self, params: Params, y: Array, condition: Condition = None) -> Array:
        """Return log q(y) `(*batch,)`, computed by one inverse pass, or one for each image."""
        if self.images is None:
            return self._log_density(params, y, condition)
        spaces = described(self.prior).spaces
        batch, xp = batch_shape(spaces, y), array_namespace(*leaves(y))
        flat = tree_map(lambda space, part: xp.reshape(part, (-1, *space.shape)), spaces, y)
        images = self.images.of(flat, self.group, self.prior.lattice)
        return xp.reshape(self._averaged(params, images, [], condition), batch)

    def _log_density(self, params: Params, y: Array, condition: Condition) -> Array:
        x, log_det = self.flow.inverse(params, y, condition)
        return self.prior.log_density(x) + log_det

    def _averaged(self, params: Params, images: Tree, known: list[Array], condition: Condition) -> Array:
        """ln of the mean of the densities of images `(image, n, *field_shape)` and of those that are known."""

        def one(carry: Array, image: Tree) -> tuple[Array, Array]:
            return carry, self._log_density(params, image, condition)

        first = leaves(images)[0]
        xp, backend = array_namespace(first), backends.of(first)
        _, rows = backend.scan(one, xp.zeros_like(first[(0, slice(None), *(0,) * (first.ndim - 2))]), images)
        return log_mean_exp(xp.concat([*[row[None, :] for row in known], rows], axis=0))


def precision(params: Params) -> str:
    """Return the precision of a parameter tree, "float32" or "float64"; a tree without leaves has float64."""
    arrays = leaves(params)
    if not arrays:
        return "float64"
    return "float32" if arrays[0].dtype == array_namespace(arrays[0]).float32 else "float64"
