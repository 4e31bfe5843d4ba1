"""Laws of exact values: numerical integration of e^{-S}, derivatives of ln Z, and exact samples.

The integration uses only the action and the observables: an equidistant rule in every variable, which converges
exponentially for smooth periodic or decaying weights. Gauge fields are first fixed along a tree of links.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import volume
from haarflow.core.laws.law import Verdict, judge, largest, precision_of, to_host
from haarflow.core.parts import described
from haarflow.theories.laws.cases import ROUNDING, FullTheory, bound, is_links, nearby, quantities, rounding
from haarflow.theories.replaced import on_lattice
from haarflow.theories.theory import field_shape

RESOLVED = 1e-7  # a quantity on which two grids agree less well is not judged
STENCIL = ((1, 2 / 3), (2, -1 / 12))  # fourth-order central difference
SIGMAS = 5.0
CONSTANT = 1e-9  # a standard error below which an observable does not fluctuate


class Means(NamedTuple):
    """ln Z and the means of all observables on one grid."""

    log_z: float
    values: dict[str, Any]


def exact_by_quadrature(theory: Any, couplings: Couplings = None, fields: int = 20_000) -> Verdict:
    """exact(couplings)[O] = int O e^{-S} / int e^{-S}, and ln_Z = ln int e^{-S}, by an equidistant rule.

    For theories of few variables (`smallest` gives one), on a grid of `fields` fields. A quantity is judged if two
    grids agree on it to 1e-7, which a discontinuous one (a charge) does not. Measures: prod d phi, normalised Haar for
    angles, and a plain sum over signs.

    >>> from haarflow.theories import U1Gauge
    >>> exact_by_quadrature(U1Gauge((2, 1)), {"beta": 1.0}).passed
    True
    """
    exact, free = theory.exact(couplings), _free_variables(theory)
    points = max(4, int(fields ** (1 / len(free))))
    fine, coarse = (_means(theory, couplings, free, count) for count in (points, points - max(1, points // 5)))
    means = {**fine.values, "ln_Z": fine.log_z}
    coarser = {**coarse.values, "ln_Z": coarse.log_z}
    gaps = {name: largest(means[name] - coarser[name]) for name in exact if name in means}
    judged = [name for name, gap in gaps.items() if gap < RESOLVED]
    residuals = {name: largest(means[name] - exact[name]) for name in judged}
    tolerance = max([1e-9, *(10 * gaps[name] for name in judged)])
    worst = max(residuals, key=residuals.__getitem__, default="")
    reason = "1e-9 for the quadrature, and ten times the difference of two grids"
    residual = residuals.get(worst, math.inf if "ln_Z" in gaps else 0.0)
    return judge(exact_by_quadrature, residual, tolerance, reason, quantity=worst, judged=judged, couplings=couplings)


def conjugate_observables(theory: FullTheory, field: Array, couplings: dict[str, float]) -> Verdict:
    """dS/dc = sum_O k_O O on every field, with the coefficients k of `theory.conjugates[c] = {"O": k_O}`.

    By differences in each coupling c, which is passed as an array and may leave its legal range.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> conjugate_observables(U1Gauge((2, 2)), np.ones((1, 2, 2, 2)), {"beta": 2.0}).passed
    True
    """
    backend, precision = backends.of(field), precision_of(field)
    values, moved = quantities(theory, field, couplings), quantities(theory, nearby(field), couplings)

    def action(at: dict[str, float]) -> Any:
        arrays = {name: backend.asarray(value, dtype=precision_of(field)) for name, value in at.items()}
        return to_host(bound(theory, "action", field)(field, arrays)).astype("float64")

    allowed = {name: rounding(theory, values[name], moved[name], precision, couplings) for name in values}
    worst, tolerance = 0.0, 0.0
    for name, terms in theory.conjugates.items():
        h = 0.25 * max(abs(couplings[name]), 0.1)
        expected = sum(k * to_host(values[observable]).astype("float64") for observable, k in terms.items())
        worst = max(worst, largest(_slope(action, couplings, name, h) - expected))
        tolerance = max(tolerance, 4.0 * allowed["S"] / h + sum(abs(k) * allowed[o] for o, k in terms.items()))
    return judge(conjugate_observables, worst, tolerance, ROUNDING, field=field, couplings=couplings)


def thermodynamic_identity(theory: FullTheory, couplings: dict[str, float]) -> Verdict:
    """d ln Z / dc = - sum_O k_O <O>, both from `exact`, with the coefficients k of `theory.conjugates[c]`.

    By fourth-order differences of the exact ln_Z in every coupling c other than 0, where its range may end.

    >>> from haarflow.theories import U1Gauge
    >>> thermodynamic_identity(U1Gauge((8, 8)), {"beta": 2.0}).passed
    True
    """
    means, worst, top = theory.exact(couplings), 0.0, 1.0

    def log_z(values: dict[str, float]) -> float:
        return float(theory.exact(values)["ln_Z"])

    for name, terms in theory.conjugates.items():
        if couplings[name] == 0.0:
            continue
        h = 2e-3 * abs(couplings[name])
        expected = -sum(k * means[observable] for observable, k in terms.items())
        worst = max(worst, abs(_slope(log_z, couplings, name, h) - expected))
        top = max(top, abs(expected), 1e-3 * abs(means["ln_Z"]) / h)
    reason = "1e-6 of the slope, and 1e-9 of ln Z divided by the step"
    return judge(thermodynamic_identity, worst, 1e-6 * top, reason, couplings=couplings)


def _slope(f: Callable[[dict[str, float]], Any], couplings: dict[str, float], name: str, h: float) -> Any:
    """The derivative with respect to one coupling, to fourth order in h."""
    total: Array = 0.0
    for k, weight in STENCIL:
        up, down = (f({**couplings, name: couplings[name] + sign * k * h}) for sign in (1, -1))
        total = total + weight * (up - down) / h
    return total


def exact_by_samples(theory: FullTheory, field: Array, couplings: dict[str, float]) -> Verdict:
    """|mean of O over exact samples - exact(couplings)[O]| in standard errors, for every observable O whose exact value is known;
    loops that wind around the torus, in any direction, have the mean 0.

    `field` holds independent samples of e^{-S}/Z, `(n, *field_shape)`; `theories.samplers.u1.exact_sample` draws them
    for two-dimensional U(1). A chance deviation beyond 5 standard errors has probability 6e-7 per observable. To the
    error of integer observables 1/n is added in quadrature, for events too rare to occur in the sample.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.theories import U1Gauge
    >>> from haarflow.theories.samplers.u1 import exact_sample
    >>> theory, couplings = U1Gauge((4, 4)), {"beta": 2.0}
    >>> draw = exact_sample(theory, random.key(1, backend), 500, couplings)
    >>> exact_by_samples(theory, draw.field, couplings).passed
    True
    """
    winding = _winding(theory, field)
    values = bound(theory, "observables", field)(field, couplings) | winding
    exact = theory.exact(couplings) | dict.fromkeys(winding, 0.0)
    pulls = {}
    for name in (name for name in values if name in exact):
        series = to_host(values[name]).astype("float64")
        error = float(series.std()) / math.sqrt(len(series))
        if bool((series == numpy.round(series)).all()):  # a charge: values too rare to occur contribute to its error
            error = math.hypot(error, 1.0 / len(series))
        distance = abs(float(series.mean()) - exact[name])
        pulls[name] = distance / error if error > CONSTANT else (math.inf if distance > 1e3 * CONSTANT else 0.0)
    worst = max(pulls, key=pulls.__getitem__, default="")
    reason = f"{SIGMAS:g} standard errors, {len(pulls)} observables: a chance failure has probability {6e-7 * len(pulls):.0e}"
    return judge(exact_by_samples, pulls.get(worst, 0.0), SIGMAS, reason, quantity=worst, couplings=couplings)


def _winding(theory: FullTheory, field: Array) -> dict[str, numpy.ndarray]:
    """Real and imaginary part of the trace of the straight loop through the origin in each direction, links at most."""
    if not is_links(theory):
        return {}
    host, lattice, found = to_host(field), tuple(theory.lattice), dict[str, numpy.ndarray]()
    for mu in range(len(lattice)):
        if theory.group.matrix_axes:
            line = loops.polyakov(host, mu, lattice, theory.group)
            loop = numpy.trace(line.reshape(*line.shape[:3], -1)[..., 0], axis1=1, axis2=2)
        else:
            loop = numpy.exp(1j * host[:, mu].sum(axis=1 + mu).reshape(len(host), -1)[:, 0])
        found |= {f"real winding {mu}": loop.real, f"imaginary winding {mu}": loop.imag}
    return found


def forms_agree(theory: FullTheory, field: Array, couplings: dict[str, float]) -> Verdict:
    """S(phi) = S'(factor phi) for (theory', couplings', factor) = `other_form(couplings)`, and the inverse map undoes it.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> forms_agree(Phi4((2, 2), "hopping"), np.ones((1, 2, 2)), {"kappa": 0.3, "lam": 0.1}).passed
    True
    """
    other, mapped, factor = theory.other_form(couplings)
    _, back, inverse = other.other_form(mapped)
    call, expected = bound(theory, "action", field), to_host(bound(other, "action", field)(factor * field, mapped))
    value, moved = call(field, couplings), call(nearby(field), couplings)
    precision = precision_of(field)
    maps = [factor * inverse - 1.0, *(back[name] - couplings[name] for name in couplings)]
    tolerance = rounding(theory, value, moved, precision, {**mapped, **couplings})
    residual = max(largest(to_host(value) - expected), *(abs(gap) for gap in maps))
    return judge(forms_agree, residual, tolerance, ROUNDING, field=field, couplings=couplings)


def smallest(theory: FullTheory) -> Any | None:
    """Return the same theory on the smallest lattice with a bond, (2, 1, 1, ...), or None if it cannot be constructed there.

    >>> from haarflow.theories import Phi4
    >>> smallest(Phi4((8, 8))).lattice
    (2, 1)
    """
    lattice = (2,) + (1,) * (len(theory.lattice) - 1)
    if tuple(theory.lattice) == lattice:
        return theory
    return on_lattice(theory, lattice)


def _free_variables(theory: FullTheory) -> list[int]:
    """The indices of the integration variables: all, or the links that are not fixed along a tree."""
    size = math.prod(field_shape(theory))
    if "gauge" not in described(theory).symmetries.words or not is_links(theory):
        return list(range(size))
    lattice, joined, fixed = theory.lattice, {(0,) * len(theory.lattice)}, set()
    indices = numpy.arange(size).reshape(field_shape(theory))
    while len(joined) < volume(lattice):
        for mu, site in itertools.product(range(len(lattice)), numpy.ndindex(*lattice)):
            end = tuple((x + (axis == mu)) % lattice[axis] for axis, x in enumerate(site))
            if (site in joined) != (end in joined):
                joined |= {site, end}
                fixed.add(int(indices[(mu, *site)]))
    return [index for index in range(size) if index not in fixed]


def _means(theory: FullTheory, couplings: Couplings, free: list[int], points: int) -> Means:
    """ln Z and means on a grid of `points` values per free variable."""
    values, measure = _rule(theory, couplings, points)
    grid = numpy.stack([axis.ravel() for axis in numpy.meshgrid(*[values] * len(free), indexing="ij")], axis=-1)
    flat = numpy.zeros((len(grid), math.prod(field_shape(theory))))
    flat[:, free] = grid
    field = flat.reshape(-1, *field_shape(theory))
    measured = {name: to_host(value) for name, value in quantities(theory, field, couplings).items()}
    weight = numpy.exp(measured["S"].min() - measured["S"])
    log_z = math.log(float(weight.sum())) - float(measured["S"].min()) + len(free) * math.log(measure)
    weight = weight / weight.sum()
    return Means(
        log_z, {name: numpy.tensordot(weight, value, axes=1) for name, value in measured.items() if name != "S"}
    )


def _rule(theory: FullTheory, couplings: Couplings, points: int) -> tuple[numpy.ndarray, float]:
    """Equidistant values of one variable and their weight: both signs, the circle, or the part of the line where e^{-S} exceeds
    e^-42.

    This range is estimated from constant fields, for which the action of a stable theory grows slowest.
    """
    if theory.group.name == "Signs":
        return numpy.asarray([1.0, -1.0]), 1.0
    if theory.group.name == "U1":
        return 2 * math.pi * numpy.arange(points) / points, 1.0 / points
    heights = numpy.linspace(0.0, 30.0, 601)
    constant = numpy.ones((601, *field_shape(theory))) * heights.reshape(-1, *(1,) * len(field_shape(theory)))
    s = theory.action(constant, couplings)
    s = s / volume(theory.lattice) - float(s.min()) / volume(theory.lattice)
    edge = float(heights[int(numpy.flatnonzero(s < 42.0)[-1])]) + 0.05
    return numpy.linspace(-edge, edge, points), 2 * edge / (points - 1)
