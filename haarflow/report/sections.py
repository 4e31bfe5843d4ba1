"""The figures of a run with their captions: what is drawn, in which units, and what to look for."""

from __future__ import annotations

import math
from typing import Any

import numpy
from markupsafe import Markup

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Weights
from haarflow.report import figures
from haarflow.report.correlators import correlators
from haarflow.report.figures import Bar, Panel
from haarflow.report.html import Section, picture, piece, prose
from haarflow.report.run_data import Run
from haarflow.results.chain_evidence import STUCK, warnings_of
from haarflow.results.ensemble import Sampled
from haarflow.run.advice import capped
from haarflow.run.samplers import SAMPLERS

# ---- history


def history(run: Run) -> Section:
    """Return the histories of the slowest observable, a panel for each sampler."""
    name = history_of(run)
    shown = [_panel(run, label, name) for label in run.summary["samplers"]]
    exact = run.target.distribution(name)
    says = f"history of {name} for {', '.join(panel.name for panel in shown)}"
    wide = picture(figures.history(shown, name, exact), "wide", says, "wide")
    narrow = picture(figures.history(shown, name, exact, wide=False), "narrow", says, "narrow")
    body = wide + narrow + piece("captions", shown)
    return Section(f"Does {name} move?", body, _history_caption(run, name, shown, exact is not None))


def history_svg(run: Run, draws: int = 2000) -> str:
    """Return only the histories, as the text of an SVG file."""
    name = history_of(run)
    shown = [_panel(run, label, name) for label in run.summary["samplers"]]
    return figures.history(shown, name, run.target.distribution(name), draws)


def history_of(run: Run) -> str:
    """Return the observable whose history says most.

    It is one that changes sign under a symmetry of the action, such as a charge or a magnetisation, because a chain must
    then visit both signs; otherwise the first of the theory's summary, or the first there is.
    """
    offered, series = described(run.target.theory), next(iter(run.found.samplers.values())).observables
    scalar = [name for name, values in series.items() if values.ndim == 2]
    wanted = (*offered.symmetries.odd, *(offered.part("summary") or ()))
    return next((name for name in wanted if name in scalar), scalar[0])


def _panel(run: Run, label: str, name: str) -> Panel:
    sampled, entry = run.found.samplers[label], run.summary["samplers"][label]
    series = sampled.observables[name].astype(float).T
    if not sampled.weighted:
        return Panel(label, _chain_caption(entry, series, name), series)
    doubt = ", not to be trusted" if warnings_of(entry) else ""
    caption = f"{series.size:,} independent draws, ESS {entry['ess'] or 0.0:.2f}{doubt}"
    return Panel(label, caption, series, _weights(sampled))


def _weights(sampled: Sampled) -> numpy.ndarray:
    """Weights of mean 1, `(draw, chain)`."""
    log_w = _log_w(sampled).T
    relative = numpy.exp(log_w - log_w.max()) if numpy.isfinite(log_w.max()) else numpy.ones_like(log_w)
    return relative / relative.mean()


def _log_w(sampled: Sampled) -> numpy.ndarray:
    """Log weights `(chain, draw)` to be drawn; a NaN, which the warnings name, is left out of the pictures."""
    values = numpy.asarray(sampled.log_w, dtype=float)
    return numpy.where(numpy.isnan(values), -math.inf, values)


def _chain_caption(sampler: dict[str, Any], series: numpy.ndarray, name: str) -> str:
    entry, acceptance = sampler["observables"].get(name), sampler["acceptance"]
    draws, chains = series.shape
    changes = int(numpy.sum(numpy.diff(series, axis=0) != 0))
    counted = f"{name} changed {changes:,} time{'s' * (changes != 1)} in " if figures.is_whole(series) else ""
    length = f"{chains:,} chains of {draws:,} draws" if chains > 1 else f"{draws:,} draws"
    if acceptance is not None and acceptance < STUCK:
        return f"STUCK: acceptance {acceptance:.3f}, {counted}{length}"
    known = entry is not None and entry["tau_int"] is not None
    if changes == 0 or (not known and figures.hardly_moves(series)):
        return f"FROZEN: {counted}{length}"
    tau = "" if entry is None else f", τ_int = {entry['tau_int']:.3g}" if known else ", τ_int unknown"
    return f"{counted}{length}{tau}{', not to be trusted' if warnings_of(sampler) else ''}"


