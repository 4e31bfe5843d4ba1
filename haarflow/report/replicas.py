"""Replica exchange: the tables of its ladders, one row for each coupling, read by the terminal and by the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haarflow.report.verdict import pull

MOST = 4  # observables in the table, the first of the theory's report


def head(samplers: Mapping[str, Any]) -> list[str]:
    """Return the head of the table."""
    return ["ladder", "couplings", "swaps with the next", *_names(samplers), "distribution"]


def rows(samplers: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table as text; none where no sampler has a ladder."""
    return [
        [
            label,
            ", ".join(f"{name} {value:g}" for name, value in rung["couplings"].items()),
            "–" if rung["swaps"] is None else f"{rung['swaps']['value']:.3f}",
            *(_cell(rung["observables"].get(name)) for name in _names(samplers)),
            _distribution(rung["distribution"]),
        ]
        for label, ladder in ladders(samplers).items()
        for rung in ladder["rungs"]
    ]


def ladders(samplers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries "replicas" of the samplers that have one."""
    return {label: sampler["replicas"] for label, sampler in samplers.items() if sampler.get("replicas")}


def remarks(samplers: Mapping[str, Any]) -> list[str]:
    """Return how the walkers travel along each ladder.

    >>> remarks({"t": {"replicas": {"round_trips": {"number": 2, "time": 50.0}}}})
    ['t: 2 round trips along the ladder, one in 50 draws of a walker']
    """
    return [f"{label}: {_travel(**ladder['round_trips'])}" for label, ladder in ladders(samplers).items()]


def _travel(number: int, time: float | None) -> str:
    every = "" if time is None else f", one in {time:,.0f} draws of a walker"
    return f"{number:,} round trip{'s' * (number != 1)} along the ladder{every}"


def _names(samplers: Mapping[str, Any]) -> list[str]:
    every = (name for ladder in ladders(samplers).values() for name in ladder["rungs"][0]["observables"])
    return list(dict.fromkeys(every))[:MOST]


def _cell(entry: Mapping[str, Any] | None) -> str:
    """A value with its distance from the exact one, or with its error where none is known."""
    if entry is None or entry["value"] is None:
        return "–"
    error = "?" if not entry["error"] else f"{entry['error']:.1g}"
    off = pull(entry)
    return f"{entry['value']:.5g} ± {error}" + ("" if off is None else f" ({off:+.1f}σ)")


def _distribution(found: Mapping[str, Any]) -> str:
    """The comparison of each observable's probabilities with the exact ones."""
    said = [
        f"{name}: unknown"
        if entry["chi2"] is None
        else f"p({name}): largest {entry['largest']:.1f}σ of {entry['freedom'] + 1}"
        for name, entry in found.items()
    ]
    return ", ".join(said) or "–"
