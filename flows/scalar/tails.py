"""Site-wise maps that turn Gaussian tails into those of phi^4 theory.

    y = u (1 + c u^2)^(-1/4),   dy/du = (1 + c u^2/2) (1 + c u^2)^(-5/4) > 0,

y is close to u for small u and to sign(u) c^(-1/4) |u|^(1/2) for large u, so that e^{-u^2/2} becomes e^{-c y^4/2} and
decays like e^{-lam phi^4}. The map is odd with the closed inverse u = y sqrt((c y^2 + sqrt(c^2 y^4 + 4))/2). The derivation
is ours; neither tables nor root finding are needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.flow import constant
from haarflow.flows.nets import coupling

SiteMap = Callable[[Array, Array], tuple[Array, Array]]  # (u, c) -> (y, log dy/du)


def quartic_tail(u: Array, c: Array) -> tuple[Array, Array]:
    """Return y = u (1 + c u^2)^(-1/4) and log dy/du, elementwise, c > 0.

    >>> import numpy as np
    >>> quartic_tail(np.asarray(2.0), 3.75)[0].round(12).tolist()
    1.0
    """
    xp = array_namespace(u)
    bend = c * u * u
    # Not log1p: XLA 0.10 on CPU gives 0 for a jitted sum of log1p(b/2) - 5/4 log1p(b) over an axis.
    return u / xp.sqrt(xp.sqrt(1.0 + bend)), xp.log(1.0 + 0.5 * bend) - 1.25 * xp.log(1.0 + bend)


def inverse_quartic_tail(y: Array, c: Array) -> tuple[Array, Array]:
    """Undo `quartic_tail`; the second result is log du/dy.

    >>> import numpy as np
    >>> inverse_quartic_tail(np.asarray(1.0), 3.75)[0].round(12).tolist()
    2.0
    """
    xp = array_namespace(y)
    bent = c * y * y
    u = y * xp.sqrt(0.5 * (bent + xp.sqrt(bent * bent + 4.0)))
    bend = c * u * u
    return u, 1.25 * xp.log(1.0 + bend) - xp.log(1.0 + 0.5 * bend)


@dataclass(frozen=True)
class QuarticTail:
    """y = u (1 + c u^2)^(-1/4) on every site, with a learnt c > 0 that starts at `strength`; with `expand` its inverse.

    `condition` names couplings on which log c depends linearly. Raises ValueError for a strength that is not positive.

    >>> from haarflow.backends import numpy as backend
    >>> flow = QuarticTail(1, strength=3.75)
    >>> y, log_det = flow.forward({"log_c": backend.asarray(0.0)}, backend.asarray([[0.0, 0.0]]))
    >>> y.tolist(), log_det.tolist()
    ([[0.0, 0.0]], [0.0])
    """

    d: int
    strength: float = 3.0
    expand: bool = False
    condition: tuple[str, ...] = ()

    symmetries = ("translation", "reflection", "hypercubic", "Z2")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength > 0.0):
            raise ValueError(f"a tail's strength c must be positive and finite, got {self.strength!r}")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return log c."""
        params = {"log_c": constant(key, math.log(self.strength), (), dtype)}
        slope = {"slope": constant(key, 0.0, (len(self.condition),), dtype)} if self.condition else {}
        return {**params, **slope}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the map on every site."""
        return self._apply(inverse_quartic_tail if self.expand else quartic_tail, params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo the map on every site."""
        return self._apply(quartic_tail if self.expand else inverse_quartic_tail, params, y, condition)

    def _apply(self, map: SiteMap, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        backends.of(x, params["log_c"])
        xp = array_namespace(x)
        log_c = params["log_c"]
        for index, name in enumerate(self.condition):
            log_c = log_c + params["slope"][index] * coupling(condition, name, x, self.d)
        y, log_slope = map(x, xp.exp(log_c))
        return y, xp.sum(log_slope, axis=tuple(range(-self.d, 0)))
