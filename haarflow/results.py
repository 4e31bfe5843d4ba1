"""The report's tables: every observable of every sampler against what is known, what it cost, where it comes from."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from haarflow.page import prose, table
from haarflow.settings import Recipe
from haarflow.tables import pull, with_error

SHORT = 20.0  # autocorrelation times of data below which a chain has not seen all of configuration space
STUCK = 0.05  # acceptance below which a chain stands still by its steps, whatever its physics
NAMES = {
    "plaquette": "⟨Re tr U<sub>P</sub>⟩ / N, the plaquette",
    "Q": "⟨Q⟩, topological charge",
    "Q2": "⟨Q²⟩",
    "p_Q0": "p(Q = 0)",
    "polyakov": "Polyakov loop, real part",
    "abs_polyakov": "|Polyakov loop| of a configuration",
    "phi2": "⟨φ²⟩",
    "phi4": "⟨φ⁴⟩",
    "E": "E = ⟨φ(x) φ(x+μ)⟩",
    "abs_m": "⟨|m|⟩, m = mean of φ",
    "chi2": "χ₂ = V ⟨m²⟩",
    "binder": "Binder 1 − ⟨m⁴⟩/3⟨m²⟩²",
    "xi_2": "ξ₂, second-moment correlation length",
    "identity": "⟨φ ∂S/∂φ⟩, which is 1",
}


class Compared(NamedTuple):
    """How far a number is from its yardstick in units of the error: the exact value, or the most precise sampler."""

    sigmas: float | None
    yardstick: str


def compared(samplers: Mapping[str, Any], label: str, name: str) -> Compared:
    """Return a number's distance from the exact value, or where none is known from the most precise other sampler.

    >>> entry = {"value": 1.5, "error": 0.25, "exact": 1.0}
    >>> compared({"hmc": {"observables": {"E": entry}}}, "hmc", "E")
    Compared(sigmas=2.0, yardstick='exact')
    """
    entry = samplers[label]["observables"][name]
    if entry["exact"] is not None:
        return Compared(pull(entry), "exact")
    best = _most_precise(samplers, name)
    if best is None or best == label or not entry["error"]:
        return Compared(None, "reference" if best == label and len(samplers) > 1 else "")
    other = samplers[best]["observables"][name]
    return Compared((entry["value"] - other["value"]) / math.hypot(entry["error"], other["error"]), best)


def _most_precise(samplers: Mapping[str, Any], name: str) -> str | None:
    errors = {
        label: sampler["observables"][name]["error"]
        for label, sampler in samplers.items()
        if sampler["observables"].get(name, {}).get("error") and not sampler["observables"][name].get("note")
    }
    return min(errors, key=lambda label: errors[label]) if errors else None


def grade(sigmas: float | None) -> str:
    """Return the colour class of a distance: good to 2, fair to 3, poor to 4, bad beyond, none where it is not known.

    >>> [grade(x) for x in (-1.9, 2.5, -3.5, 4.1, None)]
    ['good', 'fair', 'poor', 'bad', 'none']
    """
    if sigmas is None or not math.isfinite(sigmas):
        return "none"
    return next((word for limit, word in ((2.0, "good"), (3.0, "fair"), (4.0, "poor")) if abs(sigmas) <= limit), "bad")


def verdict(samplers: Mapping[str, Any]) -> str:
    """Return the page's first lines: how far the worst number is from its exact value, and which samplers do not count.

    A sampler with a series that does not tell its error, or that is shorter than SHORT autocorrelation times, has not
    seen all of configuration space; what else it says is no evidence for or against anything, and is left out.
    """
    silent = {label: why for label, sampler in samplers.items() if (why := _no_evidence(sampler))}
    pulls = [
        (abs(found), label, name)
        for label, sampler in samplers.items()
        if label not in silent
        for name, entry in sampler["observables"].items()
        if (found := pull(entry)) is not None
    ]
    lines = [_worst(pulls)] if pulls else []
    lines += [
        f"<b>{html.escape(label)}</b> {html.escape(why)}. None of its numbers counts here."
        for label, why in silent.items()
    ]
    return "".join(f'<p class="verdict">{line}</p>' for line in lines)


def _no_evidence(sampler: Mapping[str, Any]) -> str:
    """Why a sampler's numbers do not count, or nothing where they do."""
    acceptance, entries = sampler.get("acceptance"), sampler["observables"]
    if acceptance is not None and acceptance < STUCK:
        return f"accepted {acceptance:.1%} of its steps"
    if silent := [name for name, entry in entries.items() if entry["error"] is None]:
        return f"gives no error bar for {', '.join(silent)}: a series that does not move tells no error"
    name, slowest = max(((name, entry["tau_int"] or 0.0) for name, entry in entries.items()), key=lambda pair: pair[1])
    if sampler["samples"] < SHORT * slowest:
        return (
            f"is {sampler['samples'] / slowest:.0f} autocorrelation times of {name} long: not enough to tell an error"
        )
    return ""


