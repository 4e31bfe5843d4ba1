"""Whether the flows cover the target: the table of terminal and report, one row for each flow and chain beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HEAD = ("flow", "beside", "ESS", "Pareto shape", "error growth", "above", "expected", "ESS of target")
DOUBTFUL = "!"  # marks a number that its draws do not support


def rows(samplers: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table as text; none where no sampler has a flow's weights."""
    return [
        [
            label,
            name,
            with_doubt(coverage["ess"], 3),
            with_doubt(coverage["pareto_shape"], 2),
            _said(coverage["error_growth"], ".2f"),
            *(["–"] * 3 if chain is None else _beside(chain)),
        ]
        for label, name, coverage, chain in beside(samplers)
    ]


def beside(samplers: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any] | None]]:
    """Yield (flow, chain, the flow's coverage, what the chain says of it), once for each flow without a chain beside it."""
    for label, sampler in samplers.items():
        if coverage := sampler.get("coverage"):
            for name, chain in (coverage["chains"] or {"–": None}).items():
                yield label, name, coverage, chain


def remarks(samplers: Mapping[str, Any]) -> list[str]:
    """Return what cannot be known of the flows, "NAME: remark", and why numbers that are marked are doubtful."""
    found = []
    for label, name, coverage, chain in beside(samplers):
        found += [f"{label}: {coverage['remark']}"] if coverage["remark"] else []
        for word, entry in _estimates(coverage, chain):
            found += [f"{label}: {word.format(name)}: {entry['note']}"] if entry and entry.get("note") else []
    return list(dict.fromkeys(found))


def _estimates(
    coverage: Mapping[str, Any], chain: Mapping[str, Any] | None
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """The estimates that may have a note, with their names."""
    own = [
        (word, coverage.get(key))
        for key, word in (("ess", "ESS"), ("ln_Z", "ln Z"), ("elbo", "ELBO"), ("iwae", "IWAE"))
    ]
    if chain is None:
        return own
    names = (("ln_Z", "ln Z of {}"), ("eubo", "EUBO of {}"), ("bridge", "Bennett with {}"))
    return own + [(word, chain.get(key)) for key, word in names]


def _beside(chain: Mapping[str, Any]) -> list[str]:
    above = f"{chain['above']:.2%} ± {chain['above_error']:.2%}"
    return [above, f"{chain['expected']:.2%}", _said(chain["ess"], ".2g")]


def with_doubt(entry: Mapping[str, Any] | None, digits: int) -> str:
    """Return value ± error, with a mark where a note says that its draws do not support it.

    >>> with_doubt({"value": 0.5, "error": 0.01, "note": "63 effective samples"}, 2)
    '0.50 ± 0.01!'
    """
    if entry is None or entry["value"] is None:
        return "–"
    error = "" if entry["error"] is None else f" ± {entry['error']:.{digits}f}"
    return f"{entry['value']:.{digits}f}{error}{DOUBTFUL if entry.get('note') else ''}"


def _said(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
