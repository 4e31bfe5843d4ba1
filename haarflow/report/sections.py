"""The pictures of a run with the words under them: what is drawn, in which units, and what to look for."""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.report import figures
from haarflow.report.figures import Bar, Panel
from haarflow.report.html import Section, picture, prose
from haarflow.report.run_data import Run
from haarflow.report.tables import STUCK
from haarflow.run.ensemble import Ensemble, Sampled

# ---- history


def history(run: Run) -> Section:
    """Return the histories of the slowest quantity, all samplers over the same axes."""
    name = history_of(run.found)
    shown = [_panel(run, label, name) for label in run.summary["samplers"]]
    exact = run.target.distribution(name)
    says = f"history of {name} for {', '.join(panel.name for panel in shown)}"
    wide = picture(figures.history(shown, name, exact), "wide", says, "wide")
    narrow = picture(figures.history(shown, name, exact, wide=False), "narrow", says, "narrow")
    captions = "".join(f"<li><b>{panel.name}</b>: {panel.caption}</li>" for panel in shown)
    body = f'{wide}{narrow}<ul class="narrow">{captions}</ul>'
    return Section(f"Does {name} move?", body, _history_words(name, shown, exact is not None))


def history_svg(run: Run, draws: int = 2000) -> str:
    """Return the histories alone, as an SVG file's text."""
    name = history_of(run.found)
    shown = [_panel(run, label, name) for label in run.summary["samplers"]]
    return figures.history(shown, name, run.target.distribution(name), draws)


def history_of(found: Ensemble) -> str:
    """Return the observable whose history tells most: the charge, the magnetisation, the plaquette, or the first there is."""
    series = next(iter(found.samplers.values())).observables
    scalar = [name for name, values in series.items() if values.ndim == 2]
    return next((name for name in ("Q", "m", "plaquette") if name in scalar), scalar[0])


def _panel(run: Run, label: str, name: str) -> Panel:
    sampled, entry = run.found.samplers[label], run.summary["samplers"][label]
    series = sampled.observables[name].astype(float).T
    if not sampled.weighted:
        return Panel(label, _chain_caption(entry, series, name), series)
    caption = f"{series.size:,} independent draws, ESS {entry['ess'] or 0.0:.2f}"
    return Panel(label, caption, series, _weights(sampled))


def _weights(sampled: Sampled) -> numpy.ndarray:
    """Weights of mean 1, (draw, chain)."""
    log_w = _log_w(sampled).T
    relative = numpy.exp(log_w - log_w.max()) if numpy.isfinite(log_w.max()) else numpy.ones_like(log_w)
    return relative / relative.mean()


def _log_w(sampled: Sampled) -> numpy.ndarray:
    """Log weights (chain, draw); a NaN counts as a weight of zero."""
    values = numpy.asarray(sampled.log_w, dtype=float)
    return numpy.where(numpy.isnan(values), -math.inf, values)


def _chain_caption(sampler: dict[str, Any], series: numpy.ndarray, name: str) -> str:
    entry, acceptance = sampler["observables"].get(name), sampler["acceptance"]
    draws, chains = series.shape
    changes = int(numpy.sum(numpy.diff(series, axis=0) != 0))
    counted = f"{name} changed {changes:,} time{'s' * (changes != 1)} in " if name == "Q" else ""
    length = f"{chains:,} chains of {draws:,} draws" if chains > 1 else f"{draws:,} draws"
    if acceptance is not None and acceptance < STUCK:
        return f"STUCK: acceptance {acceptance:.3f}, {counted}{length}"
    if changes == 0:
        return f"FROZEN: {counted}{length}"
    if entry is None:
        return f"{counted}{length}"
    known = "not known" if entry["tau_int"] is None else f"= {entry['tau_int']:.3g}"
    return f"{counted}{length}, τ_int {known}"


WHAT = {
    "Q": "Q = (1/2π) Σ wrap(θ_P) is the topological charge, a whole number on every configuration.",
    "m": "m = (1/V) Σ φ(x) is the magnetisation of a configuration; the action does not know its sign.",
}


def _history_words(name: str, shown: list[Panel], exact: bool) -> str:
    chains = [panel.series for panel in shown if panel.weights is None]
    words = [
        WHAT.get(name, f"{name} of each configuration."),
        """All panels share their axes. Left: the first chain in colour; a draw is one proposal of the flow, one
        trajectory of HMC or one sweep of the heat bath (times `thin`), after warm-up. τ_int in draws.""",
    ]
    if any(series.shape[1] > 1 and figures.hardly_moves(series) for series in chains):
        words.append("Grey: up to three more chains where Q hardly moves.".replace("Q", name))
    if len(chains) < len(shown):
        words.append("Dots: independent draws, their area proportional to the weight.")
    words.append("Right: the distribution over all draws of all chains" + ("; circles: exact p(Q)." if exact else "."))
    return prose(" ".join(words))


# ---- the smaller pictures


def small(run: Run) -> list[Section]:
    """Return the smaller pictures, two side by side where there is room: distribution, weights, training."""
    found = [_distribution(run)] if run.summary["samplers"] else []
    flows = [label for label in run.summary["samplers"] if run.found.samplers[label].log_w is not None]
    if flows:
        found.append(_log_weights(run, flows))
    if run.log.train:
        found.append(_training(run))
    if run.summary.get("fit"):
        found.append(_fit(run))
    return found


