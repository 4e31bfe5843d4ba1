"""Laws of random numbers: published test vectors, identical bits on all backends, disjoint streams, correct moments.

The object is the module `haarflow.core.random`, or anything that offers its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array, Key
from haarflow.core.laws.deviations import LIMIT, LUCK, largest_pull
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, at_once, judge, largest, to_host

# key, counter, words: the known answers of Threefry-2x32 with 20 rounds that its authors publish (SC11)
VECTORS = (
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
)
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PURPOSES = {"split": 0, "fold_in": 1, "uniform": 2, "normal": 3, "words": 4}
FOLDED = (0, 1, 5, -6, 7, 2**31 - 1, -(2**31), 11)
BITS = {"float64": 52, "float32": 23}


class RandomNumbers(Protocol):
    """The functions of `haarflow.core.random`, which a module may offer as well as an object."""

    def key(self, seed: int, backend: Backend, /) -> Key:
        """Return the key of a seed."""
        ...

    def split(self, key: Key, n: int = 2, /) -> Array:
        """Return n child keys."""
        ...

    def fold_in(self, key: Key, number: Array, /) -> Array:
        """Return the key of a number under a key."""
        ...

    def words(self, key: Key, shape: tuple[int, ...] = (), /) -> Array:
        """Return random words of 32 bits."""
        ...

    def uniform(self, key: Key, shape: tuple[int, ...] = (), dtype: Any = "float64", /) -> Array:
        """Return uniform numbers in (0, 1)."""
        ...

    def normal(self, key: Key, shape: tuple[int, ...] = (), dtype: Any = "float64", /) -> Array:
        """Return standard normal numbers."""
        ...

    @property
    def threefry(self) -> Callable[..., tuple[Array, Array]]:
        """The words of a counter under a key: (key0, key1, x0, x1) -> (word, word)."""
        ...


def published_vectors(random: RandomNumbers, backend: Backend) -> Verdict:
    """threefry(key, counter) gives the published words.

    The residual is the number of wrong words. Source: Salmon, Moraes, Dror, Shaw (SC11), known-answer tests.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> published_vectors(random, backend).passed
    True
    """
    columns = numpy.asarray([(*key, *counter) for key, counter, _ in VECTORS], dtype="uint32").view("int32").T
    expected = numpy.asarray([answer for _, _, answer in VECTORS], dtype="uint32").view("int32").T
    words = at_once(random.threefry, *[backend.asarray(column, dtype="int32") for column in columns])
    wrong = sum(int((to_host(one) != two).sum()) for one, two in zip(words, expected, strict=True))
    return judge(published_vectors, wrong, 0.0, "bit for bit", vectors=VECTORS)


def same_bits(random: RandomNumbers, keys: Array, backend: Backend) -> Verdict:
    """Every stream is Threefry of (index, purpose): words and uniforms are identical, bit for bit, on every backend.

    Children, words and uniforms of `keys (n, 2)` in both precisions are compared with a reference in NumPy's unsigned
    integers. The residual is the number of wrong entries. A backend in single precision draws no double-precision uniforms.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> same_bits(random, random.split(random.key(3, backend), 4), backend).passed
    True
    """
    numbers = backend.asarray(numpy.asarray(FOLDED)[:, None], dtype="int32")

    def draws(keys: Array, numbers: Array) -> list[Array]:
        streams = [random.split(keys, 8), random.fold_in(keys, numbers), random.words(keys, (2, 8))]
        streams.append(random.uniform(keys, (16,), "float32"))
        return [*streams, random.uniform(keys, (2, 4), "float64")] if backend.dtype == "float64" else streams

    drawn = at_once(draws, keys, numbers)
    expected = _expected_draws(to_host(keys))[: len(drawn)]
    wrong = sum(_different(to_host(one), two) for one, two in zip(drawn, expected, strict=True))
    return judge(same_bits, wrong, 0.0, "bit for bit", keys=keys)


def same_bits_compiled(random: RandomNumbers, key: Array, backend: Backend, dtype: str = "float64") -> Verdict:
    """jit(draw)(key) = draw(key), bit for bit.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> same_bits_compiled(random, random.key(3, backend), backend).passed
    True
    """

    def draw(key: Key) -> Array:
        return random.uniform(random.fold_in(key, 3), (8,), dtype)

    wrong = _different(to_host(backend.jit(draw)(key)), to_host(draw(key)))
    return judge(same_bits_compiled, wrong, 0.0, "bit for bit", key=key)


def _different(drawn: numpy.ndarray, expected: numpy.ndarray) -> float:
    """The number of entries that differ, all of them where shape or type do."""
    if drawn.shape != expected.shape or drawn.dtype != expected.dtype:
        return float(expected.size)
    return float((drawn != expected).sum())


def _expected_draws(keys: numpy.ndarray) -> list[numpy.ndarray]:
    """What `same_bits` draws, by the reference."""

    def rows(numbers: int | Sequence[int], purpose: str) -> numpy.ndarray:
        return numpy.stack([pairs_of(key, numbers, purpose) for key in keys])  # (key, number, 2)

    words = numpy.moveaxis(rows(8, "words"), -1, 1).reshape(-1, 2, 8)
    single = numpy.moveaxis(rows(8, "uniform"), -1, 1).reshape(-1, 16).view("uint32") >> 9
    pairs = rows(8, "uniform").reshape(-1, 2, 4, 2).view("uint32") >> 6
    high, low = pairs[..., 0].astype("float64"), pairs[..., 1].astype("float64")
    halves = (single.astype("float64") + 0.5) * 2.0**-23
    children = [numpy.moveaxis(rows(numbers, name), 1, 0) for numbers, name in ((8, "split"), (FOLDED, "fold_in"))]
    return [*children, words, halves.astype("float32"), (high * 2.0**26 + low + 0.5) * 2.0**-52]


def pairs_of(key: numpy.ndarray, numbers: int | Sequence[int], purpose: str) -> numpy.ndarray:
    """Return the pairs of words `(n, 2)` of counters (index, purpose) under a key, by the reference.

    >>> pairs_of(numpy.asarray([0, 1]), 3, "uniform").shape
    (3, 2)
    """
    counted = numpy.arange(numbers) if isinstance(numbers, int) else numpy.asarray(numbers)
    counters = counted.astype("int32").view("uint32")
    key0, key1 = key.astype("int32").view("uint32")
    words = slow_threefry(int(key0), int(key1), counters, numpy.full(counters.shape, PURPOSES[purpose], "uint32"))
    return numpy.stack(words, axis=-1).view("int32")


def slow_threefry(key0: int, key1: int, x0: numpy.ndarray, x1: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return 20 rounds of Threefry-2x32 in NumPy's unsigned integers.

    >>> [hex(int(word[0])) for word in slow_threefry(0, 0, numpy.zeros(1, "uint32"), numpy.zeros(1, "uint32"))]
    ['0x6b200159', '0x99ba4efe']
    """
    schedule = numpy.asarray([key0, key1, key0 ^ key1 ^ 0x1BD11BDA], dtype="uint32")
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for index in range(20):
        bits = ROTATIONS[index % 8]
        x0 = x0 + x1
        x1 = ((x1 << bits) | (x1 >> (32 - bits))) ^ x0
        if index % 4 == 3:
            group = index // 4 + 1
            x0, x1 = x0 + schedule[group % 3], x1 + schedule[(group + 1) % 3] + numpy.uint32(group)
    return x0, x1


