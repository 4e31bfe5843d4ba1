"""Laws of a group of field values, written in compose, inverse, exp, log, project, update, inner and the two draws.

Elements are compared by `faithful`, host numbers that identify an element independently of its representative: an angle
by (cos, sin), a real number or a matrix by itself. Elements are `(*batch, [N, N,] *lattice)`, algebra elements real.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy

from haarflow.backends.standard import identity
from haarflow.backends.types import Array, Group
from haarflow.core.groups.signs import has_algebra
from haarflow.core.laws.deviations import LIMIT, LUCK, largest_pull
from haarflow.core.laws.fields import algebra_shape, element_shape, exponential_twin
from haarflow.core.laws.law import (
    EPSILON,
    Given,
    Law,
    Verdict,
    Whole,
    at_once,
    in_double,
    judge,
    largest,
    precision_of,
    to_host,
)

DRAWS = 50_000
HARMONICS = (1, 2, 3, 4)


def _angles(a: numpy.ndarray) -> numpy.ndarray:
    return numpy.stack([numpy.cos(a), numpy.sin(a)])


# name -> host numbers that identify an element; elements of a group that is not listed identify themselves
FAITHFUL: dict[str, Callable[[Any], Any]] = {"U1": _angles}
# name -> exp(i w_a T_a) as faithful numbers, by a reference; matrices have one for all N
EXPONENTIALS: dict[str, Callable[[Any], Any]] = {"Real": lambda w: w, "Complex": lambda w: w, "U1": _angles}
# name -> rows whose mean under the Haar measure is zero, from elements on the host; matrices have one for all N
HAAR_ZEROS: dict[str, Callable[[Any], Any]] = {
    "U1": lambda a: numpy.stack([wave(n * a) for n in HARMONICS for wave in (numpy.cos, numpy.sin)], axis=-1),
    "Signs": lambda a: numpy.concatenate([a, a[..., :1] * a[..., 1:]], axis=-1),
}


def _matrix_exponential(group: Any, w: numpy.ndarray) -> numpy.ndarray:
    """exp(i w_a T_a) by eigenvalues, with the lattice axes moved to the front and back."""
    axis = w.ndim - group.d - 1
    hermitian = numpy.tensordot(numpy.moveaxis(w, axis, -1), numpy.stack(group.basis()), axes=1)
    return numpy.moveaxis(exponential_twin(hermitian), (-2, -1), (axis, axis + 1))


def _matrix_zeros(u: numpy.ndarray) -> numpy.ndarray:
    """Rows `(n, k)` of mean zero: entries, second and fourth moments of entries and trace, the product of the diagonal.

    <|U_ij|^2> = 1/N, <|U_00|^4> = 2/(N (N+1)), <|tr U|^2> = 1, <|tr U|^4> = 2, <prod_i U_ii> = 1/N!.
    """
    n, flat = u.shape[-1], u.reshape(len(u), -1)
    sizes, trace = abs(flat) ** 2, abs(numpy.trace(u, axis1=-2, axis2=-1)) ** 2
    diagonal = numpy.prod(numpy.diagonal(u, axis1=-2, axis2=-1), axis=-1)
    single = [sizes[:, 0] ** 2 - 2 / (n * (n + 1)), trace - 1, trace**2 - 2, diagonal.real - 1 / math.factorial(n)]
    return numpy.concatenate([flat.real, flat.imag, sizes - 1 / n, numpy.stack([*single, diagonal.imag], axis=-1)], 1)


def _rank(group: Any) -> int:
    """The number of rows of an element."""
    return int(group.n) if group.matrix_axes else 1


def _haar_zeros(group: Group, u: Array) -> numpy.ndarray:
    """Rows of zero mean under the Haar measure, `(n, k)`, for a sample along axis 0."""
    zeros: Callable[[Any], Any] = HAAR_ZEROS.get(group.name, _matrix_zeros)
    result: numpy.ndarray = zeros(in_double(u)).reshape(u.shape[0], -1)
    return result


def faithful(group: Group, a: Array) -> numpy.ndarray:
    """Return host numbers in float64 that identify an element independently of its representative.

    >>> from haarflow.core.groups.additive import U1
    >>> bool(numpy.allclose(faithful(U1(), numpy.asarray(3.0)), faithful(U1(), numpy.asarray(3.0 - 2 * math.pi))))
    True
    """
    return numpy.asarray(FAITHFUL.get(group.name, identity)(in_double(a)))


def _apart(group: Group, a: Array, b: Array) -> float:
    """The largest distance between two elements."""
    return largest(numpy.abs(faithful(group, a) - faithful(group, b)))


def _coordinates(w: Array) -> numpy.ndarray:
    """The real coordinates of algebra elements in double precision; a complex number has two, on the last axis."""
    host = in_double(w)
    return numpy.stack([host.real, host.imag], axis=-1) if numpy.iscomplexobj(host) else host


def _rounding(group: Group, *arrays: Array, steps: int = 8) -> float:
    """The rounding of a few operations on numbers of this size; a matrix product counts as N operations."""
    terms = steps * _rank(group)
    return terms * EPSILON[precision_of(arrays[0])] * max(1.0, *map(largest, arrays))


REASON = "8 roundings of the largest number, 8 N for matrices"


def closure(group: Group, a: Array, b: Array) -> Verdict:
    """a b is in standard form: project(a b) = a b.

    >>> from haarflow.core.groups.additive import U1
    >>> closure(U1(), numpy.asarray([3.0]), numpy.asarray([1.0])).passed
    True
    """
    product = group.compose(a, b)
    residual = largest(to_host(group.project(product)) - to_host(product))
    return judge(closure, residual, _rounding(group, a, b), REASON, a=a, b=b)


def associativity(group: Group, a: Array, b: Array, c: Array) -> Verdict:
    """(a b) c = a (b c).

    >>> from haarflow.core.groups.additive import U1
    >>> associativity(U1(), numpy.asarray([3.0]), numpy.asarray([1.0]), numpy.asarray([2.0])).passed
    True
    """
    left = group.compose(group.compose(a, b), c)
    right = group.compose(a, group.compose(b, c))
    return judge(associativity, _apart(group, left, right), _rounding(group, a, b, c), REASON, a=a, b=b, c=c)


def inverses(group: Group, a: Array, w: Array | None = None) -> Verdict:
    """a a^-1 = a^-1 a = exp(0) = 1, and 1 a = a.

    `w` is any algebra element of a's shape; zero times it gives the identity. A group without an algebra has its
    `identity`.

    >>> from haarflow.core.groups.additive import U1
    >>> inverses(U1(), numpy.asarray([3.0]), numpy.asarray([1.0])).passed
    True
    """
    one, back = group.identity(a) if w is None else group.exp(0.0 * w), group.inverse(a)
    pairs = [(group.compose(a, back), one), (group.compose(back, a), one), (group.compose(one, a), a)]
    residual = max(_apart(group, x, y) for x, y in pairs)
    return judge(inverses, residual, _rounding(group, a), REASON, a=a)


def projection(group: Group, a: Array) -> Verdict:
    """project(project(a)) = project(a), which is the same element as a and, for angles, lies in [-pi, pi].

    >>> from haarflow.core.groups.additive import U1
    >>> projection(U1(), numpy.asarray([9.0])).passed
    True
    """
    once = group.project(a)
    residual = largest(to_host(group.project(once)) - to_host(once))
    moved = _apart(group, once, a)
    beyond = largest(once) - math.pi if group.name == "U1" else 0.0
    return judge(projection, max(residual, moved, beyond), _rounding(group, a), REASON, a=a)


def exponential(group: Group, w: Array) -> Verdict:
    """exp(w) = 1 + i w_a T_a + (i w_a T_a)^2 / 2 + ..., compared with a reference.

    >>> from haarflow.core.groups.additive import U1
    >>> exponential(U1(), numpy.asarray([9.0])).passed
    True
    """
    plain: Callable[[Any], Any] = EXPONENTIALS.get(group.name, partial(_matrix_exponential, group))
    twin = plain(in_double(w))
    residual = largest(numpy.abs(faithful(group, group.exp(w)) - twin))
    return judge(exponential, residual, _rounding(group, w), REASON, w=w)


def one_parameter(group: Group, w: Array) -> Verdict:
    """exp(s w) exp(t w) = exp((s + t) w).

    >>> from haarflow.core.groups.additive import U1
    >>> one_parameter(U1(), numpy.asarray([9.0])).passed
    True
    """
    product = group.compose(group.exp(0.25 * w), group.exp(1.5 * w))
    return judge(one_parameter, _apart(group, product, group.exp(1.75 * w)), _rounding(group, w), REASON, w=w)


def logarithm(group: Group, a: Array, w: Array) -> Verdict:
    """exp(log a) = a, and log(exp w) = w for small w.

    `w` is an algebra element inside the injectivity radius (|w| < 3 for angles).

    >>> from haarflow.core.groups.additive import U1
    >>> logarithm(U1(), numpy.asarray([9.0]), numpy.asarray([0.5])).passed
    True
    """
    elements = _apart(group, group.exp(group.log(a)), a)
    algebra = largest(to_host(group.log(group.exp(w))) - to_host(w))
    return judge(logarithm, max(elements, algebra), _rounding(group, a), REASON, a=a, w=w)


def update_by_exponential(group: Group, a: Array, w: Array) -> Verdict:
    """update(a, w) = exp(w) a, in this order.

    >>> from haarflow.core.groups.additive import U1
    >>> update_by_exponential(U1(), numpy.asarray([3.0]), numpy.asarray([0.5])).passed
    True
    """
    residual = _apart(group, group.update(a, w), group.compose(group.exp(w), a))
    return judge(update_by_exponential, residual, _rounding(group, a, w), REASON, a=a, w=w)


def inner_product(group: Group, v: Array, w: Array) -> Verdict:
    """inner(v, w), summed, is sum_a v_a w_a: twice the kinetic energy for v = w.

    >>> from haarflow.core.groups.additive import U1
    >>> inner_product(U1(), numpy.asarray([3.0]), numpy.asarray([0.5])).passed
    True
    """
    plain = _coordinates(v) * _coordinates(w)
    residual = to_host(group.inner(v, w)).astype("float64").sum() - plain.sum()
    tolerance = 4 * EPSILON[precision_of(v)] * max(1.0, float(numpy.abs(plain).sum()))
    return judge(inner_product, residual, tolerance, "one rounding per term", v=v, w=w)


def momenta(group: Group, key: Array, shape: tuple[int, ...], dtype: str = "float64", n: int = DRAWS) -> Verdict:
    """algebra_normal gives w_a ~ N(0, 1), so <inner(w, w)> = 1 per component, as the kinetic energy w^2/2 requires.

    Checks moments up to the fourth and products of neighbouring components, over `n` draws of `shape`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.additive import U1
    >>> momenta(U1(), random.key(1, backend), (2,), n=1000).passed
    True
    """
    drawn = at_once(lambda key: group.algebra_normal(key, (n, *shape), dtype), key)
    w = _coordinates(drawn).reshape(n, -1)
    energy = to_host(group.inner(drawn, drawn)).astype("float64").reshape(n, -1).sum(axis=-1) - w.shape[1]
    rows = [w, w**2 - 1, w**4 - 3, w * numpy.roll(w, 1, axis=1) if w.shape[1] > 1 else w, energy[:, None]]
    return judge(momenta, largest_pull(numpy.concatenate(rows, axis=1)), LIMIT, LUCK, key=key, n=n)


def haar_moments(group: Group, u: Array) -> Verdict:
    """<D(U)> = 0 under Haar for every nontrivial representation; U(1): <e^{i n theta}> = 0, n = 1 ... 4.

    For SU(N) entries and their moments up to the fourth are checked. `u` is a sample of independent elements along axis
    0, in standard form.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.additive import U1
    >>> haar_moments(U1(), U1().haar(random.key(1, backend), (1000,))).passed
    True
    """
    rows = _haar_zeros(group, u)
    outside = largest(to_host(group.project(u)) - to_host(u)) > _rounding(group, u, steps=4)
    return judge(haar_moments, math.inf if outside else largest_pull(rows, scale=_rounding(group, u)), LIMIT, LUCK, u=u)


def left_invariance(group: Group, u: Array, g: Array) -> Verdict:
    """g U is distributed as U under Haar: <f(g U)> = <f(U)>, paired, for the harmonics f.

    `u` is a sample along axis 0, `g` one element; f runs over the harmonics of U.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.additive import U1
    >>> left_invariance(U1(), U1().haar(random.key(1, backend), (1000,)), numpy.asarray(1.0)).passed
    True
    """
    residual = _invariance(group, group.compose(g, u), u)
    return judge(left_invariance, residual, LIMIT, LUCK, u=u, g=g)


def right_invariance(group: Group, u: Array, g: Array) -> Verdict:
    """U g is distributed as U under Haar: <f(U g)> = <f(U)>, paired, for the harmonics f.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.additive import U1
    >>> right_invariance(U1(), U1().haar(random.key(1, backend), (1000,)), numpy.asarray(1.0)).passed
    True
    """
    residual = _invariance(group, group.compose(u, g), u)
    return judge(right_invariance, residual, LIMIT, LUCK, u=u, g=g)


def _invariance(group: Group, moved: Array, u: Array) -> float:
    rows = [_haar_zeros(group, x) for x in (moved, u)]
    return largest_pull(rows[0] - rows[1], scale=_rounding(group, u))


def _shape(group: Group, given: Given) -> tuple[int, ...]:
    """(batch, [N, N,] *lattice)."""
    return element_shape(group, (given.batch,), given.lattice)


def _elements(group: Group, given: Given, count: int) -> list[Array]:
    """Elements in the style of `given`, made on the host without the group's own draws."""
    shape = _shape(group, given)[1:]
    return [given.field(group, shape, salt) for salt in range(count)]


