"""Which theory has which compiled kernels: one table, read by `core.acceleration.accelerated`.

The kernels themselves are imported when the first of them is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from haarflow.backends import simd
from haarflow.backends.types import Array, Couplings
from haarflow.core import evenodd
from haarflow.core.acceleration import Accelerated, Kernels, accelerated
from haarflow.theories.composite import Sum
from haarflow.theories.phi4 import Phi4
from haarflow.theories.theory import check_field
from haarflow.theories.u1 import U1Gauge
from haarflow.theories.wilson import Wilson


def _action(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories import compiled_actions

    check_field(theory, field)
    return compiled_actions.action(theory, field, couplings)


def _force(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories import compiled_actions

    check_field(theory, field)
    return compiled_actions.force(theory, field, couplings)


def _plaquettes(theory: Any, field: Array) -> Array | None:
    from haarflow.theories import compiled_actions

    check_field(theory, field)
    return compiled_actions.plaquettes(theory, field)


def _observables_of_angles(theory: U1Gauge, field: Array, couplings: Couplings) -> dict[str, Array]:
    """The observables, measured of compiled plaquettes."""
    return theory.observables(field, couplings, angles=_plaquettes(theory, field))


def _evolve(theory: Any, *given: Any) -> tuple[Array, Array, Array] | None:
    from haarflow.theories import trajectories

    return trajectories.compiled(theory, *given)


def _sweep(theory: Any, *given: Any) -> tuple[Array, Array] | None:
    from haarflow.theories import heat_baths

    return heat_baths.compiled(theory, *given)


def _phi4_action(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories import phi4_kernels

    return phi4_kernels.action(theory, field, couplings)


def _phi4_force(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories import phi4_kernels

    return phi4_kernels.force(theory, field, couplings)


def _phi4_evolve(theory: Any, *given: Any) -> tuple[Array, Array, Array] | None:
    from haarflow.theories import phi4_kernels

    return phi4_kernels.trajectory(theory, *given)


class Row(NamedTuple):
    """The kernels of a class of theories under a condition."""

    kind: type
    applies: Callable[[Any], bool]
    kernels: Kernels


LARGEST = 4  # N up to which a link's matrices stay in registers and the cache


def _plaquettes_only(theory: Wilson) -> bool:
    return theory.rectangle == 0.0


def _small(theory: Wilson) -> bool:
    return _plaquettes_only(theory) and theory.n in (2, 3)


def _small_and_even(theory: Wilson) -> bool:
    return _small(theory) and evenodd.packable(theory.lattice)


def _even(theory: Wilson) -> bool:
    return _plaquettes_only(theory) and theory.n <= LARGEST and evenodd.packable(theory.lattice)


# the first row that applies counts
TABLE: tuple[Row, ...] = (
    Row(
        U1Gauge,
        lambda theory: True,
        Kernels(_action, _force, _observables_of_angles, plaquettes=_plaquettes, evolve=_evolve),
    ),
    Row(Wilson, _small_and_even, Kernels(_action, _force, plaquettes=_plaquettes, evolve=_evolve, sweep=_sweep)),
    Row(Wilson, _small, Kernels(_action, _force, plaquettes=_plaquettes, evolve=_evolve)),
    Row(Wilson, _even, Kernels(sweep=_sweep)),
    Row(Phi4, lambda theory: True, Kernels(_phi4_action, _phi4_force, evolve=_phi4_evolve)),
)


@accelerated.register(U1Gauge)
@accelerated.register(Wilson)
@accelerated.register(Phi4)
def by_table(theory: Any) -> Any:
    """Return the theory with the kernels of its row, or itself without one and without the package numba.

    >>> from haarflow.theories import Wilson
    >>> by_table(Wilson((4, 4), n=5))
    Wilson(lattice=(4, 4), n=5, rectangle=0.0)
    """
    if not simd.is_present():
        return theory
    rows = (row.kernels for row in TABLE if type(theory) is row.kind and row.applies(theory))
    kernels = next(rows, None)
    return theory if kernels is None else Accelerated(theory, kernels)


@accelerated.register(Sum)
def term_by_term(theory: Sum) -> Sum:
    """Return the sum of the accelerated terms."""
    return Sum(tuple(accelerated(term) for term in theory.terms))
