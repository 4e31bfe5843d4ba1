"""Exact, independent configurations of SU(N) on the two-dimensional torus, without a Markov chain and without a flow.

In a tree gauge the links are V - 1 free plaquettes, two free holonomies, and units; the map is made of left and right
translations, so Haar measure stays Haar measure, and the weight e^{(beta/N) sum Re tr P} makes the V - 1 plaquettes
independent but for the last one, which the others close. So: draw them from their one-plaquette distribution
(`class_angles`, turned by Haar matrices) and the holonomies from Haar measure, accept with the probability
e^{beta (Re tr P_last/N - 1)}, and turn what was accepted by a uniform gauge transformation. The mean acceptance is
Z / (c_0^(V-1) e^beta), about c_0 e^-beta: 0.9% for SU(3) at beta = 6.

Tries are bounded inside a round of candidates (one that failed anywhere is dropped as a whole, those accepted are taken
in the order of drawing); rounds go on in a loop on the host until there are enough. N = 2, 3, 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import loops, matrices, random
from haarflow.core.lattice import check_lattice, volume
from haarflow.core.sun import SU
from haarflow.theories import class_angles, sun_torus

Array = Any

BLOCK = 2**15  # plaquettes that are in memory at once


class Candidates(NamedTuple):
    """Plaquettes `(c, N, N, T, X)` closed by the last, holonomies in time and space `(c, N, N)`, accepted `(c,)`."""

    plaquettes: Array
    time: Array
    space: Array
    accepted: Array


def exact_sample(theory: Any, key: Array, n: int, couplings: Any = None, dtype: str = "float64") -> Array:
    """Return `n` independent configurations `(n, 2, N, N, T, X)` of two-dimensional SU(N), exactly as e^{-S}/Z.

    `theory` is a `Wilson` theory of two axes without rectangles, beta a number. `key` is a key of one chain and no
    tracer: the rounds are a loop on the host. Raises ValueError for another dimension or action, N > 4, n < 1 and
    couplings that the theory refuses; TypeError for a beta that is an array.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import Wilson
    >>> exact_sample(Wilson((2, 2), n=3), random.key(0, backend), 5, {"beta": 2.0}).shape
    (5, 2, 3, 3, 2, 2)
    """
    beta = theory.check(couplings)["beta"]
    _refuse(theory, n, beta)
    lattice, rank = tuple(theory.lattice), theory.group.n
    share = acceptance(rank, beta, lattice)
    count = max(1, min(int(1.2 * n / share) + 8, BLOCK // volume(lattice)))
    backend = backends.of(key)
    compiled = _round(rank, float(beta), lattice, count, dtype, backend)
    found: list[list[numpy.ndarray]] = []
    while sum(len(rows) for rows, *_ in found) < n:
        found.append(_on_host(compiled(random.fold_in(key, 2 * len(found))), backend))
    parts = [numpy.concatenate(part)[:n] for part in zip(*found, strict=True)]
    wanted = {"float64": "complex128", "float32": "complex64"}[dtype]
    return _turned(backend)(random.fold_in(key, 1), *(backend.asarray(part, dtype=wanted) for part in parts))


def acceptance(n: int, beta: float, lattice: tuple[int, ...]) -> float:
    """Return the mean share of candidates that is accepted, Z / (c_0^(V-1) e^beta).

    >>> round(acceptance(3, 6.0, (16, 16)), 4)
    0.0085
    """
    sites = volume(lattice)
    return math.exp(sun_torus.log_z(n, beta, sites) - (sites - 1) * sun_torus.log_c0(n, beta) - beta)


def candidates(key: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str) -> Candidates:
    """Return `count` candidates and which of them are accepted."""
    return weighed(beta, *drawn(random.split(key, 5), n, beta, lattice, count, dtype))


def drawn(keys: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str) -> tuple[Array, ...]:
    """Return what candidates are made of, by five keys: one for coins, free plaquettes, holonomies, which were found."""
    free, good = free_plaquettes(keys[0, :], keys[1, :], n, beta, lattice, count, dtype)
    time, space = (SU(n).haar(keys[i, :], (count, n, n), dtype) for i in (2, 3))
    return keys[4, :], free, time, space, good


def weighed(beta: float, key: Array, free: Array, time: Array, space: Array, good: Array) -> Candidates:
    """Return candidates closed, each accepted with the probability e^{beta (Re tr P_last/N - 1)} if it is `good`."""
    whole, _ = closed(free, time, space)
    xp = array_namespace(time)
    last = xp.real(matrices.trace(whole[..., -1, -1])) / float(time.shape[-1])
    coin = xp.log(random.uniform(key, (time.shape[0],), matrices.precision(time)))
    return Candidates(whole, time, space, good & (coin < beta * (last - 1.0)))


def free_plaquettes(
    key: Array, turn: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str
) -> tuple[Array, Array]:
    """Return independent plaquettes `(count, N, N, T, X)`, and `(count,)` where every one of them was found."""
    group, shape = SU(n, len(lattice)), (count, *lattice)
    angles, found = class_angles.draw(key, n, beta, shape, _tries(n, beta, volume(lattice)), dtype)
    xp = array_namespace(angles)
    sine, cosine = backends.of(angles).sincos(xp.moveaxis(angles, 0, 1))
    phases = matrices.complex_array(cosine, sine)
    frame = group.haar(turn, (count, n, n, *lattice), dtype)
    return group.compose(frame * phases[:, None, ...], group.inverse(frame)), xp.all(found, axis=(-2, -1))


def closed(plaquettes: Array, time: Array, space: Array) -> tuple[Array, Array]:
    """Return plaquettes `(c, N, N, T, X)` whose last one closes the torus, and links that have them.

    The links in time are units but in the last row, those in space at t = 0 units but for the last, which is the
    holonomy in space; the first link of the last row is the one in time. What stood in the last plaquette is not used.

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