def _history_caption(run: Run, name: str, shown: list[Panel], exact: bool) -> str:
    chains = [panel.series for panel in shown if panel.weights is None]
    draws = dict.fromkeys(SAMPLERS[run.found.samplers[panel.name].kind].draw for panel in shown)
    sentences = [
        _meaning(run, name),
        f"All panels share their axes. Left: the first chain in colour, after warm-up; a draw is {_listed(list(draws))}. "
        "τ_int is in draws.",
    ]
    if any(series.shape[1] > 1 and figures.hardly_moves(series) for series in chains):
        sentences.append(f"Grey: up to three more chains if {name} hardly moves.")
    if len(chains) < len(shown):
        sentences.append("Dots: independent draws, with area proportional to their weight.")
    right = "Right: the distribution over all draws of all chains"
    sentences.append(f"{right}; circles: the exact p({name})." if exact else f"{right}.")
    return prose(" ".join(sentences))


def _meaning(run: Run, name: str) -> str:
    """What an observable is, and under which symmetries it changes sign, as its theory declares."""
    label = run.target.labels.get(name, "")
    odd = described(run.target.theory).symmetries.odd.get(name, ())
    sign = f" {name} changes sign under {_listed([WORDS.get(word, word) for word in odd], 'and')}." if odd else ""
    label = label.partition(", ")[2] or label  # "symbol, meaning"
    meaning = f"{name} of each configuration" + (f" ({label})" if label and label != name else "")
    return f"{meaning}.{sign}"


WORDS = {"charge_conjugation": "charge conjugation", "hypercubic": "exchange of axes", "Z2": "φ → −φ"}


