"""report.html: one page that shows what a run did and whether to believe it.

The page stands alone: its pictures are inline SVG, its style is inline, it asks nothing of the network. It is made
from the run's folder (recipe.toml, metrics.jsonl, ensemble.h5, summary.json) and can be made again at any time.
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from haarflow import assemble, ensemble, figures, recipes, reproduce
from haarflow.core import files, statistics
from haarflow.ensemble import Ensemble, Sampled
from haarflow.figures import Bar, Panel
from haarflow.page import Section, page, picture
from haarflow.results import cost_table, observables_table, origin_table, verdict
from haarflow.runfolder import read_metrics
from haarflow.settings import Recipe


class ReportError(ValueError):
    """A folder that holds no finished run."""


class Run(NamedTuple):
    """All that a run's folder tells: its recipe, results, log, draws, and what is known exactly."""

    recipe: Recipe
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    found: Ensemble
    exact: dict[str, float]
    charges: dict[int, float] | None


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into a finished run's folder and return its path.

    Raises ReportError for a folder without summary.json, OSError with an old report untouched.
    """
    folder = Path(folder)
    run = read(folder)
    text = page(title(run), run.recipe.description, _sections(run))
    files.write_text(folder / "report.html", text)
    return folder / "report.html"


def read(folder: str | Path) -> Run:
    """Return what stands in a finished run's folder; raises ReportError where there is no summary.json."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise ReportError(f"{folder} holds no summary.json: a report needs a finished run; give `haarflow run` again")
    recipe = recipes.check(tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8")))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    exact = assemble.theory_of(recipe).exact(assemble.couplings_of(recipe))
    found = ensemble.read(folder / "ensemble.h5")
    return Run(recipe, summary, read_metrics(folder / "metrics.jsonl"), found, exact, _exact_charges(recipe))


def _exact_charges(recipe: Recipe) -> dict[int, float] | None:
    """p(Q) where it is known: U(1) in two dimensions."""
    if recipe.theory.name != "u1" or len(recipe.lattice) != 2:
        return None
    from haarflow.theories.torus import charge_distribution

    return charge_distribution(recipe.theory.beta, math.prod(recipe.lattice))


TITLES = {"u1": "U(1) gauge theory", "phi4": "φ⁴ theory", "phi4-hopping": "φ⁴ theory (hopping form)"}
SYMBOLS = {"beta": "β", "m2": "m²", "lam": "λ", "kappa": "κ"}


def title(run: Run) -> str:
    """Return the page's headline: theory, lattice and couplings.

    >>> from types import SimpleNamespace as Of
    >>> summary = {"theory": {"name": "u1", "beta": 2.0}, "lattice": [8, 8]}
    >>> title(Of(summary=summary))
    'U(1) gauge theory on 8×8, β = 2'
    """
    couplings = [
        f"{SYMBOLS.get(name, name)} = {value:g}" for name, value in run.summary["theory"].items() if name != "name"
    ]
    name = run.summary["theory"]["name"]
    return f"{TITLES.get(name, name)} on {'×'.join(map(str, run.summary['lattice']))}, {', '.join(couplings)}"


def _sections(run: Run) -> list[Section]:
    samplers = run.summary["samplers"]
    found = [Section("", verdict(samplers), "")] if samplers else []
    if samplers:
        found += [_history(run), Section("The numbers", *observables_table(samplers))]
        found += [Section("What it cost", *cost_table(samplers, run.summary["training"]))]
    halves = _halves(run)
    origin = Section("Where it comes from", origin_table(run.recipe, run.summary), "", half=len(halves) % 2 == 1)
    return [*found, *halves, origin, Section("Do it again", *reproduce.section(run.recipe))]


# ---- pictures


def _history(run: Run) -> Section:
    name, word = history_of(run.found)
    shown = {_label: _panel(run, _label, name) for _label in run.summary["samplers"]}
    exact = run.charges if name == "Q" else None
    says = f"history of {word} for {', '.join(shown)}"
    pictures = [
        picture(
            figures.history(list(shown.values()), word, exact, wide=wide),
            f"h{wide:d}",
            says,
            "wide" if wide else "narrow",
        )
        for wide in (True, False)
    ]
    captions = "".join(f"<li><b>{panel.name}</b>: {panel.caption}</li>" for panel in shown.values())
    return Section(
        f"Does {word} move?",
        "".join(pictures) + f'<ul class="narrow">{captions}</ul>',
        _history_words(name, shown, exact),
    )


def history_of(found: Ensemble) -> tuple[str, str]:
    """Return the observable whose history tells most, and its word: the charge, the magnetisation, or the first."""
    names = list(next(iter(found.samplers.values())).observables)
    for name, word in (("Q", "Q"), ("m", "m")):
        if name in names:
            return name, word
    series = next(iter(found.samplers.values())).observables
    return next((name, name) for name in names if series[name].ndim == 2)


def _panel(run: Run, label: str, name: str) -> Panel:
    sampled = run.found.samplers[label]
    series = sampled.observables[name].astype(float).T
    weights = _weights(sampled) if sampled.kind == "flow-reweighting" else None
    return Panel(label, _caption(run.summary["samplers"][label], series, weights, name), series, weights)


def _weights(sampled: Sampled) -> numpy.ndarray:
    """Weights of mean 1, (draw, chain)."""
    log_w = numpy.asarray(sampled.log_w, dtype=float).T
    relative = numpy.exp(log_w - log_w.max())
    return relative / relative.mean()


def _caption(entry: dict[str, Any], series: numpy.ndarray, weights: numpy.ndarray | None, name: str) -> str:
    draws, chains = series.shape
    if weights is not None:
        return f"{draws:,} independent draws, ESS {entry['ess']:.2f}"
    told = entry["observables"].get(name, {})
    tau = told.get("tau_int")
    changes = int(numpy.sum(numpy.diff(series, axis=0) != 0))
    counted = f"{name} changed {changes:,} times in " if name == "Q" else ""
    length = f"{chains:,} chains of {draws:,} draws" if chains > 1 else f"{draws:,} draws"
    if changes == 0:
        return f"FROZEN: {counted}{length}"
    known = f", τ_int = {tau:.3g}" if tau is not None else ", τ_int not known" if told else ""
    return f"{counted}{length}{known}"


def _history_words(name: str, shown: dict[str, Panel], exact: Any) -> str:
    what = {
        "Q": "Q = (1/2π) Σ wrap(θ_P) is the topological charge, a whole number on every configuration.",
        "m": "m = (1/V) Σ φ(x) is the magnetisation of a configuration; the action does not know its sign.",
    }.get(name, f"{name} of each configuration.")
    words = [what, "All panels share their axes. Left: the first chain in colour; a draw is one proposal of the flow, one"
             " trajectory of HMC or one sweep of the heat bath (times `thin`), after warm-up."]  # fmt: skip
    if any(
        len(panel.series) > 1 and panel.weights is None and figures.hardly_moves(panel.series)
        for panel in shown.values()
    ):
        words.append("Grey: up to three more chains where the quantity hardly moves.")
    if any(panel.weights is not None for panel in shown.values()):
        words.append("Dots: independent draws, their area proportional to the weight.")
    words.append("Right: the distribution over all draws of all chains" + ("; circles: exact p(Q)." if exact else "."))
    return " ".join(words)


def _halves(run: Run) -> list[Section]:
    """The smaller pictures, two side by side where there is room: distribution, weights, training."""
    found = [_distribution(run)] if run.summary["samplers"] else []
    flows = {label: sampled for label, sampled in run.found.samplers.items() if sampled.log_w is not None}
    if flows:
        found.append(_weight_histogram(run, flows))
    if any(line.get("stage") == "train" for line in run.lines):
        found.append(_training(run))
    return found


def _distribution(run: Run) -> Section:
    labels = list(run.summary["samplers"])
    name, word = history_of(run.found)
    if name == "Q":
        bars = {label: charge_bars(run.found.samplers[label], run.charges) for label in labels}
        exact = {charge: p for charge, p in (run.charges or {}).items() if charge in next(iter(bars.values()))}
        svg = figures.probabilities(bars, exact or None, "Q")
        text = (
            "p(Q): the share of configurations of charge Q, weights included, on a logarithmic scale. Thin lines: one "
        )
        text += (
            "standard error by the Gamma method; a bar without one is frozen or empty. Black rules: the exact result."
        )
        return Section("How often each charge occurs", picture(svg, "p", "probability of each charge"), text, half=True)
    svg = figures.densities([_panel(run, label, name) for label in labels], word)
    text = f"The probability density of {word}, weights included, all draws of all chains."
    return Section(f"How {word} is distributed", picture(svg, "p", f"density of {word}"), text, half=True)


def charge_bars(sampled: Sampled, exact: dict[int, float] | None) -> dict[int, Bar]:
    """Return p(Q) with errors for every charge that is seen, or expected more often than once in 10,000."""
    charges = numpy.round(sampled.observables["Q"].astype(float)).T
    expected = [charge for charge, p in (exact or {}).items() if p > 1e-4]
    reach = max([1, *map(abs, expected)] if expected else [1, int(numpy.abs(charges).max())])
    return {charge: _bar(sampled, charges == charge) for charge in range(-reach, reach + 1)}


def _bar(sampled: Sampled, hit: numpy.ndarray) -> Bar:
    hit = hit.astype(float)
    if sampled.kind == "flow-reweighting":
        estimate = statistics.reweight(numpy.asarray(sampled.log_w, dtype=float).T, hit)
    else:
        estimate = statistics.gamma_method(hit)
    return Bar(estimate.value or 0.0, estimate.error)


def _weight_histogram(run: Run, flows: dict[str, Sampled]) -> Section:
    exact = run.exact.get("ln_Z")
    rows = {}
    for label in run.summary["samplers"]:
        if label in flows:
            log_w = numpy.asarray(flows[label].log_w, dtype=float)
            rows[label] = (log_w - _log_z(log_w, exact), statistics.ess(log_w))
    svg = figures.weights(rows, "log w − ln Z")
    text = "log w = −S − log q of each proposal; a perfect flow has log w = ln Z always (dashed). "
    text += "ln Z is the exact one." if exact is not None else "ln Z is estimated from the weights themselves."
    text += (
        " Filled: the share of draws. Line: the share of the weight, that is where the target lives; where it reaches"
    )
    text += " beyond the draws, the flow misses something. ESS = (Σw)²/(n Σw²)."
    return Section("How good the flow is", picture(svg, "w", "histogram of log weights"), text, half=True)


def _log_z(log_w: numpy.ndarray, exact: float | None) -> float:
    estimate = statistics.log_z(log_w).value if exact is None else exact
    return 0.0 if estimate is None else float(estimate)


def _training(run: Run) -> Section:
    steps = [line for line in run.lines if line.get("stage") == "train"]
    columns = (
        [float(line[word]) if line[word] is not None else math.nan for line in steps]
        for word in ("cpu_s", "loss", "ess")
    )
    train = run.recipe.train
    fixed = train is None or not (train.between or train.anneal)
    exact = run.exact.get("ln_Z") if fixed else None
    svg = figures.training(*columns, None if exact is None else -exact)
    text = "Loss = the mean of log q + S over the flow's own draws, which is KL(q|p) − ln Z"
    text += ", so the dashed line is a perfect flow. " if exact is not None else ". "
    text += (
        "ESS of the weights within a batch. Each point is the mean over one stretch between checkpoints; CPU seconds "
    )
    text += "are those of the process, compilation included. Far off first values of the loss are cut."
    return Section("How it was trained", picture(svg, "t", "loss and ESS against CPU seconds"), text, half=True)
