"""The loops of a compiled elimination of time slices, for U(1) in two dimensions; its formulas are those of
theories/fermions/determinants/slices.py.

A gauge transformation gives all links of a ring the same phase u: W = 1 - kappa (u S + u^* S^+), with the step S(x, x+1) = 1, and
what belongs to it depend on the distance of two sites alone. Matrices are `(rows, 2, columns)` of as many rows as the code for them
takes at once; those behind the sites are 0, and 1 on the diagonal of what is inverted.
"""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.dense_loops import (
    Bodies,
    adjoint,
    adjoint_times,
    determinant,
    invert,
    times,
)
from haarflow.backends.compiled.loops import loop
from haarflow.backends.types import Array

LOSS, Q, Z, C, TO_PLUS, OWN, TURNED, CORNER, FIRST, SECOND, THIRD, PP, PM, MP, MM = range(15)  # matrices in the room
INVERSE, PLUS_MINUS, MINUS_PLUS, V_PLUS, V_MINUS = range(5)  # matrices of a slice that its derivative needs


@loop
def logarithms(
    links: Array,
    kappas: Array,
    log_abs: Array,
    signs: Array,
    forces: Array,
    turn: complex,
    kept: Array,
    room: Array,
    last: Array,
    bodies: Bodies,
    last_step: int,
) -> None:
    """Write ln |det D| and the sign of det D for links `(fields, 2, T, L)`, and for `forces` `(fields, 2, T, L)` the derivative.

    `turn` is the entry of gamma_1 between - and +. `kept` `(T, 5, rows, 2, rows)` holds what a slice leaves to the derivative, or one
    slice after another if it is `(1, ...)`; `room` `(15, rows, 2, rows)` and `last`, of twice as many rows and columns, are room.
    """
    fields, _, time, extent = links.shape
    step, phases = numpy.zeros((time, extent), dtype=numpy.complex128), numpy.zeros(time, dtype=numpy.complex128)
    for one in range(fields):
        kappa = kappas[one]
        log_det = rings(links[one], kappa, step, phases)
        phase = 1.0 + 0.0j
        begin(room, step[0])
        for t in range(1, time):
            found = slice_of(room, kept[t if len(kept) > 1 else 0], kappa, phases[t], turn, step[t], bodies)
            log_det, phase = log_det + found[0], phase * found[1]
        closed(last, room, kappa, phases[0], turn, extent)
        factors = numpy.zeros((len(last), 2))
        if len(forces) == 0:
            found = determinant(last_step, last, factors)
        else:
            found = invert(last_step, last, factors, numpy.zeros(len(last), dtype=numpy.int64))
            derivative(forces[one], kept, room, last, kappa, phases, turn, step, bodies)
        log_abs[one], signs[one] = log_det + found[0], numpy.sign((phase * found[1]).real)


@loop
def rings(links: Array, kappa: float, hops: Array, phases: Array) -> float:
    """Write -2 kappa U_0 `(T, L)` and the phases u `(T,)` in the gauge where rings have one; return the sum of ln det W but the first."""
    time, extent = hops.shape
    turned = numpy.ones((time, extent), dtype=numpy.complex128)
    log_det = 0.0
    for t in range(time):
        around = 1.0 + 0.0j
        for x in range(extent):
            around *= links[1, t, x]
        angle = numpy.arctan2(around.imag, around.real) / extent
        phases[t] = complex(numpy.cos(angle), numpy.sin(angle))
        for x in range(extent - 1):
            turned[t, x + 1] = turned[t, x] * links[1, t, x] * phases[t].conjugate()
        if t > 0:
            s, rho = roots(kappa)
            closing = abs(1.0 - rho**extent * around)
            log_det += extent * numpy.log(0.5 * (1.0 + s)) + 2.0 * numpy.log(closing)
    for t in range(time):
        for x in range(extent):
            hops[t, x] = -2.0 * kappa * turned[t, x] * links[0, t, x] * turned[(t + 1) % time, x].conjugate()
    return log_det


