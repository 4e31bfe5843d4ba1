"""Comparison of the results of all backends: a fast wrong result is refused.

The distance of two results is the largest max |a - b| / max |b| over their arrays. The reference is the result that agrees
with most others (the first of two that differ); a backend farther from it than the tolerance is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from haarflow.backends.tree import leaves

TOLERANCE = {"float64": 1e-8, "float32": 2e-3}
Answer = list[numpy.ndarray]


def store(path: str, found: Any, backend: Any) -> None:
    """Write the arrays of a result to a file, in order."""
    rows = [leaf if isinstance(leaf, (int, float)) else backend.to_numpy(leaf) for leaf in leaves(found)]
    numpy.savez(path, *[numpy.asarray(row) for row in rows])


def load(path: str) -> Answer:
    """Read what `store` wrote."""
    with numpy.load(path) as file:
        return [file[name] for name in file.files]


def distance(mine: Answer, other: Answer) -> float:
    """Return the distance of two results, infinite if their shapes differ or a number is not finite.

    >>> distance([numpy.asarray([1.0, 4.0])], [numpy.asarray([1.0, 2.0])])
    1.0
    """
    if [a.shape for a in mine] != [b.shape for b in other]:
        return float("inf")
    return max((_apart(a, b) for a, b in zip(mine, other, strict=True)), default=0.0)


def _apart(a: numpy.ndarray, b: numpy.ndarray) -> float:
    kind = complex if "c" in (a.dtype.kind, b.dtype.kind) else float
    a, b = a.astype(kind), b.astype(kind)
    if not (numpy.isfinite(a).all() and numpy.isfinite(b).all()):
        return float("inf")
    scale = float(abs(b).max(initial=0.0)) or 1.0
    return float(abs(a - b).max(initial=0.0)) / scale


def refused(answers: Mapping[str, Answer], tolerance: float) -> tuple[str, dict[str, float]]:
    """Return the name of the reference and, by name, the distances of the results that are too far from it.

    >>> ones, twos = [numpy.ones(2)], [2 * numpy.ones(2)]
    >>> refused({"a": twos, "b": ones, "c": ones}, 1e-8)
    ('b', {'a': 1.0})
    """
    near = {
        name: sum(distance(other, answer) <= tolerance for other in answers.values())
        for name, answer in answers.items()
    }
    reference = max(near, key=lambda name: near[name])  # the first of several
    far = {name: distance(answer, answers[reference]) for name, answer in answers.items()}
    return reference, {name: value for name, value in far.items() if not value <= tolerance}