def open_interval(random: RandomNumbers, keys: Array, dtype: str = "float64") -> Verdict:
    """uniform = (n + 1/2) 2^-b with an integer n in [0, 2^b), b = 52 or 23: never 0, never 1.

    The residual is the largest distance of u 2^b - 1/2 from an integer in range; every such u is exactly representable.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> open_interval(random, random.key(3, backend)).passed
    True
    """
    bits = BITS[dtype]
    u = to_host(random.uniform(keys, (8 if bits == 52 else 16,), dtype)).astype("float64")
    whole = u * 2.0**bits - 0.5
    outside = numpy.maximum(-whole, whole - (2.0**bits - 1))
    residual = numpy.maximum(numpy.abs(whole - numpy.rint(whole)), numpy.maximum(outside, 0.0))
    return judge(open_interval, residual, 0.0, "u is exactly representable", keys=keys)


def disjoint_streams(random: RandomNumbers, keys: Array, backend: Backend) -> Verdict:
    """split, fold_in, words, uniform and normal of keys and of their children share no word.

    `keys (4, 2)` are a key, two of its children by `split` and one by `fold_in` (see `family`). Normals are converted back
    to their first uniforms by the inverse Box-Muller transform. The leading 23 bits of words are compared with those of
    every other stream: for 20 streams of 4 to 16 words, 17000 pairs, 0.002 coincidences are expected by chance; shared
    streams have 4 or more. The residual is the number of coincidences.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> disjoint_streams(random, family(random, random.key(3, backend)), backend).passed
    True
    """
    numbers = backend.asarray(numpy.asarray(FOLDED)[:, None], dtype="int32")
    count = 16 if backend.dtype == "float32" else 8

    def draws(keys: Array, numbers: Array) -> list[Array]:
        integers = [random.split(keys, 8), random.fold_in(keys, numbers), random.words(keys, (16,))]
        return [*integers, *(draw(keys, (count,), backend.dtype) for draw in (random.uniform, random.normal))]

    *children, words, uniforms, normals = map(to_host, at_once(draws, keys, numbers))
    streams = [*(numpy.moveaxis(one, 0, 1) for one in children), words, uniforms]
    normals = normals.astype("float64")
    cosine, sine = numpy.split(normals, 2, axis=-1)
    streams.append(numpy.exp(-0.5 * (cosine**2 + sine**2)))
    rows = [_high_bits(row) for stream in streams for row in stream]
    shared = sum(int(numpy.isin(one, two).sum()) for index, one in enumerate(rows) for two in rows[index + 1 :])
    reason = "23 bits may coincide by chance; three coincidences in 17000 pairs have probability 1e-9"
    return judge(disjoint_streams, shared, 2.0, reason, keys=keys)


