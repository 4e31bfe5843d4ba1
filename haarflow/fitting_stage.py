"""The fit of a run: heat-bath samples at couplings from 0 to the theory's, and Luescher's equation in least squares.

metrics.jsonl gets one line: {"stage": "fit", "samples", "numbers", "couplings", "residuals", "integration", "spread",
"lattice", "cpu_s"}: how many numbers were fitted, the residuals sigma^2(r_b) per site at each coupling, and what halved steps
do to log w beside its own spread, both standard deviations on the fit's lattice. The fit takes no derivatives: any backend
will do.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy

from haarflow import assemble, backends
from haarflow.backends import Backend
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.kernels import run
from haarflow.flows import loop_fit
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import HaarLinks
from haarflow.progress import Progress
from haarflow.runfolder import RunFolder
from haarflow.settings import HMC, Fit, HeatBath, Recipe

CHECKED = 16  # configurations on which halved steps are compared
LENGTH = 1.0  # of an HMC trajectory where there is no heat bath


def run_fit(recipe: Recipe, model: Model, folder: RunFolder, backend: Backend, progress: Progress) -> None:
    """Draw samples, fit the flow, log how well, and write model.safetensors; without samples the flow stays the series."""
    started, words = time.process_time(), recipe.fit or Fit()
    small = dataclasses.replace(recipe, lattice=words.lattice or (loop_fit.extent(model.flow),) * len(recipe.lattice))
    key = assemble.stream(small.seed, "fit", backend)
    fit = _fit(model.flow, small, words, key, backend, progress) if words.samples else _series(model.flow)
    model = dataclasses.replace(model, flow=fit.flow)
    params = {"coefficients": backend.asarray(fit.coefficients)}
    haar = HaarLinks(small.lattice, model.flow.n).sample(random.fold_in(key, 0), CHECKED, backend.dtype)
    change, spread = _integration(small, model.flow, params, haar)
    line = {
        "samples": words.samples * words.couplings,
        "numbers": int(fit.coefficients.size),
        "couplings": fit.couplings.tolist(),
        "residuals": fit.residuals.tolist(),
        "integration": change,
        "spread": spread,
        "lattice": list(small.lattice),
        "cpu_s": time.process_time() - started,
    }
    folder.cut(lambda line: line.get("stage") != "fit")
    folder.log({"stage": "fit", **line})
    save_model(folder.model, model, tree_map(backend.to_numpy, params), _card(recipe, line))


def _series(flow: Any) -> loop_fit.Fit:
    """Luescher's series as it stands."""
    numbers = flow.init(random.key(0, backends.get("numpy")))["coefficients"]
    return loop_fit.Fit(flow, numbers, numpy.zeros(0), numpy.zeros(0))


def _fit(flow: Any, small: Recipe, words: Fit, key: Array, backend: Backend, progress: Progress) -> loop_fit.Fit:
    """Least squares on samples of the recipe's theory."""
    samples = _samples(small, words, key, backend, progress)
    with progress.task("fitting", 1, 0) as task:
        fit = loop_fit.least_squares(flow, samples, words.products)
        task.advance({"residual": float(fit.residuals[-1])}, 1)
    return fit


def _samples(small: Recipe, words: Fit, key: Array, backend: Backend, progress: Progress) -> list[tuple[float, Array]]:
    """Links at each coupling, many independent chains that go from one to the next."""
    theory, beta = assemble.theory_of(small), assemble.couplings_of(small)["beta"]
    kernel = assemble.kernel_of(small, _sampler(small), None)
    links = HaarLinks(small.lattice, theory.n).sample(random.fold_in(key, 0), words.samples, backend.dtype)
    found = [(0.0, links)]
    with progress.task("samples for the fit", words.couplings - 1, 0) as task:
        for place, b in enumerate(numpy.linspace(0.0, beta, words.couplings)[1:], start=1):
            here = kernel.with_values({**kernel.values, "couplings": {"beta": float(b)}})
            state, _ = run(here, random.fold_in(key, place), here.init(links), words.sweeps)
            links = state.field
            found.append((float(b), links))
            task.advance({"beta": float(b)}, 1)
    return found


def _sampler(small: Recipe) -> Any:
    """Heat bath and over-relaxation; HMC for actions with rectangles."""
    if assemble.definition_of(small).get("rectangle"):
        return HMC(scheme="omelyan", steps=8, step_size=LENGTH / 8)
    return HeatBath(overrelaxation=1)


def _integration(small: Recipe, flow: Any, params: Any, x: Array) -> tuple[float, float]:
    """The standard deviations of the change of log w when steps are halved, and of log w."""
    theory, couplings = assemble.theory_of(small), assemble.couplings_of(small)
    condition = {"beta": couplings["beta"]} if flow.condition else None

    def log_w(one: Any) -> numpy.ndarray:
        y, log_det = one.forward(params, x, condition)
        return numpy.asarray(backends.of(y).to_numpy(log_det - theory.action(y, couplings)))

    coarse, fine = log_w(flow), log_w(flow.refined(2))
    return float(numpy.std(coarse - fine)), float(numpy.std(coarse))


def _card(recipe: Recipe, line: dict[str, Any]) -> dict[str, Any]:
    known = ("samples", "numbers", "lattice", "couplings", "residuals", "integration", "cpu_s")
    return assemble.card_of(recipe, recipe.flow.get("condition", ())) | {"fit": {name: line[name] for name in known}}
