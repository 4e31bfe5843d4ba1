"""Plaquettes of 2D SU(N) drawn one by one, and strips of them drawn until they close.

The last row of plaquettes ends in a strip of m; U_0(T-1, x+1) = U_1(T-1, x)^+ P(T-1, x)^+ U_0(T-1, x) leads through it
(see `closed`) and the last plaquette follows. m - 1 independent draws are accepted with the probability
e^{beta (Re tr P_last/N - 1)}: exactly the distribution of the strip conditioned on its surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.core.lattice.geometry import volume
from haarflow.theories.samplers import class_angles, class_kernels

TRIES = 2**12  # strips of one round


def free_plaquettes(
    key: Array, turn: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str
) -> tuple[Array, Array]:
    """Return independent plaquettes `(count, N, N, T, X)`, and `(count,)` whether all of them were accepted."""
    group, shape = SU(n, len(lattice)), (count, *lattice)
    angles, accepted = class_angles.draw(key, n, beta, shape, _tries(n, beta, volume(lattice)), dtype)
    xp = array_namespace(angles)
    sine, cosine = backends.of(angles).sincos(xp.moveaxis(angles, 0, 1))
    phases = matrices.complex_array(cosine, sine)
    frame = group.haar(turn, (count, n, n, *lattice), dtype)
    return group.compose(frame * phases[:, None, ...], group.inverse(frame)), xp.all(accepted, axis=(-2, -1))


def until_closed(
    key: Array,
    beta: float,
    whole: numpy.ndarray,
    time: numpy.ndarray,
    space: numpy.ndarray,
    strip: int,
    dtype: str,
    backend: Backend,
) -> numpy.ndarray:
    """Return the first `strip` - 1 plaquettes of each configuration's strip, `(c, N, N, strip - 1)`, on the host.

    `whole`, `time`, `space` are accepted candidates of `samplers.sun` with units in the strip. Strips are drawn for all
    configurations that still lack one, and each takes the first that is accepted.
    """
    group = SU(whole.shape[1])
    columns, start = _surroundings(whole, time, space, strip)
    around = group.compose(space, group.inverse(time))
    filled, pending, rounds = numpy.zeros_like(columns[..., 1:]), numpy.arange(len(whole)), 0
    tries = _compiled(group.n, float(beta), strip, dtype, backend)
    while len(pending):
        owners = numpy.resize(pending, TRIES)
        own = (backend.asarray(part[owners], dtype=str(whole.dtype)) for part in (start, columns, around))
        drawn, closes = tries(random.fold_in(key, 3 + 2 * rounds), *own)
        hits = numpy.flatnonzero(backend.to_numpy(closes))
        served, first = numpy.unique(owners[hits], return_index=True)
        filled[served] = backend.to_numpy(drawn)[hits[first]]
        pending, rounds = numpy.setdiff1d(pending, served), rounds + 1
    return filled


def _surroundings(
    whole: numpy.ndarray, time: numpy.ndarray, space: numpy.ndarray, strip: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The spatial links along the strip, `(c, N, N, strip)`, and the temporal link at its beginning."""
    _, links = closed(whole, time, space)
    return links[:, 1, :, :, -1, -strip:], links[:, 0, :, :, -1, -strip]


def closed(plaquettes: Array, time: Array, space: Array) -> tuple[Array, Array]:
    """Return plaquettes `(c, N, N, T, X)` whose last one closes the torus, and links that have them.

    Temporal links are units except in the last row, spatial links at t = 0 are units except for the last, which is the
    spatial holonomy; the first link of the last row is the temporal holonomy. The last plaquette of the input is not used.

        U_1(t+1, x) = P(t, x) U_1(t, x),    U_0(T-1, x+1) = U_1(T-1, x)^+ P(T-1, x)^+ U_0(T-1, x) U_1(0, x)
    """
    xp, group = array_namespace(plaquettes), SU(plaquettes.shape[1])
    times, spaces = plaquettes.shape[-2:]
    unit = group.identity(time)
    rows = [xp.stack([unit] * (spaces - 1) + [space], axis=-1)]
    for t in range(times - 1):
        rows.append(matrices.matmul(plaquettes[..., t, :], rows[-1], 1))
    row = [time]
    for x in range(spaces - 1):
        ahead = group.compose(plaquettes[..., times - 1, x], rows[-1][..., x])
        row.append(group.compose(group.inverse(ahead), row[-1]))
    around = group.compose(group.compose(row[-1], space), group.inverse(time))
    last = group.compose(around, group.inverse(rows[-1][..., spaces - 1]))
    bottom = xp.concat([plaquettes[..., times - 1, : spaces - 1], last[..., None]], axis=-1)
    whole = xp.concat([plaquettes[..., : times - 1, :], bottom[..., None, :]], axis=-2)
    still = xp.stack([unit] * spaces, axis=-1)
    forward = xp.stack([still] * (times - 1) + [xp.stack(row, axis=-1)], axis=-2)
    return whole, xp.stack([forward, xp.stack(rows, axis=-2)], axis=1)


def closing(plaquettes: Array, start: Array, columns: Array, around: Array) -> Array:
    """Return the last plaquette of strips, of which the others are `(c, N, N, m - 1)`."""
    group, link = SU(start.shape[-1]), start
    for x in range(plaquettes.shape[-1]):
        ahead = group.compose(plaquettes[..., x], columns[..., x])
        link = group.compose(group.inverse(ahead), link)
    return group.compose(group.compose(link, around), group.inverse(columns[..., -1]))


@lru_cache(maxsize=16)
def _compiled(n: int, beta: float, strip: int, dtype: str, backend: Backend) -> Callable[..., tuple[Array, Array]]:
    def drawn(keys: Array) -> tuple[Array, Array]:
        free, good = free_plaquettes(keys[0, :], keys[1, :], n, beta, (1, strip - 1), TRIES, dtype)
        return free[..., 0, :], good

    def accepted(key: Array, free: Array, good: Array, *own: Array) -> Array:
        coin = array_namespace(free).log(random.uniform(key, (TRIES,), dtype))
        return good & (coin < class_kernels.log_ratio(closing(free, *own), beta, 1))

    draw, accept = backend.jit(drawn), backend.jit(accepted)

    def tries(key: Array, *own: Array) -> tuple[Array, Array]:
        keys = random.split(key, 3)
        free, good = draw(keys)
        return free, accept(keys[2, :], free, good, *own)

    return tries


def _tries(n: int, beta: float, sites: int) -> int:
    """Return a number of tries with which 98% of the candidates complete all their plaquettes."""
    miss, tries = 1 - class_angles.acceptance(n, beta), 1
    while sites * miss**tries > 0.02:
        tries += 1
    return tries