def _worst(pulls: list[tuple[float, str, str]]) -> str:
    size, label, name = max(pulls)
    beyond = sum(found > 3.0 for found, *_ in pulls)
    count = "One number has an exact value." if len(pulls) == 1 else f"{len(pulls)} numbers have exact values."
    where = f"The farthest is {size:.1f} standard errors off ({html.escape(name)} by {html.escape(label)})"
    if size > 4.0:
        return f'{count} {beyond} beyond 3. <b class="bad">{where}: do not trust this before it is understood.</b>'
    return f"{count} <b>{where}</b>; {beyond or 'none'} beyond 3."


KEY = """<p class="key"><span class="good">within 2σ</span> <span class="fair">2 to 3σ</span>
<span class="poor">3 to 4σ</span> <span class="bad">beyond 4σ</span> <span class="none">no error bar</span></p>"""
NUMBERS = """value(error): one standard error on the last two digits, by the Gamma method (Wolff, hep-lat/0306017) with
    autocorrelations included; for weighted draws from the spread of the weights. Beneath: the distance from the exact
    value in units of the error, the pull, or, where nothing exact is known, from the most precise sampler; and τ_int in
    draws (1/2: independent). One pull in 22 lies beyond 2σ by luck, one in 370 beyond 3σ; the observables of one
    sampler share their draws, so their pulls go together."""
COST = """ESS: (Σw)²/(n Σw²) of the weights for flows, 1/(2τ_int) of the slowest observable above for chains. Effective
    samples: samples/(2τ_int) of the slowest observable for every Markov chain, ESS × samples for weighted draws;
    unknown where one is frozen. CPU seconds of the process, compilation and warm-up included, training not."""
COSTS = (
    "sampler",
    "acceptance",
    "ESS",
    "samples",
    "effective samples",
    "CPU s",
    "samples / CPU s",
    "effective / CPU s",
)


def observables_table(samplers: Mapping[str, Any]) -> tuple[str, str]:
    """Return the table of observables, with its notes, and the words that explain it."""
    names = list(dict.fromkeys(name for sampler in samplers.values() for name in sampler["observables"]))
    notes: dict[str, int] = {}
    rows = [
        [_named(name), _exact(samplers, name), *(_cell(samplers, label, name, notes) for label in samplers)]
        for name in names
    ]
    body = table(["observable", "exact", *map(html.escape, samplers)], rows, "observables")
    if notes:
        body += '<ol class="notes">' + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ol>"
    return body + KEY, prose(NUMBERS)


def _named(name: str) -> str:
    if name.startswith("wilson_"):
        return f"Wilson loop {html.escape(name.removeprefix('wilson_').replace('x', '×'))}"
    return NAMES.get(name, html.escape(name))


def _exact(samplers: Mapping[str, Any], name: str) -> str:
    exact = next((s["observables"][name]["exact"] for s in samplers.values() if name in s["observables"]), None)
    return "–" if exact is None else f"{exact:.8g}"


def _cell(samplers: Mapping[str, Any], label: str, name: str, notes: dict[str, int]) -> str:
    entry = samplers[label]["observables"].get(name)
    if entry is None:
        return "–"
    found = compared(samplers, label, name)
    mark = ""
    if entry.get("note"):
        number = notes.setdefault(entry["note"], len(notes) + 1)
        mark = f"<sup>{number}</sup>"
    says = [_distance(found)] if found.yardstick else []
    says.append(f"τ {entry['tau_int']:.3g}" if entry["tau_int"] is not None else "τ not known")
    value = _value(entry)
    small = " · ".join(filter(None, says))
    colour = "plain" if found.yardstick == "reference" else grade(found.sigmas)
    return f'<td class="{colour}"><b>{value}</b>{mark}<br><small>{small}</small></td>'


