"""A finite state space written as a one-site lattice theory: a few levels, and a proposal for them.

On it the transitions of a Metropolis kernel can be counted one by one. Source: Metropolis et al. 1953.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Couplings, Params
from haarflow.core import random
from haarflow.core.parts import Local


@dataclass(frozen=True)
class Ring:
    """The cyclic group of n levels, 0 ... n - 1 as floats; an algebra element is a whole number of steps.

    >>> import numpy as np
    >>> Ring(3).update(np.asarray([2.0]), np.asarray([1.0])).tolist()
    [0.0]
    """

    n: int
    name = "Ring"
    matrix_axes = 0

    def update(self, a: Array, w: Array) -> Array:
        """Return the level w steps further."""
        return self.project(a + w)

    def project(self, a: Array) -> Array:
        """Return the level in 0 ... n - 1."""
        return a - self.n * array_namespace(a).floor(a / self.n)

    def restore(self, a: Array) -> Array:
        """Return the level in 0 ... n - 1."""
        return self.project(a)

    def algebra_normal(self, key: Array, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Return one step up or down, each with probability 1/2."""
        u = random.uniform(key, shape, dtype)
        return 2.0 * array_namespace(u).floor(2.0 * u) - 1.0


@dataclass(frozen=True)
class Levels:
    """A theory on one site whose field is a level: S = E_level.

    >>> import numpy as np
    >>> Levels((0.0, 1.5)).action(np.asarray([[1.0], [0.0]])).tolist()
    [1.5, 0.0]
    """

    energies: tuple[float, ...]

    lattice = (1,)
    field_shape = (1,)

    @property
    def group(self) -> Ring:
        """The cyclic group of the levels."""
        return Ring(len(self.energies))

    @property
    def local(self) -> Local:
        """The energy at the site, which depends on no other site."""
        return Local(self.density, reach=0)

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the energy at the site, `(*batch, 1, 1)`."""
        return _looked_up(self.energies, field)[..., None, :]

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the energy, `(*batch,)`."""
        return _looked_up(self.energies, field)[..., 0]


@dataclass(frozen=True)
class LevelProposal:
    """Independent proposals of levels with fixed probabilities, a model in the sense of independence Metropolis.

    >>> import numpy as np
    >>> LevelProposal((0.25, 0.75)).log_density({}, np.asarray([[1.0]])).round(3).tolist()
    [-0.288]
    """

    chances: tuple[float, ...]

    def sample(self, params: Params, key: Array, n: int, condition: Condition = None) -> tuple[Array, Array]:
        """Return `n` levels `(n, 1)` of the precision of `params["like"]`, and the logarithms of their probabilities."""
        u = random.uniform(key, (n, 1), params["like"].dtype if "like" in params else "float64")
        level = 0.0 * u
        for edge in range(1, len(self.chances)):
            level = level + array_namespace(u).astype(u >= sum(self.chances[:edge]), u.dtype)
        return level, self.log_density(params, level)

    def log_density(self, params: Params, field: Array, condition: Condition = None) -> Array:
        """Return the logarithm of a level's probability, `(*batch,)`."""
        return _looked_up(tuple(math.log(chance) for chance in self.chances), field)[..., 0]


def _looked_up(table: tuple[float, ...], level: Array) -> Array:
    xp, values = array_namespace(level), 0.0 * level
    for index, entry in enumerate(table):
        values = values + xp.where(level == index, entry + 0.0 * level, 0.0 * level)
    return values
