"""summary.json read back: the keys that the terminal and the report rely on have the types that they expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haarflow.core.untrusted import fits, json_table
from haarflow.run.samplers import SAMPLERS

WHOLE = {"recipe": str, "versions": dict, "backend": str, "seed": int, "theory": dict, "lattice": list[int],
         "training": dict | None, "samplers": dict}  # fmt: skip
FIT = {"samples": int, "numbers": int, "couplings": list[float], "residuals": list[float], "integration": float,
       "spread": float, "lattice": list[int], "cpu_s": float}  # fmt: skip
FINE_TUNING = {"draws": int, "start": float | None, "end": float | None, "difference": float | None,
               "error": float | None, "kept": str}  # fmt: skip
TRAINING = {"steps": int, "cpu_s": float, "ess": float | None}
SAMPLER = {"kind": str, "acceptance": float | None, "ess": float | None, "cpu_s": float, "samples": int,
           "samples_per_cpu_s": float | None, "observables": dict}  # fmt: skip
COVERAGE = {"draws": int, "ess": dict, "pareto_shape": dict, "error_growth": float | None, "ln_Z": dict, "chains": dict,
            "remark": str}  # fmt: skip
BESIDE = {"configurations": int, "above": float, "above_error": float, "expected": float, "ess": float | None,
          "ln_Z": dict}  # fmt: skip
BOUNDS = {"bias": float | None, "elbo": dict, "iwae": dict, "group": int}  # not in older files
BOUNDS_BESIDE = {"eubo": dict, "bridge": dict, "covered": dict}  # nor these
MODES = {"observable": str, "by": str, "rows": list}
MODE = {"label": int, "model": dict, "weighted": dict, "chains": dict, "missing": list[str]}
ESTIMATE = {"value": float | None, "error": float | None}
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
    if tuned := (summary["training"] or {}).get("fine_tuning"):
        _check(path, "training.fine_tuning.", tuned, FINE_TUNING)
        if tuned["difference"] is not None:
            _check(path, "training.fine_tuning.", tuned, dict.fromkeys(("start", "end", "error"), float))
    if made := summary.get("provenance"):
        _check(path, "provenance.", made, {})
        _check(path, "provenance.", made, {"wall_s": float} if "wall_s" in made else {})
    for label, sampler in summary["samplers"].items():
        _check_sampler(path, f"samplers.{label}", sampler)
    return summary


def _check_sampler(path: Path, where: str, sampler: Any) -> None:
    _check(path, f"{where}.", sampler, SAMPLER)
    if sampler["kind"] not in SAMPLERS or sampler["samples"] < 1 or not sampler["observables"]:
        raise SummaryError(f"{path}: {where:.80} is no result of a sampler: repeat the run")
    if "warnings" in sampler:
        _check(path, f"{where}.", sampler, {"warnings": list[str]})
    if sampler.get("coverage"):
        _check_coverage(path, f"{where}.coverage.", sampler["coverage"])
    for name, entry in sampler["observables"].items():
        _check(path, f"{where}.observables.{name}.", entry, OBSERVABLE)
        if not (entry["error"] is None or entry["error"] >= 0.0) or not (
            entry["tau_int"] is None or entry["tau_int"] > 0.0
        ):
            raise SummaryError(
                f"{path}: {where}.observables.{name:.80} has an error below zero or a tau_int that is not above it: repeat the run"
            )


def _check_coverage(path: Path, where: str, coverage: Any) -> None:
    newer = "elbo" in coverage if isinstance(coverage, dict) else False
    _check(path, where, coverage, COVERAGE | (BOUNDS if newer else {}))
    _check_estimates(path, where, coverage, ("ess", "pareto_shape", "ln_Z", *(("elbo", "iwae") if newer else ())))
    for name, chain in coverage["chains"].items():
        _check(path, f"{where}chains.{name}.", chain, BESIDE | (BOUNDS_BESIDE if newer else {}))
        _check_estimates(path, f"{where}chains.{name}.", chain, ("ln_Z", *(BOUNDS_BESIDE if newer else ())))
    if coverage.get("exact") is not None:
        _check(path, where, coverage, {"exact": float})
    if coverage.get("modes"):
        _check_modes(path, f"{where}modes.", coverage["modes"])


def _check_modes(path: Path, where: str, modes: Any) -> None:
    _check(path, where, modes, MODES)
    for number, row in enumerate(modes["rows"]):
        _check(path, f"{where}{number}.", row, MODE)
        _check_estimates(path, f"{where}{number}.", row, ("model", "weighted"))
        _check_estimates(path, f"{where}{number}.chains.", row["chains"], row["chains"])


def _check_estimates(path: Path, where: str, table: Any, names: Iterable[str]) -> None:
    for name in names:
        _check(path, f"{where}{name}.", table[name], ESTIMATE)


def _check(path: Path, where: str, table: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(table, dict):
        raise SummaryError(f"{path}: {where.rstrip('.'):.80} is not a table: repeat the run in another folder")
    for name, kind in kinds.items():
        if name not in table or not fits(table[name], kind):
            got = repr(table[name])[:60] if name in table else "nothing"
            raise SummaryError(f"{path}: {where:.80}{name} is damaged, got {got}: repeat the run in another folder")
    if not isinstance(table.get("note", ""), str):
        raise SummaryError(f"{path}: {where:.80}note is damaged: repeat the run in another folder")