def _value(entry: Mapping[str, Any]) -> str:
    """value(error), or four digits of a value whose error is not known."""
    known = entry["value"] is not None and entry["error"]
    text = with_error(entry["value"], entry["error"]) if known else _number(entry["value"], ".4g")
    return html.escape(text).replace("-", "−")


def _distance(found: Compared) -> str:
    if found.yardstick == "reference":
        return "the yardstick"
    if found.sigmas is None:
        return ""
    sign = "+" if found.sigmas >= 0 else "−"
    return f"{sign}{abs(found.sigmas):.1f}σ" + (
        "" if found.yardstick == "exact" else f" from {html.escape(found.yardstick)}"
    )


def cost_table(
    samplers: Mapping[str, Any], training: Mapping[str, Any] | None, fit: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Return what every sampler cost and gave, and the words that explain it."""
    rows = [[html.escape(label), *_costs(sampler)] for label, sampler in samplers.items()]
    words = "Nothing was trained in this run."
    if training:
        ess = "" if training["ess"] is None else f", where the ESS of a batch was {training['ess']:.3f}"
        words = f"Training: {training['steps']:,} steps in {training['cpu_s']:.1f} CPU s{ess}."
    if fit and not fit["samples"]:
        words = f"Nothing was fitted: the flow is Luescher's series, {fit['numbers']} numbers."
    elif fit:
        words = (
            f"Fit: {fit['numbers']} numbers by least squares from {fit['samples']:,} heat-bath samples, "
            f"in {fit['cpu_s']:.1f} CPU s."
        )
    return table(COSTS, rows, "costs"), prose(f"{COST} {words}")


def effective_samples(sampler: Mapping[str, Any]) -> float | None:
    """Return how many independent draws of e^{-S} a sampler's draws are worth, None where one observable is frozen.

    >>> effective_samples({"kind": "hmc", "samples": 100, "observables": {"E": {"tau_int": 5.0}}})
    10.0
    """
    if sampler["kind"] == "flow-reweighting":
        return None if sampler["ess"] is None else sampler["ess"] * sampler["samples"]
    slowest = [entry["tau_int"] for entry in sampler["observables"].values()]
    if not slowest or None in slowest:
        return None
    return sampler["samples"] * min(1.0, 1.0 / (2.0 * max(slowest)))


def _costs(sampler: Mapping[str, Any]) -> list[str]:
    share, samples, cpu = sampler["ess"], sampler["samples"], sampler["cpu_s"]
    effective = effective_samples(sampler)
    return [
        _number(sampler["acceptance"], ".3f"),
        _number(share, ".3f", "unknown"),
        f"{samples:,}",
        _number(effective, ",.0f", "unknown"),
        _number(cpu, ".1f"),
        _number(sampler["samples_per_cpu_s"], ",.0f"),
        _number(effective / cpu if effective is not None and cpu else None, ",.0f", "unknown"),
    ]


def _number(value: float | None, form: str, absent: str = "–") -> str:
    return absent if value is None else format(value, form)


def origin_table(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    """Return what was run on what."""
    flow = recipe.flow or ({"model": recipe.model} if recipe.model else {})
    words = " ".join(f"{name}={value}" for name, value in flow.items() if name not in ("kind", "model"))
    rows = [
        ["recipe", html.escape(summary["recipe"])],
        ["flow", html.escape(f"{flow.get('kind') or flow.get('model') or 'none'} {words}".strip())],
        [
            "backend",
            html.escape(f"{summary['backend']} on {recipe.run.device or 'its default device'}, {recipe.run.dtype}"),
        ],
        ["seed", str(summary["seed"])],
        ["versions", html.escape(", ".join(f"{name} {version}" for name, version in summary["versions"].items()))],
    ]
    return table(["", ""], rows, "origin")