def _listed(parts: list[str], link: str = "or") -> str:
    """Parts as a list in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {link} {parts[-1]}"


# ---- the smaller figures


def small(run: Run) -> list[Section]:
    """Return the smaller figures, two side by side where there is room: distribution, weights, training."""
    parts = [_distribution(run)] if run.summary["samplers"] else []
    flows = [label for label in run.summary["samplers"] if run.found.samplers[label].log_w is not None]
    if flows:
        parts.append(_log_weights(run, flows))
    if run.log.train:
        parts.append(_training(run))
    if run.summary.get("fit"):
        parts.append(_fit(run))
    return parts + correlators(run)


def _distribution(run: Run) -> Section:
    name = history_of(run)
    panels = [_panel(run, label, name) for label in run.summary["samplers"]]
    if all(figures.is_whole(panel.series) for panel in panels) and max(map(_largest, panels)) <= WHOLE:
        return _charges(run, name)
    svg = figures.densities(panels, name)
    words = f"The probability density of {name} from all draws of all chains, weights included."
    return Section(f"Distribution of {name}", picture(svg, "p", f"density of {name}"), words, half=True)


WHOLE = 100  # the largest value of a whole-numbered observable that is drawn as bars
CHARGES = """p({name}): the share of configurations with each value of {name}, weights included, on a logarithmic scale.
    Thin lines: one standard error by the Gamma method; a bar without one is frozen, empty or of a sampler that is not
    to be trusted."""


def _largest(panel: Panel) -> float:
    return float(numpy.max(numpy.abs(panel.series)))


def _charges(run: Run, name: str) -> Section:
    known = run.target.distribution(name)
    bars = {label: charge_bars(run.found.samplers[label], known, name) for label in run.summary["samplers"]}
    for label, sampler in run.summary["samplers"].items():
        if warnings_of(sampler):
            bars[label] = {charge: bar._replace(error=None) for charge, bar in bars[label].items()}
    seen = next(iter(bars.values()))
    exact = {charge: p for charge, p in (known or {}).items() if charge in seen}
    svg = figures.probabilities(bars, exact or None, name)
    words = prose(CHARGES.format(name=name) + (" Black rules: the exact result." if exact else ""))
    return Section(f"Distribution of {name}", picture(svg, "p", f"probability of each {name}"), words, half=True)


def charge_bars(sampled: Sampled, exact: dict[int, float] | None, name: str = "Q") -> dict[int, Bar]:
    """Return the probabilities of whole numbers with errors: those of exact probability above 10^-4, or all that occur."""
    charges = numpy.round(sampled.observables[name].astype(float))
    expected = [charge for charge, p in (exact or {}).items() if p > 1e-4]
    reach = max([1, *map(abs, expected)] if expected else [1, int(numpy.abs(charges).max())])
    weights = statistics.weights_of(_log_w(sampled)) if sampled.weighted else None
    return {charge: _bar(weights, charges == charge) for charge in range(-reach, reach + 1)}


def _bar(weights: Weights | None, hit: numpy.ndarray) -> Bar:
    hit = hit.astype(float)
    estimate = statistics.gamma_method(hit) if weights is None else statistics.reweight(weights, hit)
    return Bar(estimate.value or 0.0, estimate.error)


WEIGHTS = """log w = −S − log q of each proposal; a perfect flow has log w = ln Z for all of them (dashed). Filled: the
    share of draws. Line: the share of weight, which shows where the target lies; if it extends beyond the draws, the flow
    misses part of the target. ESS = (Σw)²/(n Σw²)."""


def _log_weights(run: Run, flows: list[str]) -> Section:
    exact, rows = run.target.exact.get("ln_Z"), {}
    for label in flows:
        sampled = run.found.samplers[label]
        log_w = numpy.asarray(sampled.log_w)
        level = exact if exact is not None else statistics.log_z(log_w).value
        rows[label] = (_log_w(sampled) - (level or 0.0), statistics.ess_estimate(log_w).value or 0.0)
    svg = figures.weights(rows, "log w − ln Z", list(run.summary["samplers"]))
    source = "exact" if exact is not None else "estimated from the weights themselves"
    words = prose(f"{WEIGHTS} ln Z is {source}.")
    return Section("Quality of the flow", picture(svg, "w", "histogram of log weights"), words, half=True)


TRAINING = """ESS: that of the weights within a batch, the mean over its couplings if it has several. Each point is the mean between two checkpoints; CPU seconds are
    those of the process, compilation included. The first values of the loss may lie outside the figure."""


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
    limit = capped(run.target)
    words += f"The flow's definition: {limit}. " if limit else ""
    return Section("Training", body, prose(words + TRAINING), half=True)


FIT = """σ(r)/√V on the samples of the fit, where r = −Δψ + b ∂s·∂ψ − s is the residual of Lüscher's equation at the coupling
    b: log w changes by −r db along the flow, so that its standard deviation is at most the area under the curve times
    √V."""


def _exactness(fit: dict[str, Any]) -> str:
    """What the log-determinant of a flow is."""
    if not fit["integration"]:
        return "The log-determinant is that of the map itself, exact for any number of steps."
    return (
        f"The log-determinant is that of continuous time, integrated numerically: log w is off by {fit.get('shift', 0.0):+.2g} with "
        f"σ = {fit['integration']:.2g} between draws, measured by halving the steps; the weights are corrected for it."
    )


def _fit(run: Run) -> Section:
    fit = run.summary["fit"]
    body, first = Markup(), "The flow is Lüscher's series as it stands."
    if fit["samples"]:
        sigma = numpy.sqrt(numpy.asarray(fit["residuals"]))
        svg = figures.residuals(fit["couplings"], sigma)
        body, first = picture(svg, "f", "residual of the equation against the coupling"), FIT
    words = f"{first} {_exactness(fit)} On {'×'.join(map(str, fit['lattice']))} log w has σ = {fit['spread']:.2g}."
    return Section("Fit" if body else "The flow", body, prose(words), half=True)
