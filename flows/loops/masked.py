"""The flow along loops in symmetric masked steps: exact log-determinant and exact inverse.

E_m(b, h) moves the links of mask m along the gradient with all others fixed, U <- exp(-i h T_a d_a psi_b) U, link by link, since
no two of a mask share an image of a product. E*_m(b, h) = E_m(b, -h)^-1 is the implicit step, with the gradient at the new link.
One step from b to b + h is

    E_1 ... E_M at (b + h/4, h/2),  then  E*_M ... E*_1 at (b + 3h/4, h/2),

of second order and symmetric: its inverse is the same step from b + h with -h. log_det adds up that of flows/links/jacobian.py
for E_m(b, h), and subtracts that of E_m(b, -h) at the new link for E*_m(b, h).

The implicit step is found by a fixed number of Newton steps, each from a constant, so that the last one carries all first
derivatives (implicit function theorem). A link for which they do not converge makes log_det NaN. Where the links around one make
a step so long that it might have several inverses it is shortened (`link_potential.shortened`): what the flow does then is
less, but its inverse and log_det stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups.matrices import precision
from haarflow.core.groups.sun import SU
from haarflow.flows.links import jacobian
from haarflow.flows.loops import link_kernel, link_potential, link_terms
from haarflow.flows.loops.algebra import Product
from haarflow.flows.loops.colours import colours
from haarflow.flows.loops.link_plan import LinkPlan, link_plan

FIXED_POINT_STEPS = 2  # of the implicit step, to start with
NEWTON_STEPS = 4  # then
CONVERGED = {"float64": 1e-7, "float32": 1e-3}  # before the last Newton step, which squares the error


Carry = tuple[Array, Array]  # links as rows, and log_det `(batch,)`
Move = Callable[[SU, LinkPlan, link_potential.Surroundings, Array], tuple[Array, Array]]


class Masks(NamedTuple):
    """Masks with the same plan: rows of the links read, `(mask, links, active)`, of all links, `(mask, d V)`, among those
    of the lattice followed by the mask's new ones, and of the coefficients of the plan's products, `(mask, products)`."""

    plan: LinkPlan
    reads: numpy.ndarray
    writes: numpy.ndarray
    owners: numpy.ndarray


@lru_cache(maxsize=32)
def masks(products: tuple[Product, ...], lattice: tuple[int, ...], lines: tuple[int, ...] = ()) -> tuple[Masks, ...]:
    """Return the masks of a sweep in order: direction by direction, those with the same plan together.

    The straight lines that close around the axes `lines` are further products, whose coefficients follow those of all others,
    one for every axis of the lattice.

    >>> from haarflow.flows.loops import algebra
    >>> [(part.reads.shape, part.writes.shape) for part in masks(algebra.tower(3, 2, 1), (4, 4))]
    [((4, 7, 8), (4, 32))]
    """
    parts: list[Masks] = []
    for mu in range(len(lattice)):
        turned = _swapped(lattice, mu)
        plan = link_plan(link_terms.terms(products, turned, mu in lines))
        coset = colours(turned, link_terms.conflicts(products, turned, mu in lines)).swapaxes(0, mu)
        reads, writes = _tables(plan, coset, mu)
        own = [*range(len(products)), *([len(products) + mu] if mu in lines else [])]
        new = Masks(plan, reads, writes, numpy.asarray([own] * len(reads), dtype="int32"))
        if parts and parts[-1].plan is plan and parts[-1].reads.shape[1:] == reads.shape[1:]:
            new = Masks(plan, *(numpy.concatenate(pair) for pair in zip(parts.pop()[1:], new[1:], strict=True)))
        parts.append(new)
    return tuple(parts)


def _tables(plan: LinkPlan, coset: numpy.ndarray, mu: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The rows of the links read and written by the masks of direction mu."""
    lattice, volume = coset.shape, coset.size
    sites = numpy.indices(lattice).reshape(len(lattice), -1)
    reads, writes = [], []
    for colour in range(int(coset.max()) + 1):
        active = numpy.flatnonzero(coset.reshape(-1) == colour)
        rows = []
        for nu, site in plan.links:
            step = numpy.asarray(_swapped(site, mu))
            places = (sites[:, active] + step[:, None]) % numpy.asarray(lattice)[:, None]
            direction = {0: mu, mu: 0}.get(nu, nu)
            rows.append(direction * volume + numpy.ravel_multi_index(tuple(places), lattice))
        kept = numpy.arange(len(lattice) * volume)
        kept[mu * volume + active] = len(kept) + numpy.arange(len(active))
        reads.append(numpy.stack(rows))
        writes.append(kept)
    return numpy.stack(reads).astype("int32"), numpy.stack(writes).astype("int32")


def _swapped(x: tuple[int, ...], mu: int) -> tuple[int, ...]:
    """A site or extents with axes 0 and mu exchanged."""
    swapped = list(x)
    swapped[0], swapped[mu] = swapped[mu], swapped[0]
    return tuple(swapped)


