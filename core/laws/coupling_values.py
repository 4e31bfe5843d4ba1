"""Coupling values used in the checks: all defaults of a theory times one factor, by the sizes of `Given`."""

from __future__ import annotations

from typing import Any

from haarflow.backends.types import Theory
from haarflow.core.parts import described

REGIMES = {"zero": 0.0, "small": 0.1, "one": 1.0, "large": 4.0}


def couplings_at(theory: Theory, size: str = "one") -> dict[str, float] | None:
    """Return a theory's couplings in a regime: the defaults times `REGIMES[size]`, as far as the theory accepts them.

    Zero, weak, default and strong for the sizes zero, small, one and large. Where the theory's own `check` refuses the
    product (a free field of no mass), the defaults are returned; None for a theory that declares no couplings. Raises
    ValueError for another size.

    >>> from haarflow.theories import Phi4, U1Gauge
    >>> couplings_at(U1Gauge((4, 4)), "large"), couplings_at(Phi4((4, 4)), "zero")
    ({'beta': 8.0}, {'m2': -4.0, 'lam': 8.0})
    """
    if size not in REGIMES:
        raise ValueError(f"a size is one of {', '.join(REGIMES)}, got {size!r}")
    defaults = described(theory).couplings
    if defaults is None:
        return None
    scaled = {name: REGIMES[size] * value for name, value in dict(defaults).items()}
    return scaled if accepts(theory, scaled) else dict(defaults)


def accepts(theory: Theory, couplings: dict[str, Any]) -> bool:
    """Return whether a theory's own `check` takes the couplings; a theory without one takes all.

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
