"""Whether a flow's weights can be believed: what they say of themselves, and what Markov chains beside the flow say of them.

`evidence` makes the entry "coverage" of a flow's sampler in summary.json,

    {"draws", "ess": ESTIMATE, "pareto_shape": ESTIMATE, "error_growth": number,
     "ln_Z": ESTIMATE, "bias": of it, "elbo": ESTIMATE, "iwae": ESTIMATE of groups of "group" draws,
     "chains": {NAME: {"configurations", "independent", "above", "above_error", "far_above", "expected", "ess", "ln_Z": ESTIMATE,
                       "eubo": ESTIMATE, "bridge": ESTIMATE, "covered": ESTIMATE}},
     "modes": see mode_evidence, "exact": ln Z where it is known, "remark"}

with ESTIMATE = {"value", "error", "note"}; the bounds and estimates of ln Z are those of
`core/statistics/free_energy.py`. `judged` makes sentences of what is wrong. Of 3,000 flows with log-normal weights of
ESS 0.5 (2,000 draws, 1,200 configurations of a chain) none was called wrong by any of the rules; with 500 draws Pareto
shape and growth say it of 7 in 10,000 each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.core.statistics import Estimate
from haarflow.core.statistics.coverage import lower_limit
from haarflow.core.statistics.effective import nan_note
from haarflow.core.statistics.pareto import HEAVY
from haarflow.results import mode_evidence
from haarflow.results.ensemble import Sampled
from haarflow.results.mode_evidence import table

SIGMAS = 3.0  # of Wilson's lower limit of the share of a chain's configurations above the flow's largest weight
EXPECTED, SPARE = 4.0, 0.01  # that share is too large above EXPECTED times what the weights let expect + SPARE
TAIL = 500  # draws from which the tail of the weights is judged; fewer show heavy ones by chance
FAR = 3.0  # independent configurations far above the largest weight from which the flow is said to miss them
PULLS = 5.0  # distance of ln Z from both sides, and of a mean from its exact zero: 6e-7 by chance
APART = 0.1  # least difference of ln Z that counts: below it the skew of 1/w imitates missing parts of the target
GROWTH = 1.3  # factor by which the error exceeds what quarters of the draws predict
UNWEIGHED = (
    "paths do not weigh the configurations of Markov chains: parts of the target that they never visit cannot be seen"
)
UNSEEN = "no Markov chain ran beside this flow: parts of the target that it never visits cannot be seen"


def evidence(
    sampled: Sampled, modes: Mapping[str, Any] | None = None, exact: float | None = None
) -> dict[str, Any] | None:
    """Return the entry "coverage" of a sampler, with the `modes` of mode_evidence and the `exact` ln Z; None for one without a
    flow's weights.
    """
    if sampled.log_w is None:
        return None
    log_w = sampled.log_w
    usable = not nan_note(log_w)
    chains = {name: target for name, target in sampled.target_log_w.items() if usable and not nan_note(target)}
    found = statistics.free_energy(log_w)
    return {
        "draws": int(log_w.size),
        "ess": table(statistics.ess_estimate(log_w)),
        "pareto_shape": table(statistics.pareto_shape(log_w) if usable else Estimate(None, None)),
        "error_growth": _finite(statistics.error_growth(log_w)) if usable else None,
        "ln_Z": table(found.model),
        "bias": found.bias,
        "elbo": table(found.elbo),
        "iwae": table(found.iwae),
        "group": found.group,
        "chains": {name: _beside(log_w, target) for name, target in chains.items()},
        "modes": modes,
        "exact": exact,
        "remark": "" if sampled.target_log_w else UNWEIGHED if sampled.kind == "path" else UNSEEN,
    }


def _beside(log_w: numpy.ndarray, target: numpy.ndarray) -> dict[str, Any]:
    found, energy = statistics.coverage_of(log_w, target), statistics.free_energy(log_w, target)
    bounds = {"eubo": energy.eubo, "bridge": energy.bridge, "covered": energy.covered}
    return {
        "configurations": found.configurations,
        "independent": found.independent,
        "above": found.above.value,
        "above_error": found.above.error,
        "far_above": found.far_above,
        "expected": found.expected,
        "ess": found.ess.value,
        "ln_Z": table(found.log_z),
        **{name: table(one or Estimate(None, None)) for name, one in bounds.items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def judged(sampled: Sampled, found: Mapping[str, Any], observables: Mapping[str, Any], remedy: str = "") -> list[str]:
    """Return what is wrong with a flow's sampler, one sentence each: its NaN weights, their tail, what it leaves out.

    `found` is the sampler's `evidence`, `observables` its table in summary.json, where an exact zero is the work of a
    symmetry; `remedy` is what helps against a collapse.
    """
    said = [note] if sampled.log_w is not None and (note := nan_note(sampled.log_w)) else []
    said += _of_tail(found) if found["draws"] >= TAIL else []
    said += mode_evidence.sentences(found.get("modes"), remedy)
    for name, chain in found["chains"].items():
        said += _of_chain(name, chain, found["ln_Z"])
    for name, target in sampled.target_log_w.items():
        if note := nan_note(target):
            said.append(f"configurations of {name} cannot be weighed by the flow: {note}")
    return said + _of_symmetries(observables)


def _of_tail(found: Mapping[str, Any]) -> list[str]:
    shape, growth = found["pareto_shape"], found["error_growth"]
    if shape["value"] is not None and shape["value"] > HEAVY:
        return [
            f"the largest weights have a heavy tail, Pareto shape {shape['value']:.2f} ± {shape['error']:.2f} above {HEAVY}: error "
            "bars of these draws are too small"
        ]
    if growth is not None and growth > GROWTH:
        return [
            f"the error of the weights is {growth:.2f} times what quarters of the draws predict: larger weights turn up as draws "
            "are added, and error bars are too small"
        ]
    return []


def _of_chain(name: str, chain: Mapping[str, Any], log_z: Mapping[str, Any]) -> list[str]:
    """What one chain's configurations say against the flow."""
    n, above = chain["independent"], chain["above"]
    limit = lower_limit(above, n, SIGMAS)
    missed = chain["far_above"] * n >= FAR or (above * n >= FAR and limit > EXPECTED * chain["expected"] + SPARE)
    if missed:
        return [
            f"the flow does not cover the target: {above:.1%} of {chain['configurations']:,} configurations of {name} have weights "
            f"above the largest of all its draws, where {chain['expected']:.1%} were to be expected; averages over its draws "
            "leave these configurations out"
        ]
    other = chain["ln_Z"]
    if log_z["error"] and other["error"] and not log_z["note"] and not other["note"]:
        pull = (other["value"] - log_z["value"]) / math.hypot(log_z["error"], other["error"])
        if abs(pull) > PULLS and abs(other["value"] - log_z["value"]) > APART:
            return [
                f"ln Z of the flow's draws is {log_z['value']:.3f} and of the configurations of {name} {other['value']:.3f}, "
                f"{abs(pull):.1f} standard errors apart: the two do not sample the same configurations"
            ]
    return []


def _of_symmetries(observables: Mapping[str, Any]) -> list[str]:
    said = []
    for name, entry in observables.items():
        if entry["exact"] != 0.0 or entry["value"] is None or not entry["error"]:
            continue
        pull = abs(entry["value"]) / entry["error"]
        if pull > PULLS:
            said.append(
                f"the mean of {name} is {entry['value']:.4g}, {pull:.0f} standard errors from zero, which it is by a symmetry: "
                "part of the target is missing among the draws"
            )
    return said
