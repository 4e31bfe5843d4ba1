"""The report's tables: the observables of every sampler beside the exact values, the cost, and the provenance."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from haarflow.report.columns import COLUMNS
from haarflow.report.html import prose, table
from haarflow.report.text import pull, with_error
from haarflow.run.settings import Recipe

SHORT = 20.0  # length in autocorrelation times below which the error of a chain is not reliable
STUCK = 0.05  # acceptance below which a chain is stuck because of its step size


class Compared(NamedTuple):
    """The distance of a value from a reference, the exact value or the most precise sampler, in units of the error."""

    sigmas: float | None
    yardstick: str


def compared(samplers: Mapping[str, Any], label: str, name: str) -> Compared:
    """Return a value's distance from the exact value, or from the most precise other sampler if none is known.

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
    """Return the colour class of a distance: good to 2, fair to 3, poor to 4, bad beyond, none if it is unknown.

    >>> [grade(x) for x in (-1.9, 2.5, -3.5, 4.1, None)]
    ['good', 'fair', 'poor', 'bad', 'none']
    """
    if sigmas is None or not math.isfinite(sigmas):
        return "none"
    return next((word for limit, word in ((2.0, "good"), (3.0, "fair"), (4.0, "poor")) if abs(sigmas) <= limit), "bad")


def verdict(samplers: Mapping[str, Any]) -> str:
    """Return the page's first lines: the largest deviation from an exact value, and which samplers do not count.

    A sampler does not count if the error of an observable cannot be estimated, or if it is shorter than SHORT
    autocorrelation times: it has not explored all of configuration space, so its other values are no evidence either.
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
        f"<b>{html.escape(label)}</b> {html.escape(why)}. Its values are not counted here."
        for label, why in silent.items()
    ]
    return "".join(f'<p class="verdict">{line}</p>' for line in lines)


def _no_evidence(sampler: Mapping[str, Any]) -> str:
    """Why a sampler's values do not count, or nothing if they do."""
    acceptance, entries = sampler.get("acceptance"), sampler["observables"]
    if acceptance is not None and acceptance < STUCK:
        return f"accepted only {acceptance:.1%} of its steps"
    if silent := [name for name, entry in entries.items() if entry["error"] is None]:
        return f"gives no error bar for {', '.join(silent)}: the series never changes, so its error cannot be estimated"
    name, slowest = max(((name, entry["tau_int"] or 0.0) for name, entry in entries.items()), key=lambda pair: pair[1])
    if sampler["samples"] < SHORT * slowest:
        return f"is only {sampler['samples'] / slowest:.0f} autocorrelation times of {name} long, too short for a reliable error"
    return ""


def _worst(pulls: list[tuple[float, str, str]]) -> str:
    size, label, name = max(pulls)
    beyond = sum(found > 3.0 for found, *_ in pulls)
    count = (
        "One value can be compared with an exact result."
        if len(pulls) == 1
        else (f"{len(pulls)} values can be compared with exact results.")
    )
    where = f"The largest deviation is {size:.1f} standard errors ({html.escape(name)} by {html.escape(label)})"
    if size > 4.0:
        return f'{count} {beyond} deviate by more than 3. <b class="bad">{where}: do not trust this run before that is understood.</b>'
    return f"{count} <b>{where}</b>; {beyond or 'none'} deviate by more than 3."


KEY = """<p class="key"><span class="good">within 2σ</span> <span class="fair">2 to 3σ</span>
<span class="poor">3 to 4σ</span> <span class="bad">beyond 4σ</span> <span class="none">no error bar</span></p>"""
NUMBERS = """value(error): one standard error on the last two digits, by the Gamma method (Wolff, hep-lat/0306017) with
    autocorrelations included; for weighted draws from the variance of the weights. Below it: the pull, which is the
    distance from the exact value (or from the most precise sampler if no exact value is known) in units of the error; and
    τ_int in draws (1/2: independent). One pull in 22 exceeds 2σ by chance, one in 370 exceeds 3σ; the observables of one
    sampler come from the same draws, so their pulls are correlated."""
