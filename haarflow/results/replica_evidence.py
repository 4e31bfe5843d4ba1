"""What replica exchange did: swaps of neighbours, round trips, and the observables at every coupling of the ladder.

`evidence` makes the entry "replicas" of a sampler in summary.json,

    {"own": the rung of the recipe's couplings, "round_trips": {"number", "time": draws of one walker, null if there was none},
     "rungs": [{"couplings": {NAME: value}, "swaps": {"value", "error"} with the next rung, null at the last,
                "observables": {NAME: {"value", "error", "tau_int", "exact", "note" if there is one}},
                "distribution": {NAME: {"chi2", "freedom", "largest"}} where exact probabilities are known}]}

A distribution is compared with the exact one value by value, those of less than EXPECTED independent draws taken
together with the rest; `chi2` is a sum of squared pulls, which are correlated, and `largest` the largest of them.
"""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate
from haarflow.results.ensemble import Sampled
from haarflow.run.replicas import ON_LADDER, couplings_at, own_rung, reported
from haarflow.run.samplers import rungs_of
from haarflow.run.target import Target

EXPECTED = 1e-3  # probability of a value below which it is counted with the rest


def evidence(target: Target, settings: Any, sampled: Sampled) -> dict[str, Any] | None:
    """Return the entry "replicas" of a sampler, None for one without a ladder."""
    if not rungs_of(settings):
        return None
    swaps = sampled.steps["swapped"]
    return {
        "own": own_rung(target.couplings, settings),
        "round_trips": statistics.round_trips(swaps)._asdict(),
        "rungs": [_rung(target, settings, sampled, swaps, number) for number in range(rungs_of(settings))],
    }


def judged(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with a ladder, one sentence each.

    >>> judged({"round_trips": {"number": 3, "time": 10.0}, "rungs": []})
    []
    """
    if found["round_trips"]["number"]:
        return []
    shares = [rung["swaps"]["value"] for rung in found["rungs"] if rung["swaps"]]
    return [
        f"no replica has travelled along the whole ladder and back, so that its ends do not know of each other: the least swaps are "
        f"accepted with {min(shares):.2g}; make more draws, or add couplings there"
    ]


def _rung(target: Target, settings: Any, sampled: Sampled, swaps: numpy.ndarray, number: int) -> dict[str, Any]:
    couplings = couplings_at(target.couplings, settings, number)
    exact = described(target.theory).exact
    known = {} if exact is None else dict(exact(couplings))
    series = {
        name: sampled.observables[f"{name}{ON_LADDER}"][..., number].astype(float)
        for name in reported(target.theory)
        if f"{name}{ON_LADDER}" in sampled.observables
    }
    between = statistics.gamma_method(swaps[..., number].astype(float)) if number < swaps.shape[-1] else None
    return {
        "couplings": {name: couplings[name] for name in settings.ladder},
        "swaps": between and {"value": between.value, "error": between.error},
        "observables": {
            name: _entry(statistics.gamma_method(values), known.get(name)) for name, values in series.items()
        },
        "distribution": _distributions(target, couplings, series),
    }


def _entry(estimate: Estimate, exact: float | None) -> dict[str, Any]:
    found = {"value": estimate.value, "error": estimate.error, "tau_int": estimate.tau_int}
    return {
        **found,
        "exact": None if exact is None else float(exact),
        **({"note": estimate.note} if estimate.note else {}),
    }


def _distributions(target: Target, couplings: dict[str, float], series: dict[str, numpy.ndarray]) -> dict[str, Any]:
    """The comparisons of whole-numbered observables with their exact probabilities."""
    found = {}
    for name, probabilities in target.row.distributions.items():
        exact = probabilities(target.recipe.lattice, couplings) if name in series else None
        if exact is not None:
            found[name] = compared(series[name], exact)
    return found


def compared(values: numpy.ndarray, exact: dict[int, float]) -> dict[str, float | int | None]:
    """Return {"chi2", "freedom", "largest"} of whole numbers `(chain, draw)` against exact probabilities.

    None where an error is not known: a frozen series is compared with nothing.

    >>> compared(numpy.ones((4, 50)), {0: 0.5, 1: 0.5})
    {'chi2': None, 'freedom': 0, 'largest': None}
    """
    pulls = []
    for value, p in exact.items():
        if p < EXPECTED:
            continue
        estimate = statistics.gamma_method((numpy.round(values) == value).astype(float))
        if estimate.value is None or not estimate.error:
            return {"chi2": None, "freedom": 0, "largest": None}
        pulls.append((estimate.value - p) / estimate.error)
    return {
        "chi2": float(numpy.sum(numpy.square(pulls))),
        "freedom": len(pulls) - 1,
        "largest": float(numpy.max(numpy.abs(pulls))),
    }
