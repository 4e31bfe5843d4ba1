"""The sweep flow of two-dimensional SU(2) and SU(3): each of V - 1 links is updated once, every step maps one matrix.

Haar links have independent, Haar-distributed plaquettes P except for the last one, which closes the torus. With

    P(t,x) = U_0(t,x) U_1(t+1,x) U_0(t,x+1)^+ U_1(t,x)^+,    W(x) = P(T-1,x),

the links U_1(t+1,x), t < T-1, and u(x+1) = U_0(T-1,x+1), x < X-1, follow from any choice of the plaquettes P(t,x), W(x):

    U_1(t+1,x) = U_0(t,x)^+ P(t,x) U_1(t,x) U_0(t,x+1),    u(x+1) = U_1(T-1,x)^+ W(x)^+ u(x) U_1(0,x).

All but the last `closings` plaquettes are mapped by one class map, from Haar measure to the weight of a plaquette
e^{beta Re tr P / N} (flows/sun/class_maps.py). The rest of the row is constrained by the loop G around it,

    G(x) = W(x) U_1(T-1,x) G(x+1) U_1(T-1,x)^+,    G(X-1) = W(X-1),

and given G, with m plaquettes to follow, W(x) has the density f_1(W) f_m(W^+ G)/f_{m+1}(G), f_m the weight of m plaquettes.
It has two centres, 1 and G, and for m = 1 its width between them follows from Re tr X (S^{1/2} + S^{-1/2}), which depends on
the direction. The step is therefore W -> S^{1/2} X S^{1/2}, where X is the image of W under the class map to a tilt kappa,
for SU(3) stretched along the gradient of Re tr X V (flows/sun/stretch.py), and

    S = V diag(e^{i s}) V^+,  s_k = 2 a arg(AFAR + e^{i theta_k}) + b sin theta_k - mean,   kappa = beta [sum_j c_j g_j(G)]_+,

    V = (d_0 + d_1 Re tr G/N) ((G + G^+)/2 - Re tr G/N),

where theta are the eigen-angles of G, V its eigenvectors, and g_j(G) are 1, Re tr G/N, its square, Re tr G^2/N. a, b, c_j,
d_j are learnt for each m; initially S is a fraction 1/(1+m) of the way to G. A step does not change its G, so log_det is the
sum over the maps whatever S, kappa and V are, and the inverse retraces the steps. Where f_m is practically flat, G does not
matter: `closings` = 6 is ample for SU(3) at beta = 6. The flow is gauge equivariant since P and G are, and commutes with
U -> U^*.

Links `(*batch, 2, N, N, T, X)`. Two dimensions only: in more, plaquettes are constrained by the Bianchi identity. The row has
X plaquettes: the flow is accurate for X > closings, and otherwise as accurate as X - 1 closings allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_rank, scaled
from haarflow.core.groups import eigenframes, weyl_cell
from haarflow.core.groups.sun import SU
from haarflow.core.lattice.geometry import check_lattice
from haarflow.flows.flow import Model, real_dtype
from haarflow.flows.nets import coupling
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sun import class_map_tables, class_maps
from haarflow.flows.sun.stretch import stretch

ORDERS = 3  # powers of the coupling in each parameter, with a condition
SOFT = 0.2  # how smoothly tilts end at zero
LONGEST = 1.2  # bound on d_0 + d_1 Re tr G/N: the largest singular value of V is at most 4/3 of it, and must be below 2
AFAR = 1.05  # above one: arg(1 + e^{i theta}) = theta/2 would jump at pi, and S with it


Carry = tuple[Array, Array, Array]


@dataclass(frozen=True)
class ClassSweep:
    """A gauge-equivariant flow of SU(n) links in two dimensions that updates V - 1 links once each, n = 2 or 3.

    `beta` is the target coupling, `closings` the number of steps that depend on G. Parameters: "shift" `(closings, 2)`,
    "tilt" `(closings, n + 1)` and for n = 3 "stretch" `(closings, 2)`, row m-1 for m plaquettes to follow; with
    condition = ("beta",) they are polynomials in condition/beta - 1, the powers on an additional axis. Raises ValueError for
    other n and conditions, a beta that is not positive, closings < 0, and for fields that are not
    `(*batch, 2, n, n, T, X)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = ClassSweep(3, 6.0)
    >>> x = HaarLinks((4, 4), 3).sample(random.key(0, backend), 5)
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 2, 3, 3, 4, 4), (5,))
    """

    n: int = 3
    beta: float = 6.0
    closings: int = 6
    condition: tuple[str, ...] = ()

    symmetries = ("gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", tuple(self.condition))
        weyl_cell.check_rank(self.n)
        if not (math.isfinite(self.beta) and self.beta > 0) or self.closings < 0:
            raise ValueError(f"a sweep needs beta > 0 and closings >= 0, got {self.beta} and {self.closings}")
        if self.condition not in ((), ("beta",)):
            raise ValueError(f"a sweep flow is conditioned on nothing, (), or on ('beta',), got {self.condition}")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the initial values, without a draw: S goes 1/2, 1/3, 1/4, ... of the way, tilts grow where G is near one."""
        u = class_map_tables.mean_trace(self.n, min(self.beta, class_map_tables.tilts()[-2]))
        shift, tilt, stretch = [], [], []
        for m in range(self.closings):
            whole, direct, uneven = 0.5 * u ** (0.5 * m), 0.5 * u ** (2.0 * m), u ** (0.75 * m)
            shift.append((direct, whole - direct))
            tilt.append((1.0 + 0.25 * u ** (2.0 * m), u**m, -0.3 * u**m, 0.0)[: self.n + 1])
            stretch.append((0.6 * uneven, -0.7 * uneven))
        tables = {"shift": self._table(shift, 2, key, dtype), "tilt": self._table(tilt, self.n + 1, key, dtype)}
        return tables if self.n == 2 else tables | {"stretch": self._table(stretch, 2, key, dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (y, log |det dy/dx|)."""
        return self._run("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (x, log |det dx/dy|), in closed form and in as many steps as `forward`."""
        return self._run("inverse", params, y, condition)

    def _table(self, rows: Sequence[Sequence[float]], width: int, key: Key, dtype: str) -> Array:
        """Rows of initial values as parameters; higher powers of the coupling start at zero."""
        xp = array_namespace(key)
        values = xp.asarray(rows or [[0.0] * width], dtype=real_dtype(xp, dtype), device=backends.place(key))
        table = values[: len(rows), :]
        if not self.condition:
            return table
        return xp.stack([table] + [0.0 * table] * (ORDERS - 1), axis=-1)

    def _run(self, direction: str, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        """Map the plaquettes, then construct the links that have them."""
        batch = self._batch(links)
        xp, lattice = array_namespace(links), links.shape[-2:]
        flat = xp.reshape(links, (math.prod(batch), 2, self.n, self.n, *lattice))
        flat = xp.permute_dims(
            flat, (1, 2, 3, 4, 5, 0)
        )  # configurations last, as the axis that remains when sites are indexed
        time, space = flat[0, ...], flat[1, ...]
        beta = self._coupling(condition, links, batch)
        loops = plaquettes(time, space)
        free, log_slope = class_maps.tilted(direction, loops, beta, 3)
        steps = min(self.closings, lattice[1] - 1)
        log_det = xp.sum(log_slope[:-1, ...], axis=(0, 1)) + xp.sum(log_slope[-1, : lattice[1] - 1 - steps, :], axis=0)
        columns = fill_columns(time, space, free)
        coefficients = self._coefficients(params, beta, steps)
        row, closing = self._fill_row(direction, coefficients, beta, (time, space, columns), (loops, free), steps)
        moved = xp.concat([time[:, :, :-1, ...], row[:, :, None, ...]], axis=2)
        both = xp.permute_dims(xp.stack([moved, columns], axis=0), (5, 0, 1, 2, 3, 4))
        return xp.reshape(both, links.shape), xp.reshape(log_det + closing, batch)

    def _fill_row(
        self,
        direction: str,
        coefficients: Params,
        beta: Array,
        links: tuple[Array, Array, Array],
        loops: tuple[Array, Array],
        steps: int,
    ) -> tuple[Array, Array]:
        """Return the links u `(N, N, X, batch)` of the row with its plaquettes mapped, and log |det| of its last steps.

        G is a product of links of the flow's output: the new links in the forward direction, the old ones in the inverse.
        """
        (time, space, columns), (old_loops, free) = links, loops
        xp, group = array_namespace(time), SU(self.n, 1)
        above, below, before = space[:, :, 0, ...], columns[:, :, -1, ...], space[:, :, -1, ...]
        first, end = time[:, :, -1, 0, :], above.shape[2] - 1
        start = end - steps
        firsts = fill_row(first, above[:, :, :start, :], below[:, :, :start, :], free[:, :, -1, :start, :])
        log_det = 0.0 * xp.real(first[0, 0, :])
        if not steps:
            return firsts, log_det
        base = below if direction == "forward" else before
        link = firsts[:, :, -1, :] if direction == "forward" else time[:, :, -1, start, :]
        rest = around(link, above[:, :, start:, :], first, base[:, :, start:, :])

        def step(carry: Carry, site: tuple[tuple[Array, ...], Params]) -> tuple[Carry, Array]:
            link, rest, log_det = carry
            (old, top, bottom, edge), row = site
            new, log_slope = close(direction, old, rest, row, beta, group)
            output = new if direction == "forward" else old
            link = group.compose(group.inverse(group.compose(new, bottom)), group.compose(link, top))
            rest = group.compose(group.inverse(group.compose(output, edge)), group.compose(rest, edge))
            return (link, rest, log_det + log_slope), link

        rows = [sites_first(part[:, :, start:end, :]) for part in (old_loops[:, :, -1, ...], above, below, base)]
        carry = (firsts[:, :, -1, :], rest, log_det)
        (_, _, log_det), lasts = backends.of(time).scan(step, carry, (tuple(rows), coefficients))
        return xp.concat([firsts, xp.permute_dims(lasts, (1, 2, 0, 3))], axis=2), log_det

    def _coefficients(self, params: Params, beta: Array, steps: int) -> Params:
        """The parameters of the steps in order, `(steps, parameters, batch or 1)`."""
        xp, ordered = array_namespace(beta), {}
        for name, table in params.items():
            if self.condition:
                t = of_rank(beta / self.beta - 1.0, table.ndim)
                table = sum(table[..., k, None] * t**k for k in range(ORDERS))
            else:
                table = table[..., None]
            ordered[name] = xp.flip(table[:steps, ...], axis=0)
        return ordered

    def _coupling(self, condition: Condition, links: Array, batch: tuple[int, ...]) -> Array:
        """beta as one number per configuration `(batch,)`, or `(1,)` if the flow is not conditioned."""
        xp = array_namespace(links)
        zero = 0.0 * xp.real(links[..., 0, 0, 0, 0, 0])
        if not self.condition:
            return xp.reshape(zero, (-1,))[:1] + self.beta
        beta = coupling(condition, "beta", zero, 0)
        return xp.reshape(zero + beta, (math.prod(batch),))

    def _batch(self, links: Array) -> tuple[int, ...]:
        if links.ndim < 5 or tuple(links.shape[-5:-2]) != (2, self.n, self.n):
            raise ValueError(
                f"a sweep of SU({self.n}) wants links (*batch, 2, {self.n}, {self.n}, T, X), got shape {tuple(links.shape)}"
            )
        return tuple(links.shape[:-5])


def class_sweep(
    lattice: tuple[int, ...], n: int = 3, beta: float = 6.0, closings: int = 6, condition: tuple[str, ...] = ()
) -> Model:
    """Return the sweep flow on Haar links. Raises ValueError unless the lattice has two axes.

    >>> class_sweep((8, 8), n=2, beta=2.7).prior
    HaarLinks(lattice=(8, 8), n=2)
    """
    if len(check_lattice(lattice)) != 2:
        raise ValueError(f"a sweep flow needs two dimensions, got the lattice {tuple(lattice)}")
    return Model(HaarLinks(tuple(lattice), n), ClassSweep(n, beta, closings, condition))


def close(
    direction: str, plaquette: Array, rest: Array, coefficients: Params, beta: Array, group: SU
) -> tuple[Array, Array]:
    """Return W -> S^{1/2} X S^{1/2} of a plaquette W `(N, N, batch)`, or its inverse, and log |det| `(batch,)`.

    `rest` is the loop G around W and all plaquettes to follow; the step's `coefficients` are `(parameters, batch or 1)` each.
    """
    frame = eigenframes.frame_of(rest, group.d)
    angles = weyl_cell.angles_at(weyl_cell.coordinates(frame.angles))
    known = weyl_cell.characters(angles)
    wanted = sum(coefficients["tilt"][j, :] * g for j, g in enumerate(known))
    kappa = 0.5 * beta * (wanted + array_namespace(beta).sqrt(wanted * wanted + SOFT**2))
    half = eigenframes.rebuilt(frame, angles, half_way(angles, coefficients["shift"]), group.d)
    uneven = unevenness(rest, known[1], coefficients["stretch"], group) if group.n == 3 else None
    if direction == "forward":
        centred, log_det = class_maps.tilted(direction, plaquette, kappa, group.d)
        if uneven is not None:
            centred, further = stretch(direction, centred, uneven, group)
            log_det = log_det + further
        return group.compose(group.compose(half, centred), half), log_det
    back, log_det = group.inverse(half), 0.0
    centred = group.compose(group.compose(back, plaquette), back)
    if uneven is not None:
        centred, log_det = stretch(direction, centred, uneven, group)
    even, further = class_maps.tilted(direction, centred, kappa, group.d)
    return even, log_det + further


def unevenness(rest: Array, trace: Array, coefficients: Array, group: SU) -> Array:
    """Return V = d ((G + G^+)/2 - Re tr G/N), d = d_0 + d_1 Re tr G/N smoothly bounded; it commutes with G."""
    xp = array_namespace(rest)
    d = LONGEST * xp.tanh((coefficients[0, :] + coefficients[1, :] * trace) / LONGEST)
    return scaled(d, 0.5 * (rest + group.inverse(rest)) - scaled(trace, group.identity(rest)))


def half_way(angles: list[Array], shift: Array) -> list[Array]:
    """Return s_k / 2 for the eigen-angles theta_k, by `shift` = (a, b).

    >>> import numpy as np
    >>> [round(float(s), 3) for s in half_way([np.asarray(1.0), np.asarray(-1.0)], np.asarray([0.5, 0.0]))]
    [0.243, -0.243]
    """
    xp, halves = array_namespace(shift), []
    for angle in angles:
        sine, cosine = backends.of(angle).sincos(angle)
        halves.append(shift[0, ...] * xp.atan2(sine, AFAR + cosine) + 0.5 * shift[1, ...] * sine)
    mean = sum(halves[1:], halves[0]) / float(len(halves))
    return [s - mean for s in halves]


def plaquettes(time: Array, space: Array) -> Array:
    """Return the plaquettes P `(N, N, T, X, batch)` from the links along both axes, each of the same shape."""
    xp, group = array_namespace(time), SU(time.shape[0], 3)
    ahead = group.compose(time, xp.roll(space, -1, axis=2))
    return group.compose(ahead, group.inverse(group.compose(space, xp.roll(time, -1, axis=3))))


def fill_columns(time: Array, space: Array, wanted: Array) -> Array:
    """Return the links U_1 `(N, N, T, X, batch)` that equal `space` at t = 0 and have the wanted P(t, x), t < T-1."""
    xp, group = array_namespace(time), SU(time.shape[0], 2)
    first = space[:, :, 0, ...]
    if time.shape[2] == 1:
        return first[:, :, None, ...]

    def step(link: Array, site: Carry) -> tuple[Array, Array]:
        before, plaquette, behind = site
        link = group.compose(group.compose(group.inverse(before), plaquette), group.compose(link, behind))
        return link, link

    sides = (time, wanted, xp.roll(time, -1, axis=3))
    rows = tuple(sites_first(part[:, :, :-1, ...]) for part in sides)
    _, links = backends.of(time).scan(step, first, rows)
    return xp.concat([first[:, :, None, ...], xp.permute_dims(links, (1, 2, 0, 3, 4))], axis=2)


def fill_row(first: Array, above: Array, below: Array, wanted: Array) -> Array:
    """Return u(0), ..., u(n) `(N, N, n + 1, batch)` with u(0) = first and the n wanted plaquettes between them."""
    xp, group = array_namespace(first), SU(first.shape[0], 1)
    if above.shape[2] == 0:
        return first[:, :, None, :]

    def step(link: Array, site: Carry) -> tuple[Array, Array]:
        top, bottom, plaquette = site
        link = group.compose(group.inverse(group.compose(plaquette, bottom)), group.compose(link, top))
        return link, link

    _, links = backends.of(first).scan(step, first, tuple(map(sites_first, (above, below, wanted))))
    return xp.concat([first[:, :, None, :], xp.permute_dims(links, (1, 2, 0, 3))], axis=2)


def around(link: Array, above: Array, end: Array, below: Array) -> Array:
    """Return the loop from `link` along the upper links, down `end`, and back along the lower ones, `(N, N, batch)`."""
    group = SU(link.shape[0], 1)
    back = below[:, :, 0, :]
    for x in range(above.shape[2]):
        link = group.compose(link, above[:, :, x, :])
        back = group.compose(back, below[:, :, x, :]) if x else back
    return group.compose(link, group.inverse(group.compose(back, end)))


def sites_first(x: Array) -> Array:
    """Return `(N, N, steps, ...)` as `(steps, N, N, ...)`."""
    return array_namespace(x).permute_dims(x, (2, 0, 1, *range(3, x.ndim)))
