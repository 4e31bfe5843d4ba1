"""A step of all SU(N) links along the gradient of the plaquettes, with its exact log-determinant and one number.

The couplings of flows/sun/gradient_coupling.py for every direction and transverse colour in turn, all with the same
coefficient:

    U -> e^{iw} U,     w = N c grad sum_{P with U} Re tr U_P / N.

At small c this is a step of Luescher's trivialising flow, for which c = dbeta / (2 (N^2 - 1)) at strong coupling
(arXiv:0907.5491).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.flow import constant
from haarflow.flows.sun.gradient_coupling import LoopCoupling

COLOURS = 2


@dataclass(frozen=True)
class SUNGradientSweep:
    """One sweep over the links `(*batch, d, N, N, *lattice)` along the gradient; parameters {"c": ()}, at first `start`.

    The number is bounded as in `LoopCoupling`, so that the map is invertible. Transverse extents are even.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.sun import SU
    >>> flow, key = SUNGradientSweep(3, 2, start=0.1), random.key(0, backend)
    >>> x = SU(3, 2).haar(key, (5, 2, 3, 3, 2, 2))
    >>> [part.shape for part in flow.forward(flow.init(key), x)]
    [(5, 2, 3, 3, 2, 2), (5,)]
    """

    n: int
    d: int
    start: float = 0.0

    symmetries = ("translation", "gauge", "charge_conjugation")

    @property
    def periods(self) -> tuple[int, ...]:
        """Two sites along every axis: the classes follow one another."""
        return (COLOURS,) * self.d

    @property
    def couplings(self) -> tuple[LoopCoupling, ...]:
        """The coupling of each direction and colour, in order."""
        return tuple(LoopCoupling(self.n, self.d, mu, colour) for mu in range(self.d) for colour in range(COLOURS))

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return `start`."""
        return {"c": constant(key, self.start, (), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the links class by class."""
        return self._sweep("forward", self.couplings, params, x)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move them back, the last class first."""
        return self._sweep("inverse", reversed(self.couplings), params, y)

    def _sweep(self, way: str, couplings: Iterable[LoopCoupling], params: Params, x: Array) -> tuple[Array, Array]:
        xp, total = array_namespace(x), 0.0
        rho = xp.broadcast_to(params["c"], (self.d - 1, 1))
        for coupling in couplings:
            move = coupling.forward if way == "forward" else coupling.inverse
            x, log_det = move({"rho": rho}, x)
            total = total + log_det
        return x, total
