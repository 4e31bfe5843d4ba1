"""What `haarflow exact` prints of a theory: the exact values that it offers, and the distribution of its charge.

Names are those of the observables, and beside them ln_Z, ess_uniform (the ESS of untrained uniform links) and
ess_sweep (of an untrained sweep flow). What is not known is absent.
"""

from __future__ import annotations

import math
from typing import Any

from haarflow.backends.types import Couplings, Theory
from haarflow.core.parts import described
from haarflow.theories.exact import u1_torus
from haarflow.theories.theory import number_of


def report(theory: Theory, couplings: Couplings = None) -> dict[str, Any]:
    """Return what `haarflow exact` prints, ready for JSON: theory, lattice, couplings, `exact` (name -> value) and for
    two-dimensional U(1) `p_Q` (charge as text -> probability, where it exceeds 1e-12).

    Raises ValueError for couplings that are not numbers, and for a theory without exact results.

    >>> from haarflow.theories import U1Gauge
    >>> round(report(U1Gauge((16, 16)), {"beta": 7.0})["p_Q"]["1"], 6)
    0.241951
    """
    offered = described(theory)
    if offered.exact is None:
        raise ValueError(f"{offered.name} has no exact results: it has no method exact(couplings)")
    found: dict[str, Any] = {
        "theory": offered.name,
        "lattice": list(theory.lattice),
        "couplings": {name: number_of(theory, couplings, name) for name in theory.couplings},
        "exact": offered.exact(couplings),
    }
    if "p_Q0" in found["exact"]:
        p = u1_torus.charge_distribution(found["couplings"]["beta"], math.prod(theory.lattice))
        found["p_Q"] = {str(q): value for q, value in p.items() if value > 1e-12}
    return found
