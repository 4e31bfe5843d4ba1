"""Exact, independent configurations of SU(N) on the two-dimensional torus, without a Markov chain and without a flow.

In a tree gauge the links are V - 1 free plaquettes, two free holonomies, and units; the map consists of left and right
translations, which preserve Haar measure, and under the weight e^{(beta/N) sum Re tr P} the V - 1 plaquettes are
independent except that they fix the last one. So: draw them from the one-plaquette distribution (`class_angles`,
conjugated by Haar matrices) and the holonomies from Haar measure, accept with probability
e^{beta (Re tr P_last/N - 1)}, and apply a uniform gauge transformation. The mean acceptance is
Z / (c_0^(V-1) e^beta), about c_0 e^-beta: 0.9% for SU(3) at beta = 6.

If rows are long enough this is done in two stages. The product R of the last m plaquettes, a strip at the end of the
last row, is fixed by all others; conditioned on them it has the density K_m(R) (`class_kernels`), nearly flat for m of 4
to 16. So accept the others with probability K_m(R)/K_m(1), then draw strips for each accepted candidate until one closes:
each rejection at the rate c_0 e^-beta then wastes only m plaquettes instead of V. m = 1 is the single stage above.

The number of tries is fixed within a round of candidates (a candidate that failed anywhere is dropped as a whole, accepted
ones are taken in the order of drawing); a loop on the host repeats rounds until there are enough. N = 2, 3, 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array, Key, Theory
from haarflow.core import random
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import check_lattice, volume
from haarflow.theories.exact import sun_torus
from haarflow.theories.gauge.links import single_beta
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.replaced import weight_of
from haarflow.theories.samplers import class_kernels, sun_strips

BLOCK = 2**15  # plaquettes that are in memory at once
STRIPS = (4, 8, 16)


class Candidates(NamedTuple):
    """Plaquettes `(c, N, N, T, X)` closed by the last, holonomies in time and space `(c, N, N)`, accepted `(c,)`."""

    plaquettes: Array
    time: Array
    space: Array
    accepted: Array


def exact_sample(theory: Any, key: Array, n: int, couplings: Any = None, dtype: str = "float64") -> Array:
    """Return `n` independent configurations `(n, 2, N, N, T, X)` of two-dimensional SU(N), exactly as e^{-S}/Z.

    `theory` is a `SUNGauge` theory of two axes without rectangles, beta a number. `key` is a single key and not
    traced, as the rounds are a loop on the host. Raises ValueError for another dimension or action, N > 4, n < 1 and
    couplings that the theory refuses; TypeError for a beta that is an array.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import SUNGauge
    >>> exact_sample(SUNGauge((2, 2), n=3), random.key(0, backend), 5, {"beta": 2.0}).shape
    (5, 2, 3, 3, 2, 2)
    """
    beta = single_beta(theory, couplings)
    _refuse(theory, n)
    lattice, rank = tuple(theory.lattice), theory.group.n
    strip, backend = strip_for(rank, beta, lattice), backends.of(key)
    count = max(1, min(int(1.2 * n / acceptance(rank, beta, lattice, strip)) + 8, BLOCK // volume(lattice)))
    compiled = _round(rank, float(beta), lattice, count, strip, dtype, backend)
    rounds: list[list[numpy.ndarray]] = []
    while sum(len(rows) for rows, *_ in rounds) < n:
        rounds.append(_on_host(compiled(random.fold_in(key, 2 * len(rounds))), backend))
    whole, time, space = (numpy.concatenate(part)[:n] for part in zip(*rounds, strict=True))
    if strip > 1:
        drawn_strips = sun_strips.until_closed(key, beta, whole, time, space, strip, dtype, backend)
        whole[..., -1, -strip:-1] = drawn_strips
    wanted = {"float64": "complex128", "float32": "complex64"}[dtype]
    parts = (backend.asarray(part, dtype=wanted) for part in (whole, time, space))
    return _turned(backend)(random.fold_in(key, 1), *parts)


def acceptance(n: int, beta: float, lattice: tuple[int, ...], strip: int = 1) -> float:
    """Return the mean acceptance of a candidate, Z / (c_0^(V-m) K_m(1)), m = `strip`, K_1(1) = e^beta.

    >>> round(acceptance(3, 6.0, (16, 16)), 4), round(acceptance(3, 6.0, (16, 16), 4), 2)
    (0.0085, 0.61)
    """
    sites = volume(lattice)
    free = sun_torus.log_z(n, beta, sites) - (sites - 1) * sun_torus.log_c0(n, beta)
    if strip == 1:
        return math.exp(free - beta)
    return math.exp(free - sun_torus.log_c0(n, beta)) / class_kernels.expansion(n, beta, strip)[1]


def strip_for(n: int, beta: float, lattice: tuple[int, ...]) -> int:
    """Return the length of the strip that needs the fewest plaquettes: 1, or 4, 8, ... if the rows are that long.

    >>> strip_for(3, 6.0, (16, 16)), strip_for(3, 6.0, (2, 2))
    (4, 1)
    """
    last = math.exp(sun_torus.log_c0(n, beta) - beta)
    lengths = [1, *(length for length in STRIPS if length <= lattice[1])]

    def cost(length: int) -> float:
        strips = 0.0 if length == 1 else (length - 1) / last
        return volume(lattice) / acceptance(n, beta, lattice, length) + strips

    return min(lengths, key=cost)


def candidates(
    key: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str, strip: int = 1
) -> Candidates:
    """Return `count` candidates, whose strips are units except for the last plaquette, and which of them are accepted."""
    return weighed(beta, strip, *drawn(random.split(key, 5), n, beta, lattice, count, dtype))


def drawn(keys: Array, n: int, beta: float, lattice: tuple[int, ...], count: int, dtype: str) -> tuple[Array, ...]:
    """Return, from five keys, the parts of candidates: key of the coins, free plaquettes, both holonomies, which draws succeeded."""
    free, good = sun_strips.free_plaquettes(keys[0, :], keys[1, :], n, beta, lattice, count, dtype)
    time, space = (SU(n).haar(keys[i, :], (count, n, n), dtype) for i in (2, 3))
    return keys[4, :], free, time, space, good


def weighed(beta: float, strip: int, key: Array, free: Array, time: Array, space: Array, good: Array) -> Candidates:
    """Return candidates closed, each accepted with the probability K_m(P_last)/K_m(1), m = `strip`, if it is `good`."""
    whole, _ = sun_strips.closed(_with_units(free, time, strip), time, space)
    xp = array_namespace(time)
    coin = xp.log(random.uniform(key, (time.shape[0],), matrices.precision(time)))
    good = good & (coin < class_kernels.log_ratio(whole[..., -1, -1], beta, strip))
    return Candidates(whole, time, space, good)


def _with_units(free: Array, like: Array, strip: int) -> Array:
    """The plaquettes with units in the last `strip` places of the last row."""
    if strip == 1:
        return free
    xp, unit = array_namespace(free), SU(like.shape[-1]).identity(like)
    row = xp.concat([free[..., -1, :-strip], xp.stack([unit] * strip, axis=-1)], axis=-1)
    return xp.concat([free[..., :-1, :], row[..., None, :]], axis=-2)


def random_links(key: Array, plaquettes: Array, time: Array, space: Array) -> Array:
    """Return links `(c, 2, N, N, T, X)` with these plaquettes and holonomies, turned by a uniform gauge transformation."""
    group = SU(plaquettes.shape[1], 2)
    _, links = sun_strips.closed(plaquettes, time, space)
    sites = group.haar(key, tuple(plaquettes.shape), plaquettes.dtype)
    return loops.gauge_transform(links, sites, 2, group)


@lru_cache(maxsize=16)
def _round(
    n: int, beta: float, lattice: tuple[int, ...], count: int, strip: int, dtype: str, backend: Backend
) -> Callable[[Key], Candidates]:
    """One compiled round: the accepted ones of `count` candidates, in an array large enough for almost every round."""
    mean = count * acceptance(n, beta, lattice, strip)
    kept = min(count, math.ceil(mean + 6 * math.sqrt(mean) + 19))

    def first_accepted(*parts: Array) -> Candidates:
        drawn = weighed(beta, strip, *parts)
        xp = array_namespace(drawn.time)
        order = xp.argsort(xp.astype(~drawn.accepted, xp.int32))[:kept]  # stable: in the order of drawing
        return Candidates(*(xp.take(part, order, axis=0) for part in drawn))

    # two programs, keys apart: XLA takes four times as long to compile them as one
    draw = backend.jit(lambda keys: drawn(keys, n, beta, lattice, count, dtype))
    weigh = backend.jit(first_accepted)
    return lambda key: weigh(*draw(random.split(key, 5)))


@lru_cache(maxsize=16)
def _turned(backend: Backend) -> Callable[..., Array]:
    turned: Callable[..., Array] = backend.jit(random_links)
    return turned


def _on_host(drawn: Candidates, backend: Backend) -> list[numpy.ndarray]:
    """Plaquettes and holonomies of the accepted candidates, whose number is known on the host only."""
    accepted = backend.to_numpy(drawn.accepted)
    return [backend.to_numpy(part)[accepted] for part in drawn[:3]]


def _refuse(theory: Any, n: int) -> None:
    lattice = check_lattice(theory.lattice)
    if len(lattice) != 2 or n < 1 or theory.group.n > 4 or not _plaquettes_only(theory):
        raise ValueError(
            "exact sampling of SU(N) needs N = 2, 3 or 4, two dimensions, an action of plaquettes only and n >= 1, got "
            f"{theory}, n = {n}"
        )


def _plaquettes_only(theory: Theory) -> bool:
    weight = weight_of(theory)
    return isinstance(weight, SUNGauge) and weight.rectangle == 0.0
