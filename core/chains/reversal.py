"""The reversal of a kernel: p(x) k(x -> y) = p(y) k~(y -> x).

A kernel with detailed balance is its own reversal; a sweep is not, its reversal visits the links in the opposite order.
"""

from __future__ import annotations

from typing import Any

from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import Cycle, Repeat


def reversal(kernel: Any) -> Any:
    """Return the reversal of a kernel: of HMC itself, of a heat bath of links the sweep backwards, of cycles that of their parts.

    A kernel of your own says it by a method `reversed()`. Raises ValueError for a kernel of which none is known.

    >>> from haarflow.core.chains.heatbath_u1 import U1HeatBath
    >>> from haarflow.theories import U1Gauge
    >>> reversal(U1HeatBath(U1Gauge((4, 4)))).backwards
    True
    """
    if isinstance(kernel, Cycle):
        return Cycle(tuple(map(reversal, reversed(kernel.kernels))))
    if isinstance(kernel, Repeat):
        return Repeat(reversal(kernel.kernel), kernel.n)
    own = getattr(kernel, "reversed", None)  # a user's kernel inherits nothing from this library
    if isinstance(kernel, HMC):
        return kernel
    if own is None:
        raise ValueError(
            f"the reversal of {type(kernel).__name__} is not known, which Crooks' reverse path wants: give it a method reversed(), or "
            "take HMC or a heat bath of links"
        )
    return own()
