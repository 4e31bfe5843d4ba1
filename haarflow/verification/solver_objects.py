"""The solvers that the laws check, each on matrices that the laws make."""

from __future__ import annotations

from functools import partial
from typing import Any

from haarflow.core.groups.matrices import precision
from haarflow.core.laws.solvers import Approximation, Solver, Spectrum
from haarflow.core.solvers.bicgstab import bicgstab, bicgstab_pass
from haarflow.core.solvers.cg import cg, cg_pass
from haarflow.core.solvers.lanczos import spectrum_ends
from haarflow.core.solvers.mixed import mixed
from haarflow.core.solvers.multishift import multishift
from haarflow.core.solvers.rational import zolotarev
from haarflow.core.solvers.solution import Solution
from haarflow.verification.entry import Entry

SHIFTS = (0.05, 0.0, 1.0)


def shifted(apply: Any, b: Any, tolerance: float, max_steps: int, batch_axes: int) -> Solution:
    """Return the solutions for SHIFTS by `multishift`."""
    return multishift(apply, b, SHIFTS, tolerance, max_steps, batch_axes)


def in_both_precisions(
    single: Any, solve: Any, apply: Any, b: Any, tolerance: float, max_steps: int, batch_axes: int
) -> Solution:
    """Return the solution by `mixed` with the pass `solve`; b in single precision, which it refuses, goes to `single`."""
    if precision(b) == "float32":
        found: Solution = single(apply, b, tolerance, max_steps, batch_axes)
        return found
    return mixed(apply, apply, b, tolerance, max_steps, batch_axes, solve)


SOLVERS: dict[str, Any] = {
    "cg": Solver(cg),
    "bicgstab": Solver(bicgstab, positive=False),
    "mixed cg": Solver(partial(in_both_precisions, cg, cg_pass)),
    "mixed bicgstab": Solver(partial(in_both_precisions, bicgstab, bicgstab_pass), positive=False),
    "multishift": Solver(shifted, shifts=SHIFTS),
    "zolotarev": Approximation(zolotarev),
    "lanczos": Spectrum(spectrum_ends),
}


def _this(obj: Any, lattice: tuple[int, ...]) -> Any:
    """The same object for fields of every shape."""
    return obj


SOLVER_ENTRIES: tuple[Entry, ...] = tuple(
    Entry(name, "solver", partial(_this, solver), ((4, 3), (6, 4))) for name, solver in SOLVERS.items()
)