@loop
def roots(kappa: float) -> tuple[float, float]:
    """Return s = sqrt(1 - 4 kappa^2) and rho = 2 kappa / (1 + s), see theories/fermions/determinants/ring.py."""
    s = numpy.sqrt(1.0 - 4.0 * kappa * kappa)
    return s, 2.0 * kappa / (1.0 + s)


@loop
def begin(room: Array, hops: Array) -> None:
    """Set what slice 0 couples by, and that nothing is lost yet."""
    room[LOSS], room[CORNER], room[C] = 0.0, 0.0, 0.0
    for x in range(len(hops)):
        room[C, x, 0, x], room[C, x, 1, x] = hops[x].real, -hops[x].imag


@loop
def inverses(inverse: Array, turned: Array, kappa: float, u: complex, turn: complex, extent: int) -> None:
    """Write W^-1 and -N W^-1, which depend on the distance alone."""
    s, rho = roots(kappa)
    around = u**extent
    ahead = 1.0 / (1.0 - rho**extent * around)
    back = (around * ahead).conjugate()
    w = numpy.zeros(extent, dtype=numpy.complex128)
    power = 1.0 + 0.0j
    for j in range(extent):
        w[j] = power / s * (rho**j * ahead + rho ** (extent - j) * back)
        power *= u
    n = numpy.zeros(extent, dtype=numpy.complex128)
    forth, home = -turn * kappa * u, turn * kappa * u.conjugate()
    for j in range(extent):
        n[j] = forth * w[(j - 1) % extent] + home * w[(j + 1) % extent]
    for x in range(extent):
        for y in range(extent):
            j = y - x + (extent if y < x else 0)
            inverse[x, 0, y], inverse[x, 1, y] = w[j].real, w[j].imag
            turned[x, 0, y], turned[x, 1, y] = n[j].real, n[j].imag


@loop
def slice_of(
    room: Array, kept: Array, kappa: float, u: complex, turn: complex, hops: Array, bodies: Bodies
) -> tuple[float, complex]:
    """Eliminate a slice: the loss, c and the corner become those of the next one. Return ln |det Z| and its phase."""
    extent, size = len(hops), room.shape[1]
    loss, z, c = room[LOSS], kept[INVERSE], room[C]
    inverses(room[OWN], room[TURNED], kappa, u, turn, extent)
    add_steps(loss, turn * kappa * u, -turn * kappa * u.conjugate(), extent)
    times(bodies.times, room[Q], room[OWN], loss)
    schur(z, room[Q], kappa, u, turn, extent)
    log_abs, phase = invert(bodies.step, z, numpy.zeros((size, 2)), numpy.zeros(size, dtype=numpy.int64))
    times(bodies.times, kept[PLUS_MINUS], room[Q], z)
    times(bodies.times, kept[MINUS_PLUS], z, room[TURNED])
    adjoint_times(bodies.adjoint_times, kept[V_PLUS], z, c)
    times(bodies.times, kept[V_MINUS], kept[MINUS_PLUS], c)
    adjoint_times(bodies.add_adjoint_times, room[CORNER], c, kept[V_MINUS])
    framed(loss, kept[PLUS_MINUS], hops)
    carried(c, kept[V_PLUS], hops)
    return log_abs, phase


@loop
def add_steps(a: Array, forth: complex, home: complex, extent: int) -> None:
    """Add forth S + home S^+."""
    for x in range(extent):
        ahead, behind = (x + 1) % extent, (x - 1) % extent
        a[x, 0, ahead] += forth.real
        a[x, 1, ahead] += forth.imag
        a[x, 0, behind] += home.real
        a[x, 1, behind] += home.imag