def _element(group: Group, given: Given) -> Array:
    return _elements(group, given, 1)[0]


def _algebra(group: Group, given: Given, salt: int, scale: float = 1.0) -> Array:
    """Normal algebra elements, of about the same eigenvalues for every N."""
    shape = algebra_shape(group, _shape(group, given))
    if group.name == "Complex":
        real, imaginary = given.generator(salt).standard_normal((2, *shape))
        return given.array(scale * (real + 1j * imaginary))
    return scale / math.sqrt(_rank(group)) * given.normal(shape, salt)


def _small(group: Any, given: Given) -> Array:
    """Algebra elements inside the injectivity radius."""
    shape = algebra_shape(group, _shape(group, given))
    return given.array(given.generator(7).uniform(-1.5, 1.5, shape) / math.sqrt(max(1, len(group.basis()))))


def _pointwise(group: Any) -> Any:
    """The group without lattice axes, for samples of single elements."""
    return replace(group, d=0) if group.matrix_axes else group


def _single(group: Group) -> tuple[int, ...]:
    """The shape of one matrix, or of two angles or numbers."""
    return element_shape(group, (), ()) or (2,)


def _whole(group: Group, given: Given) -> Whole:
    return Whole(group, given.backend)


def _haar(group: Group, given: Given) -> Array:
    return at_once(_draws(_pointwise(group), (DRAWS, *_single(group)), given.dtype), given.key())


