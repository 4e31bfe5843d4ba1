"""Which modes of the target a flow draws: the shares of each among its draws, in their weight, and in the chains beside it.

Modes are told apart by an observable that changes sign under a symmetry, which all of them share alike: a topological charge by
its value, a magnetisation or the real part of a Polyakov loop by its sign. `evidence` makes the entry "modes" of a flow's coverage in summary.json,

    {"observable", "by": "value" or "sign", "rows": [{"label", "model", "weighted", "chains": {NAME: ESTIMATE}, "missing": [NAME, ...]}]}

with ESTIMATE = {"value", "error", "note"}; `sentences` says which modes are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate, Mode
from haarflow.results.ensemble import Sampled

# Turned by the centre of a gauge group: of SU(2) and SU(3) its sign tells the sectors from the trivial one.
CENTRE = ("polyakov",)
LEAST, MOST = 1e-3, 9  # share from which a mode is listed, and how many are


def evidence(theory: Any, sampled: Sampled, beside: Mapping[str, Sampled]) -> dict[str, Any] | None:
    """Return the modes of weighted draws beside those of Markov chains; None where no observable tells modes apart."""
    odd = (*described(theory).symmetries.odd, *CENTRE)
    name = next((name for name in odd if name in sampled.observables), None)
    if name is None or not sampled.weighted or sampled.log_w is None:
        return None
    series = sampled.observables[name]
    chains = {label: other.observables[name] for label, other in beside.items() if name in other.observables}
    if series.ndim != 2 or not all(numpy.all(numpy.isfinite(one)) for one in (series, *chains.values())):
        return None
    by = "value" if all(numpy.all(one == numpy.round(one)) for one in (series, *chains.values())) else "sign"
    targets = {label: labels(one, by) for label, one in chains.items()}
    found = statistics.modes(labels(series, by), sampled.log_w, targets)
    return {"observable": name, "by": by, "rows": [_row(mode) for mode in _listed(found)]}


def labels(values: Any, by: str) -> numpy.ndarray:
    """Return the whole numbers that label modes: the values themselves, or their signs, of which zero is taken as positive.

    >>> labels([-0.5, 0.0, 2.0], "sign").tolist()
    [-1.0, 1.0, 1.0]
    """
    numbers = numpy.asarray(values, dtype=float)
    return numpy.round(numbers) if by == "value" else numpy.where(numbers < 0.0, -1.0, 1.0)


def _listed(found: tuple[Mode, ...]) -> list[Mode]:
    """The modes with the largest shares, in order of their labels, and all that are missing."""
    largest = sorted(found, key=_largest, reverse=True)[:MOST]
    return [mode for mode in found if mode.missing or (mode in largest and _largest(mode) >= LEAST)]


def _largest(mode: Mode) -> float:
    return max(share.value or 0.0 for share in (mode.model, mode.weighted, *mode.chains.values()))


def _row(mode: Mode) -> dict[str, Any]:
    return {
        "label": mode.label,
        "model": table(mode.model),
        "weighted": table(mode.weighted),
        "chains": {name: table(share) for name, share in mode.chains.items()},
        "missing": list(mode.missing),
    }


def table(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as summary.json holds it."""
    return {"value": estimate.value, "error": estimate.error, "note": estimate.note}


def named(found: Mapping[str, Any], label: int) -> str:
    """Return the words for a mode.

    >>> named({"observable": "m", "by": "sign"}, -1), named({"observable": "Q", "by": "value"}, 2)
    ('m < 0', 'Q = 2')
    """
    if found["by"] == "value":
        return f"{found['observable']} = {label}"
    return f"{found['observable']} {'<' if label < 0 else '>'} 0"


def sentences(found: Mapping[str, Any] | None, remedy: str = "") -> list[str]:
    """Return which modes the flow misses, one sentence each, with what helps against it."""
    said = []
    for row in found["rows"] if found else []:
        for name in row["missing"][:1]:
            share = row["chains"][name]
            said.append(
                f"the flow has collapsed: {share['value']:.1%} ± {share['error']:.1%} of the configurations of {name} have "
                f"{named(found or {}, row['label'])}, and {row['weighted']['value'] or 0.0:.2%} of the weight of its draws{f'; {remedy}' if remedy else ''}"
            )
    return said
