"""The lines of a run's log, metrics.jsonl: one record for each kind of line, and their conversion to and from JSON.

{"stage": "train", "step", "loss", "ess", "cpu_s"}                          one per chunk of training
{"stage": "fine_tune", "draws", "start", "end", "difference", "error", "kept"}   one if training started from a model
{"stage": "fit", "samples", "numbers", "couplings", "residuals", ...}       one per fit
{"stage": "tune", "sampler", "step_size", "steps", "acceptance", "target"}      one per sampler whose HMC the warm-up tunes
{"stage": "path", "sampler", "numbers", "pilot", "cpu_s"}                   one per sampler whose path has fitted layers
{"stage": "thermodynamics", "method", "lattice", "value", "log_z", ...}     one per point at which ln Z is wanted, and per method
{"stage": "sample", "sampler", "block", "draws", "acceptance", "ess", "cpu_s"}  one per block of draws
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from haarflow.core.untrusted import fits


class TrainLine(NamedTuple):
    """A chunk of training: its last step, the chunk's mean loss and ESS, and the CPU seconds of the whole training."""

    step: int
    loss: float | None = None
    ess: float | None = None
    cpu_s: float = 0.0


class FitLine(NamedTuple):
    """A fit: the numbers of coefficients and samples, the residuals sigma^2(r_b) per site at each coupling, and two standard
    deviations on the fit's lattice, of the error of integration of log w (0 where log_det is exact) and of log w itself; `shift` is
    the mean of that error.
    """

    samples: int
    numbers: int
    couplings: list[float]
    residuals: list[float]
    integration: float
    spread: float
    lattice: list[int]
    cpu_s: float
    shift: float = 0.0


class TuneLine(NamedTuple):
    """The step size and number of steps at which a sampler's HMC is frozen, the acceptance measured there, its target."""

    sampler: str
    step_size: float
    steps: int
    acceptance: float
    target: float


class PathLine(NamedTuple):
    """The fitted numbers of a sampler's path in the order of its steps, the pilot they were fitted on, and CPU seconds."""

    sampler: str
    numbers: list[float]
    pilot: int
    cpu_s: float = 0.0


class ThermodynamicsLine(NamedTuple):
    """ln Z at one point by one `method`, "flow" or "integration": on a `lattice`, at a `value` of the coupling along a curve.

    `action` is <S>, `slope` d ln Z/dc = -<dS/dc> along a curve, `ess` that of the flow's draws.
    """

    method: str
    lattice: list[int]
    value: float | None
    log_z: float | None
    error: float | None
    action: float | None
    action_error: float | None
    slope: float | None = None
    slope_error: float | None = None
    ess: float | None = None
    note: str = ""
    cpu_s: float = 0.0


class FineTuneLine(NamedTuple):
    """A fine-tuning: the ESS of the parameters it started from and of those it ended with on the same `draws`, their difference
    with its error, and which were `kept`, "start" or "end".
    """

    draws: int
    start: float | None
    end: float | None
    difference: float | None
    error: float | None
    kept: str


class SampleLine(NamedTuple):
    """A block of draws: the `acceptance` of a chain whose steps can be rejected, the `ess` of a flow."""

    sampler: str
    block: int
    draws: int
    acceptance: float | None = None
    ess: float | None = None
    cpu_s: float = 0.0


Line = TrainLine | FineTuneLine | FitLine | TuneLine | PathLine | ThermodynamicsLine | SampleLine
STAGES: dict[str, type[Line]] = {
    "train": TrainLine,
    "fine_tune": FineTuneLine,
    "fit": FitLine,
    "tune": TuneLine,
    "path": PathLine,
    "thermodynamics": ThermodynamicsLine,
    "sample": SampleLine,
}


class Log(NamedTuple):
    """A whole log by kind of line, in the order of writing: chunks of training, the fit, blocks of draws, tuned samplers."""

    train: tuple[TrainLine, ...] = ()
    fit: FitLine | None = None
    sample: tuple[SampleLine, ...] = ()
    fine_tune: FineTuneLine | None = None
    tune: tuple[TuneLine, ...] = ()
    path: tuple[PathLine, ...] = ()
    thermodynamics: tuple[ThermodynamicsLine, ...] = ()

    @property
    def trained(self) -> TrainLine | None:
        """The last chunk of training, None if nothing was trained."""
        return self.train[-1] if self.train else None

    def tuning(self, sampler: str) -> TuneLine | None:
        """The last line of a sampler's tuning, None where its step size is fixed."""
        return next((line for line in reversed(self.tune) if line.sampler == sampler), None)

    def fitted(self, sampler: str) -> PathLine | None:
        """The last fit of a sampler's path, None where its layers are not fitted."""
        return next((line for line in reversed(self.path) if line.sampler == sampler), None)

    def cpu_s(self, sampler: str) -> float:
        """The CPU seconds of a sampler's blocks, and of the fit of its path."""
        lines: list[SampleLine | PathLine] = [*self.sample, *self.path]
        return sum(line.cpu_s for line in lines if line.sampler == sampler)


def log_of(lines: Iterable[Line]) -> Log:
    """Return lines sorted by kind; the last fit counts.

    >>> log_of([TrainLine(10), TrainLine(20)]).trained.step
    20
    """
    lines = tuple(lines)
    fits = [line for line in lines if isinstance(line, FitLine)]
    return Log(
        tuple(line for line in lines if isinstance(line, TrainLine)),
        fits[-1] if fits else None,
        tuple(line for line in lines if isinstance(line, SampleLine)),
        next((line for line in reversed(lines) if isinstance(line, FineTuneLine)), None),
        tuple(line for line in lines if isinstance(line, TuneLine)),
        tuple(line for line in lines if isinstance(line, PathLine)),
        tuple(line for line in lines if isinstance(line, ThermodynamicsLine)),
    )


def as_json(line: Line) -> dict[str, Any]:
    """Return a line as a dict for JSON.

    >>> as_json(TrainLine(10, -3.5, 0.25, 1.0))
    {'stage': 'train', 'step': 10, 'loss': -3.5, 'ess': 0.25, 'cpu_s': 1.0}
    """
    return {"stage": next(word for word, kind in STAGES.items() if type(line) is kind), **line._asdict()}


def from_json(table: Mapping[str, Any]) -> Line | None:
    """Return the record of a line, or None for a line of a version that has other records.

    Raises ValueError for values of another type.

    >>> from_json({"stage": "sample", "sampler": "hmc", "block": 0, "draws": 50, "acceptance": 0.5, "cpu_s": 1.0}).block
    0
    """
    kind = STAGES.get(str(table.get("stage")))
    if kind is None:
        return None
    known = {name: value for name, value in table.items() if name in kind._fields}
    if not all(name in known or name in kind._field_defaults for name in kind._fields):
        return None
    for name, hint in typing.get_type_hints(kind).items():
        if name in known and not (fits(known[name], hint) and _in_range(known[name], hint)):
            raise ValueError(f"{name} is {known[name]!r:.60}")
    return kind(**known)


def _in_range(value: Any, hint: Any) -> bool:
    """Whole numbers count something; every number fits into 64 bits."""
    if isinstance(value, list):
        return all(_in_range(entry, Any) for entry in value)
    return not isinstance(value, int) or (0 if hint is int else -(1 << 63)) <= value < 1 << 63
