"""Luescher's Runge-Kutta scheme of third order as a table of stages, for flows in continuous time.

Its low-storage form is K <- A K + B h v, y <- y + K (links: exp(K) y), at the nodes (0, 1/4, 2/3) of a step h; integrals along the
flow, such as that of a divergence, have the quadrature (1/4, 0, 3/4). Source: arXiv:1006.4518, appendix C.
"""

from __future__ import annotations

import numpy

from haarflow.backends.host_table import host_table

CARRY, GAIN, NODES, QUADRATURE = (0.0, -17 / 9, -1.0), (1 / 4, 8 / 9, 3 / 4), (0.0, 1 / 4, 2 / 3), (1 / 4, 0.0, 3 / 4)


@host_table
def stage_table(steps: int, forward: bool) -> numpy.ndarray:
    """Return for each stage (A, B, time between 0 and 1, weight of the quadrature); backwards the times run from 1 to 0.

    >>> stage_table(1, True)[:, 2].round(3).tolist(), stage_table(1, False)[:, 2].round(3).tolist()
    ([0.0, 0.25, 0.667], [1.0, 0.75, 0.333])
    """
    times = (numpy.arange(steps)[:, None] + numpy.asarray(NODES)).reshape(-1) / steps
    rest = (numpy.tile(part, steps) for part in (CARRY, GAIN))
    return numpy.stack([*rest, times if forward else 1.0 - times, numpy.tile(QUADRATURE, steps)], axis=1)
