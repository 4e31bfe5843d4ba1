"""Laws of an action and of its parts: values, rows of a batch, force, density, the weight of one link.

A field is `(batch, *field_shape)`, couplings are a dict of numbers. Each law is a public function of a theory and of
arrays of any backend and returns a `Verdict`; `theories.laws.tables` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.law import EPSILON, Verdict, at_once, in_double, judge, largest, precision_of, to_host
from haarflow.theories.laws.cases import ROUNDING, FullTheory, bound, nearby, rounding, spread, strength
from haarflow.theories.theory import autodiff_force, field_shape

# eighth-order central difference: f'(0) = sum_k weight_k [f(k h) - f(-k h)] / h - h^8 f^(9) / 630
STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
STEP = {"float64": 0.04, "float32": 0.35}  # where rounding and the next order are of the same size


def action_values(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """S is real and finite, and has the shape of the batch and the precision of the field.

    The residual is 0, or infinite if one of these fails. `field` is `(batch, *field_shape)`.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> action_values(Phi4((4, 4)), np.ones((3, 4, 4))).passed
    True
    """
    value = bound(theory, "action", field)(field, couplings)
    right = tuple(value.shape) == tuple(field.shape[: field.ndim - len(field_shape(theory))])
    xp = array_namespace(field)
    real = xp.float32 if precision_of(field) == "float32" else xp.float64
    right = right and value.dtype == real and bool(numpy.isfinite(to_host(value)).all())
    described_value = f"shape {tuple(value.shape)}, {value.dtype}"
    return judge(
        action_values, 0.0 if right else math.inf, 0.0, "no rounding is involved", field=field, value=described_value
    )


def batch_rows(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """S(x_1, ..., x_n)_i = S(x_i): rows of a batch are independent, and no batch is needed.

    Each row is evaluated in a batch of copies of itself, and the first one without batch axes.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> batch_rows(Phi4((4, 4)), np.ones((3, 4, 4))).residual
    0.0
    """
    action, host, asarray = bound(theory, "action", field), to_host(field), backends.of(field).asarray
    whole, worst = to_host(action(field, couplings)), 0.0
    if whole.shape != field.shape[:1]:
        return judge(
            batch_rows,
            math.inf,
            0.0,
            f"the action of a batch has one value per row, got the shape {whole.shape}",
            field=field,
        )
    for row in range(field.shape[0]):
        copies = asarray(numpy.stack([host[row]] * len(host)), dtype=field.dtype)
        worst = max(worst, largest(to_host(action(copies, couplings)) - whole[row, ...]))
    single = to_host(action(asarray(host[0], dtype=field.dtype), couplings))
    worst = max(worst, largest(single - whole[0, ...])) if single.shape == () else math.inf
    return judge(batch_rows, worst, _rounding_of(theory, "action", field, couplings), ROUNDING, field=field)


def force_by_differences(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """F = d/ds S(exp(i s T) U) at s = 0, by eighth-order differences of the action along the group.

    All components of the first row are checked, or an evenly spaced selection of as many as fit into a law's memory.
    The tolerance is the rounding of the differences plus h^8/630 times the ninth derivative, which is taken to be as
    large as the couplings.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> force_by_differences(U1Gauge((2, 2)), np.ones((1, 2, 2, 2)), {"beta": 2.0}).passed
    True
    """
    x, precision, backend = to_host(field)[0], precision_of(field), backends.of(field)
    shape = algebra_shape(theory.group, tuple(x.shape))
    size, h, action = math.prod(shape), STEP[precision], bound(theory, "action", field)
    held = spread(size, 2 * len(STENCIL) * x.size)
    units = (numpy.arange(size) == held[:, None]).astype("float64")
    moves = numpy.concatenate([sign * k * h * units for k, _ in STENCIL for sign in (1, -1)])
    moved = theory.group.update(x[None, ...], moves.reshape(-1, *shape).astype(precision))
    s = (
        to_host(action(backend.asarray(moved, dtype=field.dtype), couplings))
        .astype("float64")
        .reshape(len(STENCIL), 2, len(held))
    )
    slope = sum(weight * (pair[0] - pair[1]) for (_, weight), pair in zip(STENCIL, s, strict=True)) / h
    force = to_host(bound(theory, "force", field)(field, couplings))[0]
    noise = 2.0 * _rounding_of(theory, "action", field, couplings) / h
    tolerance = noise + 4 * len(theory.lattice) * strength(couplings) * h**8 / 630
    reason = f"rounding of the action divided by the step {h}, plus h^8/630"
    return judge(force_by_differences, force.reshape(-1)[held] - slope, tolerance, reason, field=x)


def force_by_autodiff(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """F = d/ds S(exp(i s T) U) at s = 0, by the backend's automatic differentiation of the action.

    On a backend without it this is `force_by_differences`.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> force_by_autodiff(U1Gauge((2, 2)), np.ones((1, 2, 2, 2)), {"beta": 2.0}).law
    'force_by_differences'
    """
    backend = backends.of(field)
    if not backend.autodiff:
        return force_by_differences(theory, field, couplings)
    expected = backend.jit(lambda x, values: autodiff_force(theory, x, values))(field, couplings)
    force = bound(theory, "force", field)(field, couplings)
    tolerance = _rounding_of(theory, "force", field, couplings)
    return judge(force_by_autodiff, to_host(force) - to_host(expected), tolerance, ROUNDING, field=field)


def gauge_orbit(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """sum_mu [F_mu(x) - F'_mu(x - mu)] = 0: there is no force along a gauge orbit.

    F' is the force transported to the end of the link, U^+ F U for matrices and F itself for angles.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> gauge_orbit(U1Gauge((2, 2)), np.ones((1, 2, 2, 2))).passed
    True
    """
    d, force, links = len(theory.lattice), to_host(bound(theory, "force", field)(field, couplings)), to_host(field)
    inner = force.ndim - field.ndim + len(field_shape(theory)) - 1  # the axes behind mu
    total: Array = 0.0
    for mu in range(d):
        here = force[(..., mu) + (slice(None),) * inner]
        carried = _carried(theory.group, loops.direction(links, mu, d, theory.group), here)
        total = total + here - shift(carried, mu, d, -1)
    tolerance = 2 * d * _rounding_of(theory, "force", field, couplings)
    return judge(gauge_orbit, total, tolerance, ROUNDING, field=field)


def _carried(group: Any, link: Array, force: Array) -> Array:
    """U^+ F U in coordinates: an algebra element at the link's start, seen from its end."""
    if not group.matrix_axes:
        return force
    return group.coordinates(group.compose(group.inverse(link), group.compose(group.algebra(force), link)))


def density_sums(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """sum_x density(x) = S, in the shape (*batch, term, *lattice).

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> density_sums(Phi4((4, 4)), np.ones((3, 4, 4))).passed
    True
    """
    density = bound(theory, "density", field)(field, couplings)
    batch, d = field.ndim - len(field_shape(theory)), len(theory.lattice)
    shaped = density.ndim == batch + 1 + d and tuple(density.shape[-d:]) == tuple(theory.lattice)
    if not shaped or tuple(density.shape[:batch]) != tuple(field.shape[:batch]):
        reason = f"the density has the shape (*batch, term, *lattice), got {tuple(density.shape)}"
        return judge(density_sums, math.inf, 0.0, reason, field=field)
    host = to_host(density).astype("float64")
    value = to_host(bound(theory, "action", field)(field, couplings)).astype("float64")
    residual = host.sum(axis=tuple(range(batch, host.ndim))) - value
    rounded = 8.0 * EPSILON[precision_of(field)] * float(numpy.abs(host).sum())
    return judge(
        density_sums, residual, rounded + _rounding_of(theory, "action", field, couplings), ROUNDING, field=field
    )


def density_reach(theory: FullTheory, field: Array, site: tuple[int, ...], couplings: Couplings = None) -> Verdict:
    """d density(x) / d field(y) = 0 unless x and y are within `reach` sites of each other along every axis.

    The field at `site` (all its components) is shifted by 1, and the density may change only near it, because local
    Metropolis sums no further. Void if all sites are that near.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> density_reach(Phi4((4, 4)), np.ones((3, 4, 4)), (0, 1)).residual
    0.0
    """
    lattice, d = theory.lattice, len(theory.lattice)
    at_site = numpy.zeros(lattice)
    at_site[site] = 1.0
    move = backends.of(field).asarray(numpy.broadcast_to(at_site, field.shape).copy(), dtype=field.dtype)
    density = bound(theory, "density", field)
    change = numpy.abs(to_host(density(field + move, couplings)) - to_host(density(field, couplings)))
    far = numpy.zeros(lattice, dtype=bool)
    for mu, extent in enumerate(lattice):
        steps = numpy.abs(numpy.arange(extent) - site[mu])
        shape = [extent if axis == mu else 1 for axis in range(d)]
        far |= (numpy.minimum(steps, extent - steps) > theory.local.reach).reshape(shape)
    residual = change[..., far]
    return judge(density_reach, residual, 0.0, "other terms are unchanged, bit for bit", field=field, site=site)


def _each_way(theory: FullTheory, call: Callable[..., Any], field: Array, *couplings: Couplings) -> list[Any]:
    """The values of a function of (field, mu, couplings), or of (field, mu), for every direction mu."""
    directions = range(len(theory.lattice))
    results: list[Any] = at_once(lambda x, *values: [call(x, mu, *values) for mu in directions], field, *couplings)
    return results


def link_weight(theory: FullTheory, field: Array, site: tuple[int, ...], couplings: Couplings = None) -> Verdict:
    """S(theta') - S(theta) = -[a cos theta' + b sin theta'] + [a cos theta + b sin theta] for a change of one link.

    (a, b) = `conditional.weight(field, mu)` at the link, for every direction mu of the link at `site`, which is turned
    by two angles. Void on lattices with an extent of 1, where a loop contains a link twice.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> link_weight(U1Gauge((2, 2)), np.ones((1, 2, 2, 2)), (0, 1)).passed
    True
    """
    lattice, d, worst = tuple(theory.lattice), len(theory.lattice), 0.0
    action, backend = bound(theory, "action", field), backends.of(field)
    before, host = to_host(action(field, couplings)), to_host(field)
    weights = _each_way(theory, theory.conditional.weight, field, couplings)
    for mu in range(d) if min(lattice) > 1 else ():
        link: Any = (..., mu, *site)
        at_site: Any = (..., *site)
        a, b = (to_host(part)[at_site] for part in weights[mu])
        old = host[link].astype("float64")
        for turn in (0.3, -2.0):
            move = numpy.zeros(field.shape)
            move[link] = turn
            after = to_host(action(backend.asarray(host + move, dtype=field.dtype), couplings))
            weight = a * (numpy.cos(old + turn) - numpy.cos(old)) + b * (numpy.sin(old + turn) - numpy.sin(old))
            worst = max(worst, largest(after - before + weight))
    tolerance = 4 * d * _rounding_of(theory, "action", field, couplings)
    return judge(link_weight, worst, tolerance, ROUNDING, field=field, site=site)


def spin_weight(theory: FullTheory, field: Array, site: tuple[int, ...], couplings: Couplings = None) -> Verdict:
    """S(s(x) = -1) - S(s(x) = +1) = 2 h(x), h = `conditional.field`, and S = -k sum_x sum_mu s(x) s(x+mu) with k = `conditional.bond`.

    The first at one site, the second where the weight has a bond.

    >>> import numpy as np
    >>> from haarflow.theories.spins.ising import Ising
    >>> spin_weight(Ising((2, 2)), np.ones((1, 2, 2)), (0, 1)).passed
    True
    """
    action, backend, host = bound(theory, "action", field), backends.of(field), to_host(field)
    here: Any = (..., *site)
    turned = []
    for sign in (1.0, -1.0):
        spins = host.copy()
        spins[here] = sign
        turned.append(to_host(action(backend.asarray(spins, dtype=field.dtype), couplings)))
    faults = [turned[1] - turned[0] - 2.0 * to_host(theory.conditional.field(field, couplings))[here]]
    if theory.conditional.bond is not None:
        d = len(theory.lattice)
        bonds = sum(host * numpy.roll(host, -1, axis=mu - d) for mu in range(d))
        k = theory.conditional.bond(field, couplings)
        whole = numpy.sum(to_host(0.0 * field + k) * bonds, axis=tuple(range(-d, 0)))
        faults.append(to_host(action(field, couplings)) + whole)
    worst, tolerance = max(map(largest, faults)), 4 * _rounding_of(theory, "action", field, couplings)
    return judge(spin_weight, worst, tolerance, ROUNDING, field=field, site=site)


def staple_weight(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """a = k Re A and b = -k Im A with the same k everywhere: the conditional weight follows from the `staple` A.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> staple_weight(U1Gauge((2, 2)), np.ones((1, 2, 2, 2))).passed
    True
    """
    pairs = []
    weights = _each_way(theory, theory.conditional.weight, field, couplings)
    for (a, b), (real, imaginary) in zip(weights, _each_way(theory, theory.conditional.staple, field), strict=True):
        pairs += [(to_host(a), to_host(real)), (to_host(b), -to_host(imaginary))]
    weight, staple = (numpy.stack(parts).astype("float64") for parts in zip(*pairs, strict=True))
    k = float(numpy.sum(weight * staple) / max(float(numpy.sum(staple * staple)), 1e-300))
    tolerance = _rounding_of(theory, "force", field, couplings)
    return judge(staple_weight, weight - k * staple, tolerance, ROUNDING, field=field)


def link_staple(theory: Any, field: Array, site: tuple[int, ...], couplings: Couplings = None) -> Verdict:
    """S(U') - S(U) = -b Re tr (U' - U) V, V = `conditional.staple(field, mu)`, for a change of one link to U' = exp(w) U.

    For every direction mu of the link at `site`, for matrices. Void on lattices with an extent at which a loop of the
    action contains a link twice: 1, and 2 with rectangles.

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> theory = SUNGauge((2, 2))
    >>> links = theory.group.exp(np.linspace(0, 1, 64).reshape(1, 2, 8, 2, 2))
    >>> link_staple(theory, links, (0, 1)).passed
    True
    """
    lattice, d, group, worst = tuple(theory.lattice), len(theory.lattice), theory.group, 0.0
    action, backend, precision = bound(theory, "action", field), backends.of(field), precision_of(field)
    before, link, host = to_host(action(field, couplings)), theory.conditional, to_host(field)
    b, staples = to_host(link.strength(field, couplings)), _each_way(theory, link.staple, field, couplings)
    at_site: Any = (..., *site)
    for mu in range(d) if min(lattice) > link.reach else ():
        staple = in_double(staples[mu])[at_site]
        old = in_double(loops.direction(host, mu, d, group))[at_site]
        for turn in (0.3, -2.0):
            move = numpy.zeros((d, group.dim, *lattice))
            index: Any = (mu, slice(None), *site)
            move[index] = turn * numpy.cos(numpy.arange(group.dim))
            new = group.update(host, move[None, ...].astype(precision))
            change = in_double(loops.direction(new, mu, d, group))[at_site] - old
            weight = numpy.trace(change @ staple, axis1=-2, axis2=-1).real * b
            worst = max(
                worst, largest(to_host(action(backend.asarray(new, dtype=field.dtype), couplings)) - before + weight)
            )
    tolerance = 4 * d * _rounding_of(theory, "action", field, couplings)
    return judge(link_staple, worst, tolerance, ROUNDING, field=field, site=site)


def _rounding_of(theory: FullTheory, method: str, field: Array, couplings: Couplings) -> float:
    call = bound(theory, method, field)
    value, moved = call(field, couplings), call(nearby(field), couplings)
    return rounding(theory, value, moved, precision_of(field), couplings)