def family(random: RandomNumbers, key: Array) -> Array:
    """Return the keys `(4, 2)` of a key, two of its children by `split` and one by `fold_in`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> family(random, random.key(3, backend)).shape
    (4, 2)
    """
    xp = array_namespace(key)
    return xp.concat([key[None, ...], random.split(key, 2), random.fold_in(key, 3)[None, ...]], axis=0)


def _high_bits(stream: numpy.ndarray) -> numpy.ndarray:
    """The leading 23 bits of each word or uniform."""
    flat = stream.ravel()
    if stream.dtype.kind == "i":
        return flat.astype("int32").view("uint32").astype("int64") >> 9
    return numpy.floor(flat.astype("float64") * 2.0**23).astype("int64")


def one_key_or_many(random: RandomNumbers, keys: Array) -> Verdict:
    """A batch of keys draws what each key draws by itself.

    `keys (n, 2)`. Source: the contract of `haarflow.core.random`, by which a chain does not depend on the number of chains.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> one_key_or_many(random, random.split(random.key(3, backend), 3)).passed
    True
    """
    wrong, asarray = 0.0, backends.of(keys).asarray
    single = [asarray(key, dtype="int32") for key in to_host(keys)]
    for axis, draw in enumerate((lambda key: random.words(key, (16,)), lambda key: random.split(key, 8))):
        one_by_one = numpy.stack([to_host(at_once(draw, key)) for key in single], axis=axis)
        wrong += _different(to_host(at_once(draw, keys)), one_by_one)
    return judge(one_key_or_many, wrong, 0.0, "bit for bit", keys=keys)


def uniform_moments(random: RandomNumbers, key: Array, dtype: str = "float64", n: int = 100_000) -> Verdict:
    """<u> = 1/2, <u^2> = 1/3, <u_i u_{i+1}> = 1/4, <cos 2 pi k u> = 0, and children are independent of their parents.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> uniform_moments(random, random.key(3, backend), n=1000).passed
    True
    """
    u = to_host(random.uniform(key, (n,), dtype)).astype("float64")
    child = to_host(random.uniform(random.fold_in(key, 1), (n,), dtype)).astype("float64")
    waves = [numpy.cos(2 * numpy.pi * k * u) for k in (1, 2, 16)]
    rows = numpy.stack([u - 1 / 2, u**2 - 1 / 3, u * numpy.roll(u, 1) - 1 / 4, u * child - 1 / 4, *waves], axis=-1)
    return judge(uniform_moments, largest_pull(rows), LIMIT, LUCK, key=key, n=n)


