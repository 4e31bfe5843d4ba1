"""Sizes on both sides of every size at which code takes another path, and laws that compare them with one slow reference.

A shortcut for large arrays, the rest of a vector loop or a chunk that is not full are seen by no law that only knows small
or only knows round sizes. LENGTHS, ROWS and PROPOSALS are what the laws below and `independence_loop` take; a new path that
depends on a size is a new number here.
"""

from __future__ import annotations

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Kernel
from haarflow.core.laws.law import EPSILON, Verdict, in_double, judge, largest, precision_of, to_host
from haarflow.core.laws.random import RandomNumbers, pairs_of

# words on the host one by one up to 128 of them (backends/kernels/threefry.py); normals in chunks of 256 pairs, the last one
# not full (backends/compiled/normals.py); odd numbers, where half a pair is dropped
LENGTHS = (1, 2, 3, 127, 128, 129, 257, 1023, 1025, 4097)
# proposals of one pass: each doubling is one more step of `metropolis.independence_chain`
PROPOSALS = (1, 2, 3, 37, 64, 65, 130, 1025)
# chains: whole registers of 2, 4 or 8 numbers and a rest (backends/compiled/vector.py, theories/compiled)
ROWS = (3, 11)


def any_length(
    random: RandomNumbers, key: Array, dtype: str = "float64", lengths: tuple[int, ...] = LENGTHS
) -> Verdict:
    """Words, uniforms and normals are those of Threefry at every length of a draw, on both sides of each change of path.

    Words and uniforms bit for bit, normals to 16 ulp of the largest one, at all `lengths`. The residual is the number of wrong
    entries.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> any_length(random, random.key(3, backend)).passed
    True
    """
    wrong: dict[int, int] = {}
    for length in lengths:
        drawn = [
            random.words(key, (length,)),
            random.uniform(key, (length,), dtype),
            random.normal(key, (length,), dtype),
        ]
        expected = [_words(key, length), _uniforms(key, length, dtype), _normals(key, length, dtype)]
        exact = sum(int((to_host(x) != y).sum()) for x, y in zip(drawn[:2], expected[:2], strict=True))
        allowed = 16 * EPSILON[dtype] * max(1.0, largest(expected[2]))
        off = int((numpy.abs(in_double(drawn[2]) - expected[2]) > allowed).sum())
        wrong |= {length: exact + off} if exact + off else {}
    return judge(any_length, float(sum(wrong.values())), 0.0, "bit for bit, normals to 16 ulp", key=key, wrong=wrong)


def _words(key: Array, length: int, purpose: str = "words") -> numpy.ndarray:
    """All first words of the pairs, then all second ones."""
    found: numpy.ndarray = pairs_of(to_host(key), (length + 1) // 2, purpose).T.reshape(-1)[:length]
    return found


def _uniforms(key: Array, length: int, dtype: str, purpose: str = "uniform") -> numpy.ndarray:
    if dtype == "float32":
        return ((_words(key, length, purpose).view("uint32") >> 9) + 0.5).astype("float32") * numpy.float32(2.0**-23)
    high, low = (pairs_of(to_host(key), length, purpose).view("uint32") >> 6).astype("float64").T
    found: numpy.ndarray = (high * 2.0**26 + low + 0.5) * 2.0**-52
    return found


def _normals(key: Array, length: int, dtype: str) -> numpy.ndarray:
    half = (length + 1) // 2
    u, v = _uniforms(key, 2 * half, dtype, "normal").astype("float64").reshape(2, half)
    radius, angle = numpy.sqrt(-2.0 * numpy.log(u)), 2.0 * numpy.pi * v
    return numpy.concatenate([radius * numpy.cos(angle), radius * numpy.sin(angle)])[:length]


def chains_apart(kernel: Kernel, fields: Array, keys: Array) -> Verdict:
    """Chains with keys of their own do not see each other: n of them move as the same ones among more, n on both sides of
    a vector's width.

    `fields (n, *field_shape)`, `keys (n, 2)`; the first `ROWS` chains are run by themselves.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> keys = random.split(random.key(0, backend), 11)
    >>> chains_apart(HMC(Phi4((2, 2)), steps=2), random.normal(keys, (2, 2)), keys).passed
    True
    """
    step = backends.of(fields).jit(lambda keys, fields: kernel.step(keys, kernel.init(fields))[0].field)
    whole, faults = in_double(step(keys, fields)), []
    for count in (rows for rows in ROWS if rows < len(whole)):
        faults.append(largest(in_double(step(keys[:count, ...], fields[:count, ...])) - whole[:count]))
    tolerance = 4096 * EPSILON[precision_of(fields)] * max(1.0, largest(fields))
    reason = "rounding as amplified by a step; a chain that sees another moves by its own magnitude"
    return judge(chains_apart, numpy.asarray(faults), tolerance, reason, fields=fields, keys=keys)
