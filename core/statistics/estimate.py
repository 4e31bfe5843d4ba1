"""The record of an average."""

from __future__ import annotations

from typing import NamedTuple

ENOUGH = 100  # autocorrelation times, or effective samples, below which an error bar is optimistic


class Estimate(NamedTuple):
    """An average with its error and autocorrelation time (None: not known), and a note on what to keep in mind."""

    value: float | None
    error: float | None
    tau_int: float | None = None
    tau_error: float | None = None
    note: str = ""
