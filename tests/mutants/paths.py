"""Paths and kernels of protocols with one thing wrong each, and the laws that must see it."""

from dataclasses import dataclass, fields, replace

from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.flows.stochastic import resampling
from haarflow.flows.stochastic.paths import Moment, Path, Stretch
from haarflow.flows.stochastic.values import at_couplings
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.theories import U1Gauge
from haarflow.verification.path_objects import u1
from tests.mutants import Mutant


class OldCoupling(Path):
    """The new action is taken at the couplings before the step."""

    def step(self, stretch, key, moment, row):
        found = super().step(stretch, key, moment, row)
        change = self.theory.action(moment.field, dict(row["couplings"])) - self.theory.action(
            moment.field, moment.couplings
        )
        return found._replace(log_w=found.log_w + change)


class NoDeterminant(Path):
    """The layer's log-determinant is left out."""

    def step(self, stretch, key, moment, row):
        found = super().step(stretch, key, moment, row)
        return found._replace(log_w=found.log_w - stretch.flow.forward(row["flow"], moment.field)[1])


class AfterTheKernel(Path):
    """The work is counted after the kernel has moved the field."""

    def step(self, stretch, key, moment, row):
        theory, (x, log_w, now), new = accelerated(self.theory), moment, dict(row["couplings"])
        kernel = stretch.kernel.with_values(at_couplings(row["kernel"], new))
        y = kernel.step(key, kernel.init(x))[0].field
        return Moment(y, log_w + theory.action(y, now) - theory.action(y, new), new)


class KeepsTheWeights(Path):
    """Paths that are drawn anew with their weights keep these weights."""

    def step(self, stretch, key, moment, row):
        bare = replace(self, resample=0.0)
        found = Path.step(bare, replace(stretch, kernel=None), key, moment, row)
        pair = (found.field, found.log_w)
        (y, log_w), _ = resampling.resampled(random.fold_in(key, 1), pair, found.log_w, self.population, self.resample)
        kernel = stretch.kernel.with_values(at_couplings(row["kernel"], found.couplings))
        return found._replace(field=kernel.step(key, kernel.init(y))[0].field, log_w=log_w)


class WrongWay(Path):
    """The reverse path visits the steps in the order of the paths."""

    def reverse(self, params, key, x):
        return 2.0 * self.start.weigh(params["start"], x, self.theory, params["first"]) - super().reverse(
            params, key, x
        )


@dataclass(frozen=True)
class Hotter(U1HeatBath):
    """A heat bath at three quarters of the coupling."""

    def step(self, key, state):
        beta = 0.75 * self.values["couplings"]["beta"]
        return U1HeatBath(self.theory, self.tries, values={"couplings": {"beta": beta}}).step(key, state)


def of(kind, flow=None, **words):
    """The function of a lattice that makes a path of a wrong kind."""

    def make(lattice):
        known = u1(lattice, flow, **words)
        path = known.path
        return replace(known, path=kind(*(getattr(path, entry.name) for entry in fields(Path))))

    return make


def hotter(lattice):
    known = u1(lattice)
    (stretch,) = known.path.stretches
    kernel = Hotter(U1Gauge(lattice), tries=4).with_values(None)
    return replace(known, path=replace(known.path, stretches=(Stretch(stretch.flow, kernel, stretch.steps),)))


TWO = {"lattice": (2, 2)}
MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "work with the action at the old coupling", "path", of(OldCoupling), ("mean_path_weight", "crooks_bounds"), TWO
    ),
    Mutant(
        "a path without log-determinants",
        "path",
        of(NoDeterminant, GradientSweep(2)),
        ("deterministic_weight", "mean_path_weight", "crooks_bounds"),
        TWO,
    ),
    Mutant("work counted after the kernel", "path", of(AfterTheKernel), ("mean_path_weight", "crooks_bounds"), TWO),
    Mutant(
        "resampling that keeps the weights",
        "path",
        of(KeepsTheWeights, population=16, resample=0.9),
        ("mean_path_weight",),
        TWO,
    ),
    Mutant("reverse work of the wrong sign", "path", of(WrongWay), ("crooks_bounds",), TWO),
    Mutant(
        "a kernel at another coupling than its step",
        "path",
        hotter,
        ("kernels_keep_their_weights", "weighted_mean"),
        TWO,
    ),
)
