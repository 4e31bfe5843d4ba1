"""Series of numbers at the border: what cannot be a real number is refused, chains of any length stand side by side."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy

from haarflow import backends

LARGEST = 2**53  # integers beyond it are not exact as floats
LONGEST = 10**8  # slots of a grid of draw numbers


class Chains(NamedTuple):
    """Observables on common draws: `values (observable, chain, slot)` and where there is a draw, `present (chain, slot)`.

    A slot without a draw (a gap, or the end of a shorter chain) holds zero.
    """

    values: numpy.ndarray
    present: numpy.ndarray


def real_numbers(values: Any, what: str = "a series") -> numpy.ndarray:
    """Return values of any backend as float64 numbers, where nothing is lost by it.

    Raises ValueError for complex values, masked ones, objects such as None, text, dates, and integers beyond 2^53.

    >>> real_numbers([True, 2])
    array([1., 2.])
    >>> real_numbers([1j])
    Traceback (most recent call last):
    ValueError: a series of real numbers wanted, got complex ones: take .real and .imag, each has its own error
    """
    array = numbers(values, what)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{what} of real numbers wanted, got complex ones: take .real and .imag, each has its own error"
        )
    return array.astype(float)


def numbers(values: Any, what: str = "a series") -> numpy.ndarray:
    """Return real or complex values of any backend on the host; raises as `real_numbers` does for all else.

    >>> numbers([1.0, None])
    Traceback (most recent call last):
    ValueError: a series of numbers wanted, got values of dtype object: make them floats, and decide what a missing one means
    """
    try:
        array = _on_host(values)
    except ValueError:
        raise ValueError(f"{what} of numbers wanted, got nested lists of several lengths") from None
    if problem := _loses(array):
        raise ValueError(f"{what} of numbers wanted, got {problem}")
    return array


def _on_host(values: Any) -> numpy.ndarray:
    root = type(values).__module__.partition(".")[0]
    if root in ("cupy", "jax", "jaxlib", "torch"):
        host: numpy.ndarray = numpy.asarray(backends.of(values).to_numpy(values))
        return host
    parts = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(part, numpy.ma.MaskedArray) and numpy.ma.is_masked(part) for part in parts):
        return numpy.ma.masked_array(values)
    return numpy.asarray(values)


def _loses(array: numpy.ndarray) -> str:
    """What would be lost if an array became floats, with the remedy, or nothing."""
    if numpy.ma.isMaskedArray(array):
        return "masked ones: leave out the masked draws (`gamma_method` takes gaps by `draw_numbers`)"
    if array.dtype.kind not in "biufc":
        return f"values of dtype {array.dtype}: make them floats, and decide what a missing one means"
    if array.dtype.kind in "iu" and array.size and max(int(array.max()), -int(array.min())) > LARGEST:
        return "integers beyond 2^53, which are not exact as floats: subtract a constant first"
    return ""


def number(value: Any) -> float:
    """Return the value of a user's function as a float; raises ValueError if it is complex.

    >>> number(1)
    1.0
    """
    if numpy.iscomplexobj(value):
        raise ValueError(f"a function with a real value wanted, got {value}: one for .real and one for .imag")
    return float(value)


def chains_of(series: Any, draw_numbers: Any = None) -> Chains:
    """Return observables, each an array `(draw,)` or `(chain, draw)` or a list of chains of any lengths, side by side.

    `draw_numbers` are the increasing whole numbers of the draws, one list for all chains or one for each.
    Raises ValueError for other shapes, for observables that are not on the same draws, and as `real_numbers`.
    """
    observables = [_rows(one) for one in series]
    lengths = [len(row) for row in observables[0]] if observables else []
    if any([len(row) for row in rows] != lengths for rows in observables) or not lengths or 0 in lengths:
        shown = ", ".join(str([len(row) for row in rows]) for rows in observables)
        raise ValueError(f"non-empty series on the same draws wanted, got chains of lengths {shown or 'none'}")
    slots = _slots(lengths, draw_numbers)
    present = numpy.zeros((len(lengths), 1 + max(int(row[-1]) for row in slots)), dtype=bool)
    values = numpy.zeros((len(observables), *present.shape))
    for chain, row in enumerate(slots):
        present[chain, row] = True
        for observable, rows in enumerate(observables):
            values[observable, chain, row] = rows[chain]
    return Chains(values, present)


def _rows(one: Any) -> list[numpy.ndarray]:
    """The chains of one observable."""
    if isinstance(one, list | tuple) and any(numpy.ndim(row) == 1 for row in one):
        rows = [real_numbers(row) for row in one]
    else:
        array = real_numbers(one)
        rows = list(numpy.atleast_2d(array)) if array.ndim in (1, 2) else [array]
    if any(row.ndim != 1 for row in rows):
        shape = [row.shape for row in rows] if isinstance(one, list | tuple) else numpy.shape(one)
        raise ValueError(
            f"an array (draw,) or (chain, draw), or a list of chains, wanted for each observable, got shape {shape}"
        )
    return rows


def _slots(lengths: list[int], draw_numbers: Any) -> list[numpy.ndarray]:
    """Each chain's places on a grid with the largest common distance of draws."""
    if draw_numbers is None:
        return [numpy.arange(length) for length in lengths]
    given = _rows(draw_numbers)
    given = given * len(lengths) if len(given) == 1 else given
    if [len(row) for row in given] != lengths:
        raise ValueError(f"one number for each draw wanted, got {[len(row) for row in given]} for chains of {lengths}")
    steps = numpy.concatenate([numpy.diff(row) for row in given])
    if not all(numpy.all(row == numpy.round(row)) for row in given) or numpy.any(steps <= 0):
        raise ValueError("draw numbers are increasing whole numbers within each chain")
    unit = math.gcd(*steps.astype(int).tolist()) or 1
    slots = [((row - row[0]) / unit).astype(int) for row in given]
    if sum(int(row[-1]) for row in slots) > LONGEST:
        raise ValueError(f"the draw numbers leave a grid of more than {LONGEST:,} slots: number the draws by ones")
    return slots
