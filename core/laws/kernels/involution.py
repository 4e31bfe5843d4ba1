"""Laws of involutions: applied twice they are the identity, and log_det is that of their dense Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import flatten, leaves
from haarflow.backends.types import Tree
from haarflow.core import fields
from haarflow.core.chains.involution import Image, Involutive
from haarflow.core.laws.law import EPSILON, Verdict, fits, judge, largest, precision_of, to_host
from haarflow.core.parts import described
from haarflow.core.spaces import Space, batch_shape

STEP = 1e-3  # of the central differences; a second one is twice as long
COPIES, NUMBER = 16, 16  # copies of its fields that an involution makes, bytes of a complex number


def involution_of(kernel: Any) -> Any:
    """Return the involution of a kernel, or the kernel itself where it is one, as HMC is."""
    return kernel.involution if isinstance(kernel, Involutive) else kernel


@lru_cache(maxsize=64)
def _images(definition: Any, jit: Callable[..., Any]) -> Callable[..., Image]:
    compiled: Callable[..., Image] = jit(lambda values, x, v: definition.with_values(values).involution(x, v))
    return compiled


def _image(involution: Any, x: Tree, v: Tree) -> Image:
    return _images(involution.with_values(None), backends.of(*leaves(x)).jit)(involution.values, x, v)


def applied_twice(kernel: Any, x: Tree, v: Tree) -> Verdict:
    """The involution of an involution is the identity: (x, v) -> (x', v') -> (x, v), and the two log_det cancel.

    The tolerance is a few hundred roundings, times the growth of a small perturbation along the map, measured.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.2})
    >>> applied_twice(hmc, numpy.ones((1, 2, 2)), numpy.ones((1, 2, 2))).passed
    True
    """
    involution, spaces = involution_of(kernel), described(kernel.theory).spaces
    there = _image(involution, x, v)
    back = _image(involution, there.field, there.auxiliary)
    log_dets = [to_host(image.log_det) for image in (there, back) if image.log_det is not None]
    residual = max(_distance(spaces, (back.field, back.auxiliary), (x, v)), largest(sum(log_dets, numpy.zeros(1))))
    small = math.sqrt(EPSILON[precision_of(leaves(x)[0])])
    bumped = _image(involution, *_displaced(spaces, x, v, small))
    grown = _distance(spaces, (bumped.field, bumped.auxiliary), (there.field, there.auxiliary)) / small
    size = max(1.0, *(largest(part) for part in leaves((x, v, there.field, there.auxiliary))))
    tolerance = 256 * EPSILON[precision_of(leaves(x)[0])] * max(1.0, grown) * size
    return judge(applied_twice, residual, tolerance, f"a perturbation grows by {max(1.0, grown):.3g}", x=x, v=v)


def involution_volume(kernel: Any, x: Tree, v: Tree) -> Verdict:
    """log_det = log |det d(x', v')/d(x, v)| over all components, by central differences of fourth order.

    `x` and `v` are one configuration without batch axes, on a tiny lattice; x moves along its groups, v by addition, both
    in double precision. The tolerance is the change from steps h to 2h, the error of second order that the combination removes. Raises TooLarge, a
    ValueError, where the components are too many.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.2})
    >>> involution_volume(hmc, numpy.ones((2, 2)), numpy.ones((2, 2))).passed
    True
    """
    involution, spaces = involution_of(kernel), described(kernel.theory).spaces
    x, v = fields.map(_in_double, x), fields.map(_in_double, v)
    count = _components(fields.zeros(spaces, x)) + _components(v)
    fits(4.0 * count * COPIES * NUMBER * count, f"{count} components of field and auxiliary variable")
    once, twice = (_jacobian(involution, spaces, x, v, count, h) for h in (STEP, 2 * STEP))
    dense, single, double = (float(numpy.linalg.slogdet(m)[1]) for m in ((4.0 * once - twice) / 3.0, once, twice))
    log_det = _image(involution, _rows(x, 1), _rows(v, 1)).log_det
    claimed = 0.0 if log_det is None else float(to_host(log_det)[0])
    tolerance = abs(single - double) + 64 * count * EPSILON["float64"] / STEP
    reason = f"steps {STEP} and {2 * STEP} of {count} components, and rounding"
    return judge(involution_volume, claimed - dense, tolerance, reason, x=x, v=v)


def _in_double(part: Any) -> Any:
    """The same numbers in double precision, which differences need."""
    host = to_host(part)
    return backends.of(part).asarray(host, dtype="complex128" if host.dtype.kind == "c" else "float64")


def _jacobian(involution: Any, spaces: Tree, x: Tree, v: Tree, count: int, h: float) -> numpy.ndarray:
    """The dense matrix (component of the image, component of the argument) by central differences."""
    shifts = numpy.concatenate([h * numpy.eye(count), -h * numpy.eye(count)])
    rows_x, rows_v = _rows(x, 2 * count), _rows(v, 2 * count)
    moves = _algebra(fields.zeros(spaces, rows_x), rows_v, shifts)
    image = _image(involution, *_moved(spaces, rows_x, rows_v, *moves))
    plus, minus = (
        (_part(image.field, cut), _part(image.auxiliary, cut)) for cut in (slice(0, count), slice(count, 2 * count))
    )
    return _change(spaces, plus, minus).T / (2.0 * h)


def _part(tree: Tree, cut: slice) -> Tree:
    return fields.map(lambda a: a[cut, ...], tree)


def _rows(tree: Tree, count: int) -> Tree:
    """One configuration as a batch of equal ones."""
    backend = backends.of(*leaves(tree)) if leaves(tree) else None
    return fields.map(lambda a: backend.xp.broadcast_to(a[None, ...], (count, *a.shape)), tree) if backend else tree


def _components(algebra: Tree) -> int:
    return sum((2 if to_host(part).dtype.kind == "c" else 1) * math.prod(part.shape) for part in leaves(algebra))


def _algebra(zeros: Tree, v: Tree, shifts: numpy.ndarray) -> tuple[Tree, Tree]:
    """Rows of real components as momenta of x and changes of v."""
    parts, rebuild = flatten((zeros, v))
    made, start = [], 0
    for part in parts:
        host, size = to_host(part), math.prod(part.shape[1:])
        cut = shifts[:, start : start + size]
        start += size
        if host.dtype.kind == "c":
            cut, start = cut + 1j * shifts[:, start : start + size], start + size
        made.append(backends.of(part).asarray(cut.reshape(host.shape), dtype=str(host.dtype)))
    algebra, change = rebuild(made)
    return algebra, change


def _moved(spaces: Tree, x: Tree, v: Tree, w: Tree, dv: Tree) -> tuple[Tree, Tree]:
    return fields.move(spaces, x, w, 1.0), fields.map(lambda a, b: a + b, v, dv)


def _displaced(spaces: Tree, x: Tree, v: Tree, size: float) -> tuple[Tree, Tree]:
    """Field and auxiliary variable a little away, by changes of one size and changing sign."""
    batch = math.prod(batch_shape(spaces, x))
    zeros = fields.zeros(spaces, x)
    count = (_components(zeros) + _components(v)) // batch
    signs = numpy.where(numpy.arange(batch * count) % 3 == 1, -size, size).reshape(batch, count)
    return _moved(spaces, x, v, *_algebra(zeros, v, signs))


def _change(spaces: Tree, plus: tuple[Tree, Tree], minus: tuple[Tree, Tree]) -> numpy.ndarray:
    """The real components `(row, component)` of the way from one pair to another along the groups."""

    def along(space: Space, a: Any, b: Any) -> Any:
        return space.group.log(space.group.quotient(a, b))

    moved = (fields.map(along, spaces, plus[0], minus[0]), fields.map(lambda a, b: a - b, plus[1], minus[1]))
    columns: list[numpy.ndarray] = []
    for part in leaves(moved):
        host = to_host(part).reshape(part.shape[0], -1)
        columns += [host.real, host.imag] if host.dtype.kind == "c" else [host]
    return numpy.concatenate(columns, axis=1).astype("float64")


def _distance(spaces: Tree, one: tuple[Tree, Tree], other: tuple[Tree, Tree]) -> float:
    return largest(_change(spaces, one, other))
