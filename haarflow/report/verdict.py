"""What a run's numbers say together: the one verdict that the terminal and the page show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from haarflow.results.chain_evidence import warnings_of


class Pull(NamedTuple):
    """A distance in standard errors: of `name` by sampler `label` from its exact value, or from sampler `other`."""

    sigmas: float
    name: str
    label: str
    other: str = ""

    def __str__(self) -> str:
        return f"{self.name} by {self.label} {f'and {self.other}' if self.other else 'from its exact value'}"


class Line(NamedTuple):
    """A sentence of the verdict; a grave one says that numbers must not be used."""

    text: str
    grave: bool


def pull(entry: Mapping[str, Any]) -> float | None:
    """Return (value - exact)/error if all three are known, else None.

    >>> pull({"value": 1.5, "error": 0.25, "exact": 1.0})
    2.0
    """
    value, error, exact = entry["value"], entry["error"], entry["exact"]
    return None if value is None or exact is None or not error else (value - exact) / error


def between(one: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Return the difference of two samplers' values over their errors in quadrature, None where one has no error.

    >>> between({"value": 1.5, "error": 0.4}, {"value": 1.0, "error": 0.3})
    1.0
    """
    if not one["error"] or not other["error"]:
        return None
    return float((one["value"] - other["value"]) / math.hypot(one["error"], other["error"]))


def trusted(samplers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the samplers without warnings."""
    return {label: sampler for label, sampler in samplers.items() if not warnings_of(sampler)}


def pulls(samplers: Mapping[str, Any]) -> list[Pull]:
    """Return all distances among trusted samplers' numbers: from exact values, of replicas at all couplings, and between every
    two samplers.
    """
    return [
        one
        for one in (*_from_exact(samplers), *_from_ladders(samplers), *_between_samplers(samplers))
        if math.isfinite(one.sigmas)
    ]


def _from_exact(samplers: Mapping[str, Any]) -> Iterator[Pull]:
    for label, sampler in trusted(samplers).items():
        for name, entry in sampler["observables"].items():
            if (sigmas := pull(entry)) is not None:
                yield Pull(sigmas, name, label)


def _from_ladders(samplers: Mapping[str, Any]) -> Iterator[Pull]:
    """Of the replicas at other couplings than the recipe's."""
    for label, sampler in trusted(samplers).items():
        ladder = sampler.get("replicas") or {"rungs": [], "own": None}
        for rung in (rung for number, rung in enumerate(ladder["rungs"]) if number != ladder["own"]):
            at = ", ".join(f"{name} {value:g}" for name, value in rung["couplings"].items())
            for name, entry in rung["observables"].items():
                if (sigmas := pull(entry)) is not None:
                    yield Pull(sigmas, f"{name} at {at}", label)


def _between_samplers(samplers: Mapping[str, Any]) -> Iterator[Pull]:
    for (label, one), (other, two) in itertools.combinations(trusted(samplers).items(), 2):
        for name, entry in one["observables"].items():
            if name in two["observables"] and (sigmas := between(entry, two["observables"][name])) is not None:
                yield Pull(sigmas, name, label, other)


def verdict(samplers: Mapping[str, Any]) -> list[Line]:
    """Return the verdict: the largest of all distances, the numbers without an error, the samplers not to be trusted.

    A sampler with warnings is no evidence: its values are not counted.

    >>> entry = {"value": 1.5, "error": 0.25, "exact": 1.0, "tau_int": 0.5}
    >>> verdict({"hmc": {"kind": "hmc", "observables": {"E": entry}}})[0].text
    '1 value is compared with an exact one. The largest deviation is 2.0 standard errors (E by hmc from its exact value); none \
exceeds 3.'
    """
    lines = [_of_pulls(pulls(samplers))] if trusted(samplers) else []
    silent = [
        f"{name} by {label}"
        for label, sampler in trusted(samplers).items()
        for name, entry in sampler["observables"].items()
        if not entry["error"]
    ]
    if silent:
        lines.append(Line(f"{_counted(len(silent), 'number')} without an error bar: {', '.join(silent)}.", False))
    for label, sampler in samplers.items():
        if warnings := warnings_of(sampler):
            lines.append(
                Line(f"{label} is not to be trusted: {'; '.join(warnings)}. Its values are not counted.", True)
            )
    return lines


def _of_pulls(found: list[Pull]) -> Line:
    if not found:
        return Line("No value can be compared, neither with an exact one nor between samplers.", False)
    exact = sum(not one.other for one in found)
    counts = [
        f"{_counted(exact, 'value')} {'is' if exact == 1 else 'are'} compared with {'an exact one' if exact == 1 else 'exact ones'}"
    ]
    if pairs := len(found) - exact:
        counts = counts if exact else ["no value is known exactly"]
        counts.append(f"{_counted(pairs, 'difference')} between samplers {'is' if pairs == 1 else 'are'} tested")
    worst, beyond = max(found, key=lambda one: abs(one.sigmas)), sum(abs(one.sigmas) > 3.0 for one in found)
    text = " and ".join(counts)
    text = f"{text[0].upper()}{text[1:]}. The largest deviation is {abs(worst.sigmas):.1f} standard errors ({worst})"
    text += f"; {beyond or 'none'} {'exceed' if beyond > 1 else 'exceeds'} 3"
    grave = abs(worst.sigmas) > 4.0
    return Line(f"{text}: do not trust this run before that is understood." if grave else f"{text}.", grave)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"
