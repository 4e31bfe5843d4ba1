"""The lines of a run's log, metrics.jsonl: one record a kind of line, and the one place where they become JSON.

{"stage": "train", "step", "loss", "ess", "cpu_s"}                          one a chunk of training
{"stage": "fit", "samples", "numbers", "couplings", "residuals", ...}       one a fit
{"stage": "sample", "sampler", "block", "draws", "acceptance", "ess", "cpu_s"}  one a block of draws
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class TrainLine(NamedTuple):
    """A chunk of training: its last step, the chunk's mean loss and ESS, and the CPU seconds of the whole training."""

    step: int
    loss: float | None = None
    ess: float | None = None
    cpu_s: float = 0.0


class FitLine(NamedTuple):
    """A fit: how many numbers from how many samples, the residuals sigma^2(r_b) per site at each coupling, and what halved
    steps do to log w beside its own spread, both standard deviations on the fit's lattice.
    """

    samples: int
    numbers: int
    couplings: list[float]
    residuals: list[float]
    integration: float
    spread: float
    lattice: list[int]
    cpu_s: float


class SampleLine(NamedTuple):
    """A block of draws: a chain's `acceptance` where a step can be refused, a flow's `ess`."""

    sampler: str
    block: int
    draws: int
    acceptance: float | None = None
    ess: float | None = None
    cpu_s: float = 0.0


Line = TrainLine | FitLine | SampleLine
STAGES: dict[str, type[TrainLine] | type[FitLine] | type[SampleLine]] = {
    "train": TrainLine,
    "fit": FitLine,
    "sample": SampleLine,
}


class Log(NamedTuple):
    """The whole of a log, in the order in which it was written: chunks of training, the fit, blocks of draws."""

    train: tuple[TrainLine, ...] = ()
    fit: FitLine | None = None
    sample: tuple[SampleLine, ...] = ()

    @property
    def trained(self) -> TrainLine | None:
        """The last chunk of training, None where nothing was trained."""
        return self.train[-1] if self.train else None

    def cpu_s(self, sampler: str) -> float:
        """The CPU seconds of a sampler's blocks."""
        return sum(line.cpu_s for line in self.sample if line.sampler == sampler)


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
    )


def as_json(line: Line) -> dict[str, Any]:
    """Return a line as JSON holds it.

    >>> as_json(TrainLine(10, -3.5, 0.25, 1.0))
    {'stage': 'train', 'step': 10, 'loss': -3.5, 'ess': 0.25, 'cpu_s': 1.0}
    """
    return {"stage": next(word for word, kind in STAGES.items() if type(line) is kind), **line._asdict()}


def from_json(table: Mapping[str, Any]) -> Line | None:
    """Return the record of a line, None for a line of another version that has no such record.

    >>> from_json({"stage": "sample", "sampler": "hmc", "block": 0, "draws": 50, "acceptance": 0.5, "cpu_s": 1.0}).block
    0
    """
    kind = STAGES.get(str(table.get("stage")))
    if kind is None:
        return None
    known = {name: value for name, value in table.items() if name in kind._fields}
    return kind(**known) if all(name in known or name in kind._field_defaults for name in kind._fields) else None
