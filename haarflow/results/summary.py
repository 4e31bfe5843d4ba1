"""From an ensemble to its results: observables with error, tau_int, exact value, and each sampler's figures.

summary.json is a stable interface:

    {"recipe", "versions", "backend", "seed", "theory": {"name", "n", couplings...}, "lattice": [...],
     "training": {"steps", "cpu_s", "ess", "fine_tuning": a `FineTuneLine` if it started from a model} or null,
     "fit": {"samples", "numbers", "couplings", "residuals", "integration", "spread", "lattice", "cpu_s"} if a flow was fitted,
     "thermodynamics": see results/thermodynamics.py, if the recipe asks for it,
     "samplers": {NAME: {"kind", "acceptance", "ess", "cpu_s", "samples", "samples_per_cpu_s",
                         "exp_minus_dH": {"value", "error"} of HMC, over steps with |dH| < 2, "hits": share of accepted flux hits,
                         "tuning": {"step_size", "steps", "acceptance", "target"} if the warm-up tuned HMC,
                         "warnings": [SENTENCE, ...], "coverage": see weight_evidence, for flows,
                         "replicas": see replica_evidence, for replica exchange,
                         "observables": {NAME: {"value", "error", "tau_int", "tau_error", "exact", "inside", "note"}}}},
     "provenance": {"date", "host", "commit", "wall_s"}}

`ess` is the weights' ESS in (0, 1] for flows and 1/(2 tau_int) of the slowest observable for chains, null if one is
frozen; `acceptance` is null for heat bath and reweighting; `cpu_s` is process seconds, compilation and warm-up
included. `inside` is there only if a value is a mean over the draws where the observable of this name is 1. Observables whose mean is zero by a symmetry that the theory declares are always among them. A `note` is there
only if a value needs an explanation: a frozen or constant series has `tau_int` null and says why. `warnings` say why
none of a sampler's numbers is to be trusted; each of them then has a note. `provenance` is about the process that
finished the run; all else is the same for the same recipe, interrupted or not, but for CPU seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate, Weights
from haarflow.core.statistics.effective import nan_note
from haarflow.core.untrusted import parsed_toml
from haarflow.results import (
    chain_evidence,
    ensemble,
    mode_evidence,
    populations,
    replica_evidence,
    sign_evidence,
    thermodynamics,
    weight_evidence,
)
from haarflow.results.ensemble import Ensemble, Sampled
from haarflow.run import advice, recipes
from haarflow.run.own import NOTHING, Own
from haarflow.run.records import Log
from haarflow.run.target import Target, target_of

CUT = 2.0  # of |dH|, see _steps


def summarise(target: Target, found: Ensemble, log: Log) -> dict[str, Any]:
    """Return the contents of summary.json, from an ensemble and the run's log."""
    recipe, samplers = target.recipe, {}
    for name in recipe.samplers:
        tuning = log.tuning(name)
        samplers[name] = _sampler(target, found.samplers, name, log.cpu_s(name))
        if tuning is not None:
            samplers[name]["tuning"] = {word: value for word, value in tuning._asdict().items() if word != "sampler"}
    return {
        "recipe": recipe.name,
        "versions": recipe.versions,
        "backend": recipe.run.backend,
        "seed": recipe.seed,
        "theory": target.words,
        "lattice": list(recipe.lattice),
        "training": training_figures(log),
        **({"fit": log.fit._asdict()} if log.fit else {}),
        **({"thermodynamics": thermodynamics.evidence(target, log.thermodynamics)} if log.thermodynamics else {}),
        "samplers": samplers,
    }


def training_figures(log: Log) -> dict[str, Any] | None:
    """Return {"steps", "cpu_s", "ess"} of the last chunk of training, or None if nothing was trained."""
    last = log.trained
    if last is None:
        return None
    tuned = {} if log.fine_tune is None else {"fine_tuning": log.fine_tune._asdict()}
    return {"steps": last.step, "cpu_s": last.cpu_s, "ess": last.ess, **tuned}


