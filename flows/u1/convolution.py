"""Log-weights of areas of independent plaquettes in two dimensions: convolutions on the circle, from that of one plaquette.

Where plaquettes are independent but for their total flux, the total p of n of them has the weight

    e^{F_n(p)} = n-fold convolution of e^{F_1},    F_1(p) = sum_j g_j cos(j p),

whose character coefficients are the n-th powers of those of e^{F_1} (Migdal, Sov. Phys. JETP 42 (1975) 413). For the Wilson
action g_1 = beta and all others vanish.
"""

from __future__ import annotations

import math

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array

ROUNDING = 100.0  # in units of rounding, the share of a mean weight below which a log-weight would be noise


def convolved(single: Array, areas: tuple[int, ...], harmonics: int) -> Array:
    """Return the coefficients of cos(k p), k = 1 .. `harmonics`, in the log-weights F_n of `areas` n, `(area, harmonic, batch)`.

    `single` are the numbers g_j of one plaquette, `(j, batch)`.

    >>> convolved(numpy.asarray([[1.5], [0.2]]), (1,), 2).round(12).tolist()
    [[[1.5], [0.2]]]
    """
    xp, backend = array_namespace(single), backends.of(single)
    cosines = backend.asarray(cosine_table(max(96, 4 * harmonics)), dtype=single.dtype)
    back = xp.permute_dims(cosines, (1, 0)) * (2.0 / cosines.shape[0])
    log_weight = xp.matmul(cosines[:, 1 : single.shape[0] + 1], single)
    characters = xp.matmul(back, xp.exp(log_weight - xp.max(log_weight, axis=0, keepdims=True)))
    sizes = backend.asarray(numpy.asarray(areas, dtype=float), dtype=single.dtype)
    powers = (characters[1:, :] / characters[:1, :])[None, ...] ** sizes[:, None, None]
    weight = 1.0 + 2.0 * xp.matmul(cosines[:, 1:], powers)
    least = ROUNDING * xp.finfo(single.dtype).eps
    return xp.matmul(back[1 : harmonics + 1, :], xp.log(xp.where(weight > least, weight, least + 0.0 * weight)))


@host_table
def cosine_table(points: int) -> numpy.ndarray:
    """Return cos(k p) at equidistant p on the circle, `(point, k)`, for k below a third of the points.

    >>> cosine_table(4).tolist()
    [[1.0], [1.0], [1.0], [1.0]]
    """
    angles = 2.0 * math.pi * numpy.arange(points) / points
    table: numpy.ndarray = numpy.cos(numpy.outer(angles, numpy.arange(points // 3)))
    return table
