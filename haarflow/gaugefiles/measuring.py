"""Observables of one configuration in a gauge file: plaquette, Wilson and Polyakov loops, flow scales t0 and w0, charge Q.

The loops are those of the library's theories. In four dimensions SU(N) links are flowed by Wilson's gradient flow until
t^2 E = 0.3 (t0) and t d/dt t^2 E = 0.3 (w0^2) are passed, or sqrt(8 t) is half the smallest extent (`theories.gauge.gradient_flow`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array
from haarflow.gaugefiles.reading import read_gauge
from haarflow.gaugefiles.records import group_number
from haarflow.theories import SUNGauge, U1Gauge
from haarflow.theories.gauge import gradient_flow

CHUNK = 5  # steps of the flow between two looks at the scales
ALONE = "one configuration: no statistical errors"
OF_ENSEMBLES = ("action", "Q2", "p_Q0", "flux2")  # observables that say nothing about one configuration


class Curves(NamedTuple):
    """Times of the flow, E by the clover and by the plaquettes, and Q by the clover, each `(n,)`; and the field at the end."""

    times: numpy.ndarray
    energy: numpy.ndarray
    plaquette_energy: numpy.ndarray
    charge: numpy.ndarray
    field: Array


def measure_gauge(
    path: str | Path,
    backend: Backend | None = None,
    *,
    step: float = 0.05,
    flow_time: float | None = None,
    check: bool = True,
    lattice: Sequence[int] | None = None,
    group: int | str | None = None,
) -> dict[str, Any]:
    """Return the observables of the configuration in a gauge file, {"observables": {name: {"value", "note"}}, "flow", ...}.

    plaquette, wilson_RxT, polyakov and the like are those of `theories.SUNGauge` and `U1Gauge`; t0, w0 (E by the clover),
    t0_plaquette, w0_plaquette (E by the plaquettes), Q (improved clover) and Q_clover those of the flow at its end. A scale
    that is not reached is None. "flow" has the curves, in units of the lattice spacing. `step` is the step of the flow,
    `flow_time` its longest time, by default L^2/32 of the smallest extent L, 0 for none. `backend` computes, NumPy by default;
    `check`, `lattice` and `group` as in `read_gauge`.

    Raises what `read_gauge` raises, and ValueError for a step or time that is not positive.

    >>> import numpy, haarflow
    >>> angles = numpy.zeros((2, 4, 4))
    >>> _ = haarflow.write_gauge("cold.lime", angles)
    >>> measure_gauge("cold.lime")["observables"]["plaquette"]
    {'value': 1.0}
    """
    if not (step > 0 and (flow_time is None or flow_time >= 0)):
        raise ValueError(f"the flow takes a step > 0 and a time >= 0, got step {step} and time {flow_time}")
    links, report = read_gauge(path, backend or backends.get("numpy"), check=check, lattice=lattice, group=group)
    n = group_number(report.group)
    theory = U1Gauge(report.lattice) if n == 1 else SUNGauge(report.lattice, n)
    measured = theory.observables(links)
    found = {name: {"value": _number(value)} for name, value in measured.items() if name not in OF_ENSEMBLES}
    notes = [ALONE, *report.notes]
    longest = min(report.lattice) ** 2 / 32 if flow_time is None else flow_time
    curves = None
    if n == 1 or len(report.lattice) != 4:
        notes.append("the flow scales t0 and w0 are those of SU(N) in four dimensions")
    elif longest > 0:
        curves = flowed(theory, links, step, max(1, round(longest / step)))
        found |= _of_the_flow(theory, curves)
    return {
        "gauge_file": report.path,
        "format": report.format,
        "lattice": list(report.lattice),
        "group": report.group,
        "observables": found,
        "flow": None
        if curves is None
        else {name: row.tolist() for name, row in curves._asdict().items() if name != "field"},
        "notes": notes,
    }


def flowed(theory: Any, links: Array, step: float, steps: int) -> Curves:
    """Return the curves of the flow of one configuration up to both scales, but not beyond `steps` steps."""
    backend = backends.of(links)

    def chunk(field: Array) -> tuple[Array, ...]:
        found = gradient_flow.flow(theory, field, step, CHUNK)
        return found.field, found.energy, found.plaquette_energy, found.charge

    run, rows, reached, field = backend.jit(chunk), [], False, links
    for first in range(0, steps, CHUNK):
        field, *series = run(field)
        rows.append([backend.to_numpy(row)[min(first, 1) :] for row in series])
        energy, plaquette_energy, charge = (numpy.concatenate(row).astype("float64") for row in zip(*rows, strict=True))
        times = step * numpy.arange(len(energy))
        if reached:  # one chunk beyond the scales, so that their derivatives are central
            break
        reached = all(math.isfinite(scale) for scale in _scales(times, energy, plaquette_energy).values())
    return Curves(times, energy, plaquette_energy, charge, field)


def _scales(times: numpy.ndarray, energy: numpy.ndarray, plaquette_energy: numpy.ndarray) -> dict[str, float]:
    of_plaquettes = gradient_flow.scales(times, plaquette_energy)
    return gradient_flow.scales(times, energy) | {f"{name}_plaquette": scale for name, scale in of_plaquettes.items()}


def _of_the_flow(theory: Any, curves: Curves) -> dict[str, dict[str, Any]]:
    """The scales and the charges, with notes."""
    end = float(curves.times[-1])
    radius = f"flow time {end:.3g}, radius sqrt(8 t) = {math.sqrt(8 * end):.3g}"
    found: dict[str, dict[str, Any]] = {}
    for name, scale in _scales(*curves[:3]).items():
        quantity = "E by the plaquettes" if name.endswith("plaquette") else "E by the clover"
        reached = math.isfinite(scale)
        found[name] = {
            "value": scale if reached else None,
            "note": quantity if reached else f"{quantity}: not reached up to {radius}",
        }
    improved = _number(gradient_flow.charge(theory, curves.field, improved=True))
    return found | {
        "Q": {"value": improved, "note": f"improved clover at {radius}"},
        "Q_clover": {"value": float(curves.charge[-1]), "note": f"clover at {radius}"},
    }


def _number(value: Array) -> Any:
    """A number, or a list of the components of a vector."""
    return backends.of(value).to_numpy(value).tolist()