def _sampler(target: Target, samplers: Mapping[str, Sampled], name: str, cpu_s: float) -> dict[str, Any]:
    sampled = samplers[name]
    units = populations.independent(sampled)
    table = observables(target, units)
    first = next(iter(sampled.observables.values()))
    samples = int(first.shape[0] * first.shape[1])
    chains = {label: other for label, other in samplers.items() if other.log_w is None}
    modes = mode_evidence.evidence(target.theory, sampled, chains)
    coverage = weight_evidence.evidence(units, modes, target.exact.get("ln_Z"))
    acceptance = None if sampled.accepted is None else float(numpy.mean(sampled.accepted))
    warnings = (
        []
        if coverage is None
        else weight_evidence.judged(units, coverage, table, advice.against_collapse(target, name))
    )
    if coverage:
        warnings += advice.said(target, int(coverage["draws"]), coverage["ess"]["value"], acceptance)
    entry = {
        "kind": sampled.kind,
        "acceptance": acceptance,
        **_steps(sampled),
        "ess": _ess(units, table, samples),
        "cpu_s": cpu_s,
        "samples": samples,
        "samples_per_cpu_s": samples / cpu_s if cpu_s > 0 else None,
        "observables": table,
        **({} if coverage is None else {"coverage": coverage}),
    }
    ladder = replica_evidence.evidence(target, target.recipe.samplers[name], sampled)
    if ladder is not None:
        entry, warnings = entry | {"replicas": ladder}, warnings + replica_evidence.judged(ladder)
    warnings += sign_evidence.judged(name, samplers)
    return chain_evidence.marked({**entry, "warnings": chain_evidence.judged(entry) + warnings})


def _steps(sampled: Sampled) -> dict[str, Any]:
    """What a chain's steps tell of themselves: <e^{-dH}> with its error, and the share of accepted flux hits.

    A reversible map makes it 1 over the steps with |dH| < CUT, whatever the cut; a trajectory that ends beyond has a
    partner with the opposite dH, too rare to be drawn, without which the mean over all steps comes out too small.
    """
    found: dict[str, Any] = {}
    if "dH" in sampled.steps:
        inside = numpy.abs(sampled.steps["dH"]) < CUT
        weights = numpy.exp(-numpy.where(inside, sampled.steps["dH"], 0.0)) * inside
        estimate = Estimate(None, None)
        if inside.any():
            estimate = statistics.gamma_method([weights, inside.astype(float)], lambda a, b: a / b)
        found["exp_minus_dH"] = {"value": estimate.value, "error": estimate.error}
    if "hits" in sampled.steps:
        found["hits"] = float(numpy.mean(sampled.steps["hits"]))
    return found


def warnings(target: Target, samplers: Mapping[str, Sampled], name: str) -> list[str]:
    """Return why a sampler's numbers are not to be trusted, one sentence each."""
    found: list[str] = _sampler(target, samplers, name, 0.0)["warnings"]
    return found


def _ess(sampled: Sampled, table: dict[str, dict[str, Any]], samples: int) -> float | None:
    """The share of the draws that independent ones would need; a population counts as one."""
    if sampled.log_w is not None:
        value = statistics.ess_estimate(sampled.log_w).value
        return None if value is None else value * sampled.log_w.size / samples
    slowest = [entry["tau_int"] for entry in table.values() if not entry.get("inside")]
    if not slowest or any(tau is None for tau in slowest):
        return None
    return min(1.0, 1.0 / (2.0 * max(slowest)))


