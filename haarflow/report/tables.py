"""The report's tables: the observables of every sampler beside the exact values, the cost, and the provenance."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from haarflow.report import coverage, free_energy, replicas
from haarflow.report.columns import shown
from haarflow.report.html import piece, prose, table
from haarflow.report.text import tuning, with_error
from haarflow.report.verdict import Line, between, pull, trusted
from haarflow.report.verdict import verdict as judged
from haarflow.results.chain_evidence import warnings_of
from haarflow.run.settings import Recipe


class Compared(NamedTuple):
    """The distance of a value from a reference, the exact value or the most precise sampler, in units of the error."""

    sigmas: float | None
    yardstick: str


def compared(samplers: Mapping[str, Any], label: str, name: str) -> Compared:
    """Return a value's distance from the exact value, or from the most precise other sampler if none is known.

    A sampler that is not to be trusted is compared with nothing.

    >>> entry = {"value": 1.5, "error": 0.25, "exact": 1.0, "tau_int": 0.5}
    >>> compared({"hmc": {"kind": "hmc", "observables": {"E": entry}}}, "hmc", "E")
    Compared(sigmas=2.0, yardstick='exact')
    """
    entry = samplers[label]["observables"][name]
    if warnings_of(samplers[label]):
        return Compared(None, "")
    if entry["exact"] is not None:
        return Compared(pull(entry), "exact")
    best = _most_precise(trusted(samplers), name)
    if best is None or best == label or not entry["error"]:
        return Compared(None, "reference" if best == label and len(samplers) > 1 else "")
    return Compared(between(entry, samplers[best]["observables"][name]), best)


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


def verdict(samplers: Mapping[str, Any]) -> Markup:
    """Return the page's first lines: the verdict on all numbers."""
    return piece("verdict", [_line(line) for line in judged(samplers)])


def _line(line: Line) -> str:
    return piece("strong", line.text, "bad") if line.grave else line.text


NUMBERS = """value(error): one standard error on the last two digits, by the Gamma method (Wolff, hep-lat/0306017) with
    autocorrelations included; for weighted draws from the variance of the weights. Below it: the pull, which is the
    distance from the exact value (or from the most precise sampler if no exact value is known) in units of the error; and
    τ_int in draws (1/2: independent). One pull in 22 exceeds 2σ by chance, one in 370 exceeds 3σ; the observables of one
    sampler come from the same draws, so their pulls are correlated."""
COST = """ESS: (Σw)²/(n Σw²) of the weights for flows, 1/(2τ_int) of the slowest observable above for chains. Effective
    samples: samples/(2τ_int) of the slowest observable for every Markov chain, ESS × samples for weighted draws;
    unknown if the sampler is not to be trusted. CPU seconds are those of the process, with compilation and warm-up but without
    training."""


