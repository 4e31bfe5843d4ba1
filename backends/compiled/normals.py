"""Normal random numbers on the host in vector registers: `core.random.normal` to rounding, faster.

NumPy makes five passes over memory for the random words and one each for logarithm, root, sine and cosine; here a number
never leaves its register. Needs the compiled kernels of backends/compiled/vector.py and returns None without them.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy

from haarflow.backends.alone import alone
from haarflow.backends.compiled import vector
from haarflow.backends.compiled.functions import logarithm, sine_and_cosine_of_turns, uniforms

CHUNK = 256  # pairs at a time


def normal(key: numpy.ndarray, count: int, purpose: int) -> numpy.ndarray | None:
    """Return `count` standard normal float64 numbers for each key `(*batch, 2)`, or None without compiled kernels.

    >>> drawn = normal(numpy.zeros(2, dtype=numpy.int32), 3, 3)
    >>> drawn is None or drawn.shape
    (3,)
    """
    if not vector.is_present():
        return None
    from haarflow.backends.compiled.normals_loop import fill

    keys = numpy.ascontiguousarray(key).reshape(-1, 2)
    drawn = numpy.empty((len(keys), count))
    with alone():
        fill(keys, drawn, CHUNK, _compiled(purpose).address)
    return drawn.reshape(*key.shape[:-1], count)


@cache
def _compiled(purpose: int) -> vector.Code:
    return vector.compiled(partial(body, purpose), rows=3, stride=CHUNK * vector.BYTES, fixed=1)


def body(purpose: int, counters: Any, normals: Any, key: Any) -> None:
    """Make two normal numbers from the counters of two uniforms."""
    u, v = uniforms((key[0].word(), key[1].word()), [counters[0].word(), counters[1].word()], purpose)
    radius = (-2.0 * logarithm(u)).sqrt()
    sine, cosine = sine_and_cosine_of_turns(v)
    normals[0], normals[1] = radius * cosine, radius * sine