@loop
def schur(z: Array, q: Array, kappa: float, u: complex, turn: complex, extent: int) -> None:
    """Write Z = W + N q."""
    forth, home = turn * kappa * u, -turn * kappa * u.conjugate()
    z[:] = 0.0
    for x in range(extent):
        ahead, behind = q[(x + 1) % extent], q[(x - 1) % extent]
        real, imaginary = z[x]
        for y in range(len(real)):
            real[y] = (
                forth.real * ahead[0, y]
                - forth.imag * ahead[1, y]
                + home.real * behind[0, y]
                - home.imag * behind[1, y]
            )
            imaginary[y] = (
                forth.real * ahead[1, y]
                + forth.imag * ahead[0, y]
                + home.real * behind[1, y]
                + home.imag * behind[0, y]
            )
    for x in range(len(z)):
        z[x, 0, x] += 1.0
    add_steps(z, -kappa * u, -kappa * u.conjugate(), extent)


@loop
def framed(into: Array, a: Array, hops: Array) -> None:
    """Write F^+ a F."""
    for x in range(len(hops)):
        for y in range(len(hops)):
            factor = hops[x].conjugate() * hops[y]
            into[x, 0, y] = factor.real * a[x, 0, y] - factor.imag * a[x, 1, y]
            into[x, 1, y] = factor.real * a[x, 1, y] + factor.imag * a[x, 0, y]


@loop
def carried(into: Array, a: Array, hops: Array) -> None:
    """Write -F^+ a."""
    for x in range(len(hops)):
        factor = -hops[x].conjugate()
        for y in range(len(hops)):
            into[x, 0, y] = factor.real * a[x, 0, y] - factor.imag * a[x, 1, y]
            into[x, 1, y] = factor.real * a[x, 1, y] + factor.imag * a[x, 0, y]


@loop
def closed(last: Array, room: Array, kappa: float, u: complex, turn: complex, extent: int) -> None:
    """Write what is left of slice 0, [[W + c, -N - loss], [N - corner, W + c^+]]."""
    size = room.shape[1]
    loss, corner, c = room[LOSS], room[CORNER], room[C]
    forth, home = turn * kappa * u, -turn * kappa * u.conjugate()
    add_steps(loss, forth, home, extent)
    add_steps(corner, -forth, -home, extent)
    for x in range(size):
        for part in range(2):
            sign = 1.0 - 2.0 * part
            for y in range(size):
                last[x, part, y], last[x, part, size + y] = c[x, part, y], -loss[x, part, y]
                last[size + x, part, y], last[size + x, part, size + y] = -corner[x, part, y], sign * c[y, part, x]
    for half in (last[:size, :, :size], last[size:, :, size:]):
        for x in range(size):
            half[x, 0, x] += 1.0
        add_steps(half, -kappa * u, -kappa * u.conjugate(), extent)


@loop
def derivative(
    forces: Array,
    kept: Array,
    room: Array,
    last: Array,
    kappa: float,
    phases: Array,
    turn: complex,
    hops: Array,
    bodies: Bodies,
) -> None:
    """Write 2 kappa Im U_mu(x) Q_mu(x), see `slices.diagonals`; `last` is D^-1 at slice 0 in quarters."""
    time, extent = hops.shape
    k_pp, k_pm, k_mp, k_mm = room[PP], room[PM], room[MP], room[MM]
    size = len(k_pp)
    k_pp[:], k_pm[:], k_mp[:] = last[:size, :, :size], last[:size, :, size:], last[size:, :, :size]
    adjoint(k_mm, k_pp)
    along(forces[1, 0], k_pp, k_pm, k_mp, 2.0 * kappa * phases[0], turn)
    for t in range(time - 1, 0, -1):
        before(forces, t, kept[t], room, 2.0 * kappa * phases[t], turn, hops[t], bodies)
    for x in range(extent):
        forces[0, 0, x] = -2.0 * (hops[0, x] * complex(k_mm[x, 0, x], k_mm[x, 1, x])).imag