def flow(
    n: int,
    sweep: tuple[Masks, ...],
    rows: Array,
    coefficients: Callable[[Array], Array],
    size: Array,
    steps: int,
    forward: bool,
) -> tuple[Array, Array]:
    """Return links as rows after all steps, and log_det `(batch,)`.

    `coefficients` gives c `(products, batch or 1)` at b/end between 0 and 1; `size` is the end, `(batch or 1,)`.
    """
    xp, backend = array_namespace(rows), backends.of(rows)
    h = (1.0 if forward else -1.0) / steps
    starts = (0.0 if forward else 1.0) + h * numpy.arange(steps)
    halves = numpy.stack([starts + 0.25 * h, starts + 0.75 * h], axis=1)

    def step(carry: Carry, times: Array) -> tuple[Carry, None]:
        for half in (0, 1):
            numbers = of_rank((0.5 * h) * size, 2) * coefficients(times[half])
            carry = half_step(n, sweep, carry, numbers, implicit=half == 1)
        return carry, None

    zero = xp.zeros((rows.shape[-1],), dtype=size.dtype, device=backends.place(rows)) + 0.0 * size
    (moved, log_det), _ = backend.scan(step, (rows, zero), backend.asarray(halves, dtype=size.dtype))
    return moved, log_det


def half_step(n: int, sweep: tuple[Masks, ...], carry: Carry, numbers: Array, implicit: bool) -> Carry:
    """Return rows of links and log_det after E_1 ... E_M, or E*_M ... E*_1 if `implicit`, for h c = `numbers`.

    `numbers`: `(products, batch or 1)`, those of lines last.
    """
    for part in reversed(sweep) if implicit else sweep:
        if implicit:
            part = Masks(part.plan, *(table[::-1, ...].copy() for table in part[1:]))
        carry = _one_by_one(n, part, carry, numbers if implicit else -numbers, _implicit if implicit else _explicit)
    return carry


def _one_by_one(n: int, part: Masks, carry: Carry, numbers: Array, move: Move) -> Carry:
    """The steps of the masks of one part, as a scan over their tables."""
    backend, group = backends.of(carry[0]), SU(n, link_potential.LATTICE)
    xp, program = array_namespace(carry[0]), link_kernel.program(part.plan, n)

    def mask(carry: Carry, tables: tuple[Array, Array, Array]) -> tuple[Carry, None]:
        (rows, log_det), (reads, writes, owners) = carry, tables
        around = link_kernel.surroundings(program, part.plan, rows, reads, xp.take(numbers, owners, axis=0))
        active = link_kernel.gathered(rows, reads[:1, :])[0, ...]
        moved, change = move(group, part.plan, link_potential.shortened(part.plan, around), active)
        rows = xp.concat([rows, xp.permute_dims(moved, (2, 0, 1, 3))], axis=0)
        return (xp.take(rows, writes, axis=0), log_det + xp.sum(change, axis=0)), None

    tables = tuple(map(backend.asarray, part[1:]))
    (rows, log_det), _ = backend.scan(backend.checkpoint(mask), carry, tables)
    return rows, log_det


def _explicit(group: SU, plan: LinkPlan, around: link_potential.Surroundings, u: Array) -> tuple[Array, Array]:
    """U <- e^{iw} U with w the gradient of the potential, and its log det."""
    loop, forms = link_potential.loop_of(plan, around, u)
    w = jacobian.step_of(group, loop)
    return group.update(u, w), jacobian.log_det(group, w, loop, link_potential.curvature(forms, u))


def _implicit(group: SU, plan: LinkPlan, around: link_potential.Surroundings, u: Array) -> tuple[Array, Array]:
    """The inverse of `_explicit`, and its log det."""
    backend, xp = backends.of(u), array_namespace(u)
    target, frozen = backend.stop_gradient((u, around))

    def fixed_point(moved: Array, _: None) -> tuple[Array, None]:
        loop = link_potential.loop_of(plan, frozen, moved)[0]
        return group.update(target, -jacobian.step_of(group, loop)), None

    def newton(moved: Array, _: None) -> tuple[Array, Array]:
        return _newton(group, plan, backend.stop_gradient(moved), u, around)

    moved, _ = backend.scan(fixed_point, target, None, length=FIXED_POINT_STEPS)
    moved, off = backend.scan(newton, moved, None, length=NEWTON_STEPS)
    change = -_explicit(group, plan, around, moved)[1]
    near = xp.max(xp.abs(backend.stop_gradient(off[-1, ...])), axis=0) < CONVERGED[precision(u)]
    return moved, xp.where(near, change, xp.full_like(change, math.nan))


def _newton(
    group: SU, plan: LinkPlan, moved: Array, target: Array, around: link_potential.Surroundings
) -> tuple[Array, Array]:
    """With E(moved) target^+ = e^{ir}, moved <- e^{-i J^-1 r} moved, and r; J is a constant to derivatives."""
    loop, forms = link_potential.loop_of(plan, around, moved)
    w = jacobian.step_of(group, loop)
    off = group.coordinates(-1j * group.quotient(group.update(moved, w), target))
    w, loop, forms = backends.of(moved).stop_gradient((w, loop, forms))
    return group.update(moved, -jacobian.newton(group, w, loop, off, link_potential.curvature(forms, moved))), off
