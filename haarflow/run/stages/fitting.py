"""The fit of a run: a least-squares solution of Luescher's equation on heat-bath samples at couplings from 0 to the theory's.

metrics.jsonl gets one `FitLine`. The fit takes no derivatives, so that it runs on any backend.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends import Backend
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.chains.kernel import run
from haarflow.flows.flow import Model
from haarflow.flows.loops import fit as loop_fit
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sampling.integrated import IntegrationError, measured
from haarflow.flows.traits import traits
from haarflow.run.build import Setup, card_of
from haarflow.run.progress import Progress
from haarflow.run.records import FitLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.sampler_settings import HMC, HeatBath
from haarflow.run.samplers import kernel
from haarflow.run.settings import Fit
from haarflow.run.target import Target, target_of

CHECKED = 16  # configurations on which the error of integration is measured
LENGTH = 1.0  # of an HMC trajectory if there is no heat bath


def run_fit(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    """Draw samples, fit the flow, log its residuals, and write model.safetensors; without samples the flow is the series."""
    started, words, backend, model = time.process_time(), setup.recipe.fit or Fit(), setup.backend, setup.model
    if not isinstance(model, Model):
        raise ValueError(
            f"a fit is of one flow along loops, got {type(model).__name__}: remove flow.mixture, or give [flow]"
        )
    extents = words.lattice or (loop_fit.extent(model.flow),) * len(setup.recipe.lattice)
    small, key = target_of(setup.recipe, extents), setup.stream("fit")
    fit = _fit(model.flow, small, words, key, backend, progress) if words.samples else _series(model.flow)
    model = dataclasses.replace(model, flow=fit.flow)
    params = {"coefficients": backend.asarray(fit.coefficients)}
    haar = HaarLinks(extents, fit.flow.n).sample(random.fold_in(key, 0), CHECKED, backend.dtype)
    off, spread = _integration(small, model, params, haar)
    line = FitLine(
        samples=words.samples * words.couplings,
        numbers=int(fit.coefficients.size),
        couplings=fit.couplings.tolist(),
        residuals=fit.residuals.tolist(),
        integration=off.spread,
        spread=spread,
        lattice=list(extents),
        cpu_s=time.process_time() - started,
        shift=off.shift,
    )
    folder.cut(lambda line: not isinstance(line, FitLine))
    folder.write_line(line)
    save_model(folder.model, model, tree_map(backend.to_numpy, params), _card(setup, line))


def _series(flow: Any) -> loop_fit.Fit:
    """Luescher's series without a fit."""
    numbers = flow.init(random.key(0, backends.get("numpy")))["coefficients"]
    return loop_fit.Fit(flow, numbers, numpy.zeros(0), numpy.zeros(0))


def _fit(flow: Any, small: Target, words: Fit, key: Array, backend: Backend, progress: Progress) -> loop_fit.Fit:
    """The least-squares fit on samples of the recipe's theory."""
    samples = _samples(small, words, key, backend, progress)
    with progress.task("fitting", 1, 0) as task:
        fit = loop_fit.least_squares(flow, samples, words.products)
        task.advance({"residual": float(fit.residuals[-1])}, 1)
    return fit


def _samples(small: Target, words: Fit, key: Array, backend: Backend, progress: Progress) -> list[tuple[float, Array]]:
    """Links at each coupling, from many independent chains that proceed from one coupling to the next."""
    beta = small.couplings["beta"]
    move = kernel(small.theory, small.couplings, _sampler(small))
    links = HaarLinks(small.recipe.lattice, small.theory.n).sample(random.fold_in(key, 0), words.samples, backend.dtype)
    samples = [(0.0, links)]
    with progress.task("samples for the fit", words.couplings - 1, 0) as task:
        for index, b in enumerate(numpy.linspace(0.0, beta, words.couplings)[1:], start=1):
            kernel_at = move.with_values({**move.values, "couplings": {"beta": float(b)}})
            state, _ = run(kernel_at, random.fold_in(key, index), kernel_at.init(links), words.sweeps)
            links = state.field
            samples.append((float(b), links))
            task.advance({"beta": float(b)}, 1)
    return samples


def _sampler(small: Target) -> Any:
    """Heat bath with over-relaxation, or HMC for actions with rectangles."""
    if small.definition.get("rectangle"):
        return HMC(scheme="omelyan", steps=8, step_size=LENGTH / 8)
    return HeatBath(overrelaxation=1)


def _integration(small: Target, model: Model, params: Any, x: Array) -> tuple[IntegrationError, float]:
    """The error of integration of log w, none for exact steps, and the standard deviation of log w itself."""
    theory, couplings = small.theory, small.couplings
    condition = {"beta": couplings["beta"]} if model.flow.condition else None
    y, log_det = model.flow.forward(params, x, condition)
    spread = float(numpy.std(backends.of(y).to_numpy(log_det - theory.action(y, couplings))))
    if not traits(model.flow).integrated:
        return IntegrationError(0.0, 0.0, 0.0), spread
    return measured(model, params, theory, x, couplings, condition), spread


def _card(setup: Setup, line: FitLine) -> dict[str, Any]:
    known = ("samples", "numbers", "lattice", "couplings", "residuals", "integration", "shift", "cpu_s")
    fit = {name: getattr(line, name) for name in known}
    return card_of(setup.target, setup.recipe.flow.get("condition", ())) | {"fit": fit}
