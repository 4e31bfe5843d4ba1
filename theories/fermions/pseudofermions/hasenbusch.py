"""Hasenbusch's factors: the determinant at a small mass as that at a large mass times ratios close to one.

    det D(k_0) = det[D(k_1)^-1 D(k_0)] det[D(k_2)^-1 D(k_1)] ... det D(k_m),    k_0 > k_1 > ... > k_m

Each factor has pseudofermions of its own, whose forces are smaller and fluctuate less than those of the whole (Hasenbusch,
hep-lat/0107019); the ratios, costly and soft, are integrated in larger steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from haarflow.theories.fermions.pseudofermions.pseudofermion import Factor


def factors(kappa: Any, masses: Sequence[Any] = ()) -> tuple[Factor, ...]:
    """Return the factors of det(D D^+) at kappa, the lightest first, for the hopping parameters `masses` between.

    Raises ValueError for numbers that do not fall, kappa > k_1 > ... > k_m > 0; arrays pass.

    >>> factors(0.276, (0.25,))
    (Factor(kappa=0.276, heavier=0.25), Factor(kappa=0.25, heavier=None))
    """
    chain = (kappa, *masses)
    check_masses(kappa, masses)
    return tuple(Factor(light, heavy) for light, heavy in zip(chain, (*chain[1:], None), strict=True))


def check_masses(kappa: Any, masses: Sequence[Any]) -> None:
    """Raise ValueError for Hasenbusch masses that are numbers and do not fall from kappa to 0."""
    chain = (kappa, *masses, 0.0) if masses else ()
    falling = [b < a for a, b in pairwise(chain) if isinstance(a, float) and isinstance(b, float)]
    if not all(falling):
        listed = ", ".join(str(mass) for mass in masses)
        raise ValueError(
            f"Hasenbusch masses are hopping parameters that fall from kappa = {kappa} towards 0, got {listed}: order them so"
        )