def observables_table(samplers: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[Markup, str]:
    """Return the table of observables under their `labels`, with its notes, and its caption."""
    names = list(dict.fromkeys(name for sampler in samplers.values() for name in sampler["observables"]))
    notes: dict[str, int] = {}
    rows = [
        [_named(name, labels), _exact(samplers, name), *(_cell(samplers, label, name, notes) for label in samplers)]
        for name in names
    ]
    body = table(["observable", "exact", *samplers], rows, "observables")
    return body + piece("notes", notes) + piece("key"), prose(NUMBERS)


def _named(name: str, labels: Mapping[str, str]) -> str:
    """The theory's label of an observable, with the index of `U_P` as a subscript."""
    return piece("indexed", re.split(r"_([A-Z])\b", labels[name])) if name in labels else name


def _exact(samplers: Mapping[str, Any], name: str) -> str:
    exact = next((s["observables"][name]["exact"] for s in samplers.values() if name in s["observables"]), None)
    return "–" if exact is None else f"{exact:.8g}"


def _cell(samplers: Mapping[str, Any], label: str, name: str, notes: dict[str, int]) -> str:
    entry = samplers[label]["observables"].get(name)
    if entry is None:
        return "–"
    found = compared(samplers, label, name)
    mark = notes.setdefault(entry["note"], len(notes) + 1) if entry.get("note") else None
    says = [_distance(found)] if found.yardstick else []
    says.append(f"τ {_tau(entry)}" if entry["tau_int"] is not None else "τ unknown")
    value = _value(entry)
    small = " · ".join(filter(None, says))
    colour = "plain" if found.yardstick == "reference" else grade(found.sigmas)
    return piece("cell", colour, value, mark, small)


def _tau(entry: Mapping[str, Any]) -> str:
    """The autocorrelation time with its error, without one for weighted draws and in older summaries."""
    error = entry.get("tau_error")
    return with_error(entry["tau_int"], error) if error else f"{entry['tau_int']:.3g}"


def _value(entry: Mapping[str, Any]) -> str:
    """value(error), or four digits of a value whose error is unknown."""
    known = entry["value"] is not None and entry["error"]
    text = with_error(entry["value"], entry["error"]) if known else _number(entry["value"], ".4g")
    return text.replace("-", "−")


def _distance(found: Compared) -> str:
    if found.yardstick == "reference":
        return "the reference"
    if found.sigmas is None:
        return ""
    sign = "+" if found.sigmas >= 0 else "−"
    return f"{sign}{abs(found.sigmas):.1f}σ" + ("" if found.yardstick == "exact" else f" from {found.yardstick}")


def cost_table(
    samplers: Mapping[str, Any], training: Mapping[str, Any] | None, fit: Mapping[str, Any] | None = None
) -> tuple[Markup, str]:
    """Return the cost table of the samplers and its caption."""
    columns = shown(samplers.values())
    rows = [[label, *(column.cell(sampler) for column in columns)] for label, sampler in samplers.items()]
    head = ["sampler", *(column.head for column in columns)]
    words = "No flow was trained in this run."
    if training:
        ess = "" if training["ess"] is None else f", where the ESS of a batch was {training['ess']:.3f}"
        words = f"Training: {training['steps']:,} steps in {training['cpu_s']:.1f} CPU s{ess}."
        words += f" {tuned[0].upper()}{tuned[1:]}." if (tuned := tuning(training)) else ""
    if fit and not fit["samples"]:
        words = f"No fit: the flow is Lüscher's series with {fit['numbers']} coefficients."
    elif fit:
        words = (
            f"Fit: {fit['numbers']} coefficients by least squares from {fit['samples']:,} heat-bath samples, "
            f"in {fit['cpu_s']:.1f} CPU s."
        )
    return table(head, rows, "costs"), prose(f"{COST} {words}")


COVERAGE = """Above: the share of the chain's configurations whose weight exceeds the largest of the flow's draws; expected: the
    share that the flow's own weights let expect. ESS of target = Z/E_p[w], from the chain's configurations; it is close to the ESS
    where the flow leaves nothing out. Pareto shape: of the largest weights; above 0.7 error bars are not reliable
    (arXiv:1507.02646). Error growth: the error of all draws over what quarters of them predict. A number with an exclamation mark
    is not supported by its draws; the list says why."""


def coverage_table(samplers: Mapping[str, Any]) -> tuple[Markup, str]:
    """Return the table of what the flows cover, with its remarks, and its caption; nothing where there is no flow."""
    rows = coverage.rows(samplers)
    if not rows:
        return Markup(), ""
    return table(coverage.HEAD, rows, "coverage") + piece("remarks", coverage.remarks(samplers)), prose(COVERAGE)


FREE_ENERGY = """ELBO = ⟨log w⟩ and IWAE = ⟨log of the mean w of {group} draws⟩ over the flow's draws lie below ln Z, EUBO = ⟨log w⟩ over
    the chain's configurations above it; EUBO − ELBO is the sum of both KL divergences. ln Z: from the flow's draws, ln mean w, with
    its bias −(1/ESS − 1)/2n, and from the chain, −ln mean 1/w, which is right even where the flow leaves a part out. Bennett: from
    both, by the bridge that weighs each draw by where it is of use, the best of all. Mass covered = exp(ln Z − ln Z of chain), the
    share of the target that the flow's draws know of."""
MODES = """Modes: what {name} tells apart, by its {by}. Shares of the flow's draws, of their weight, which estimates the target's,
    and of the chain's configurations, whose error counts a chain that never leaves its mode once."""


def free_energy_table(samplers: Mapping[str, Any]) -> tuple[Markup, str]:
    """Return the tables of ln Z by the flows' weights and of modes, and their caption; nothing where there is no flow."""
    rows, (head, modes) = free_energy.rows(samplers), free_energy.mode_table(samplers)
    if not rows:
        return Markup(), ""
    entries = [sampler["coverage"] for sampler in samplers.values() if sampler.get("coverage")]
    words = FREE_ENERGY.format(group=entries[0]["group"])
    body = table(free_energy.HEAD, rows, "coverage")
    if modes:
        found = next(entry["modes"] for entry in entries if entry.get("modes"))
        body += table(head, modes, "coverage")
        words = f"{words} {MODES.format(name=found['observable'], by=found['by'])}"
    return body, prose(words)


REPLICAS = """One row for each replica's couplings; the numbers above are those of the replica at the recipe's. Swaps: the share of
    exchanges with the next replica that were accepted. In brackets: the distance from the exact value. Distribution: the largest
    distance of the probabilities of the values from the exact ones, of how many. A round trip leads a configuration from the first
    couplings to the last and back."""


def replicas_table(samplers: Mapping[str, Any]) -> tuple[Markup, str]:
    """Return the table of replica exchange and its caption; nothing where there is none."""
    rows = replicas.rows(samplers)
    if not rows:
        return Markup(), ""
    return table(replicas.head(samplers), rows, "coverage") + piece("remarks", replicas.remarks(samplers)), prose(
        REPLICAS
    )


def _number(value: float | None, form: str, absent: str = "–") -> str:
    return absent if value is None else format(value, form)


def origin_table(recipe: Recipe, summary: Mapping[str, Any]) -> Markup:
    """Return what was run, and on which backend and versions."""
    flow = recipe.flow or ({"model": recipe.model} if recipe.model else {})
    words = " ".join(f"{name}={value}" for name, value in flow.items() if name not in ("kind", "model"))
    rows = [
        ["recipe", summary["recipe"]],
        ["flow", f"{flow.get('kind') or flow.get('model') or 'none'} {words}".strip()],
        ["backend", f"{summary['backend']} on {recipe.run.device or 'its default device'}, {recipe.run.dtype}"],
        ["seed", str(summary["seed"])],
        *[[name, text] for name, text in _made(summary.get("provenance") or {}).items()],
        ["versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())],
    ]
    return table(["", ""], rows, "origin")


def _made(found: Mapping[str, Any]) -> dict[str, str]:
    """When, where and from which source the run was made, as far as its summary says so."""
    said = {name: str(found[name]) for name in ("date", "host", "commit") if found.get(name)}
    return said | ({"wall time": f"{found['wall_s']:,.1f} s"} if "wall_s" in found else {})
