"""Coupling values used in the checks: a theory's defaults times one factor for each size of `Given`."""

from __future__ import annotations

from typing import Any

from haarflow.backends.types import Theory
from haarflow.core.parts import described

REGIMES = {"zero": 0.0, "small": 0.1, "one": 1.0, "large": 4.0}


def couplings_at(theory: Theory, size: str = "one") -> dict[str, float] | None:
    """Return a theory's couplings at a size, the defaults times `REGIMES[size]`, where the theory accepts them.

    The sizes zero, small, one and large give zero, weak, default and strong couplings. If the theory's `check` refuses
    the product (a massless free field) the defaults are returned, and None for a theory that declares no couplings.
    Raises ValueError for an unknown size.

    >>> from haarflow.theories import Phi4, U1Gauge
    >>> couplings_at(U1Gauge((4, 4)), "large"), couplings_at(Phi4((4, 4)), "zero")
    ({'beta': 8.0}, {'m2': -4.0, 'lam': 8.0})
    """
    if size not in REGIMES:
        raise ValueError(f"unknown size {size!r}: choose one of {', '.join(REGIMES)}")
    defaults = described(theory).couplings
    if defaults is None:
        return None
    scaled = {name: REGIMES[size] * value for name, value in dict(defaults).items()}
    return scaled if accepts(theory, scaled) else dict(defaults)


def accepts(theory: Theory, couplings: dict[str, Any]) -> bool:
    """Return whether a theory's `check` accepts the couplings; a theory without `check` accepts all.

    >>> from haarflow.theories import U1Gauge
    >>> accepts(U1Gauge((4, 4)), {"beta": -1.0})
    False
    """
    check = described(theory).check
    try:
        if check is not None:
            check(couplings)
    except ValueError:
        return False
    return True
