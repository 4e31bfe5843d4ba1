"""The equation of state and ln Z along a coupling, from the lines of a run's log.

The entry "thermodynamics" of summary.json is

    {"axis": "extent" or the coupling's name,
     "rows": [{"method", "lattice", "value", "ln_Z": ESTIMATE, "exact": ln Z where it is known, "density": of ln Z a site,
               "entropy": a site, "ess", "note", "cpu_s",
               of extents  "pressure", "excess": over that of the largest extent,
               of a curve  "slope": d ln Z/dc, "exact_slope", "summed": ln Z of the first point + the integral of the slopes}]}

with ESTIMATE = {"value", "error", "note"}, in units of the lattice spacing. ln Z a site is minus the free energy density over
the temperature; the pressure is [ln Z(N_t, L + k) - ln Z(N_t, L)]/(k N_t) over the other axes (`core/statistics/thermodynamics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate
from haarflow.results.mode_evidence import table
from haarflow.run.records import ThermodynamicsLine
from haarflow.run.stages.thermodynamics import Point, at, scaled
from haarflow.run.target import Target

NOTHING = Estimate(None, None)


def evidence(target: Target, lines: Sequence[ThermodynamicsLine]) -> dict[str, Any]:
    """Return the entry of summary.json."""
    words = target.recipe.thermodynamics
    methods = dict.fromkeys(line.method for line in lines)
    rows = []
    for method in methods:
        own = [line for line in lines if line.method == method]
        rows += _curve(target, own) if words and words.along else _equation(target, own)
    name = next(iter(words.along)) if words and words.along else "extent"
    return {"axis": name, "rows": sorted(rows, key=lambda row: row["lattice"][0] if name == "extent" else row["value"])}


def _equation(target: Target, lines: list[ThermodynamicsLine]) -> list[dict[str, Any]]:
    """A row for each extent, the wider lattices gone into the pressure."""
    words: Any = target.recipe.thermodynamics
    found = {tuple(line.lattice): line for line in lines}
    wide = {key: (key[0], key[1] + words.wider, *key[2:]) for key in found}
    pairs = [(found[key], found[wide[key]]) for key in sorted(found) if wide[key] in found]
    pressures = [
        statistics.pressure(_log_z(small), _log_z(large), _slice(small.lattice), words.wider) for small, large in pairs
    ]
    return [
        _row(target, small)
        | {
            "pressure": table(pressure),
            "excess": table(_difference(pressure, pressures[-1]) if index + 1 < len(pairs) else NOTHING),
            "cpu_s": small.cpu_s + large.cpu_s,
        }
        for index, ((small, large), pressure) in enumerate(zip(pairs, pressures, strict=True))
    ]


def _slice(lattice: Sequence[int]) -> int:
    """Sites of a slice across the second axis."""
    return math.prod(lattice) // lattice[1]


def _curve(target: Target, lines: list[ThermodynamicsLine]) -> list[dict[str, Any]]:
    ordered = sorted(lines, key=lambda line: line.value or 0.0)
    slopes = [Estimate(line.slope, line.slope_error) for line in ordered]
    whole = len(ordered) >= 4 and all(one.error is not None for one in slopes)
    values = [float(line.value or 0.0) for line in ordered]
    summed = statistics.integrated(_log_z(ordered[0]), values, slopes) if whole else [NOTHING] * len(ordered)
    return [
        _row(target, line)
        | {"slope": table(slope), "exact_slope": _exact_slope(target, line), "summed": table(integral)}
        for line, slope, integral in zip(ordered, slopes, summed, strict=True)
    ]


def _row(target: Target, line: ThermodynamicsLine) -> dict[str, Any]:
    sites = math.prod(line.lattice)
    log_z = _log_z(line)
    entropy = statistics.entropy(log_z, Estimate(line.action, line.action_error))
    return {
        "method": line.method,
        "lattice": line.lattice,
        "value": line.value,
        "ln_Z": table(log_z),
        "exact": _exact(target, line).get("ln_Z"),
        "density": table(scaled(log_z, 1.0 / sites)),
        "entropy": table(scaled(entropy, 1.0 / sites)),
        "ess": line.ess,
        "note": line.note,
        "cpu_s": line.cpu_s,
    }


def _exact(target: Target, line: ThermodynamicsLine) -> dict[str, float]:
    moved = at(target, Point(tuple(line.lattice), line.value))
    return moved.exact


def _exact_slope(target: Target, line: ThermodynamicsLine) -> float | None:
    """-<dS/dc> of the exact observables that the coupling multiplies in the action."""
    exact, words = _exact(target, line), target.recipe.thermodynamics
    terms = (described(target.theory).part("conjugates") or {}).get(next(iter(words.along)) if words else "", {})
    if not terms or any(exact.get(name) is None for name in terms):
        return None
    return -math.fsum(factor * float(exact[name]) for name, factor in terms.items())


def _log_z(line: ThermodynamicsLine) -> Estimate:
    return Estimate(line.log_z, line.error)


def _difference(one: Estimate, other: Estimate) -> Estimate:
    if one.value is None or other.value is None:
        return NOTHING
    known = one.error is not None and other.error is not None
    return Estimate(one.value - other.value, math.hypot(one.error or 0.0, other.error or 0.0) if known else None)
