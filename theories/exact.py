"""What is known exactly, by theory and name: the column `exact` of every report, and `haarflow exact`.

Names are those of the observables, and beside them ln_Z, ess_uniform (the ESS of untrained uniform links) and
ess_sweep (of an untrained sweep flow). What is not known is absent.
"""

from __future__ import annotations

import math
from typing import Any

from haarflow.theories import free_field, quadrature, torus

# powers of the field in each observable: what the map between phi^4's forms multiplies by kappa^(-n/2)
FIELDS = {"phi2": 2, "phi4": 4, "E": 2, "abs_m": 1, "chi2": 2, "m_4": 4, "G_min": 2}


def u1(theory: Any, couplings: Any = None) -> dict[str, float]:
    """Return what is known of U(1): in two dimensions the torus (`torus`), above it the symmetry of the centre.

    >>> from haarflow.theories import U1Gauge
    >>> round(u1(U1Gauge((8, 8)), {"beta": 2.0})["Q2"], 11)
    1.23929891072
    """
    from haarflow.theories.gauge import wilson_name

    beta, sites = _number(theory, couplings, "beta"), math.prod(theory.lattice)
    if theory.d > 2:
        return {"polyakov": 0.0}
    found = {
        "plaquette": torus.plaquette(beta, sites),
        "Q": 0.0,
        "Q2": torus.charge_squared(beta, sites),
        "p_Q0": torus.charge_distribution(beta, sites)[0],
        "chi_top": torus.charge_squared(beta, sites) / sites,
    }
    found |= {wilson_name((r, t)): torus.wilson_loop(beta, sites, r * t) for r, t in theory.wilson}
    if min(theory.lattice) > 1:
        found["polyakov"] = 0.0
    found["action"] = -beta * sites * found["plaquette"]
    found["ln_Z"] = torus.log_z(beta, sites)
    found["ess_uniform"] = torus.ess_uniform(beta, sites)
    return found | {"ess_sweep": torus.ess_sweep(beta, sites)}


def sun(theory: Any, couplings: Any = None) -> dict[str, float]:
    """Return what is known of SU(N): for Wilson's action in two dimensions the torus (`sun_torus`), otherwise the
    symmetry of the centre.

    >>> from haarflow.theories import Wilson
    >>> round(sun(Wilson((4, 4), n=2), {"beta": 2.2})["plaquette"], 11)
    0.46448054974
    """
    from haarflow.theories import sun_torus
    from haarflow.theories.gauge import wilson_name

    beta, n, sites = _number(theory, couplings, "beta"), theory.n, math.prod(theory.lattice)
    if theory.d > 2 or theory.rectangle:
        return {"polyakov": 0.0}
    found = {"plaquette": sun_torus.plaquette(n, beta, sites)}
    found |= {wilson_name((r, t)): sun_torus.wilson_loop(n, beta, sites, r * t) for r, t in theory.wilson}
    if min(theory.lattice) > 1:
        found["polyakov"] = 0.0
    found["action"] = -beta * sites * found["plaquette"]
    found["ln_Z"] = sun_torus.log_z(n, beta, sites)
    found["ess_uniform"] = sun_torus.ess_uniform(n, beta, sites)
    return found | {"ess_sweep": sun_torus.ess_sweep(n, beta, sites)}


def phi4(theory: Any, couplings: Any = None) -> dict[str, float]:
    """Return what is known of phi^4: the identity always, the free field at lam = 0, and every mean by quadrature where
    at most two sites lie across the longest axis (three: call `quadrature.observables`, it takes seconds).

    >>> from haarflow.theories import Phi4
    >>> round(phi4(Phi4((2, 2)), {"m2": -4.0, "lam": 8.0})["chi2"], 9)
    0.450481641
    """
    found = {"identity": 1.0, "m": 0.0}
    names = {name: _number(theory, couplings, name) for name in theory.couplings}
    kappa = names.get("kappa", 1.0)
    if kappa <= 0:
        return found
    from haarflow.theories.phi4 import to_m2

    m2, lam = (names if "m2" in names else to_m2(kappa, names["lam"], theory.d)).values()
    if lam == 0:
        means = free_field.observables(theory.lattice, m2)
    elif quadrature.tractable(theory.lattice, across=2):
        means = quadrature.observables(theory.lattice, m2, lam)
    else:
        return found
    scaled = {name: value * kappa ** (-FIELDS.get(name, 0) / 2) for name, value in means.items()}
    scaled["ln_Z"] = means["ln_Z"] - 0.5 * math.prod(theory.lattice) * math.log(kappa)
    return found | scaled


def report(theory: Any, couplings: Any = None) -> dict[str, Any]:
    """Return what `haarflow exact` prints, ready for JSON: theory, lattice, couplings, `exact` (name -> value) and for
    two-dimensional U(1) `p_Q` (charge as text -> probability, where it exceeds 1e-12).

    Raises ValueError for couplings that are not numbers, and for a theory without exact results.

    >>> from haarflow.theories import U1Gauge
    >>> round(report(U1Gauge((16, 16)), {"beta": 7.0})["p_Q"]["1"], 6)
    0.241951
    """
    if not hasattr(theory, "exact"):
        raise ValueError(f"{type(theory).__name__} has no exact results: it has no method exact(couplings)")
    found = {
        "theory": type(theory).__name__,
        "lattice": list(theory.lattice),
        "couplings": {name: _number(theory, couplings, name) for name in theory.couplings},
        "exact": theory.exact(couplings),
    }
    if "p_Q0" in found["exact"]:
        p = torus.charge_distribution(found["couplings"]["beta"], math.prod(theory.lattice))
        found["p_Q"] = {str(q): value for q, value in p.items() if value > 1e-12}
    return found


def _number(theory: Any, couplings: Any, name: str) -> float:
    value = theory.check(couplings)[name] if hasattr(theory, "check") else (couplings or theory.couplings)[name]
    if getattr(value, "shape", ()) != ():
        raise ValueError(f"exact results take numbers as couplings, got {name} of shape {tuple(value.shape)}")
    return float(value)