@loop
def before(
    forces: Array, t: int, kept: Array, room: Array, link: complex, turn: complex, hops: Array, bodies: Bodies
) -> None:
    """Write the forces on the links of slice t, and let k become that of the slice before."""
    k_pp, k_pm, k_mp, k_mm = room[PP], room[PM], room[MP], room[MM]
    mm, pm, mp, v_p, v_m = kept[INVERSE], kept[PLUS_MINUS], kept[MINUS_PLUS], kept[V_PLUS], kept[V_MINUS]
    extent = len(hops)
    for x in range(extent):
        total = 0.0j
        for y in range(extent):
            e_pm = hops[y].conjugate() * complex(pm[x, 0, y], -pm[x, 1, y])
            total += complex(k_mp[x, 0, y], k_mp[x, 1, y]) * e_pm
            total += complex(k_mm[x, 0, y], k_mm[x, 1, y]) * complex(v_p[x, 0, y], -v_p[x, 1, y])
        forces[0, t, x] = 2.0 * (hops[x] * total).imag
    x_pf, x_mf, left_pp, left_pm, left_mp, left_mm = room[LOSS], room[Q], room[Z], room[C], room[FIRST], room[SECOND]
    on_columns(x_pf, pm, hops)
    on_columns(x_mf, mm, hops)
    both(left_pp, v_p, k_pp, x_pf, k_mp, bodies)
    both(left_pm, v_p, k_pm, x_pf, k_mm, bodies)
    both(left_mp, v_m, k_pp, x_mf, k_mp, bodies)
    both(left_mm, v_m, k_pm, x_mf, k_mm, bodies)
    e_pp, e_mp, e_pm, e_mm = room[TO_PLUS], room[OWN], room[TURNED], room[THIRD]
    adjoint(e_pp, x_mf)
    adjoint(e_mp, v_m)
    adjoint(e_pm, x_pf)
    adjoint(e_mm, v_p)
    g_pp, g_pm, g_mp = k_pp, room[CORNER], k_mp
    adjoint(g_pp, mm)
    g_pm[:], g_mp[:] = pm, mp
    added(g_pp, left_pp, e_pp, left_pm, e_mp, bodies)
    added(g_pm, left_pp, e_pm, left_pm, e_mm, bodies)
    added(g_mp, left_mp, e_pp, left_mm, e_mp, bodies)
    along(forces[1, t], g_pp, g_pm, g_mp, link, turn)
    k_mm[:] = -left_mm
    adjoint(k_pp, k_mm)


@loop
def both(into: Array, a: Array, b: Array, c: Array, d: Array, bodies: Bodies) -> None:
    """Write a b + c d."""
    times(bodies.times, into, a, b)
    times(bodies.add_times, into, c, d)


@loop
def added(into: Array, a: Array, b: Array, c: Array, d: Array, bodies: Bodies) -> None:
    """Add a b + c d."""
    times(bodies.add_times, into, a, b)
    times(bodies.add_times, into, c, d)


@loop
def on_columns(into: Array, a: Array, hops: Array) -> None:
    """Write a F."""
    into[:] = 0.0
    for x in range(len(hops)):
        for y in range(len(hops)):
            into[x, 0, y] = hops[y].real * a[x, 0, y] - hops[y].imag * a[x, 1, y]
            into[x, 1, y] = hops[y].real * a[x, 1, y] + hops[y].imag * a[x, 0, y]


@loop
def along(forces: Array, g_pp: Array, g_pm: Array, g_mp: Array, link: complex, turn: complex) -> None:
    """Write the forces on the links of a ring, from blocks of D^-1 of its slice."""
    extent = len(forces)
    for x in range(extent):
        y = (x + 1) % extent
        same = complex(g_pp[y, 0, x] + g_pp[x, 0, y], g_pp[y, 1, x] - g_pp[x, 1, y])
        turned = complex(g_mp[y, 0, x] - g_pm[y, 0, x], g_mp[y, 1, x] - g_pm[y, 1, x])
        forces[x] = (link * (same + turn * turned)).imag
