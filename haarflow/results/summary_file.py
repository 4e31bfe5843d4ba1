"""summary.json read back: the keys that the terminal and the report rely on have the types that they expect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haarflow.core.untrusted import fits, json_table
from haarflow.run.samplers import SAMPLERS

WHOLE = {"recipe": str, "versions": dict, "backend": str, "seed": int, "theory": dict, "lattice": list[int],
         "training": dict | None, "samplers": dict}  # fmt: skip
FIT = {"samples": int, "numbers": int, "couplings": list[float], "residuals": list[float], "integration": float,
       "spread": float, "lattice": list[int], "cpu_s": float}  # fmt: skip
TRAINING = {"steps": int, "cpu_s": float, "ess": float | None}
SAMPLER = {"kind": str, "acceptance": float | None, "ess": float | None, "cpu_s": float, "samples": int,
           "samples_per_cpu_s": float | None, "observables": dict}  # fmt: skip
OBSERVABLE = {"value": float | None, "error": float | None, "tau_int": float | None, "exact": float | None}


class SummaryError(ValueError):
    """A summary.json that no run has written."""


def read_summary(path: str | Path) -> dict[str, Any]:
    """Return the contents of summary.json; raises SummaryError if a key is missing or of another type."""
    path = Path(path)
    summary = json_table(path, SummaryError)
    _check(path, "", summary, WHOLE)
    _check(path, "theory.", summary["theory"], {"name": str})
    for name, table in (("training", TRAINING), ("fit", FIT)):
        if summary.get(name):
            _check(path, f"{name}.", summary[name], table)
    for label, sampler in summary["samplers"].items():
        _check(path, f"samplers.{label}.", sampler, SAMPLER)
        if sampler["kind"] not in SAMPLERS or sampler["samples"] < 1 or not sampler["observables"]:
            raise SummaryError(f"{path}: samplers.{label:.80} is no result of a sampler: repeat the run")
        for name, entry in sampler["observables"].items():
            _check(path, f"samplers.{label}.observables.{name}.", entry, OBSERVABLE)
    return summary


def _check(path: Path, where: str, table: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(table, dict):
        raise SummaryError(f"{path}: {where.rstrip('.'):.80} is not a table: repeat the run in another folder")
    for name, kind in kinds.items():
        if name not in table or not fits(table[name], kind):
            got = repr(table[name])[:60] if name in table else "nothing"
            raise SummaryError(f"{path}: {where:.80}{name} is damaged, got {got}: repeat the run in another folder")
    if not isinstance(table.get("note", ""), str):
        raise SummaryError(f"{path}: {where:.80}note is damaged: repeat the run in another folder")
