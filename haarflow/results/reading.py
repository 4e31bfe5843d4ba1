"""An ensemble file in the hands of an analysis: series, weights, estimates, and the draws for pyerrors and ArviZ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from haarflow.core.parts import described
from haarflow.core.statistics import Estimate
from haarflow.results import ensemble
from haarflow.results.ensemble import Ensemble, EnsembleError, Sampled
from haarflow.results.summary import estimate_of, target_in, warnings
from haarflow.run.own import Own
from haarflow.run.target import Target


@dataclass(frozen=True)
class Draws:
    """The draws of one sampler of an ensemble file; `choose` takes another one.

    Arrays are `(chain, draw)`, and `(chain, draw, n)` for observables of n numbers.
    """

    path: Path
    sampler: str
    contents: Ensemble
    target: Target

    def __repr__(self) -> str:
        return f"Draws of {self.sampler!r} (of {', '.join(self.samplers)}) in {self.path}: {', '.join(self.names)}"

    @property
    def samplers(self) -> tuple[str, ...]:
        """The names of all samplers of the file, those of the recipe first, in its order."""
        return tuple(sorted(self.contents.samplers, key=[*self.target.recipe.samplers, *self.contents.samplers].index))

    def choose(self, sampler: str) -> Draws:
        """Return the draws of another sampler of the file; raises EnsembleError if there is none of that name."""
        if sampler not in self.contents.samplers:
            raise EnsembleError(f"{self.path} has no sampler {sampler!r}: choose one of {', '.join(self.samplers)}")
        return replace(self, sampler=sampler)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the measured observables; a complex one is there as NAME.re and NAME.im."""
        return tuple(sorted(self._sampled.observables))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why none of this sampler's numbers is to be trusted, one sentence each; usually empty."""
        return tuple(warnings(self.target, self.contents.samplers, self.sampler))

    def series(self, name: str) -> numpy.ndarray:
        """Return an observable, a complex one by its bare NAME; raises EnsembleError if it was not measured."""
        observables = self._sampled.observables
        if name in observables:
            return observables[name]
        if f"{name}.re" in observables:
            return observables[f"{name}.re"] + 1j * observables[f"{name}.im"]
        raise EnsembleError(f"{name!r} was not measured by {self.sampler}: choose one of {', '.join(self.names)}")

    @property
    def log_w(self) -> numpy.ndarray | None:
        """The log weights of draws that count with weights, None for chains."""
        return self._sampled.log_w if self._sampled.weighted else None

    @property
    def weights(self) -> numpy.ndarray | None:
        """The weights, relative to their mean, None for chains."""
        if self.log_w is None:
            return None
        relative = numpy.exp(self.log_w - numpy.max(self.log_w))
        return relative / relative.mean()

    def estimate(self, name: str) -> Estimate:
        """Return an observable's or a derived quantity's estimate, as the summary has it: errors, weights and notes.

        Where the sampler has warnings the note says so. Raises EnsembleError for a name that is neither, and for observables
        of several numbers.
        """
        derived = described(self.target.theory).part("derived") or {}
        if name not in derived and self.series(name).dtype.kind == "c":
            raise EnsembleError(f"{name} is complex: take {name}.re and {name}.im, each has its own error")
        found = estimate_of(self.target.theory, self._sampled, name)
        if found is None:
            raise EnsembleError(
                f"{name} is of several numbers: gamma_method(series({name!r})[:, :, k]) for one of them"
            )
        doubts = "; ".join(["not to be trusted", *self.warnings]) if self.warnings else ""
        return found._replace(note="; ".join(filter(None, [found.note, doubts])))

    def fields(self) -> Iterator[Any]:
        """Yield the kept configurations, chain by chain, each `(kept, *field_shape)`."""
        return ensemble.fields(self.path, self.sampler)

    def to_pyerrors(self, name: str) -> Any:
        """Return an observable as a `pyerrors.Obs` with a replica for each chain; weighted draws as <w O>/<w>.

        Raises ImportError without pyerrors.
        """
        import pyerrors

        replicas = [f"{self.target.recipe.name} {self.sampler}|r{chain:04d}" for chain in range(len(self.series(name)))]

        def observable(series: numpy.ndarray) -> Any:
            return pyerrors.Obs(list(numpy.asarray(series, dtype=float)), replicas)

        if numpy.iscomplexobj(self.series(name)):
            return pyerrors.CObs(self.to_pyerrors(f"{name}.re"), self.to_pyerrors(f"{name}.im"))
        if self.weights is None:
            return observable(self.series(name))
        return observable(self.weights * self.series(name)) / observable(self.weights)

    def to_arviz(self) -> Any:
        """Return all observables of a chain as an `arviz.InferenceData`.

        Raises EnsembleError for weighted draws, which ArviZ would count as equal, and ImportError without ArviZ.
        """
        if self.weights is not None:
            raise EnsembleError(
                f"the draws of {self.sampler} have weights, which ArviZ does not know: choose a chain, or to_pyerrors"
            )
        import arviz

        groups: dict[str, Any] = {"posterior": dict(self._sampled.observables)}
        if self._sampled.accepted is not None:
            groups["sample_stats"] = {"accepted": self._sampled.accepted}
        old = int(arviz.__version__.split(".")[0]) < 1
        return arviz.from_dict(**groups) if old else arviz.from_dict(groups)

    @property
    def _sampled(self) -> Sampled:
        return self.contents.samplers[self.sampler]


def read_ensemble(path: str | Path, sampler: str = "", theory: str = "") -> Draws:
    """Return the draws of an ensemble file, or of a run's folder.

    Without a `sampler` they are those of the recipe's first; `theory` is the `module:name` of a theory of one's own, as on
    the command line. Raises EnsembleError for a file that is no ensemble and for an unknown sampler.
    """
    file = Path(path) / "ensemble.h5" if Path(path).is_dir() else Path(path)
    contents = ensemble.read(file)
    draws = Draws(file, "", contents, target_in(file, contents, Own(theory)))
    return draws.choose(sampler or draws.samplers[0])