def normal_moments(random: RandomNumbers, key: Array, dtype: str = "float64", n: int = 100_000) -> Verdict:
    """<z> = <z^3> = 0, <z^2> = 1, <z^4> = 3, neighbours and the two branches of Box-Muller are independent.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> normal_moments(random, random.key(3, backend), n=1000).passed
    True
    """
    z = to_host(random.normal(key, (n,), dtype)).astype("float64")
    halves = z * numpy.roll(z, n // 2)
    squares = (z**2 - 1) * (numpy.roll(z, n // 2) ** 2 - 1)
    rows = numpy.stack([z, z**3, z**2 - 1, z**4 - 3, z * numpy.roll(z, 1), halves, squares], axis=-1)
    return judge(normal_moments, largest_pull(rows), LIMIT, LUCK, key=key, n=n)


def box_muller(random: RandomNumbers, keys: Array, dtype: str = "float64") -> Verdict:
    """normal = sqrt(-2 log u) (cos 2 pi v, sin 2 pi v) with uniform u, v: all cosines first, then all sines.

    `keys (n, 2)`. The uniforms are those of the reference for the purpose "normal"; logarithm, root, sine and cosine are
    the backend's, and 2 pi v carries its own rounding: 16 ulp of the largest normal. An odd number is drawn, so that the
    last sine is dropped.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> box_muller(random, family(random, random.key(3, backend))).passed
    True
    """
    pairs = numpy.stack([pairs_of(key, 8, "normal") for key in to_host(keys)]).view("uint32")
    if dtype == "float64":
        high, low = ((pairs >> 6).astype("float64")[..., word].reshape(-1, 2, 4) for word in (0, 1))
        uniforms = (high * 2.0**26 + low + 0.5) * 2.0**-52
    else:
        uniforms = ((numpy.moveaxis(pairs, -1, 1) >> 9).astype("float64") + 0.5) * 2.0**-23
    radius, angle = numpy.sqrt(-2 * numpy.log(uniforms[:, 0])), 2 * numpy.pi * uniforms[:, 1]
    expected = numpy.concatenate([radius * numpy.cos(angle), radius * numpy.sin(angle)], axis=-1)[:, :-1]
    residual = to_host(random.normal(keys, (expected.shape[1],), dtype)).astype("float64") - expected
    tolerance = 16 * EPSILON[dtype] * max(1.0, largest(radius))
    return judge(box_muller, residual, tolerance, "16 ulp of the largest normal", keys=keys)


def _family(random: RandomNumbers, given: Given) -> Array:
    return at_once(lambda key: family(random, key), random.key(given.seed, given.backend))


RANDOM_LAWS: tuple[Law, ...] = (
    Law(published_vectors, lambda obj, given: published_vectors(obj, given.backend)),
    Law(same_bits, lambda obj, given: same_bits(obj, _family(obj, given), given.backend)),
    Law(same_bits_compiled, lambda obj, given: same_bits_compiled(obj, given.key(), given.backend, given.dtype)),
    Law(open_interval, lambda obj, given: open_interval(obj, _family(obj, given), given.dtype)),
    Law(disjoint_streams, lambda obj, given: disjoint_streams(obj, _family(obj, given), given.backend)),
    Law(one_key_or_many, lambda obj, given: one_key_or_many(obj, _family(obj, given))),
    Law(box_muller, lambda obj, given: box_muller(obj, _family(obj, given), given.dtype)),
    Law(
        uniform_moments,
        lambda obj, given: uniform_moments(obj, given.key(), given.dtype),
        sampled=True,
        shared_draws=True,
    ),
    Law(
        normal_moments,
        lambda obj, given: normal_moments(obj, given.key(), given.dtype),
        sampled=True,
        shared_draws=True,
    ),
)