def random_links(key: Array, plaquettes: Array, time: Array, space: Array) -> Array:
    """Return links `(c, 2, N, N, T, X)` with these plaquettes and holonomies, turned by a uniform gauge transformation."""
    group = SU(plaquettes.shape[1], 2)
    _, links = closed(plaquettes, time, space)
    sites = group.haar(key, tuple(plaquettes.shape), plaquettes.dtype)
    return loops.gauge_transform(links, sites, 2, group)


@lru_cache(maxsize=16)
def _round(n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str, backend: Any) -> Callable:
    """One compiled round: of `count` candidates the first that were accepted, as many as there will hardly be more of."""
    mean = count * acceptance(n, beta, lattice)
    kept = min(count, math.ceil(mean + 6 * math.sqrt(mean) + 19))

    def first_accepted(*parts: Array) -> Candidates:
        found = weighed(beta, *parts)
        xp = array_namespace(found.time)
        order = xp.argsort(xp.astype(~found.accepted, xp.int32))[:kept]  # stable: in the order of drawing
        return Candidates(*(xp.take(part, order, axis=0) for part in found))

    # programs of their own, keys too: joined to one, XLA compiles it for four times as long
    draw = backend.jit(lambda keys: drawn(keys, n, beta, lattice, count, dtype))
    weigh = backend.jit(first_accepted)
    return lambda key: weigh(*draw(random.split(key, 5)))


@lru_cache(maxsize=16)
def _turned(backend: Any) -> Callable:
    return backend.jit(random_links)


def _on_host(drawn: Candidates, backend: Any) -> list[numpy.ndarray]:
    """Plaquettes and holonomies of those accepted; how many they are is known on the host alone."""
    accepted = backend.to_numpy(drawn.accepted)
    return [backend.to_numpy(part)[accepted] for part in drawn[:3]]


def _tries(n: int, beta: float, sites: int) -> int:
    """So many that 98% of the candidates find all their plaquettes."""
    miss, tries = 1 - class_angles.acceptance(n, beta), 1
    while sites * miss**tries > 0.02:
        tries += 1
    return tries


def _refuse(theory: Any, n: int, beta: Any) -> None:
    lattice = check_lattice(theory.lattice)
    if len(lattice) != 2 or n < 1 or theory.group.n > 4 or getattr(theory, "rectangle", 0.0) != 0.0:
        raise ValueError(
            "exact sampling of SU(N) wants N = 2, 3, 4, two dimensions, plaquettes alone in the action and n >= 1, got "
            f"{theory}, n = {n}"
        )
    if not isinstance(beta, float):
        raise TypeError(f"the exact sampler draws at one beta, a number, got {type(beta).__name__}: call it for each")
