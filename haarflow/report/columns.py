"""The columns of the cost table of the samplers, read by the terminal and by the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from haarflow.results.chain_evidence import warnings_of
from haarflow.run.samplers import SAMPLERS


class Column(NamedTuple):
    """A column: its heading, its value for a sampler's entry in summary.json, its format, what stands for None,
    and whether it is left out where no sampler has a value.
    """

    head: str
    value: Callable[[Mapping[str, Any]], float | None]
    form: str
    absent: str = "–"
    optional: bool = False

    def cell(self, sampler: Mapping[str, Any]) -> str:
        """Return the text of one sampler's cell."""
        value = self.value(sampler)
        return self.absent if value is None else format(value, self.form)


def effective_samples(sampler: Mapping[str, Any]) -> float | None:
    """Return how many independent draws from e^{-S} a sampler's draws are worth, None if it is not to be trusted.

    >>> effective_samples({"kind": "hmc", "samples": 100, "observables": {"E": {"tau_int": 5.0}}})
    10.0
    """
    if warnings_of(sampler):
        return None
    if SAMPLERS[sampler["kind"]].draws == "weighted":
        return None if sampler["ess"] is None else float(sampler["ess"] * sampler["samples"])
    slowest = [entry["tau_int"] for entry in sampler["observables"].values()]
    if not slowest or None in slowest:
        return None
    return float(sampler["samples"] * min(1.0, 1.0 / (2.0 * max(slowest))))


def _effective_per_second(sampler: Mapping[str, Any]) -> float | None:
    effective, cpu = effective_samples(sampler), sampler["cpu_s"]
    return effective / cpu if effective is not None and cpu else None


def shown(samplers: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return the columns of a table of samplers: an optional one only where one of them has a value.

    >>> [column.head for column in shown([{"hits": None}])][:2]
    ['acceptance', 'ESS']
    """
    every = list(samplers)
    return tuple(
        column for column in COLUMNS if not column.optional or any(column.value(one) is not None for one in every)
    )


COLUMNS: tuple[Column, ...] = (
    Column("acceptance", lambda sampler: sampler["acceptance"], ".3f"),
    Column("hits accepted", lambda sampler: sampler.get("hits"), ".3f", optional=True),
    Column("⟨e^−dH⟩", lambda sampler: sampler.get("exp_minus_dH", {}).get("value"), ".4f", optional=True),
    Column("ESS", lambda sampler: sampler["ess"], ".3f", "unknown"),
    Column("samples", lambda sampler: sampler["samples"], ",d"),
    Column("effective samples", effective_samples, ",.0f", "unknown"),
    Column("CPU s", lambda sampler: sampler["cpu_s"], ".1f"),
    Column("samples / CPU s", lambda sampler: sampler["samples_per_cpu_s"], ",.0f"),
    Column("effective / CPU s", _effective_per_second, ",.0f", "unknown"),
)