@lru_cache(maxsize=64)
def _draws(group: Group, shape: tuple[int, ...], dtype: str) -> Callable[..., Any]:
    """The group's Haar draws as a function of the key, cached by the group, so that laws share its program."""
    return lambda key: group.haar(key, shape, dtype)


def _invariances(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    def check(group: Group, given: Given) -> Verdict:
        pointwise = _pointwise(group)
        g = given.array(numpy.asarray([1.0, -2.4])) if group.name == "U1" else given.elements(pointwise, _single(group))
        result: Verdict = law(_whole(pointwise, given), _haar(group, given), g)
        return result

    return check


def _momenta(group: Group, given: Given) -> Verdict:
    return momenta(_whole(_pointwise(group), given), given.key(), _single(group), given.dtype)


def _haar_moments(group: Group, given: Given) -> Verdict:
    return haar_moments(_whole(_pointwise(group), given), _haar(group, given))


def _compact(group: Group) -> str | None:
    return "the space is not compact: it has no normalised Haar measure" if group.name in ("Real", "Complex") else None


def _continuous(group: Group) -> str | None:
    return None if has_algebra(group) else "it is discrete, and has no algebra"


def _inverses(group: Group, given: Given) -> Verdict:
    w = _algebra(group, given, 3) if has_algebra(group) else None
    return inverses(_whole(group, given), _element(group, given), w)


def _has_twin(group: Group) -> str | None:
    if not has_algebra(group):
        return _continuous(group)
    known = group.name in EXPONENTIALS or group.matrix_axes
    return None if known else f"there is no reference exponential for {group.name} yet"


GROUP_LAWS: tuple[Law, ...] = (
    Law(closure, lambda obj, given: closure(_whole(obj, given), *_elements(obj, given, 2))),
    Law(associativity, lambda obj, given: associativity(_whole(obj, given), *_elements(obj, given, 3))),
    Law(inverses, _inverses),
    Law(projection, lambda obj, given: projection(_whole(obj, given), _element(obj, given))),
    Law(exponential, lambda obj, given: exponential(_whole(obj, given), _algebra(obj, given, 3, 2.0)), _has_twin),
    Law(one_parameter, lambda obj, given: one_parameter(_whole(obj, given), _algebra(obj, given, 3, 2.0)), _continuous),
    Law(
        logarithm,
        lambda obj, given: logarithm(_whole(obj, given), _element(obj, given), _small(obj, given)),
        _continuous,
    ),
    Law(
        update_by_exponential,
        lambda obj, given: update_by_exponential(_whole(obj, given), _element(obj, given), _algebra(obj, given, 3)),
        _continuous,
    ),
    Law(
        inner_product,
        lambda obj, given: inner_product(_whole(obj, given), _algebra(obj, given, 3), _algebra(obj, given, 4)),
        _continuous,
    ),
    Law(momenta, _momenta, _continuous, sampled=True),
    Law(haar_moments, _haar_moments, _compact, sampled=True),
    Law(left_invariance, _invariances(left_invariance), _compact, sampled=True),
    Law(right_invariance, _invariances(right_invariance), _compact, sampled=True),
)
