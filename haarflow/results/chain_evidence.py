"""Whether a Markov chain's numbers can be believed: one frozen observable, or chains that disagree, mark all of them.

A chain that has not explored the configurations in one observable has not explored them in the others either, however
small their error bars are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haarflow.run.samplers import SAMPLERS

STUCK = 0.05  # acceptance below which a chain is stuck because of its step size
MARK = "not to be trusted: see the warnings of its sampler"


def judged(sampler: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a sampler's chains, one sentence each, from its entry in summary.json.

    Nothing is said of weighted draws, which are no chain. Where what stands still is zero by a symmetry, a last sentence says
    what the other numbers mean.

    >>> charge = {"value": 0.5, "error": None, "tau_int": None, "note": "frozen: each of the 4 chains is constant"}
    >>> judged({"kind": "hmc", "acceptance": 0.9, "observables": {"Q": charge, "Q2": charge}})
    ['frozen: each of the 4 chains is constant (Q, Q2)']
    """
    if SAMPLERS[sampler["kind"]].draws == "weighted":
        return []
    acceptance = sampler.get("acceptance")
    said = [f"accepted only {acceptance:.1%} of its steps"] if acceptance is not None and acceptance < STUCK else []
    said += _sign(sampler["observables"].get("sign"))
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, entry in sampler["observables"].items():
        # a determinant may well be positive everywhere, and a sector may be rare
        if entry["tau_int"] is None and name != "sign" and not entry.get("inside"):
            note = entry.get("note") or "the error cannot be estimated"
            groups.setdefault(note.partition("(")[0].partition(",")[0], []).append((name, note))
    said += [f"{found[0][1]} ({', '.join(name for name, _ in found)})" for found in groups.values()]
    return said + _of_symmetries([name for found in groups.values() for name, _ in found], sampler["observables"])


def _of_symmetries(names: list[str], observables: Mapping[str, Any]) -> list[str]:
    """What it means for all other numbers that observables without tau_int are zero by a symmetry."""
    odd = [name for name in names if observables[name].get("exact") == 0.0]
    if not odd:
        return []
    return [
        f"{' and '.join(odd)} {'is' if len(odd) == 1 else 'are'} zero by a symmetry, over which these chains do not average: all "
        "other numbers are those of the parts of the target in which the chains happen to be"
    ]


def _sign(entry: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the sign of a weight, by which means are divided."""
    if entry is None or not entry["error"] or abs(entry["value"]) > 3.0 * entry["error"]:
        return []
    return [
        f"the mean sign {entry['value']:.2g} of the weight is within three errors of 0, so that nothing can be divided by it: "
        "take an even number of flavours, a smaller kappa or a smaller lattice"
    ]


def warnings_of(sampler: Mapping[str, Any]) -> list[str]:
    """Return the warnings in a sampler's entry of summary.json; those of its chains where a summary has none yet."""
    return list(sampler["warnings"]) if "warnings" in sampler else judged(sampler)


def marked(sampler: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sampler's entry with a note at every number of a sampler with warnings, so that none is read alone."""
    if not sampler["warnings"]:
        return dict(sampler)
    table = {
        name: entry if entry.get("note") else {**entry, "note": MARK} for name, entry in sampler["observables"].items()
    }
    return {**sampler, "observables": table}