def observables(target: Target, sampled: Sampled) -> dict[str, dict[str, Any]]:
    """Return a sampler's observables, each with value, error, tau_int, exact value and, where needed, a note."""
    theory, table = target.theory, {}
    odd = described(theory).symmetries.odd  # their means are zero
    zeros = {word: 0.0 for name in odd for word in (name, f"{name}.re", f"{name}.im") if word in sampled.observables}
    exact = zeros | _real_numbers(target.exact)
    names = _names(sampled, described(theory).part("summary") or tuple(sampled.observables))
    weights = statistics.weights_of(sampled.log_w) if sampled.log_w is not None and sampled.weighted else None
    derived = described(theory).part("derived") or {}
    inside = {name: one.inside for name, one in derived.items() if one.inside}
    older = {name for name in inside if not set(derived[name].ingredients) <= set(sampled.observables)}  # a file's
    for name in dict.fromkeys(one for one in [*names, *zeros] if one not in older):
        estimate = estimate_of(theory, sampled, name, weights)
        if estimate is not None:
            table[name] = {
                "value": estimate.value,
                "error": estimate.error,
                "tau_int": estimate.tau_int,
                "tau_error": estimate.tau_error,
                "exact": None if exact.get(name) is None else float(exact[name]),
                **({"inside": inside[name]} if name in inside else {}),
                **({"note": estimate.note} if estimate.note else {}),
            }
    return table


def _names(sampled: Sampled, names: tuple[str, ...]) -> list[str]:
    """The names of a report, a complex observable's as its real and its imaginary part."""
    pairs = [(f"{name}.re", f"{name}.im") if f"{name}.re" in sampled.observables else (name,) for name in names]
    return [name for pair in pairs for name in pair]


def _real_numbers(exact: Mapping[str, Any]) -> dict[str, Any]:
    """Exact values by name, complex ones also by the names of their parts."""
    parts = {
        f"{name}.{part}": value
        for name, number in exact.items()
        if isinstance(number, complex)
        for part, value in (("re", number.real), ("im", number.imag))
    }
    return {**exact, **parts}


def estimate_of(theory: Any, sampled: Sampled, name: str, weights: Weights | None = None) -> Estimate | None:
    """Return the estimate of a primary or derived observable; None for one that is not a number.

    `weights` are those of weighted draws, for a caller who has them from another observable.
    """
    derived = (described(theory).part("derived") or {}).get(name)
    ingredients = (name,) if derived is None else derived.ingredients
    if complex_ones := [word for word in ingredients if f"{word}.re" in sampled.observables]:
        raise ValueError(
            f"{name} is formed of {complex_ones[0]}, which is complex: form it of {complex_ones[0]}.re and "
            f"{complex_ones[0]}.im"
        )
    series = [sampled.observables[word].astype(float) for word in ingredients]
    if any(one.ndim != 2 for one in series):
        return None
    if sampled.log_w is not None and (note := nan_note(sampled.log_w)):
        return Estimate(None, None, note=note)
    function = None if derived is None else derived.function
    if derived is not None and derived.inside:
        inside = sampled.observables[derived.inside].astype(float)
        given = sampled.log_w if weights is None else weights
        return statistics.within(derived.function, series, inside, given if sampled.weighted else None)
    if sampled.weighted:
        return _reweighted(sampled.log_w if weights is None else weights, series, function)
    return statistics.gamma_method(series[0]) if function is None else statistics.gamma_method(series, function)


def _reweighted(weights: Any, series: list[numpy.ndarray], function: Callable[..., Any] | None) -> Estimate:
    if function is None:
        return statistics.reweight(weights, series[0])
    return statistics.reweight_derived(function, weights, *series)


def target_in(path: str | Path, found: Ensemble, own: Own = NOTHING) -> Target:
    """Return the target of the recipe that an ensemble file holds."""
    return target_of(recipes.check(parsed_toml(path, found.recipe), own))


def measured(path: str | Path, own: Own = NOTHING) -> dict[str, Any]:
    """Return the analysis of an ensemble file, {"theory", "lattice", "samplers": {...}}.

    Raises EnsembleError for a file that is not an ensemble.
    """
    found = ensemble.read(path)
    target = target_in(path, found, own)
    samplers = {name: _sampler(target, found.samplers, name, 0.0) for name in found.samplers}
    for entry in samplers.values():
        del entry["cpu_s"], entry["samples_per_cpu_s"]
    theory = {"name": found.theory, **found.couplings}
    return {"theory": theory, "lattice": list(found.lattice), "samplers": samplers}
