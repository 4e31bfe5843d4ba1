"""Counter-based random numbers: Threefry-2x32 with 20 rounds, in int32 words, the same bits on every backend.

A key is an int32 array `(*batch, 2)`. Each use of a key enciphers counters `(i, purpose)`: the second word distinguishes
`split`, `fold_in`, `uniform`, `normal` and `words`, so derived keys and draws never share words.
Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), table 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array, Key

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
SPLIT, FOLD, UNIFORM, NORMAL, WORDS = range(5)
FLOATS = {"float64": 52, "float32": 23}


def key(seed: int, backend: Backend) -> Key:
    """Return the key `(2,)` of a seed: its low and high 32 bits.

    Raises ValueError for a seed outside [0, 2^64).

    >>> from haarflow.backends import numpy as backend
    >>> key(7, backend)
    array([7, 0], dtype=int32)
    """
    if not 0 <= int(seed) < 2**64:
        raise ValueError(f"a seed is an integer in [0, 2^64), got {seed}")
    return backend.asarray([_signed(seed & 0xFFFFFFFF), _signed(seed >> 32)], dtype="int32")


def threefry(key0: Array, key1: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Encipher the counter words `(x0, x1)` under the key words: 20 rounds of Threefry-2x32.

    All words are int32 arrays of broadcastable shapes; additions wrap.
    """
    schedule = (key0, key1, key0 ^ key1 ^ PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotate_left(x1, rotation) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + (group + 1)
    return x0, x1


def split(key: Array, n: int = 2) -> Array:
    """Return `n` independent keys `(n, *batch, 2)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> random.split(random.key(0, backend), 3).shape
    (3, 2)
    """
    xp = array_namespace(key)
    counters = xp.reshape(indices(key, n), (n,) + (1,) * key.ndim)
    return xp.concat(_encipher(key[None, ...], counters, SPLIT), axis=-1)


def fold_in(key: Array, number: int | Array) -> Array:
    """Return the key `(*batch, 2)` derived from `key` by `number`: draw t of a chain uses `fold_in(key, t)`."""
    if isinstance(number, int):
        number = _signed(number & 0xFFFFFFFF)
    folded = backends.of(key).threefry_fold(key, number, FOLD)
    if folded is not None:
        return folded
    xp = array_namespace(key)
    if isinstance(number, int):
        number = xp.asarray(number, dtype=xp.int32, device=backends.place(key))
    return xp.concat(_encipher(key, number[..., None] + xp.zeros_like(key[..., :1]), FOLD), axis=-1)


def words(key: Array, shape: tuple[int, ...]) -> Array:
    """Return int32 random words `(*batch, *shape)`, uniform over all 2^32 values."""
    return _draw_words(key, shape, WORDS)


def uniform(key: Array, shape: tuple[int, ...] = (), dtype: Any = "float64") -> Array:
    """Return uniform numbers `(*batch, *shape)` strictly inside (0, 1): u = (n + 1/2) 2^-b with b = 52 or 23 random bits.

    Every value is exact, hence the same bit for bit on all backends. Raises ValueError for another dtype.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> round(float(random.uniform(random.key(0, backend))), 6)
    0.965321
    """
    return _program(backends.of(key).jit, _uniform, tuple(shape), dtype, UNIFORM)(key)


def normal(key: Array, shape: tuple[int, ...] = (), dtype: Any = "float64") -> Array:
    """Return standard normal numbers `(*batch, *shape)` by Box-Muller, using both numbers of each pair."""
    return _program(backends.of(key).jit, _normal, tuple(shape), dtype)(key)


@lru_cache(maxsize=1024)
def _program(jit: Callable[..., Any], draw: Callable[..., Any], *options: Any) -> Callable[..., Any]:
    """A draw of one shape as one compiled program: on a backend that compiles, each operation would be one otherwise."""
    program: Callable[..., Any] = jit(lambda *arrays: draw(*arrays, *options))
    return program


def _normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    xp = array_namespace(key)
    count = math.prod(shape)
    if _dtype_name(xp, dtype) == "float64":
        drawn = backends.of(key).threefry_normal(key, count, NORMAL)
        if drawn is not None:
            return xp.reshape(drawn, key.shape[:-1] + tuple(shape))
    half = (count + 1) // 2
    keep = backends.of(key).materialise  # or a compiler that fuses computes each word four times
    u = keep(_uniform(key, (2, half), dtype, NORMAL))
    radius = keep(xp.sqrt(-2.0 * xp.log(u[..., 0, :])))
    sine, cosine = backends.of(u).sincos(2.0 * math.pi * u[..., 1, :])
    pairs = xp.concat([radius * cosine, radius * sine], axis=-1)
    return xp.reshape(pairs[..., :count], key.shape[:-1] + tuple(shape))


def _uniform(key: Array, shape: tuple[int, ...], dtype: Any, purpose: int) -> Array:
    xp = array_namespace(key)
    name = _dtype_name(xp, dtype)
    if name not in FLOATS:
        raise ValueError(f"random numbers are 'float64' or 'float32', got {dtype!r}")
    floating = xp.float32 if name == "float32" else xp.float64
    if name == "float32":
        integers = _logical_right(_draw_words(key, shape, purpose), 9)
        return _checked((xp.astype(integers, floating) + 0.5) * 2.0**-23, name)
    drawn = backends.of(key).threefry_uniform(key, math.prod(shape), purpose)
    if drawn is not None:
        return xp.reshape(drawn, key.shape[:-1] + tuple(shape))
    first, second = _draw_pairs(key, shape, purpose)
    high = xp.astype(_logical_right(first, 6), floating)
    low = xp.astype(_logical_right(second, 6), floating)
    return _checked((high * 2.0**26 + low + 0.5) * 2.0**-52, name)


def _checked(x: Array, name: str) -> Array:
    if _dtype_name(array_namespace(x), x.dtype) != name:
        raise ValueError(
            f"{name} was requested, but this backend gave {x.dtype}: switch on JAX's 64-bit mode with "
            "jax.config.update('jax_enable_x64', True) before the first array, or choose dtype='float32'"
        )
    return x


def _dtype_name(xp: Any, dtype: Any) -> str:
    types = {"float64": xp.float64, "float32": xp.float32}
    return next((name for name in FLOATS if dtype in (name, types[name])), str(dtype))


def _draw_pairs(key: Array, shape: tuple[int, ...], purpose: int) -> tuple[Array, Array]:
    xp = array_namespace(key)
    counters = indices(key, math.prod(shape))
    first, second = _encipher(key, counters, purpose)
    target = key.shape[:-1] + tuple(shape)
    return xp.reshape(first, target), xp.reshape(second, target)


def _draw_words(key: Array, shape: tuple[int, ...], purpose: int) -> Array:
    xp = array_namespace(key)
    count = math.prod(shape)
    both = xp.concat(_draw_pairs(key, ((count + 1) // 2,), purpose), axis=-1)
    return xp.reshape(both[..., :count], key.shape[:-1] + tuple(shape))


def _encipher(key: Array, counters: Array, purpose: int) -> tuple[Array, Array]:
    backend = backends.of(key)
    words = backend.threefry(key[..., 0:1], key[..., 1:2], counters, purpose)
    if words is None:
        words = _program(backend.jit, _cipher, purpose)(key, counters)
    return words[0], words[1]


def _cipher(key: Array, counters: Array, purpose: int) -> tuple[Array, Array]:
    xp = array_namespace(key)
    return threefry(key[..., 0:1], key[..., 1:2], counters, xp.full_like(counters, purpose))


def indices(key: Array, n: int) -> Array:
    """Return 0, ..., n - 1 beside a key."""
    xp = array_namespace(key)
    return xp.arange(n, dtype=xp.int32, device=backends.place(key))


def _rotate_left(x: Array, bits: int) -> Array:
    return (x << bits) | _logical_right(x, 32 - bits)


def _logical_right(x: Array, bits: int) -> Array:
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
