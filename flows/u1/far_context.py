"""What a coupling of U(1) in two dimensions may see of the whole lattice: winding lines and the charge of its frozen loops.

Stripes move the links of one direction mu on every p-th line. Straight lines across them have no active link, nor have those
along mu beside the active ones. Plaquettes without an active link and the 1 x 2 rectangles around the active ones tile the
torus, so that

    Q_f = (1/2 pi) [sum of frozen plaquettes + sum of these rectangles],  each in [-pi, pi),

is a whole number, the charge as seen from what the coupling leaves alone. Lines and Q_f are gauge invariant and known in
both directions of the coupling.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows import masks

FEATURES = 8  # cosine and sine of three lines, and two numbers made of the charge


def features(links: Array, mask: masks.LinkMask) -> Array:
    """Return the features at each active link, `(*batch, FEATURES, *coarse)`, of links `(*batch, 2, T, X)`.

    Cosines and sines of the line across the stripes through the link and of the lines beside it, Q/(1 + |Q|) and 1/(1 + |Q|)
    with Q = Q_f.

    >>> import numpy as np
    >>> features(np.zeros((5, 2, 4, 8)), masks.LinkMask("stripes", 0, 1, 4, 0)).shape
    (5, 8, 4, 2)
    """
    xp = array_namespace(links)
    rows = [wave for line in frozen_lines(links, mask) for wave in reversed(backends.of(links).sincos(line))]
    charge = frozen_charge(links, mask)[..., None, None] + 0 * rows[0]
    size = 1.0 + xp.abs(charge)
    return xp.stack([*rows, charge / size, 1.0 / size], axis=-3)


def frozen_lines(links: Array, mask: masks.LinkMask) -> list[Array]:
    """Return the angles of the lines across the stripes and of those ahead and behind, each `(*batch, *coarse)`.

    >>> import numpy as np
    >>> [line.ravel().tolist() for line in frozen_lines(np.ones((2, 1, 2)), masks.LinkMask("stripes", 0, 1, 2, 0))]
    [[2.0], [1.0], [1.0]]
    """
    lattice, period, offset = tuple(links.shape[-2:]), masks.periods(mask, 2), masks.offsets(mask, 2)
    across = masks.extract(loops.polyakov(links, mask.plane, lattice), period, offset)
    along = loops.polyakov(links, mask.direction, lattice)
    beside = [tuple(o + step * (axis == mask.plane) for axis, o in enumerate(offset)) for step in (1, -1)]
    return [across, *[masks.extract(along, period, place) for place in beside]]


def frozen_charge(links: Array, mask: masks.LinkMask) -> Array:
    """Return Q_f `(*batch,)`, in the orientation of the plane (0, 1).

    >>> import numpy as np
    >>> bool(np.all(frozen_charge(np.zeros((5, 2, 4, 4)), masks.LinkMask("stripes", 1, 0, 4, 1)) == 0.0))
    True
    """
    xp, (mu, nu) = array_namespace(links), (mask.direction, mask.plane)
    period, offset = masks.periods(mask, 2), masks.offsets(mask, 2)

    def at(angles: Array, step: int) -> Array:
        return masks.extract(angles, period, tuple(o + step * (axis == nu) for axis, o in enumerate(offset)))

    plaquette = loops.plaquette(links, mu, nu, 2)
    tiles = [at(loops.rectangle(links, mu, nu, (1, 2), 2), -1)]
    tiles += [at(plaquette, step) for step in range(1, period[nu] - 1)]
    total = sum(xp.sum(wrap(tile), axis=(-2, -1)) for tile in tiles)
    return xp.round(total / ((1.0 if mu < nu else -1.0) * 2.0 * math.pi))
