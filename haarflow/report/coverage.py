"""Whether the flows cover the target: the table of terminal and report, one row for each flow and chain beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = (
    "flow",
    "beside",
    "ESS",
    "Pareto shape",
    "error growth",
    "above",
    "expected",
    "ESS of target",
    "ln Z",
    "ln Z of chain",
)


def rows(samplers: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table as text; none where no sampler has a flow's weights."""
    found = []
    for label, sampler in samplers.items():
        if coverage := sampler.get("coverage"):
            growth = coverage["error_growth"]
            own = [_with_error(coverage["ess"], 3), _with_error(coverage["pareto_shape"], 2), _said(growth, ".2f")]
            for name, chain in (coverage["chains"] or {"–": None}).items():
                there = ["–"] * 3 if chain is None else _beside(chain)
                found.append(
                    [
                        label,
                        name,
                        *own,
                        *there,
                        _with_error(coverage["ln_Z"], 3),
                        _with_error(chain and chain["ln_Z"], 3),
                    ]
                )
    return found


def remarks(samplers: Mapping[str, Any]) -> list[str]:
    """Return what cannot be known of the flows, "NAME: remark"."""
    return [
        f"{label}: {coverage['remark']}"
        for label, sampler in samplers.items()
        if (coverage := sampler.get("coverage")) and coverage["remark"]
    ]


def _beside(chain: Mapping[str, Any]) -> list[str]:
    above = f"{chain['above']:.2%} ± {chain['above_error']:.2%}"
    return [above, f"{chain['expected']:.2%}", _said(chain["ess"], ".2g")]


def _with_error(entry: Mapping[str, Any] | None, digits: int) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    error = "" if entry["error"] is None else f" ± {entry['error']:.{digits}f}"
    return f"{entry['value']:.{digits}f}{error}"


def _said(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
