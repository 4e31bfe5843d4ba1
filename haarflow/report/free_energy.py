"""The free energy by the flows' weights: tables of ln Z and its bounds, and of modes, read by the terminal and by the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haarflow.report.coverage import beside, with_doubt
from haarflow.results.mode_evidence import named

HEAD = ("flow", "beside", "ELBO", "IWAE", "ln Z", "bias", "ln Z of chain", "EUBO", "Bennett", "exact", "mass covered")
DIGITS = 4


def rows(samplers: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of ln Z; none where no sampler has a flow's weights, or for an older summary."""
    return [
        [
            label,
            name,
            *(with_doubt(coverage[key], DIGITS) for key in ("elbo", "iwae", "ln_Z")),
            "–" if coverage["bias"] is None else f"{coverage['bias']:.1e}",
            *(with_doubt(chain and chain[key], DIGITS) for key in ("ln_Z", "eubo", "bridge")),
            "–" if coverage.get("exact") is None else f"{coverage['exact']:.{DIGITS}f}",
            with_doubt(chain and chain["covered"], 3),
        ]
        for label, name, coverage, chain in beside(samplers)
        if "elbo" in coverage
    ]


def mode_table(samplers: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of modes, one for each flow and mode; no rows where nothing tells modes apart."""
    found = {
        label: modes for label, sampler in samplers.items() if (modes := (sampler.get("coverage") or {}).get("modes"))
    }
    chains = list(dict.fromkeys(name for modes in found.values() for row in modes["rows"] for name in row["chains"]))
    rows = [
        [
            label,
            named(modes, row["label"]),
            *(with_doubt(share, DIGITS) for share in (row["model"], row["weighted"], *map(row["chains"].get, chains))),
        ]
        for label, modes in found.items()
        for row in modes["rows"]
    ]
    return ["flow", "mode", "of its draws", "of their weight", *(f"of {name}" for name in chains)], rows