COST = """ESS: (Σw)²/(n Σw²) of the weights for flows, 1/(2τ_int) of the slowest observable above for chains. Effective
    samples: samples/(2τ_int) of the slowest observable for every Markov chain, ESS × samples for weighted draws;
    unknown if an observable is frozen. CPU seconds are those of the process, with compilation and warm-up but without
    training."""


def observables_table(samplers: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the table of observables under their `labels`, with its notes, and its caption."""
    names = list(dict.fromkeys(name for sampler in samplers.values() for name in sampler["observables"]))
    notes: dict[str, int] = {}
    rows = [
        [_named(name, labels), _exact(samplers, name), *(_cell(samplers, label, name, notes) for label in samplers)]
        for name in names
    ]
    body = table(["observable", "exact", *map(html.escape, samplers)], rows, "observables")
    if notes:
        body += '<ol class="notes">' + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ol>"
    return body + KEY, prose(NUMBERS)


def _named(name: str, labels: Mapping[str, str]) -> str:
    """The theory's label of an observable, with the index of `U_P` as a subscript."""
    return re.sub(r"_([A-Z])\b", r"<sub>\1</sub>", html.escape(labels[name])) if name in labels else html.escape(name)


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
    says.append(f"τ {_tau(entry)}" if entry["tau_int"] is not None else "τ unknown")
    value = _value(entry)
    small = " · ".join(filter(None, says))
    colour = "plain" if found.yardstick == "reference" else grade(found.sigmas)
    return f'<td class="{colour}"><b>{value}</b>{mark}<br><small>{small}</small></td>'


def _tau(entry: Mapping[str, Any]) -> str:
    """The autocorrelation time with its error, without one for weighted draws and in older summaries."""
    error = entry.get("tau_error")
    return with_error(entry["tau_int"], error) if error else f"{entry['tau_int']:.3g}"


def _value(entry: Mapping[str, Any]) -> str:
    """value(error), or four digits of a value whose error is unknown."""
    known = entry["value"] is not None and entry["error"]
    text = with_error(entry["value"], entry["error"]) if known else _number(entry["value"], ".4g")
    return html.escape(text).replace("-", "−")


def _distance(found: Compared) -> str:
    if found.yardstick == "reference":
        return "the reference"
    if found.sigmas is None:
        return ""
    sign = "+" if found.sigmas >= 0 else "−"
    return f"{sign}{abs(found.sigmas):.1f}σ" + (
        "" if found.yardstick == "exact" else f" from {html.escape(found.yardstick)}"
    )


def cost_table(
    samplers: Mapping[str, Any], training: Mapping[str, Any] | None, fit: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Return the cost table of the samplers and its caption."""
    rows = [[html.escape(label), *(column.cell(sampler) for column in COLUMNS)] for label, sampler in samplers.items()]
    head = ["sampler", *(column.head for column in COLUMNS)]
    words = "No flow was trained in this run."
    if training:
        ess = "" if training["ess"] is None else f", where the ESS of a batch was {training['ess']:.3f}"
        words = f"Training: {training['steps']:,} steps in {training['cpu_s']:.1f} CPU s{ess}."
    if fit and not fit["samples"]:
        words = f"No fit: the flow is Lüscher's series with {fit['numbers']} coefficients."
    elif fit:
        words = (
            f"Fit: {fit['numbers']} coefficients by least squares from {fit['samples']:,} heat-bath samples, "
            f"in {fit['cpu_s']:.1f} CPU s."
        )
    return table(head, rows, "costs"), prose(f"{COST} {words}")


def _number(value: float | None, form: str, absent: str = "–") -> str:
    return absent if value is None else format(value, form)


def origin_table(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    """Return what was run, and on which backend and versions."""
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
        *[[name, html.escape(text)] for name, text in _made(summary.get("provenance") or {}).items()],
        ["versions", html.escape(", ".join(f"{name} {version}" for name, version in summary["versions"].items()))],
    ]
    return table(["", ""], rows, "origin")


def _made(found: Mapping[str, Any]) -> dict[str, str]:
    """When, where and from which source the run was made, as far as its summary says so."""
    said = {name: str(found[name]) for name in ("date", "host", "commit") if found.get(name)}
    return said | ({"wall time": f"{found['wall_s']:,.1f} s"} if "wall_s" in found else {})