def _distribution(run: Run) -> Section:
    name = history_of(run.found)
    if name == "Q":
        return _charges(run)
    svg = figures.densities([_panel(run, label, name) for label in run.summary["samplers"]], name)
    words = f"The probability density of {name}: all draws of all chains, weights included."
    return Section(f"How {name} is distributed", picture(svg, "p", f"density of {name}"), words, half=True)


CHARGES = """p(Q): the share of configurations of charge Q, weights included, on a logarithmic scale. Thin lines: one
    standard error by the Gamma method; a bar without one is frozen or empty."""


def _charges(run: Run) -> Section:
    known = run.target.distribution("Q")
    bars = {label: charge_bars(run.found.samplers[label], known) for label in run.summary["samplers"]}
    seen = next(iter(bars.values()))
    exact = {charge: p for charge, p in (known or {}).items() if charge in seen}
    svg = figures.probabilities(bars, exact or None, "Q")
    words = prose(CHARGES + (" Black rules: the exact result." if exact else ""))
    return Section("How often each charge occurs", picture(svg, "p", "probability of each charge"), words, half=True)


def charge_bars(sampled: Sampled, exact: dict[int, float] | None) -> dict[int, Bar]:
    """Return p(Q) with errors for the charges expected more often than once in 10,000, or else all that are seen."""
    charges = numpy.round(sampled.observables["Q"].astype(float)).T
    expected = [charge for charge, p in (exact or {}).items() if p > 1e-4]
    reach = max([1, *map(abs, expected)] if expected else [1, int(numpy.abs(charges).max())])
    return {charge: _bar(sampled, charges == charge) for charge in range(-reach, reach + 1)}


def _bar(sampled: Sampled, hit: numpy.ndarray) -> Bar:
    hit = hit.astype(float)
    if sampled.weighted:
        estimate = statistics.reweight(_log_w(sampled).T, hit)
    else:
        estimate = statistics.gamma_method(hit)
    return Bar(estimate.value or 0.0, estimate.error)


WEIGHTS = """log w = −S − log q of each proposal; a perfect flow has log w = ln Z always (dashed). Filled: the share of
    draws. Line: the share of the weight, that is where the target lives; where it reaches beyond the draws, the flow
    misses something. ESS = (Σw)²/(n Σw²)."""


def _log_weights(run: Run, flows: list[str]) -> Section:
    exact, rows = run.target.exact.get("ln_Z"), {}
    for label in flows:
        log_w = _log_w(run.found.samplers[label])
        level = exact if exact is not None else statistics.log_z(log_w).value
        rows[label] = (log_w - (level or 0.0), statistics.ess(log_w))
    svg = figures.weights(rows, "log w − ln Z")
    source = "the exact one" if exact is not None else "estimated from the weights themselves"
    words = prose(f"{WEIGHTS} ln Z is {source}.")
    return Section("How good the flow is", picture(svg, "w", "histogram of log weights"), words, half=True)


TRAINING = """ESS of the weights within a batch. Each point is the mean over one stretch between checkpoints; CPU
    seconds are those of the process, compilation included. Far off first values of the loss are cut."""


def _training(run: Run) -> Section:
    loss, ess = (
        [math.nan if value is None else float(value) for value in column]
        for column in ([line.loss for line in run.log.train], [line.ess for line in run.log.train])
    )
    cpu_s = [line.cpu_s for line in run.log.train]
    words, exact = "Loss = the mean of log q + S over the flow's own draws = KL(q|p) − ln Z", None
    if run.recipe.train is None or not (run.recipe.train.between or run.recipe.train.anneal):
        exact = run.target.exact.get("ln_Z")
    words += ". " if exact is None else ", which for a perfect flow is −ln Z (dashed). "
    svg = figures.training(cpu_s, loss, ess, None if exact is None else -exact)
    body = picture(svg, "t", "loss and ESS against CPU seconds")
    return Section("How it was trained", body, prose(words + TRAINING), half=True)


FIT = """σ(r) per root of a site, r = −Δψ + b ∂s·∂ψ − s what is left of Lüscher's equation at the coupling b, on the samples
    of the fit: log w changes by −r db along the flow, so that its standard deviation is at most the area under the curve
    times √V."""


def _fit(run: Run) -> Section:
    fit = run.summary["fit"]
    body, first = "", "The flow is Lüscher's series as it stands."
    if fit["samples"]:
        sigma = numpy.sqrt(numpy.asarray(fit["residuals"]))
        svg = figures.residuals(fit["couplings"], sigma)
        body, first = picture(svg, "f", "what is left of the equation against the coupling"), FIT
    words = (
        f"{first} The log-determinant is integrated: halving the steps changes log w by σ = {fit['integration']:.2g} on "
        f"{'×'.join(map(str, fit['lattice']))}, where log w itself has σ = {fit['spread']:.2g}."
    )
    return Section("How it was fitted" if body else "Where the flow comes from", body, prose(words), half=True)
